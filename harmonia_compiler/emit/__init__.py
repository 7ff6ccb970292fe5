"""Plan to bundle, through the targets."""
