"""Ports for what tests start, that nobody else is given before it listens."""

import random
import socket

#: Below what Linux gives to whoever asks for any port, and to connections that go out: a port of those may be
#: another's by the time that a process under test has started.
_PORTS = range(20_000, 32_000)
_random = random.SystemRandom()


def free_port() -> int:
    """A loopback port on which nobody listens."""
    while True:
        port = _random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
