"""Work that makes much and leaves few cycles, done without the collector that would look through all of it for some."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cycles meanwhile, nor at once for some in what was made; what is in none is freed all the same."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():
                # All that there is counts as old from here on, as if it had been looked through.
                gc.freeze()
                gc.unfreeze()
            gc.enable()
