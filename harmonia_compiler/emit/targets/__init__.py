"""What each target writes beside the files that every bundle has: one module a target, found by its name."""
