"""How one replica works through its calls: what the emulator and the simulator need to know of a configuration.

A plan needs means. Who imitates a replica needs what lies behind them: how long each step or pass takes,
by what is in it, how many calls are worked on together, and how much memory they find.
"""

from dataclasses import dataclass

from harmonia_compiler.contract.card import Cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.assumptions import STORE_THREADS
from harmonia_compiler.profile.device import part_of
from harmonia_compiler.profile.encoder import Passes, passes
from harmonia_compiler.profile.limits import Limits, limits_for
from harmonia_compiler.profile.sources import Sources, sources_here
from harmonia_compiler.profile.steps import StepModel


@dataclass(frozen=True, slots=True)
class Stepping:
    """A language model's engine."""

    steps: StepModel
    limits: Limits


@dataclass(frozen=True, slots=True)
class Passing:
    """An encoder: up to `batch` calls together in a pass; vectors of so many numbers."""

    passes: Passes
    batch: int
    dimension: int


@dataclass(frozen=True, slots=True)
class Threads:
    """So many threads, each with a call at a time, at this part of a core's speed."""

    threads: int
    speed: float


Serving = Stepping | Passing | Threads


def serving(engine: Engine, configuration: Configuration, cards: Cards, sources: Sources | None = None) -> Serving:
    """How a replica of an engine works in a configuration, by the figures that a plan is made from.

    Raises Rejected where no card names its model. Without `sources`, those of this machine count.
    """
    kind = kinds()[engine.kind]
    model = kind.model_of(engine)
    if model is None:
        whole = max(1, int(configuration.cores))
        return Threads(min(whole, STORE_THREADS) if kind.stateful else whole, min(1.0, configuration.cores))
    card = cards.of(model)
    part = part_of(configuration)
    if card.role != "llm":
        return Passing(passes(engine, card, part), configuration.batch, card.dimension or card.hidden)
    figures = sources_here() if sources is None else sources
    return Stepping(figures.steps(engine, card, part).steps, limits_for(engine, card, configuration))
