"""What emulated components answer: values of the declared type, as large and as often one or the other as expected.

The flow says how often each condition holds (`~ 0.3`). Here that becomes how often a component answers
what: a grader says "no" in so many calls, a judge's flag is set, a score lies below a bound. So a
rehearsal and a simulation take each branch as often as the plan was made for.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import count, pairwise
from math import inf, nextafter
from random import Random
from types import MappingProxyType

import msgspec

from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.program import Call, Parameter
from harmonia_compiler.contract.types import (
    Bool,
    Labels,
    ListOf,
    Message,
    Number,
    Passage,
    Record,
    Type,
    Value,
    Vector,
)
from harmonia_compiler.flow.asked import COUNT, ITEM, Below, Exactly, Test
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.graph import EVEN, Application, Flow
from harmonia_compiler.flow.lower import sites
from harmonia_compiler.kinds.extents import item_of, item_type, part_of, part_types, typed_extent
from harmonia_compiler.kinds.kind import Extent, Kind, value_of
from harmonia_compiler.workload.draws import Uniform


class TextOutcome(msgspec.Struct, frozen=True, tag="text"):
    """A text of `tokens` on average, and never more than `most`, where anything bounds it."""

    tokens: float
    most: float | None = None


class LabelOutcome(msgspec.Struct, frozen=True, tag="label"):
    """One of the labels, each with its share; the shares add up to 1."""

    shares: dict[str, float]


class TruthOutcome(msgspec.Struct, frozen=True, tag="truth"):
    """True with a share."""

    share: float


class NumberOutcome(msgspec.Struct, frozen=True, tag="number"):
    """A number that is less than `bounds[i]` with the share `below[i]`; both ascend. Without any, in [0, 1].

    Between two bounds that are neighbours among numbers is the first of them alone.
    """

    bounds: tuple[float, ...] = ()
    below: tuple[float, ...] = ()


class PassageOutcome(msgspec.Struct, frozen=True, tag="passage"):
    """A passage of so many tokens."""

    tokens: float
    score: NumberOutcome = NumberOutcome()


class TurnOutcome(msgspec.Struct, frozen=True, tag="message"):
    """A turn of a conversation of so many tokens."""

    tokens: float


class VectorOutcome(msgspec.Struct, frozen=True, tag="vector"):
    """An embedding."""


class ListOutcome(msgspec.Struct, frozen=True, tag="list"):
    """`items` of an outcome on average; always so many where the number is whole.

    Where tests ask how many there are, they are so many as `counts` has it, and within its bounds as near to `items` as
    may be.
    """

    items: float
    item: "Outcome"
    counts: NumberOutcome = NumberOutcome()


class RecordOutcome(msgspec.Struct, frozen=True, tag="record"):
    """An outcome for each field."""

    fields: dict[str, "Outcome"]


Outcome = (
    TextOutcome
    | LabelOutcome
    | TruthOutcome
    | NumberOutcome
    | PassageOutcome
    | TurnOutcome
    | VectorOutcome
    | ListOutcome
    | RecordOutcome
)

#: What is said of one value: how often it is true, which text or number, or below a bound, by the names of the fields
#: of the result that lead to it, `ITEM` for the items of a list, and `COUNT` for how many those are.
Said = Mapping[tuple[tuple[str, ...], Test], float]


#: With so many digits a number is as many tokens of a prompt as are planned.
_DIGITS = 14

#: Of a value that nothing tests.
NOTHING_SAID: Said = MappingProxyType({})


def expected_outcomes(
    application: Application, demands: Sequence[tuple[Flow, Demand]], kinds: Mapping[str, Kind]
) -> dict[str, Outcome]:
    """The outcome of each component that flows call, of which all is read, by its name: that of its first call.

    Further calls of which a flow says something else have one of their own, by `named`. Where the rounds of a loop say
    different things of a call, it is the mean over those.
    """
    # Nothing is expected of what no request should reach, and a fault may lead there all the same.
    nodes = (node for flow in application.flows for body in flow.bodies for node in body.nodes)
    called = {node.operation.component for node in nodes if isinstance(node.operation, Call)}
    said: dict[str, dict[int, list[tuple[float, Said]]]] = {name: {} for name in called}
    for flow, demand in demands:
        by_node, numbers = _said_of_nodes(demand), sites(flow, application)
        for call in demand.calls:
            body, at = demand.expanded.origins[call.position]
            own = said[call.component].setdefault(numbers[body][at], [])
            own.append((call.visits, by_node.get(call.position, {})))
    found: dict[str, Outcome] = {}
    for name, by_site in sorted(said.items()):
        first = by_site.get(0, [each for own in by_site.values() for each in own])
        found[name] = _outcome(application.components[name], kinds, _mean(first))
        for site, own in sorted(by_site.items()):
            outcome = _outcome(application.components[name], kinds, mean) if (mean := _mean(own)) else found[name]
            if outcome != found[name]:
                found[named(name, site)] = outcome
    return found


def named(component: str, site: int) -> str:
    """The name of the outcome of one of a component's calls, where that has one of its own."""
    return f"{component}#{site}"


