"""Shares that cannot hold, since what is said elsewhere of the same value leaves their tests another one.

What is found is certain: that the labels of a value sum to more than 1, or to less though they are all that it may be;
that a number is below a bound less often than below a smaller one; that an `until` leaves its test another share behind
the loop. Of what rests on a guess nothing is said, since another guess might do.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Select
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.asked import Asked, Test, settled
from harmonia_compiler.flow.expand import expand
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes, TooManyError
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.said import Claim, Said
from harmonia_compiler.flow.shares import Part, Row, Shares
from harmonia_compiler.flow.values import Value

#: Nodes of decision diagrams, beyond which nothing is said.
_LIMIT = 10_000

#: Shares are written with a few digits, and reckoned with rounding.
_CLOSE = 1e-6


class Disputed(NamedTuple):
    """A share that is said `at` a place, of a test that holds for `found` of what is asked, by what `others` say.

    `test` is what a value is asked, or None where it itself is a truth; where `is_repeated`, one of the others says
    another share of the very same.
    """

    at: Span
    found: float
    test: Test
    others: tuple[Span, ...]
    is_repeated: bool


def disputed(flow: Flow) -> list[Disputed]:
    """The shares of a flow that cannot hold, each once; none in a flow that branches too much."""
    places = {node.said_at for body in flow.bodies for node in body.nodes if node.said_at is not None}
    if len(places) < 2:
        return []
    try:
        return _Judging(flow).found()
    except TooManyError:
        return []


class _Judging:
    """The claims of one flow are heard one after the other; each is held against those before."""

    def __init__(self, flow: Flow) -> None:
        expanded = expand(flow)
        self._nodes = expanded.flow.nodes
        self._questions = questions = Questions(expanded)
        self._said = Said(self._nodes, expanded.flow.result, questions.plain, questions.one_of_rounds)
        self._claims = [*self._of_one_question(self._said.claims())]
        self._labels: dict[Row, Sequence[str] | None] = {}
        self._shares = Shares(self._labels.__getitem__, _LIMIT)
        self._heard: dict[Row, list[tuple[Part, Claim]]] = {}
        self._outcomes = Outcomes(_LIMIT)
        self._values: dict[Place, Value] = {}
        self._disputed: dict[Span, Disputed] = {}

    def found(self) -> list[Disputed]:
        claims = [(self._parts(claim), claim) for claim in self._claims]
        claims.sort(key=lambda one: (len(one[0]) > 1, max((len(part.kept) for part in one[0]), default=0)))
        for parts, claim in claims:
            if len(parts) == 1:
                self._hear(parts[0], claim)
            elif (found := self._shares.share(parts, claim.asked.test)) is not None:
                self._judge(claim, found, self._heard_of(parts))
        for claim in self._claims:
            if self._is_made(claim.asked) and claim.at not in self._disputed:
                self._compose(claim)
        return [*self._disputed.values()]

    def _of_one_question(self, claims: Iterable[Claim]) -> Iterator[Claim]:
        """Those of which each place asks one thing: of what differs from round to round, a share is the mean."""
        by_place: dict[Span, list[Claim]] = {}
        for claim in claims:
            by_place.setdefault(claim.at, []).append(claim)
        for alike in by_place.values():
            if len({self._one_of_rounds(claim.asked) for claim in alike}) == 1:
                yield alike[0]

    def _one_of_rounds(self, asked: Asked) -> Hashable:
        """What is made of others in a round may be another thing in the next one."""
        return asked if self._is_made(asked) else self._questions.one_of_rounds(asked)

    def _parts(self, claim: Claim) -> list[Part]:
        """What of the table a claim is about; what is made of others has a row for what is said of itself."""
        asked, before = claim.asked, tuple((test, holds) for test, holds, _ in claim.saying.before)
        place = place_of(asked)
        if self._is_made(asked):
            row = Row(("made", self._questions.one_of_rounds(replace(asked, test=None))), asked.fields)
            self._labels.setdefault(row, self._questions.labels(place))
            return [Part(row, before)]
        parts = self._questions.parts_of(place)
        for part in parts:
            self._labels.setdefault(part.row, self._questions.labels_of(part.row))
        return [part._replace(kept=(*part.kept, *before)) for part in parts]

    def _hear(self, part: Part, claim: Claim) -> None:
        """Take a claim into the table; one that rests on tests of which nobody says anything, beside those alike."""
        if not self._shares.is_told(part):
            row = Row((part.row.node, part.kept), part.row.path)
            self._labels.setdefault(row, _left(self._labels[part.row], part.kept))
            part = Part(row)
        test, share, _ = claim.saying
        if self._shares.share([part], test) is None:
            self._shares.hear([part], test, share)
        heard = self._heard.setdefault(part.row, [])
        if (found := self._shares.share([part], test)) is not None:
            is_repeated = any(other.asked.test == test and kept == part.kept for (_, kept, _), other in heard)
            self._judge(claim, found, self._heard_of([part]), is_repeated=is_repeated)
        heard.append((part, claim))

    def _heard_of(self, parts: Iterable[Part]) -> list[Claim]:
        return [claim for part in parts for _, claim in self._heard.get(part.row, ())]

    def _compose(self, claim: Claim) -> None:
        """Hold what is said of a made condition against what is said of all that it is made of.

        It is of the requests that reach it: those for which other conditions of the same values had one answer.
        """
        outcomes, questions = self._outcomes, self._questions
        made_of = questions.made_of(claim.asked)
        made, guard = self._function(made_of), TRUE
        if made is None:
            return
        rows = questions.rows(claim.asked)
        for asked, holds, _, is_earlier in self._said.around(claim.choice):
            if not is_earlier or rows.isdisjoint(questions.rows(asked)):
                continue
            if (answer := self._function(questions.made_of(asked))) is None:
                return
            guard = outcomes.both(guard, answer if holds else outcomes.negate(answer))
        if (likely := outcomes.probability(guard)) > 0.0:
            others = (other for row in sorted(rows, key=repr) for _, other in self._heard.get(row, ()))
            self._judge(claim, outcomes.probability(outcomes.both(guard, made)) / likely, others)

    def _function(self, made_of: Mapping[Asked, tuple[Asked, ...]]) -> int | None:
        """When a question holds, the first of these; None where that is not said of all that it is made of."""
        found: dict[Asked, int | None] = {}
        # What a node reads stands before it.
        for one in sorted(made_of, key=lambda each: each.position):
            if not made_of[one]:
                found[one] = self._simple(one)
                continue
            is_true, then, otherwise = (self._answer(each, found) for each in made_of[one])
            if is_true is None or then is None or otherwise is None:
                # An arm that is never taken may be anything.
                found[one] = then if is_true == TRUE else otherwise if is_true == FALSE else None
            else:
                found[one] = self._outcomes.choose(is_true, then, otherwise)
        return found[next(iter(made_of))]

    def _answer(self, asked: Asked, found: Mapping[Asked, int | None]) -> int | None:
        asked, is_negated = self._questions.plain(asked)
        answer = found[asked]
        return self._outcomes.negate(answer) if answer is not None and is_negated else answer

    def _simple(self, asked: Asked) -> int | None:
        if (known := settled(self._nodes, asked)) is not None:
            return TRUE if known else FALSE
        place = place_of(asked)
        parts = self._questions.parts_of(place)
        for part in parts:
            self._labels.setdefault(part.row, self._questions.labels_of(part.row))
        share = self._shares.share(parts, asked.test)
        if share is None:
            return None
        if place not in self._values:
            self._values[place] = Value(self._outcomes, self._questions.labels(place), self._outcomes.outcome)
        return self._values[place].test(asked.test, share, TRUE)

    def _judge(self, claim: Claim, found: float, others: Iterable[Claim], *, is_repeated: bool = False) -> None:
        if abs(found - claim.saying.share) <= _CLOSE:
            return
        found = 1.0 - found if claim.is_negated else found
        places = tuple(dict.fromkeys(other.at for other in others if other.at != claim.at))
        self._disputed.setdefault(claim.at, Disputed(claim.at, found, claim.asked.test, places, is_repeated))

    def _is_made(self, asked: Asked) -> bool:
        return isinstance(self._nodes[asked.position].operation, Select)


def _left(labels: Sequence[str] | None, kept: Iterable[tuple[Test, bool]]) -> Sequence[str] | None:
    """Of the labels that a value may be, those that the answers of tests leave."""
    answers = dict(kept)
    return labels and [each for each in labels if answers.get(each) is not False]
