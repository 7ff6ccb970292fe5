"""A rehearsal that is ended while its event loop reads: what is raised there reaches nobody."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any

import pytest
import uvloop

from harmonia_compiler.cli.stopping import code_of, stopped_as_by_hand
from harmonia_compiler.emulate.rehearsal.interrupting import run_interruptibly
from harmonia_compiler.runtime.interruptions import ENDING, put_off

PAIRS = [pytest.param(pair, id="-".join(number.name for number in pair)) for pair in product(ENDING, repeat=2)]
Pair = tuple[signal.Signals, signal.Signals]


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """What has been told leaves handlers of its own: those of before."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def press(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


class Reading(asyncio.Protocol):
    """Does something while it reads."""

    def __init__(self, does: Callable[[], None]) -> None:
        self._does = does

    def data_received(self, data: bytes) -> None:
        self._does()


async def reading(does: Callable[[], None]) -> None:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: Reading(does), sock=ours)
    try:
        theirs.sendall(b"1")
        await asyncio.Event().wait()
    finally:
        transport.close()
        theirs.close()


class Closing(uvloop.Loop):
    """A loop while whose end something comes, and once it is closed."""

    def __init__(self, *numbers: signal.Signals) -> None:
        super().__init__()
        self._numbers = numbers

    def close(self) -> None:
        press(*self._numbers[:1])
        super().close()
        press(*self._numbers[1:])


@contextmanager
def pressed_at_its_end(number: signal.Signals) -> Iterator[None]:
    try:
        yield
    finally:
        press(number)


def ended_by(main: Coroutine[Any, Any, object], make: Callable[[], uvloop.Loop] = uvloop.new_event_loop) -> int:
    """The signal as whose a command ends whose loop this is."""
    with pytest.raises(KeyboardInterrupt) as raised, stopped_as_by_hand():
        run_interruptibly(main, make)
    return code_of(raised.value) - 128


@pytest.mark.parametrize("pair", PAIRS)
def test_signals_that_come_while_something_is_read_end_it_as_the_first_says(
    pair: Pair, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert ended_by(reading(lambda: press(*pair))) == pair[0]
    assert (capsys.readouterr().err, caplog.text) == ("", "")


@pytest.mark.parametrize("pair", PAIRS)
def test_what_comes_before_the_first_step_ends_it(pair: Pair) -> None:
    def made() -> uvloop.Loop:
        press(*pair)
        return uvloop.new_event_loop()

    assert ended_by(asyncio.Event().wait(), made) == pair[0]


@pytest.mark.parametrize("pair", PAIRS)
def test_what_comes_while_it_ends_changes_nothing_of_how(pair: Pair) -> None:
    async def cleaning() -> None:
        try:
            await reading(lambda: press(pair[0]))
        finally:
            press(pair[1])
            await asyncio.sleep(0.0)
            cleaned.append(pair)

    cleaned: list[Pair] = []
    assert ended_by(cleaning()) == pair[0]
    assert cleaned == [pair]


@pytest.mark.parametrize("pair", PAIRS)
def test_what_comes_once_all_is_done_ends_the_command_all_the_same(pair: Pair) -> None:
    assert ended_by(asyncio.sleep(0.0), lambda: Closing(*pair)) == pair[0]


@pytest.mark.parametrize("pair", PAIRS)
def test_who_presses_while_processes_are_ended_changes_nothing_of_how(pair: Pair) -> None:
    """By Ctrl-C they are waited for no longer, and the command ends as it was told first."""
    with pytest.raises(KeyboardInterrupt) as raised, stopped_as_by_hand(), pressed_at_its_end(pair[1]):
        run_interruptibly(reading(lambda: press(pair[0])), uvloop.new_event_loop)
    assert code_of(raised.value) - 128 == pair[0]


def test_a_loop_that_waits_for_nothing_ends_too() -> None:
    async def idle() -> None:
        loop.append(asyncio.get_running_loop())
        threading.Thread(target=press, args=(signal.SIGTERM,)).start()
        await asyncio.Event().wait()

    loop: list[asyncio.AbstractEventLoop] = []
    assert ended_by(idle()) == signal.SIGTERM
    assert loop[0].is_closed()


def test_a_handler_that_raises_nothing_leaves_no_cancellation() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    with pytest.raises(KeyboardInterrupt):
        run_interruptibly(reading(lambda: press(signal.SIGTERM, signal.SIGTERM)), uvloop.new_event_loop)
    assert heard == [signal.SIGTERM] * 2


def test_a_loop_that_nothing_ends_gives_its_result_and_leaves_the_handlers() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    assert run_interruptibly(asyncio.sleep(0.0, "done"), uvloop.new_event_loop) == "done"
    assert [signal.getsignal(number) for number in ENDING] == before


def test_in_a_thread_which_no_signal_reaches_it_gives_its_result() -> None:
    given: list[str] = []
    running = threading.Thread(
        target=lambda: given.append(run_interruptibly(asyncio.sleep(0.0, "done"), uvloop.new_event_loop))
    )
    running.start()
    running.join()
    assert given == ["done"]


@pytest.mark.parametrize(("before", "heard"), [((), [signal.SIGHUP]), ((signal.SIGINT,), [])])
def test_what_comes_while_handlers_are_given_back_is_handled_unless_it_has_ended(
    monkeypatch: pytest.MonkeyPatch, before: tuple[signal.Signals, ...], heard: list[int]
) -> None:
    given, found = signal.signal, list[int]()

    def giving(number: signal.Signals, handler: Callable[[int, object], object]) -> None:
        given(number, handler)
        # Which is given back after Ctrl-C's.
        if number == signal.SIGINT:
            press(signal.SIGHUP)

    @contextmanager
    def given_back() -> Iterator[None]:
        with put_off():
            press(*before)
            monkeypatch.setattr(signal, "signal", giving)
            yield

    signal.signal(signal.SIGHUP, lambda number, _: found.append(number))
    with suppress(KeyboardInterrupt), given_back():
        pass
    assert found == heard


def test_who_was_put_off_is_told_in_the_order_in_which_they_came_until_one_raises() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))
    with pytest.raises(KeyboardInterrupt), put_off():
        press(signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGHUP)
    assert heard == [signal.SIGTERM, signal.SIGHUP]
