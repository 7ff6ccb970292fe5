"""The versioned documents that stages and processes hand to each other."""