def expected_arguments(flow: Flow, demand: Demand) -> dict[str, Outcome]:
    """The outcome of each port of a flow that a test asks about, by port."""
    by_node, nodes = _said_of_nodes(demand), demand.expanded.flow.nodes
    found: dict[str, Outcome] = {}
    for port in flow.ports:
        said = [
            said
            for at, said in by_node.items()
            if isinstance(operation := nodes[at].operation, Parameter) and operation.name == port.name
        ]
        if said:
            found[port.name] = expected_argument(port, _mean([(1.0, each) for each in said]))
    return found


def draw(outcome: Outcome, uniform: Uniform, text: Callable[[str, float], str], at: str = "") -> Value:
    """A value: `uniform(what)` is a number in [0, 1) for each thing that is drawn, `text(what, tokens)` a text."""
    match outcome:
        case TextOutcome(tokens, _):
            return text(at, tokens)
        case LabelOutcome(shares):
            return _chosen(shares, uniform(at))
        case TruthOutcome(share):
            return uniform(at) < share
        case NumberOutcome():
            return number_of(outcome, uniform(at))
        case PassageOutcome(tokens, score):
            return {
                "text": text(at, tokens),
                # As many characters as SOURCE_TOKENS are.
                "source": f"rehearsal/{uniform(f'{at}#'):.17f}.md",
                "score": number_of(score, uniform(at)),
            }
        case TurnOutcome(tokens):
            return {"role": "user", "text": text(at, tokens)}
        case VectorOutcome():
            return [uniform(at)]
        case ListOutcome(_, item):
            many = drawn_items(outcome, uniform, at)
            if item == NumberOutcome():
                # Of numbers that nothing tests there may be thousands, each of which takes long to hash.
                numbers = Random(uniform(f"{at}[]"))  # noqa: S311 (numbers of a rehearsal, and no secrets)
                return [round(numbers.random(), _DIGITS) for _ in range(many)]
            drawn = [draw(item, uniform, text, f"{at}[{number}]") for number in range(many)]
            return _in_turns(drawn) if isinstance(item, TurnOutcome) else drawn
        case RecordOutcome(fields):
            return {name: draw(field, uniform, text, f"{at}.{name}") for name, field in fields.items()}


def drawn_items(outcome: ListOutcome, uniform: Uniform, at: str = "") -> int:
    """How many items a list of this outcome has."""
    whole, rest = divmod(outcome.items, 1.0)
    usual = int(whole) + (rest > 0.0 and uniform(f"{at}*") < rest)
    if not outcome.counts.bounds:
        return usual
    # A test of a number of items has whole bounds (`flow/asked.py`).
    low, high = between(outcome.counts, uniform(f"{at} count"))
    return int(max(low, min(usual, high - 1.0)))


