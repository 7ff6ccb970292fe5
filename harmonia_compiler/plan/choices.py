"""What the integer program chooses among for an engine: its options, without those of no use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.plan.problem import Need, Problem, take
from harmonia_compiler.plan.promised import Figure, seconds
from harmonia_compiler.plan.queueing import capacity, mixtures
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM, LEVELS


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of an engine, by its position; how many times the loads it carries when never idle, and what it takes.

    `idlest` is the utilisation below which calls there are not answered any sooner, as far as that matters.
    """

    at: int
    option: Option
    capacity: float
    takes: Mapping[str, float]
    mixtures: frozenset[int]
    idlest: float


def useful_choices(problem: Problem, need: Need, limits: Mapping[Figure, float]) -> list[Choice]:
    """The choices that no other beats or equals in everything; the first of equals stays.

    `limits` are the figures of time that promises depend on, each with how slow an idle replica may be.
    """
    sets = mixtures(problem, need)
    asked = [figure for figure in limits if figure.component in need.components]
    kept: list[_Rival] = []
    for at, option in enumerate(need.options):
        times = [seconds(figure, option) for figure in asked]
        if any(spent[0] > limits[figure] for figure, spent in zip(asked, times, strict=True)):
            continue
        takes = {resource: amount for resource, amount in take(option.configuration).items() if amount > 0}
        within = frozenset(m for m, options in enumerate(sets) if at in options)
        idlest = LEVELS[0] if asked else HEADROOM
        rival = _Rival(Choice(at, option, capacity(problem, need, option), takes, within, idlest), times)
        if not any(_beats(other, rival) for other in kept):
            kept = [other for other in kept if not _beats(rival, other)]
            kept.append(rival)
    return [rival.choice for rival in kept]


@dataclass(frozen=True, slots=True)
class _Rival:
    """A choice with its times at each level, by figure, better where lower."""

    choice: Choice
    times: Sequence[Sequence[float]]


def _beats(better: _Rival, other: _Rival) -> bool:
    one, two = better.choice, other.choice
    return (
        one.capacity >= two.capacity
        and all(amount <= two.takes.get(resource, 0.0) for resource, amount in one.takes.items())
        and two.mixtures <= one.mixtures
        and all(
            mine <= its
            for ours, theirs in zip(better.times, other.times, strict=True)
            for mine, its in zip(ours, theirs, strict=True)
        )
    )
