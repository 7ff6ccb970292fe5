"""Emulated replicas behind the routes of the real engines, many in one process, each on a port of its own."""
