"""What is no Python."""

def (
