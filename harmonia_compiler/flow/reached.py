"""Which answers of tests lead to a place of a flow, on whatever way: what its branches say of those that reach it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from harmonia_compiler.contract.program import Select, inputs
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.asked import Asked
from harmonia_compiler.flow.graph import Node

#: How deep ways are looked into that branch inside of others; those inside are taken to say nothing.
_DEEPEST = 40
#: As many steps from a node to the next one take as long as to compare a fact with what is known.
_LOOK = 5


@dataclass(frozen=True, slots=True)
class Fact:
    """A question with its answer, and how often the question holds by the `branch` that asks it."""

    asked: Asked
    holds: bool
    share: float = field(compare=False)
    branch: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Either:
    """What is so on one of several ways, of each the outermost first."""

    ways: tuple[tuple["Step", ...], ...]
    #: Ways within ways are compared over and over.
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.ways))

    def __hash__(self) -> int:
        return self._hash


Step = Fact | Either


class TooFarError(Exception):
    """There is more to look through than there may be."""


class Ways:
    """The ways from the result of a flow to its nodes.

    `above` are its dominators. They are looked through in `most` steps in all.
    """

    def __init__(self, nodes: Sequence[Node], above: Sequence[int], result: int, most: int) -> None:
        self._above = above
        self._left = most
        # For each node what reads it, numbered as in `dominators`.
        self._readers: list[list[int]] = [[] for _ in nodes]
        for position in range(result, -1, -1):
            if position != result and above[3 * position] < 0:
                continue
            operation = nodes[position].operation
            if isinstance(operation, Select):
                self._readers[operation.then].append(3 * position + 1)
                self._readers[operation.otherwise].append(3 * position + 2)
                for needed in {operation.condition, *operation.early}:
                    self._readers[needed].append(3 * position)
            else:
                for needed in {*inputs(operation)}:
                    self._readers[needed].append(3 * position)

    def to(self, position: int, fact: Callable[[int], Fact | None]) -> tuple[Step, ...]:
        """What is so wherever a node is demanded, by the `fact` that an arm tells, if it does. Raises TooFarError."""
        return possible(self._between(3 * position, -1, fact, {}, 0), frozenset(), self._take) or ()

    def _take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooFarError

    def _between(
        self, number: int, end: int, fact: Callable[[int], Fact | None], known: dict[int, list[Step]], depth: int
    ) -> tuple[Step, ...]:
        """What is so on the ways from a node or arm, which all others lead through, to one behind it.

        What each tells up to the nearest one behind it is `known` once it was found.
        """
        found: list[Step] = []
        while number != end:
            self._take(1)
            outer = self._above[number]
            if number not in known:
                told: list[Step] = []
                if number % 3:
                    told += [] if (one := fact(number)) is None else [one]
                elif (readers := self._readers[number // 3]) != [outer] and depth < _DEEPEST:
                    ways = (self._between(reader, outer, fact, known, depth + 1) for reader in readers)
                    told += reversed(merged(ways))
                known[number] = told
            found += known[number]
            number = outer
        return tuple(reversed(found))


def possible(
    steps: Iterable[Step], known: frozenset[Step] = frozenset(), take: Callable[[int], object] = lambda _steps: None
) -> tuple[Step, ...] | None:
    """The same without the ways that what is so besides rules out, each fact once; None where that rules out all.

    What reads one value on two ways may read another one that tells them apart. `take` is told how much is looked at,
    which doubles where ways are within ways, and may raise.
    """
    steps = (*dict.fromkeys(step for step in steps if step not in known),)
    take(_LOOK * (1 + len(steps)))
    facts = known.union(step for step in steps if isinstance(step, Fact))
    if any(_opposite(fact) in facts for fact in facts):
        return None
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Either):
            ways = [way for each in step.ways if (way := possible(each, facts, take)) is not None]
            if not ways:
                return None
            found += merged(ways)
        else:
            found.append(step)
    # What one way alone is left of is so besides.
    is_all = facts.issuperset(step for step in found if isinstance(step, Fact))
    return tuple(found) if is_all else possible(found, known, take)


def merged(ways: Iterable[tuple[Step, ...]]) -> tuple[Step, ...]:
    """What is so on one of some ways, in few words: what has either answer on ways that are else alike says nothing."""
    first: dict[frozenset[Step], tuple[Step, ...]] = {}
    for way in ways:
        # In whatever order the same is so.
        first.setdefault(frozenset(way), way)
    left = dict.fromkeys(first.values())
    while True:
        left = {way: None for way in left if not any(way[:length] in left for length in range(len(way)))}
        alike = next((way for way in left if way and (*way[:-1], _opposite(way[-1])) in left), None)
        if alike is None:
            break
        left[alike[:-1]] = None
    if len(left) == 1:
        return next(iter(left))
    return (Either(tuple(sorted(left, key=len))),) if left else ()


def _opposite(step: Step) -> Step | None:
    return replace(step, holds=not step.holds) if isinstance(step, Fact) else None


def among(steps: Iterable[Step], is_meant: Callable[[Fact], bool]) -> tuple[Step, ...]:
    """What some of the facts say alone."""
    found: list[Step] = []
    for step in steps:
        if isinstance(step, Either):
            found += merged(among(way, is_meant) for way in step.ways)
        elif is_meant(step):
            found.append(step)
    return tuple(found)


def questions_of(steps: Iterable[Step]) -> set[Asked]:
    """All that is asked on some way."""
    found: set[Asked] = set()
    for step in steps:
        found |= {step.asked} if isinstance(step, Fact) else set().union(*map(questions_of, step.ways))
    return found
