"""Tree to flow, collecting every diagnostic."""
