"""A rehearsal that is ended while its event loop reads: what is raised there reaches nobody."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator

import pytest
import uvloop

from harmonia_compiler.cli.stopping import stopped_as_by_hand
from harmonia_compiler.emulate.rehearsal.interrupting import run_interruptibly


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """What has been told leaves handlers of its own: those of before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Pressing(asyncio.Protocol):
    """Each number that it reads is a signal that comes while it is read."""

    def data_received(self, data: bytes) -> None:
        for number in data:
            os.kill(os.getpid(), number)


async def _reading(numbers: bytes) -> None:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(Pressing, sock=ours)
    try:
        theirs.sendall(numbers)
        await asyncio.sleep(30.0)
    finally:
        transport.close()
        theirs.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_while_something_is_read_ends_it(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt) as raised, stopped_as_by_hand():
        run_interruptibly(_reading(bytes([number])), uvloop.new_event_loop)
    assert getattr(raised.value, "number", signal.SIGINT) == number


def test_who_presses_twice_has_it_ended_as_well() -> None:
    with pytest.raises(KeyboardInterrupt), stopped_as_by_hand():
        run_interruptibly(_reading(bytes([signal.SIGINT] * 2)), uvloop.new_event_loop)


def test_a_loop_that_nothing_ends_gives_its_result_and_leaves_the_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert run_interruptibly(asyncio.sleep(0.0, "done"), uvloop.new_event_loop) == "done"
    assert signal.getsignal(signal.SIGINT) is before
