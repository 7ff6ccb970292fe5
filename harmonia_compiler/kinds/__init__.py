"""The component kinds, one a file, found by listing this folder."""
