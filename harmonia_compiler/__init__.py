"""Harmonia compiles a RAG pipeline into a dataflow graph, plans where it runs, and emits what launches it."""

__version__ = "0.1.0"
