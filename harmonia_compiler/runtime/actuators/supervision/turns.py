"""Turns: what a process has to itself while it starts, and others of its machine wait for.

Who keeps all processes of a machine waits within its own. Where each has a launcher, these agree by names of sockets
that lie on no file system: such a name is one process's at a time, and free again when that ends, however it does.
Folders that nodes share need not know locks, and a lock that a killed process leaves there would be nobody's to take.
"""

import asyncio
import errno
import hmac
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

#: Waits for the turn of that name, which lasts as long as what it gives is entered. All take several in one order.
Turns = Callable[[str], AbstractAsyncContextManager[object]]

#: How often it is tried whether somebody else's turn has ended, in seconds.
_TRY_EVERY_S = 0.2


def turns_within() -> Turns:
    """Turns of processes that this one starts."""
    locks: dict[str, asyncio.Lock] = {}
    return lambda name: locks.setdefault(name, asyncio.Lock())


def turns_on_machine(secret: bytes, among: str) -> Turns:
    """Turns of processes whose launchers know the secret and are `among` the same, each on this machine.

    Nobody else can tell the names, and keep them waiting. Raises OSError where the system has no such names.
    """

    @asynccontextmanager
    async def turn(name: str) -> AsyncIterator[None]:
        place = hmac.digest(secret, f"{among}\0{name}".encode(), "sha256").hex()
        # It is open in no process that is started meanwhile.
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
            while True:
                try:
                    held.bind(f"\0harmonia-{place}")
                    break
                except OSError as problem:
                    if problem.errno != errno.EADDRINUSE:
                        raise
                await asyncio.sleep(_TRY_EVERY_S)
            yield

    return turn
