"""Rewrites of the flow, one a file, each pure."""
