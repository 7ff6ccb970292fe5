"""What a service measured, which outlives it: a plan is made anew most often while nothing runs."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.decision import KEPT, REMEMBERED
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.policy.control.state import State


def says_something(state: State) -> bool:
    """Whether any call has ended."""
    ratios = [*state.engines.values(), *(one for visits in state.visits.values() for one in visits.values())]
    return any(ratio.evidence > 0 for ratio in ratios)


def read_state(file: Path) -> State:
    """What a controller remembers; raises OSError and `msgspec.DecodeError`, also for what none writes."""
    return decode_document(read_regular(file, MOST_DOCUMENT_BYTES), State)


def strangers(state: State, service: Service) -> Iterator[str]:
    """What a state speaks of and its service does not have, a phrase each."""
    yield from (f"it tells of the engine `{name}`" for name in state.engines if name not in service.engines)
    for pipeline, visits in state.visits.items():
        program = service.programs.get(pipeline)
        if program is None:
            yield f"it tells of the pipeline `{pipeline}`"
        else:
            yield from (f"it tells of `{name}` in `{pipeline}`" for name in visits if name not in program.components)


def keep(told: Path, run: Path) -> None:
    """Put what a controller remembers in the folder `told` aside, in `run`, where its service ends.

    A service that nobody called leaves what an earlier one measured. What cannot be used is not kept.
    """
    with suppress(OSError, msgspec.MsgspecError):
        if says_something(read_state(told / REMEMBERED)):
            (told / REMEMBERED).replace(run / KEPT)
