"""Ports of this host for processes that are started here."""

import contextlib
import socket
from collections.abc import Container, Iterable

import psutil

from harmonia_compiler.runtime.actuators.supervision.pids import Ident

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def listens(those: Iterable[Ident], port: int) -> bool:
    """Whether one of these processes listens on a port, whoever else does."""
    for ident in those:
        with contextlib.suppress(psutil.Error, OSError):
            found = psutil.Process(ident.pid).net_connections("tcp")
            if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found):
                return True
    return False


def free_port(taken: Container[int]) -> int:
    """A loopback port on which nobody listens and that is not `taken`; raises OSError where there is none."""
    for _ in range(64):
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
    raise OSError("no free port on 127.0.0.1")
