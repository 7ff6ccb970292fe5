"""Shares of one value that differ by what other values are: from arm to arm of their tests, or behind their returns.

The table holds one share of each test of a value. Where the source says several, of requests that tests of other values
tell apart, the value is drawn anew for each of these contexts: each has rows of the table of its own.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from harmonia_compiler.contract.program import Parameter
from harmonia_compiler.flow.asked import Asked, Test
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.reached import Fact, Step, questions_of
from harmonia_compiler.flow.said import OfValue, Saying
from harmonia_compiler.flow.shares import Part, Row, Shares


class Context(NamedTuple):
    """Requests that the answers to some questions tell apart, the outermost first. `key` is one for all rounds."""

    key: Hashable
    around: tuple[Step, ...]


class InContexts(NamedTuple):
    """Of a value, the contexts in which something else is said of it, and all tests of which something is said."""

    row: Row
    contexts: tuple[Context, ...]
    tests: tuple[Test, ...]

    def part(self, context: Context | None) -> Part:
        """What stands in the table of the value in a context; None for what is in no context."""
        return Part(self.row if context is None else self.row._replace(context=context.key))


#: What is said of each value that has one part, and no more than one share for each of the source.
_OfPlace = dict[Place, list[OfValue]]


def of_classes(flow: Flow, questions: Questions) -> list[OfValue]:
    """What the loads of the classes say of an expanded flow: how often its port for the class holds each."""
    shares = flow.class_shares
    port = next((at for at, node in enumerate(flow.nodes) if node.operation == Parameter(flow.class_port or "")), None)
    if not shares or port is None or flow.load is None:
        return []
    rates = flow.load.by_class
    return [
        OfValue(
            questions.plain(Asked(port, (), name))[0],
            Saying(name, share),
            rates[name].at if name in rates else None,
            (),
        )
        for name, share in shares.items()
    ]


def told(said: Sequence[OfValue], questions: Questions, shares: Shares) -> Mapping[Place, InContexts]:
    """Say in the table what is said of values: in contexts where it cannot hold for all; gives those."""
    parts = [questions.parts_of(place_of(one.asked)) for one in said]
    mark = shares.mark({part.row for each in parts for part in each})
    plain = [(each, one.saying) for each, one in zip(parts, said, strict=True)]
    shares.say(plain)
    found = _of_places(said, parts, shares, questions)
    if found:
        shares.back(mark)
        shares.say([(_parts(one, each, found, questions), one.saying) for each, one in zip(parts, said, strict=True)])
    return found


def _parts(
    one: OfValue, parts: Sequence[Part], found: Mapping[Place, InContexts], questions: Questions
) -> Sequence[Part]:
    """What of the table a value is where something is said of it."""
    own = found.get(place_of(one.asked))
    if own is None:
        return parts
    key = _key(one.context, questions)
    return [own.part(next((context for context in own.contexts if context.key == key), None))]


def _of_places(
    said: Sequence[OfValue], parts: Sequence[Sequence[Part]], shares: Shares, questions: Questions
) -> dict[Place, InContexts]:
    """The values of which the table does not hold what is said, as far as contexts tell it apart."""
    by_place: _OfPlace = {}
    seen: set[tuple[Place, Hashable, Test]] = set()
    # In the order in which the source says what does not fit with what it has said before.
    missed: dict[Row, int] = {}
    for each, one in zip(parts, said, strict=True):
        place = place_of(one.asked)
        # Of the rounds that ask about one value, the first one.
        if len(each) != 1 or each[0].kept or (place, one.at, one.asked.test) in seen:
            continue
        seen.add((place, one.at, one.asked.test))
        by_place.setdefault(place, []).append(one)
        if not shares.holds(each[0], one.saying):
            missed.setdefault(each[0].row, len(missed))
    found: dict[Place, InContexts] = {}
    #: Of each row in contexts, those that must be known for that.
    needed: dict[Row, set[Row]] = {}
    rows = {place: questions.parts_of(place)[0].row for place in by_place}
    for place in sorted((place for place, row in rows.items() if row in missed), key=lambda place: missed[rows[place]]):
        row, own = rows[place], by_place[place]
        contexts = {_key(one.context, questions): one.context for one in own}
        contexts.pop(frozenset(), None)
        reads = {of for context in contexts.values() for each in questions_of(context) for of in questions.rows(each)}
        if not contexts or row in _closed(reads, needed):
            continue
        needed.setdefault(row, set()).update(reads)
        tests = dict.fromkeys(one.asked.test for one in own)
        found[place] = InContexts(row, tuple(Context(*one) for one in contexts.items()), tuple(tests))
    return found


def _key(steps: Iterable[Step], questions: Questions) -> Hashable:
    """What is so on some steps, which is one for all rounds of a loop."""
    return frozenset(
        (questions.one_of_rounds(step.asked), step.holds)
        if isinstance(step, Fact)
        else frozenset(_key(way, questions) for way in step.ways)
        for step in steps
    )


def _closed(rows: set[Row], needed: Mapping[Row, set[Row]]) -> set[Row]:
    """Those rows, and all that must be known for them."""
    found, pending = set(rows), [*rows]
    while pending:
        new = needed.get(pending.pop(), set()) - found
        found |= new
        pending += new
    return found
