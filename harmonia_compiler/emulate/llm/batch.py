"""What a scheduler decides for a step, and what it counts."""

from dataclasses import dataclass

import msgspec

from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.steps import StepLoad


class Batch(msgspec.Struct, eq=False):
    """One step, or `steps` equal ones: `tokens` of each sequence in it, and who is `given` an answer token by each.

    `load` is that of the first one, `begun` are those of the given whose answer begins with it.
    """

    tokens: dict[Sequence, int]
    given: list[Sequence]
    load: StepLoad
    begun: list[Sequence]
    preempted: tuple[Sequence, ...] = ()
    steps: int = 1


@dataclass(slots=True)
class Counts:
    """What has happened so far. `queried` and `hit` are the prefix cache's, in tokens, by first admissions."""

    preemptions: int = 0
    queried: int = 0
    hit: int = 0
    steps: int = 0
