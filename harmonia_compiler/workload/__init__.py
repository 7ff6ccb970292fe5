"""What comes in: requests, when they arrive, recorded traffic, and the random choices of a run."""
