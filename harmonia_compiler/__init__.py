"""Harmonia: compiles a RAG pipeline into a dataflow graph, plans where its components run, and emits what launches it."""

__version__ = "0.1.0"
