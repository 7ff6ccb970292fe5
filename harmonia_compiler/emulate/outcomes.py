"""What emulated components answer: values of the declared type, as large and as often one or the other as expected.

The flow says how often each condition holds (`~ 0.3`). Here that becomes how often a component answers
what: a grader says "no" in so many calls, a judge's flag is set, a score lies below a bound. So a
rehearsal and a simulation take each branch as often as the plan was made for.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise

import msgspec

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.program import Call
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
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.graph import EVEN, Application
from harmonia_compiler.kinds.extents import typed_extent
from harmonia_compiler.kinds.kind import Kind, value_of
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
    """A number that is less than `bounds[i]` with the share `below[i]`; both ascend. Without any, in [0, 1]."""

    bounds: tuple[float, ...] = ()
    below: tuple[float, ...] = ()


class PassageOutcome(msgspec.Struct, frozen=True, tag="passage"):
    """A passage of so many tokens."""

    tokens: float


class TurnOutcome(msgspec.Struct, frozen=True, tag="message"):
    """A turn of a conversation of so many tokens."""

    tokens: float


class VectorOutcome(msgspec.Struct, frozen=True, tag="vector"):
    """An embedding."""


class ListOutcome(msgspec.Struct, frozen=True, tag="list"):
    """`items` of an outcome on average; always so many where the number is whole."""

    items: float
    item: "Outcome"


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

#: What is said of one value: how often it is true, which text, or below a bound, by the names of the fields of the
#: result that lead to it, with dots between ("" for the result itself).
_Said = dict[tuple[str, "str | float | None"], float]


def expected_outcomes(
    application: Application, demands: Mapping[str, Demand], kinds: Mapping[str, Kind]
) -> dict[str, Outcome]:
    """The outcome of each component that the flows call, by component.

    Where several calls of one component are tested differently, the mean over its calls.
    """
    # Nothing is expected of what no request should reach, and a fault may lead there all the same.
    nodes = (node for flow in application.flows for body in flow.bodies for node in body.nodes)
    called = {node.operation.component for node in nodes if isinstance(node.operation, Call)}
    said: dict[str, list[tuple[float, _Said]]] = {name: [] for name in called}
    for demand in demands.values():
        by_call = _said_of_calls(demand)
        for call in demand.calls:
            said[call.component].append((call.visits, by_call.get(call.position, {})))
    return {name: _outcome(application.components[name], kinds, _mean(given)) for name, given in sorted(said.items())}


def draw(outcome: Outcome, uniform: Uniform, text: Callable[[str, float], str], at: str = "") -> Value:
    """A value: `uniform(what)` is a number in [0, 1) for each thing that is drawn, `text(what, tokens)` a text."""
    match outcome:
        case TextOutcome(tokens, _):
            return text(at, tokens)
        case LabelOutcome(shares):
            return _chosen(shares, uniform(at))
        case TruthOutcome(share):
            return uniform(at) < share
        case NumberOutcome(bounds, below):
            return _number(bounds, below, uniform(at))
        case PassageOutcome(tokens):
            return {"text": text(at, tokens), "source": f"rehearsal/{uniform(f'{at}#'):.9f}.md", "score": uniform(at)}
        case TurnOutcome(tokens):
            return {"role": "user", "text": text(at, tokens)}
        case VectorOutcome():
            return [uniform(at)]
        case ListOutcome(items, item):
            return [draw(item, uniform, text, f"{at}[{number}]") for number in range(drawn_items(items, uniform, at))]
        case RecordOutcome(fields):
            return {name: draw(field, uniform, text, f"{at}.{name}") for name, field in fields.items()}


def drawn_items(items: float, uniform: Uniform, at: str = "") -> int:
    """So many items on average: always as many where the number is whole."""
    whole, rest = divmod(items, 1.0)
    return int(whole) + (rest > 0.0 and uniform(f"{at}*") < rest)


def _chosen(shares: dict[str, float], uniform: float) -> str:
    for label, share in shares.items():
        uniform -= share
        if uniform < 0.0:
            return label
    # Shares are rounded: what is left over belongs to the last one that may come at all.
    return next(label for label in reversed(shares) if shares[label] > 0.0)


def _number(bounds: tuple[float, ...], below: tuple[float, ...], uniform: float) -> float:
    """Uniform between bounds; beyond the outer ones, within 1 of them."""
    edges = [(0.0, min(0.0, bounds[0] - 1.0) if bounds else 0.0)]
    edges += zip(below, bounds, strict=True)
    edges.append((1.0, max(1.0, bounds[-1] + 1.0) if bounds else 1.0))
    for (least, low), (most, high) in pairwise(edges):
        if uniform < most:
            return low + (high - low) * (uniform - least) / (most - least)
    return edges[-1][1]


def _said_of_calls(demand: Demand) -> dict[int, _Said]:
    """What the conditions of a flow say of the result of each call, by the call's position."""
    found: dict[int, _Said] = {}
    for (position, fields), chances in demand.likely.items():
        field = ".".join(fields)
        found.setdefault(position, {}).update({(field, tested): chance for tested, chance in chances.items()})
    return found