def most_parts(outcome: Outcome) -> float:
    """How many tokens and items there may be in a value of this outcome, whose texts are about as long as expected."""
    match outcome:
        case TextOutcome(tokens) | PassageOutcome(tokens) | TurnOutcome(tokens):
            return max(1.0, tokens)
        case ListOutcome(items, item, counts):
            asked = [low for low, below in zip(counts.bounds, counts.below, strict=True) if below < 1.0]
            return max(items, *asked, 0.0) * most_parts(item)
        case RecordOutcome(fields):
            return sum(map(most_parts, fields.values()))
        case _:
            return 1.0


def _in_turns(messages: list[Value]) -> list[Value]:
    """The messages of a conversation before the one that asks: the last of them answers."""
    roles = ("assistant", "user")
    return [{**one, "role": roles[left % 2]} for left, one in zip(count(len(messages) - 1, -1), messages, strict=False)]


def _chosen(shares: dict[str, float], uniform: float) -> str:
    for label, share in shares.items():
        uniform -= share
        if uniform < 0.0:
            return label
    # Shares are rounded: what is left over belongs to the last one that may come at all.
    return next(label for label in reversed(shares) if shares[label] > 0.0)


def between(outcome: NumberOutcome, uniform: float) -> tuple[float, float]:
    """The two bounds that a number lies between: no less than the first, and less than the second."""
    low = -inf
    for bound, below in zip(outcome.bounds, outcome.below, strict=True):
        if uniform < below:
            return low, bound
        low = bound
    return low, inf


def number_of(outcome: NumberOutcome, uniform: float) -> float:
    """Uniform between bounds, and below the upper one; beyond the outer ones, within 1 of them."""
    bounds, below = outcome.bounds, outcome.below
    if not bounds:
        return round(uniform, _DIGITS)
    edges = [(0.0, min(0.0, bounds[0] - 1.0) if bounds else 0.0)]
    edges += zip(below, bounds, strict=True)
    edges.append((1.0, max(1.0, bounds[-1] + 1.0) if bounds else 1.0))
    for (least, low), (most, high) in pairwise(edges):
        if uniform < most:
            return min(nextafter(high, low), low + (high - low) * (uniform - least) / (most - least))
    return edges[-1][1]


def _said_of_nodes(demand: Demand) -> dict[int, Said]:
    """What tests of a flow say of the results of calls, of one item for those that are for lists, and of ports."""
    found: dict[int, dict[tuple[tuple[str, ...], Test], float]] = {}
    for (position, path), shares in demand.likely.items():
        operation = demand.expanded.flow.nodes[position].operation
        of_one = path[1:] if isinstance(operation, Call) and operation.over else path
        found.setdefault(position, {}).update({(of_one, test): share for test, share in shares.items()})
    return {**found}


def _mean(given: list[tuple[float, Said]]) -> Said:
    """Over those that say something about the same, each with its weight."""
    sums: dict[tuple[tuple[str, ...], Test], tuple[float, float]] = {}
    for weight, said in given:
        for key, share in said.items():
            total, weighed = sums.get(key, (0.0, 0.0))
            sums[key] = (total + weight, weighed + weight * share)
    return {key: weighed / total if total else EVEN for key, (total, weighed) in sums.items()}


def _outcome(component: Component, kinds: Mapping[str, Kind], said: Said) -> Outcome:
    return sized(_typed(component.result, said), component, kinds[component.kind])


def sized(outcome: Outcome, component: Component, kind: Kind) -> Outcome:
    """The outcome of a call of a component, as large as the plan takes its result to be by these settings."""
    return _sized(outcome, component.result, kind.result_extent(component), most_tokens(component, kind))


def most_tokens(component: Component, kind: Kind) -> float | None:
    """How many tokens an answer may have by the settings of a component, or of one call of it; None where none says."""
    return float(value_of("max_tokens", component.settings, kind.settings)) if kind.has_prompt else None


