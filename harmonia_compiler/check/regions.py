"""Values that run a block: `each name in list where test: value`, and `value within amount else other`."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from harmonia_compiler.check.amounts import DURATION, amount
from harmonia_compiler.check.branches import share_of
from harmonia_compiler.check.foregone import warn_of_foregone
from harmonia_compiler.check.narrowing import is_impossible, narrow
from harmonia_compiler.check.nodes import Nodes, past
from harmonia_compiler.check.scope import Binding, Scope, Value, Variable
from harmonia_compiler.check.types import shown, shown_apart
from harmonia_compiler.check.unreached import pass_over, report_never
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.contract.program import (
    MOST_ITEMS,
    Apply,
    Argument,
    Attempt,
    Each,
    MakeList,
    RequestClass,
)
from harmonia_compiler.contract.types import ListOf, join
from harmonia_compiler.diagnostics.diagnostic import Note
from harmonia_compiler.diagnostics.numbers import plain
from harmonia_compiler.flow.graph import EVEN, Passed, Written
from harmonia_compiler.syntax import tree

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values


class Limit(msgspec.Struct, frozen=True):
    """The most time that a value has, and in words, what gives it no more."""

    ms: float
    why: str


def limit_of(objectives: Iterable[Objective], classes: Sequence[RequestClass]) -> Limit | None:
    """The time of a whole request, by what its pipeline promises, and by the deadlines of the classes it may be of."""
    limits = [
        Limit(one.bound_ms, "that the pipeline promises for the whole") for one in objectives if one.metric == "latency"
    ]
    deadlines = [one.deadline_ms for one in classes if one.deadline_ms is not None]
    if classes and len(deadlines) == len(classes):
        limits.append(Limit(max(deadlines), "that a request of any class has"))
    return min(limits, key=lambda limit: limit.ms, default=None)


def read_each(values: "Values", given: tree.Each, scope: Scope) -> Value | None:
    """A list worked on item by item; with a test, each item gives a list of one value or none, and these are joined."""
    items = values.value(given.items, scope)
    name = given.name
    taken = scope.find(name.text)
    if taken is not None:
        notes = tuple(Note(variable.span, "bound here") for variable in taken.variables[:1])
        help = "give the item a name of its own"
        values.findings.add("E0204", f"`{name.text}` is bound already", name.span, help=help, notes=notes)
    if items is not None and not (isinstance(items.type, ListOf) and items.type.item is not None):
        pass_over(values, given, scope=scope)
        if isinstance(items.type, ListOf):
            if values.complete:
                help = "give it a list that may have items"
                values.findings.add("E0328", "this list is always empty", given.items.span, help=help)
            # In a loop the list may grow by what is read behind this, so that reading goes on with what is known.
            return Value(values.nodes.constant([], items.type, given.span), items.type)
        message = f"`each` goes over a list, and this is `{shown(items.type)}`"
        help = f"make it a list: `[{values.source(given.items)}]`"
        values.findings.add("E0323", message, given.items.span, help=help)
        return None
    listing = tree.bare(given.items)
    if isinstance(listing, tree.ListValue) and len(listing.items) > MOST_ITEMS:
        message = f"`each` goes over at most {MOST_ITEMS} items, and this list has {len(listing.items)}"
        values.findings.add("E0323", message, given.items.span, help="go over parts of it, and `flatten` their results")
    share = EVEN if given.share is None else share_of(given.share, values.findings)
    outside = values.nodes
    nodes = values.nodes = outside.block(given=1)
    try:
        inner = Scope(scope)
        item = None
        if items is not None:
            assert isinstance(items.type, ListOf)
            assert items.type.item is not None
            item = Value(nodes.add(Argument(0), items.type.item, name.span), items.type.item)
        if taken is None:
            variable = Variable(name.text, name.span, used=True)
            inner.bind(name.text, Binding((variable,), item, home=nodes))
        value = _item(values, given, inner, nodes, EVEN if share is None else share)
    finally:
        values.nodes = outside
    if items is None or value is None or taken is not None:
        return None
    has_effect = nodes.effect is not None and (
        outside.effect is None or nodes.effect != nodes.here(outside, outside.effect)
    )
    block, captured = nodes.close((value.position,))
    listed = ListOf(value.type)
    position = outside.add(Each(block, (items.position,), captured), listed, given.span)
    if given.where is not None:
        assert isinstance(value.type, ListOf)
        listed = value.type
        position = outside.add(Apply("flatten", (position,)), listed, given.span)
    if has_effect:
        outside.reached(outside.effect, position, listed, given.span)
    return Value(position, listed)


def _item(values: "Values", given: tree.Each, scope: Scope, nodes: Nodes, share: float) -> Value | None:
    """What an item gives; with a test, a list of that or the empty list."""
    effect = nodes.effect
    if given.where is None:
        value = values.value(given.value, scope)
        return value and Value(nodes.since(effect, value.position), value.type)
    condition = values.truth(given.where, scope, share)
    if condition is not None and given.share is not None and given.share.value is not None:
        written = Written(given.share.span, given.share.value, nodes.among, through=nodes.through)
        nodes.say(condition.position, given.span, share, written)
    if condition is not None:
        nodes.numbers[condition.position, given.span] = 0
    tested = nodes.effect
    holds, _ = narrow(given.where, scope)
    if is_impossible(holds):
        report_never(values, given.where, given.value, scope=scope)
        # In a loop the test may hold by what is read behind this.
        return Value(nodes.constant([], ListOf(None), given.span), ListOf(None))
    if condition is not None:
        always, never = "delete `where` and the test", "write `[]`: no item stays"
        warn_of_foregone(given.where, nodes.all, condition.position, values.findings, always=always, never=never)
    nodes.among = given.where.span
    nodes.through = past(nodes.through, Passed(given.span, 0, taken=True))
    value = values.value(given.value, Scope(scope, narrowed=dict(holds)))
    if condition is None or value is None:
        return None
    kept = nodes.add(MakeList((nodes.since(tested, value.position),)), ListOf(value.type), given.value.span)
    none = nodes.constant([], ListOf(value.type), given.span)
    listed = nodes.select(condition.position, kept, none, ListOf(value.type), share, given.span)
    if nodes.effect != effect:
        nodes.reached(tested, listed, ListOf(value.type), given.span)
    return Value(listed, ListOf(value.type))


def read_guarded(values: "Values", given: tree.Guarded, scope: Scope) -> Value | None:
    """A value that may fail or be late, and what stands in for it."""
    within = None if given.within is None else _within(values, given.within)
    limit = values.limit
    if within is not None and (limit is None or within < limit.ms):
        values.limit = Limit(within, "of the `within` around it")
    outside = values.nodes
    nodes = values.nodes = outside.block()
    effect = nodes.effect
    try:
        value = values.value(given.value, scope)
    finally:
        values.nodes, values.limit = outside, limit
    before, among = outside.effect, outside.among
    if given.otherwise is not None:
        outside.among = given.otherwise.span
    otherwise = None if given.otherwise is None else values.value(given.otherwise, scope)
    outside.among = among
    outside_effect = outside.effect
    if value is None or (given.otherwise is not None and otherwise is None):
        return None
    of = value.type if otherwise is None else join(value.type, otherwise.type)
    if of is None:
        assert otherwise is not None
        assert given.otherwise is not None
        given_type, of_value = shown_apart(otherwise.type, value.type)
        message = f"this is {given_type}, and what it stands in for is {of_value}"
        help = "give a value of the same type"
        values.findings.add("E0325", message, given.otherwise.span, help=help)
        return None
    if not nodes.makes_calls():
        _warn_of_nothing(values, given, scope)
    has_effect = nodes.effect != effect
    block, captured = nodes.close((nodes.since(effect, value.position),))
    instead = None if otherwise is None else outside.since(before, otherwise.position)
    position = outside.add(Attempt(block, captured, within, instead), of, given.span)
    if has_effect or outside_effect != before:
        outside.reached(before, position, of, given.span)
    return Value(position, of)


def _within(values: "Values", given: tree.Amount) -> float | None:
    within = amount(given, DURATION, "`within`", values.findings)
    if within is None:
        return None
    if within <= 0:
        help = "write how long you would wait"
        values.findings.add("E0505", "the time of `within` is above 0", given.span, help=help)
        return None
    if (limit := values.limit) is not None and within > limit.ms:
        message = f"{plain(within)} ms are more than the {plain(limit.ms)} ms {limit.why}"
        help = "give it a part of that time"
        values.findings.add("W0503", message, given.span, help=help)
    return within


def _warn_of_nothing(values: "Values", given: tree.Guarded, scope: Scope) -> None:
    what = "`within`" if given.otherwise is None else "`else`"
    bare = tree.bare(given.value)
    binding = scope.find(bare.name.text) if isinstance(bare, tree.Reference) else None
    is_bound = binding is not None and not binding.is_handed_in
    help = f"write it where `{values.source(bare)}` is bound" if is_bound else f"delete {what}"
    message = f"nothing is called here, so that {what} has nothing to catch"
    values.findings.add("W0402", message, given.value.span, help=help)
