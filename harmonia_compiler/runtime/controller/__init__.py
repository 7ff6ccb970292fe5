"""The adaptive controller's process: its place; the service fills it."""
