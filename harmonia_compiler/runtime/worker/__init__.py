"""Workers of our own: torch models and user Python behind HTTP routes."""
