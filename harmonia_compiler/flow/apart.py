"""Values of which the source says something else of some requests than of others, which tests of others tell apart.

The table holds one share of each test of a value. A value for which that is not enough is told apart: it is drawn anew
for each group of requests of which something else is said.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import reduce
from typing import NamedTuple

import networkx as nx

from harmonia_compiler.contract.program import Parameter
from harmonia_compiler.flow.asked import Asked, Test
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.reached import questions_of
from harmonia_compiler.flow.said import Saying, Statement
from harmonia_compiler.flow.shares import Row
from harmonia_compiler.flow.values import Known, Value

#: Of more statements than this no value is told apart.
_MOST = 100

#: Shares are reckoned with rounding.
_CLOSE = 1e-9
_DIGITS = 9


def of_classes(flow: Flow, questions: Questions) -> list[Statement]:
    """What the loads of the classes say of an expanded flow: how often its port for the class holds each."""
    shares = flow.class_shares
    port = next((at for at, node in enumerate(flow.nodes) if node.operation == Parameter(flow.class_port or "")), None)
    if not shares or port is None or flow.load is None:
        return []
    rates = flow.load.by_class
    return [
        Statement(
            questions.plain(Asked(port, (), name))[0],
            Saying(name, share),
            rates[name].at if name in rates else None,
            (),
        )
        for name, share in shares.items()
    ]


def apart(said: Sequence[Statement], questions: Questions, is_missed: Callable[[Statement], bool]) -> set[Place]:
    """The values of which one share of each test does not do for all requests, if tests of others may tell those apart.

    `is_missed` says of a statement whether its share does not hold.
    """
    of_values = [(place_of(one.asked), one) for one in said if not one.is_made]
    rows: dict[Place, Row] = {}
    for place, _ in of_values:
        parts = questions.parts_of(place)
        if len(parts) == 1 and not parts[0].kept:
            rows[place] = parts[0].row
    of_rows = [(rows[place], place, one) for place, one in of_values if place in rows]
    told = {row for row, place, one in of_rows if any(place_of(asked) != place for asked in questions_of(one.reached))}
    missed = {row for row, _, one in of_rows if row in told and one.is_told and is_missed(one)}
    found = {place for place, row in rows.items() if row in missed}
    # What is written, and not how often a loop asks it.
    written = {one.at for place, one in of_values if place in found}
    return found if len(written) <= _MOST else set()


def in_groups(
    said: Sequence[Statement],
    subject: Callable[[Statement], Hashable],
    waits_for: Callable[[Statement], Iterable[Hashable]],
) -> Iterator[list[Statement]]:
    """What is said of subjects that wait for each other together, and each behind what it waits for.

    Else in the order of their nodes: what is drawn in one round of a loop is so next to what else is, since functions
    of both would else be large. Subjects that nothing is said of are not waited for.
    """
    of: dict[Hashable, list[Statement]] = {}
    for one in said:
        of.setdefault(subject(one), []).append(one)
    waits: nx.DiGraph[Hashable] = nx.DiGraph()
    waits.add_nodes_from(of)
    for one in said:
        waits.add_edges_from((other, subject(one)) for other in waits_for(one) if other in of)
    groups = nx.condensation(waits)
    members = groups.nodes.data("members")

    def place(group: int) -> int:
        return min(one.asked.position for each in members[group] for one in of[each])

    order = {one: number for number, one in enumerate(said)}
    for group in nx.lexicographical_topological_sort(groups, key=place):
        yield sorted((one for each in members[group] for one in of[each]), key=order.__getitem__)


class Pending(NamedTuple):
    """Something said whose turn has not come: what of, which values that is about, and what tells its requests.

    Of tests of values that are told apart `needs` has those. It `is_apart` where it is of one itself; `likely` is how
    likely a request is one of its, where that is known by now; it `is_new` where nothing is said of its test yet.
    """

    asked: Asked
    places: AbstractSet[Place]
    needs: AbstractSet[Asked]
    is_apart: bool
    likely: float | None
    is_new: bool


def next_turn(pending: Sequence[Pending]) -> int:
    """Which of what is said is taken next, in the order of the source if nothing else tells.

    Of a value that is told apart that first which is of the fewest requests: what is said of more leaves to the others
    what makes it up. So each waits until it is known which requests all are that something is said of its value for;
    and what is said of a condition that is made of others, until all is said of the values that it is about. Where some
    wait for each other, of as many requests those go first for which others wait.
    """
    open_ones = [one for one in pending if one.is_apart and one.likely is None]
    waiting, places = {one.asked for one in open_ones}, {place_of(one.asked) for one in open_ones}
    needed = {asked for one in pending if one.likely is None for asked in one.needs}
    of_values = {place_of(one.asked) for one in pending if one.is_apart}

    def turn(number: int) -> tuple[float, bool, bool, bool]:
        one = pending[number]
        # Of as many requests what is said of some of them already: the others have to make up for those.
        return round(one.likely or 0.0, _DIGITS), one.asked not in needed, one.asked in waiting, one.is_new

    known = [number for number, one in enumerate(pending) if one.likely is not None]
    apart = [number for number in known if pending[number].is_apart]
    others = [number for number in known if not pending[number].is_apart]
    if free := [number for number in apart if place_of(pending[number].asked) not in places]:
        return min(free, key=turn)
    if free := [number for number in others if of_values.isdisjoint(pending[number].places)]:
        return free[0]
    return min(apart, key=turn) if apart else (others or [0])[0]


class KnownApart(NamedTuple):
    """What is known of a value that is told apart."""

    found: Mapping[Test, int]
    said: Mapping[Test, int]
    parts: Sequence[tuple[Value, int, Known]]


class Told:
    """What is known of one value that is told apart: of each test, when it holds as far as something is said of it.

    `new` makes a value of which nothing is known.
    """

    def __init__(self, outcomes: Outcomes, new: Callable[[], Value]) -> None:
        self._outcomes = outcomes
        self._found: dict[Test, int] = {}
        # Of which requests something is said of each test.
        self._said: dict[Test, int] = {}
        # All requests in parts: in each the value is drawn for itself.
        self._parts: list[tuple[Value, int]] = [(new(), TRUE)]

    def mark(self) -> KnownApart:
        """What is known, for `back`."""
        return KnownApart(
            dict(self._found), dict(self._said), [(value, part, value.mark()) for value, part in self._parts]
        )

    def back(self, mark: KnownApart) -> None:
        """Know no more than at a mark."""
        self._found, self._said = dict(mark.found), dict(mark.said)
        self._parts = [(value, part) for value, part, _ in mark.parts]
        for value, _, known in mark.parts:
            value.back(known)

    @property
    def shares(self) -> dict[Test, float]:
        """How often each test holds of which something is known of all requests."""
        return {
            test: self._outcomes.probability(found) for test, found in self._found.items() if self._said[test] == TRUE
        }

    def so_far(self, test: Test, otherwise: int) -> int:
        """When a test holds by what is said by now, and `otherwise`."""
        return self._outcomes.choose(self._said.get(test, FALSE), self._found.get(test, FALSE), otherwise)

    def is_said(self, test: Test, of: int | None = None) -> bool:
        """Whether something is said of a test, of whatever requests or of all of those."""
        said = self._said.get(test, FALSE)
        return said != FALSE if of is None else self._outcomes.choose(said, FALSE, of) == FALSE

    def of(self, test: Test, share: float) -> int:
        """When a test holds: where nothing is said, as elsewhere or, if it is a new one, in a share of what is left."""
        if self.is_said(test):
            self._say_elsewhere(test, share)
        else:
            for other in [*self._said]:
                self._say_elsewhere(other, share)
            self._keep(test, [(part, self._guessed(value, part, test, share)) for value, part in self._alike(TRUE)])
        return self._found[test]

    def _say_elsewhere(self, test: Test, otherwise: float) -> None:
        """A test of which something is said holds as often of others; `otherwise` of what no requests are said of."""
        outcomes, said = self._outcomes, self._said[test]
        likely = outcomes.probability(said)
        share = outcomes.probability(self._found[test]) / likely if likely else otherwise
        self._keep(test, self._as_elsewhere(test, outcomes.negate(said)))
        self.say(test, share, TRUE)

    def say(self, test: Test, share: float, where: int) -> None:
        """A test holds in a share of those, as far as what is said before leaves that open.

        As it is known of others, if that is so; else it is drawn anew for those, as often as can be for each part.
        """
        outcomes = self._outcomes
        held = outcomes.both(where, self._found.get(test, FALSE))
        due = share * outcomes.probability(where) - outcomes.probability(held)
        rest = outcomes.choose(self._said.get(test, FALSE), FALSE, where)
        known = self._as_elsewhere(test, rest)
        is_all = reduce(outcomes.either, (part for part, _ in known), FALSE) == rest
        likely = sum(outcomes.probability(outcomes.both(part, one)) for part, one in known)
        is_so = is_all and abs(likely - due) <= _CLOSE
        self._keep(test, known if is_so else self._drawn(test, due, rest))

    def _keep(self, test: Test, found: Sequence[tuple[int, int]]) -> None:
        """Know of some parts of requests when a test holds there."""
        for part, holds in found:
            self._found[test] = self._outcomes.choose(part, holds, self._found.get(test, FALSE))
            self._said[test] = self._outcomes.either(self._said.get(test, FALSE), part)

    def _as_elsewhere(self, test: Test, rest: int) -> list[tuple[int, int]]:
        """Of the parts of those when a test holds there, where it is known of others with whom the value is drawn."""
        parts = [(self._outcomes.both(part, rest), dict(value).get(test)) for value, part in self._parts]
        return [(part, known) for part, known in parts if part != FALSE and known is not None]

    def _drawn(self, test: Test, due: float, rest: int) -> list[tuple[int, int]]:
        """Of parts of those when a test holds there, drawn anew, so that it holds as often as is due over all."""
        outcomes, probability = self._outcomes, self._outcomes.probability
        alike = self._alike(rest)
        # How often at least and at most it holds in each.
        bounds: list[tuple[float, float, float]] = []
        for value, part in alike:
            held, room = value.only(self._said_of(value, part)).leaves(test)
            least = probability(outcomes.both(part, held))
            bounds.append((probability(part), least, least + probability(outcomes.both(part, room))))
        share = _even(due, bounds)
        return [(part, self._fit(value, part).test(test, share, part)) for value, part in alike]

    def _guessed(self, value: Value, part: int, test: Test, share: float) -> int:
        """When a test holds in a part of those of which nobody says anything."""
        own = self._fit(value, part)
        return own.guess(test, own.even(test, share))

    def _alike(self, where: int) -> list[tuple[Value, int]]:
        """Those requests in parts: in each the value is drawn for itself, and of each test something is said or not."""
        outcomes, found = self._outcomes, list[tuple[Value, int]]()
        for value, part in self._parts:
            pieces = [outcomes.both(part, where)]
            for test, _ in value:
                said = self._said.get(test, FALSE)
                pieces = [
                    side
                    for piece in pieces
                    for side in (outcomes.both(piece, said), outcomes.choose(said, FALSE, piece))
                    if side != FALSE
                ]
            found += [(value, piece) for piece in pieces if piece != FALSE]
        return found

    def _fit(self, value: Value, part: int) -> Value:
        """The value for a part of those among which it is drawn: another one if its tests are known by others alone."""
        said = self._said_of(value, part)
        if len(said) == len([*value]):
            return value
        own = value.only(said)
        parts = [(one, self._outcomes.choose(part, FALSE, of) if one is value else of) for one, of in self._parts]
        self._parts = [*((one, of) for one, of in parts if of != FALSE), (own, part)]
        return own

    def _said_of(self, value: Value, part: int) -> list[Test]:
        """The tests that a value was put to of which something is said throughout a part."""
        return [test for test, _ in value if self._outcomes.choose(self._said.get(test, FALSE), FALSE, part) == FALSE]


def _even(due: float, bounds: Sequence[tuple[float, float, float]]) -> float:
    """The share of each of some parts by which as much is due in all; each has its size, and its least and most."""
    low, high = 0.0, 1.0
    while high - low > _CLOSE / 1000:
        share = (low + high) / 2
        if sum(min(most, max(least, share * size)) for size, least, most in bounds) < due:
            low = share
        else:
            high = share
    return (low + high) / 2
