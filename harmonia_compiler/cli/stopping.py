"""Commands that start something and stop it at their end do so too where they are ended by a signal."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stopped_as_by_hand(*signals: signal.Signals) -> Iterator[None]:
    """Within, these signals are what Ctrl-C is, unless somebody had them ignored, as `nohup` does."""
    before = {number: signal.getsignal(number) for number in signals}
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
