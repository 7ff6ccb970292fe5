"""How much work something is, counted in lines executed, not in time."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def executed(run: Callable[[], object], but: str | None = None) -> int:
    """How many lines are executed, each turn of a loop counted, but those of files with this in their path."""
    lines = 0

    def count(frame: FrameType, event: str, given: Any) -> Any:
        nonlocal lines
        lines += 1
        return None if but is not None and but in frame.f_code.co_filename else count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        run()
    finally:
        sys.settrace(before)
    return lines
