"""Sockets, clocks and processes around the pure policy."""

import os

# gRPC's core writes what befalls its connections to the terminal, unless it is told before it is imported, which only
# modules in here do. What matters of it comes as exceptions.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
