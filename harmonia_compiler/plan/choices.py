"""What the integer program chooses among for an engine: options at levels of utilisation, without those of no use."""

from dataclasses import dataclass

from harmonia_compiler.plan.problem import Need, Problem, take
from harmonia_compiler.plan.queueing import capacity, mixtures
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import LEVELS


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of an engine and the level of utilisation to run it at, by their positions; and its `mu`."""

    at: int
    option: Option
    level: int
    mu: float


def useful_choices(problem: Problem, need: Need, *, timed: bool) -> list[Choice]:
    """The choices that no other of the same level beats or equals in everything; the first of equals stays."""
    sets = mixtures(problem, need)
    kept: list[Choice] = []
    for level in range(len(LEVELS)) if timed else (len(LEVELS) - 1,):
        rivals: list[_Rival] = []
        for at, option in enumerate(need.options):
            figures = [-LEVELS[level] * capacity(problem, need, option)]
            if timed:
                figures += [times[name][level] for times in (option.latency_ms, option.first_ms) for name in times]
            within = frozenset(m for m, options in enumerate(sets) if at in options)
            rival = _Rival(Choice(at, option, level, -figures[0]), figures, within)
            if not any(_beats(other, rival) for other in rivals):
                rivals = [other for other in rivals if not _beats(rival, other)]
                rivals.append(rival)
        kept += [rival.choice for rival in rivals]
    return kept


@dataclass(frozen=True, slots=True)
class _Rival:
    """A choice with its figures, each better where lower, and the mixtures that it can be part of."""

    choice: Choice
    figures: list[float]
    within: frozenset[int]


def _beats(better: _Rival, other: _Rival) -> bool:
    taken = take(other.choice.option.configuration)
    takes_no_more = all(
        amount <= taken.get(resource, 0.0) for resource, amount in take(better.choice.option.configuration).items()
    )
    no_worse = all(mine <= theirs for mine, theirs in zip(better.figures, other.figures, strict=True))
    return takes_no_more and no_worse and other.within <= better.within
