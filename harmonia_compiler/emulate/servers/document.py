"""`rehearsal.json`: what a process of emulated replicas is to be."""

import msgspec

from harmonia_compiler.contract.bundle import Endpoint, Service
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.outcomes import Outcome
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.uses import Usage
from harmonia_compiler.report.measures import Distribution

FORMAT_VERSION = 1


class Rehearsal(msgspec.Struct, frozen=True):
    """The replicas of a plan, and how they behave.

    `service` is the plan's. Each second of it takes `factor` seconds of a clock. `start_s` is how long replicas of an
    engine take to load, by engine. `lengths` are the tokens of the answers of single requests, by their ids, as far as
    a trace says them; `answers` are the components that give answers.
    """

    service: Service
    replicas: tuple[Replica, ...]
    outcomes: dict[str, Outcome]
    seed: int
    factor: float = 1.0
    start_s: dict[str, float] = {}
    faults: tuple[Fault, ...] = ()
    lengths: dict[str, int] = {}
    answers: frozenset[str] = frozenset()
    format_version: int = FORMAT_VERSION


class Started(msgspec.Struct, frozen=True):
    """`started.json`: where each replica listens, and the port on which the process itself is asked."""

    replicas: tuple[Endpoint, ...]
    control: int


class Tally(msgspec.Struct, frozen=True):
    """What a process of emulated replicas says of itself: how late it was, and its processor time.

    `late` is by how many ms of a clock, over what it did by the clock last: None where that was nothing. `happened` is
    how often that was in all, and `cpu_s` is not stretched either. `cut` counts since the start, by component, the
    requests whose recorded answer was longer than that allows.
    """

    replicas: dict[str, Usage]
    late: Distribution | None
    happened: int
    cpu_s: float
    cut: dict[str, int] = {}
