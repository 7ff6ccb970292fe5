"""Signals that end a command, put off while it does something that must not be left in the middle."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

#: Ctrl-C, somebody's `kill`, a unit or job that ends, and a terminal that closes.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def put_off(tell: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Within, a signal that is handled waits, and at the first one `tell` is called. At the end they are handled.

    In the order in which they came, until a handler raises: then the others are of no consequence. Signals reach the
    main thread alone.
    """
    is_reached = threading.current_thread() is threading.main_thread()
    handlers = {number: handler for number in ENDING if callable(handler := signal.getsignal(number)) and is_reached}
    came: list[int] = []
    is_over = False

    def note(number: int, frame: FrameType | None) -> None:
        if not is_over:
            came.append(number)
            if len(came) == 1:
                tell()
        elif not came:
            # After the last look at who came, and before its own handler is back.
            handlers[signal.Signals(number)](number, frame)

    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        is_over = True
        try:
            for each in came:
                handlers[signal.Signals(each)](each, None)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
