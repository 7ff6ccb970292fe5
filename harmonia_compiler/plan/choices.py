"""What the integer program chooses among for an engine: options and levels of utilisation, without those of no use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.plan.problem import Need, Problem, take
from harmonia_compiler.plan.promised import Figure, seconds
from harmonia_compiler.plan.queueing import capacity, mixtures
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import LEVELS

#: Relative and absolute, in seconds: what a promise is kept to within (`predict.keeps`).
_NEAR, _INSTANT = 1e-8, 1e-7


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of an engine, by its position; how many times the loads it carries when never idle, and what it takes.

    `levels` are those of utilisation, by their positions, that it may run at: where a promise depends on the engine,
    all at which no call of its own breaks one.
    """

    at: int
    option: Option
    capacity: float
    takes: Mapping[str, float]
    levels: tuple[int, ...]
    mixtures: frozenset[int]


def useful_choices(problem: Problem, need: Need, limits: Mapping[Figure, float]) -> list[Choice]:
    """The choices that no other beats or equals in everything; the first of equals stays.

    `limits` are the figures of time that promises depend on, each with what it must not exceed.
    """
    sets = mixtures(problem, need)
    asked = [figure for figure in limits if figure.component in need.components]
    kept: list[_Rival] = []
    for at, option in enumerate(need.options):
        times = {level: [seconds(figure, option, level) for figure in asked] for level in range(len(LEVELS))}
        levels = tuple(
            level
            for level, spent in times.items()
            if all(one <= limits[figure] * (1 + _NEAR) + _INSTANT for figure, one in zip(asked, spent, strict=True))
        )
        if not levels:
            continue
        levels = levels if asked else levels[-1:]
        takes = {resource: amount for resource, amount in take(option.configuration).items() if amount > 0}
        within = frozenset(m for m, options in enumerate(sets) if at in options)
        choice = Choice(at, option, capacity(problem, need, option), takes, levels, within)
        rival = _Rival(choice, {level: times[level] for level in levels})
        if not any(_beats(other, rival) for other in kept):
            kept = [other for other in kept if not _beats(rival, other)]
            kept.append(rival)
    return [rival.choice for rival in kept]


@dataclass(frozen=True, slots=True)
class _Rival:
    """A choice with its times at each level that it may run at, better where lower."""

    choice: Choice
    times: Mapping[int, Sequence[float]]


def _beats(better: _Rival, other: _Rival) -> bool:
    one, two = better.choice, other.choice
    return (
        one.capacity >= two.capacity
        and all(amount <= two.takes.get(resource, 0.0) for resource, amount in one.takes.items())
        and two.mixtures <= one.mixtures
        and all(
            level in better.times and all(mine <= its for mine, its in zip(better.times[level], times, strict=True))
            for level, times in other.times.items()
        )
    )
