"""The functions of the language, one a file: `fuse`, `count`, `flatten`, `take`."""
