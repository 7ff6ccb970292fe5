"""Commands that start something and stop it at their end do so too where they are ended by a signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harmonia_compiler.runtime.interruptions import ENDING


class Ended(KeyboardInterrupt):
    """What Ctrl-C raises, with the signal that it is for."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stopped_as_by_hand() -> Iterator[None]:
    """Within, the signals that end a process are what Ctrl-C is, unless somebody had them ignored, as `nohup` does.

    Only the first of them: a terminal that closes says so twice, a unit's end may be told by both, and a CI job's by
    Ctrl-C before. What is stopping is not to be kept from it, but by who presses Ctrl-C again. It ends as the first
    said.
    """
    first: int | None = None

    # Said in both, since another signal may come before anybody has caught what they raise.
    def tell(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        if first is None:
            first = number
            raise Ended(number)

    def pressed(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        first = first or number
        raise Ended(first)

    ours = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, tell)
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        if is_heard:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        # Who was told ends, and says what it leaves; whoever says it again then changes nothing of that either.
        if first is None:
            for number in ours:
                signal.signal(number, signal.SIG_DFL)


def code_of(interrupt: BaseException) -> int:
    """The exit code of a command that a signal ended, as shells count them; click hands on what it was caused by."""
    caused = interrupt if isinstance(interrupt, Ended) else interrupt.__cause__
    return 128 + (caused.number if isinstance(caused, Ended) else signal.SIGINT)


def heard() -> None:
    """From here on Ctrl-C is an exception, and a command says what it leaves."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def unheard() -> None:
    """From here on Ctrl-C ends the process itself, where it is not ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
