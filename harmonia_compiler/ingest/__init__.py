"""Documents to chunks to vectors, incrementally."""