def expected_argument(port: Port, said: Said = NOTHING_SAID) -> Outcome:
    """The outcome of a port: as large as it is declared, or as its type is expected to be, and how often tests hold."""
    return _sized(_typed(port.type, said), port.type, typed_extent(port.type, port.sizes), None)


def _typed(of: Type, said: Said, path: tuple[str, ...] = ()) -> Outcome:
    """The outcome of a value of a type, of no size yet."""
    match of:
        case Labels(labels):
            return LabelOutcome(_shares(labels, {label: said.get((path, label)) for label in labels}))
        case Bool():
            return TruthOutcome(said.get((path, None), EVEN))
        case Number():
            return _number_outcome(said, path)
        case Passage():
            return PassageOutcome(0.0, _number_outcome(said, (*path, "score")))
        case Message():
            return TurnOutcome(0.0)
        case Vector():
            return VectorOutcome()
        case ListOf(item):
            one = TextOutcome(0.0) if item is None else _typed(item, said, (*path, ITEM))
            return ListOutcome(0.0, one, _number_outcome(said, (*path, COUNT)))
        case Record(fields):
            return RecordOutcome({one.name: _typed(one.type, said, (*path, one.name)) for one in fields})
        case _:
            return TextOutcome(0.0)


def _sized(outcome: Outcome, of: Type, extent: Extent, most: float | None) -> Outcome:
    """The outcome of values of a type that are so large, in texts of no more than so many tokens each."""
    tokens = extent.tokens
    match outcome:
        case TextOutcome():
            return TextOutcome(tokens, most)
        case PassageOutcome() | TurnOutcome():
            return msgspec.structs.replace(outcome, tokens=tokens)
        case ListOutcome(_, item, counts):
            return ListOutcome(extent.items, _sized(item, item_type(of), item_of(extent, of), most), counts)
        case RecordOutcome(fields):
            types = part_types(of)
            parts = {name: (each, types[name], part_of(extent, of, name)) for name, each in fields.items()}
            return RecordOutcome({name: _sized(*part, most) for name, part in parts.items()})
        case _:
            return outcome


def _number_outcome(said: Said, path: tuple[str, ...]) -> NumberOutcome:
    """A number that is each one that tests ask for as often as they say, and as often below each bound.

    Below greater bounds it is no less often. What nothing is said of is as far down between two bounds as may be.
    """
    tests = {test: share for (at, test), share in said.items() if at == path and isinstance(test, Below | Exactly)}
    bounds = sorted(test for test in tests if isinstance(test, Below))
    numbers = sorted(test for test in tests if isinstance(test, Exactly))
    cuts: dict[float, float] = {}
    below = 0.0
    for low, high in pairwise((Below(-inf), *bounds, Below(inf))):
        most = max(below, tests.get(high, 1.0))
        own = [number for number in numbers if low <= number.low and number.high <= high]
        rest, end = max(0.0, most - below - sum(tests[number] for number in own)), low
        for number in own:
            if end < number.low:
                below, rest = below + rest, 0.0
            cuts[number.low.end] = below
            below = cuts[number.high.end] = min(1.0, below + tests[number])
            end = number.high
        below = max(below, most)
        if high in tests:
            cuts[high.end] = below
    return NumberOutcome(tuple(cuts), tuple(cuts.values()))


def _shares(labels: tuple[str, ...], said: Mapping[str, float | None]) -> dict[str, float]:
    """What is said, and what is left of 1 evenly for the others."""
    known = {label: share for label, share in said.items() if share is not None}
    rest = max(0.0, 1.0 - sum(known.values()))
    others = [label for label in labels if label not in known]
    found = {label: known.get(label, rest / len(others) if others else 0.0) for label in labels}
    total = sum(found.values())
    return {label: share / total for label, share in found.items()}