def _mean(given: list[tuple[float, _Said]]) -> _Said:
    """Over the calls of one component that say something about the same."""
    sums: dict[tuple[str, str | float | None], tuple[float, float]] = {}
    for weight, said in given:
        for key, share in said.items():
            total, weighed = sums.get(key, (0.0, 0.0))
            sums[key] = (total + weight, weighed + weight * share)
    return {key: weighed / total if total else EVEN for key, (total, weighed) in sums.items()}


def _outcome(component: Component, kinds: Mapping[str, Kind], said: _Said) -> Outcome:
    kind = kinds[component.kind]
    extent = kind.result_extent(component)
    most = most_tokens(component, kind)
    if isinstance(component.result, ListOf) and component.result.item is not None:
        item = _typed(component.result.item, extent.tokens / extent.items if extent.items else 0.0, most, said, "")
        return ListOutcome(extent.items, item)
    return _typed(component.result, extent.tokens, most, said, "")


def most_tokens(component: Component, kind: Kind) -> float | None:
    """How many tokens an answer may have by the settings of a component, or of one call of it; None where none says."""
    return float(value_of("max_tokens", component.settings, kind.settings)) if kind.has_prompt else None


def outcome_of_type(of: Type, size: float | None = None) -> Outcome:
    """The outcome of a value of which nothing is known but its type, and maybe how large it is."""
    return _typed(of, typed_extent(of, size).tokens, None, {}, "")


def _typed(of: Type, tokens: float, most: float | None, said: _Said, field: str) -> Outcome:
    match of:
        case Labels(labels):
            return LabelOutcome(_shares(labels, {label: said.get((field, label)) for label in labels}))
        case Bool():
            return TruthOutcome(said.get((field, None), EVEN))
        case Number():
            cuts = sorted((bound, share) for (name, bound), share in said.items() if name == field and _is_bound(bound))
            bounds = tuple(float(bound) for bound, _ in cuts if bound is not None)
            below = [0.0]
            for _, share in cuts:
                below.append(max(below[-1], share))
            return NumberOutcome(bounds, tuple(below[1:]))
        case Passage():
            return PassageOutcome(tokens)
        case Message():
            return TurnOutcome(tokens)
        case Vector():
            return VectorOutcome()
        case ListOf(item):
            extent = typed_extent(of)
            one = TextOutcome(0.0, most) if item is None else _typed(item, extent.tokens / extent.items, most, {}, "")
            return ListOutcome(extent.items, one)
        case Record(fields):
            sizes = {one.name: typed_extent(one.type).tokens for one in fields}
            scale = tokens / total if (total := sum(sizes.values())) else 0.0
            return RecordOutcome(
                {
                    one.name: _typed(one.type, sizes[one.name] * scale, most, said, _inside(field, one.name))
                    for one in fields
                }
            )
        case _:
            return TextOutcome(tokens if most is None else min(tokens, most), most)


def _inside(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _is_bound(key: str | float | None) -> bool:
    return isinstance(key, float)


def _shares(labels: tuple[str, ...], said: Mapping[str, float | None]) -> dict[str, float]:
    """What is said, and what is left of 1 evenly for the others."""
    known = {label: share for label, share in said.items() if share is not None}
    rest = max(0.0, 1.0 - sum(known.values()))
    others = [label for label in labels if label not in known]
    found = {label: known.get(label, rest / len(others) if others else 0.0) for label in labels}
    total = sum(found.values())
    return {label: share / total for label, share in found.items()}
