"""Sockets, clocks and processes around the pure policy."""
