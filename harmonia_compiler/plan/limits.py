"""What no inventory mends, once it is known how much is sent: too much for models, or for what is done item by item.

What a language model cannot take is refused. Of a text that is too long for an encoder the rest is not read: that is
allowed, and told.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.program import MOST_ITEMS, After, Call, Concat, MakeList, Whole
from harmonia_compiler.contract.types import ListOf
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.demand import CallDemand, Demand
from harmonia_compiler.flow.extents import called, given
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.kinds.extents import item_of, list_extent
from harmonia_compiler.kinds.kind import Extent, value_of
from harmonia_compiler.kinds.llm import context_length
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.encoder import window

#: The components that are called, by engine.
Called = Mapping[str, Sequence[str]]

#: Larger numbers are shown rounded.
_MOST_SHOWN = 10**15


def too_long(application: Application, calls: Called, demands: Mapping[str, Demand]) -> Iterator[Diagnostic]:
    """Prompts that, as long as expected and with the answer that is allowed, exceed what their model holds."""
    cards = load_cards()
    for engine_id, components in calls.items():
        engine = application.engines[engine_id]
        model = kinds()["llm"].model_of(engine) if engine.kind == "llm" else None
        card = None if model is None else cards.get(model)
        if card is None or card.role != "llm":
            continue
        most = min(context_length(engine, card), card.context)
        for name in components:
            # What no request reaches has no work in any pipeline, and sends no prompt.
            sent = [
                _sent(one, call, application)
                for one in demands.values()
                for call in one.calls
                if call.component == name
            ]
            longest = max(sent, key=lambda one: one.prompt + one.answer, default=None)
            if longest is None or longest.prompt + longest.answer <= most:
                continue
            message = (
                f"`{name}` is expected to send {_shown(longest.prompt)} tokens and may answer with {longest.answer}, "
                f"and `{engine.settings['model']}` holds {most} together"
            )
            help_ = "pass fewer or shorter passages, lower `max_tokens`"
            help_ += ", or raise `max_model_len`" if most < card.context else ", or choose a model of longer context"
            yield Diagnostic("E0713", message, longest.place or application.place(name, "prompt"), help=help_)


class Cut(NamedTuple):
    """The tokens of the longest text that an encoder is expected to be given, and how many it reads of it."""

    tokens: float
    window: float


def cut(application: Application, calls: Called, demands: Mapping[str, Demand]) -> dict[str, Cut]:
    """The components whose model does not read all that they are expected to be given."""
    cards = load_cards()
    found: dict[str, Cut] = {}
    for engine_id, components in calls.items():
        engine = application.engines[engine_id]
        model = kinds()[engine.kind].model_of(engine)
        card = None if model is None else cards.get(model)
        if card is None or card.role == "llm":
            continue
        most = window(engine, card)
        for name in components:
            longest = max(
                (
                    tokens
                    for one in demands.values()
                    for call in one.calls
                    if call.component == name
                    for tokens in _read(one, call, application)
                ),
                default=0.0,
            )
            if longest > most:
                found[name] = Cut(longest, most)
    return found


def _read(demand: Demand, call: CallDemand, application: Application) -> Iterator[float]:
    """The tokens of the texts that an encoder reads in a call, in the mean of each part of a list that is known."""
    flow = demand.expanded.flow
    node = flow.nodes[call.position]
    assert isinstance(node.operation, Call)
    component = called(node.operation, application)
    work, result = kinds()[component.kind].work, demand.extents[call.position]
    inputs = given(node.operation, flow, demand.extents)
    for port, at in zip(node.operation.ports, node.operation.inputs, strict=True):
        of = flow.nodes[at].type
        for item in _items(demand, at):
            is_list = isinstance(of, ListOf) and port not in node.operation.over
            one = work(component, {**inputs, port: list_extent(of, item, 1.0) if is_list else item}, result)
            if one.encoded_items:
                yield one.encoded_tokens / one.encoded_items


def _items(demand: Demand, at: int) -> Iterator[Extent]:
    """One item of each part that the list at a position is known to be made of; the value itself where it is none."""
    nodes = demand.expanded.flow.nodes
    waiting, seen = [at], {at}
    while waiting:
        position = waiting.pop()
        match nodes[position].operation:
            case MakeList(items):
                yield from (demand.extents[item] for item in items)
                continue
            case Concat(left, right):
                made_of = {left, right}
            case After(_, then) | Whole(then):
                made_of = {then}
            case _:
                is_list, whole = isinstance(nodes[position].type, ListOf), demand.extents[position]
                if not is_list or whole.items > 0.0:
                    yield item_of(whole, nodes[position].type) if is_list else whole
                continue
        waiting += made_of - seen
        seen |= made_of


def too_many(demands: Mapping[str, Demand]) -> Iterator[Diagnostic]:
    """Lists that, as long as expected, have more items than are taken one by one."""
    found: dict[Span | None, float] = {}
    for demand in demands.values():
        nodes = demand.expanded.flow.nodes
        taken = [(scope.gather, scope.list) for scope in demand.expanded.items[1:]]
        for at, node in enumerate(nodes):
            if isinstance(node.operation, Call):
                ports = zip(node.operation.ports, node.operation.inputs, strict=True)
                taken += [(at, source) for port, source in ports if port in node.operation.over]
        for at, source in taken:
            items = demand.extents[source].items
            if items > MOST_ITEMS and demand.probabilities[at] > 0.0:
                found[nodes[at].span] = max(items, found.get(nodes[at].span, 0.0))
    for span, items in found.items():
        message = (
            f"a list of {_shown(math.ceil(items), separator=',')} items is expected here, "
            f"and {MOST_ITEMS} are taken one by one at most"
        )
        yield Diagnostic("E0715", message, span, help="`take` the first of them, or pass the whole list to one call")


def _shown(number: int, separator: str = "") -> str:
    """A number of tokens or items; in full only while somebody may have counted them."""
    return f"{number:.2g}" if number > _MOST_SHOWN else f"{number:{separator}}"


class _Sent(NamedTuple):
    """A call's tokens: of its prompt as expected, and of its answer at most; its `place` where it says those itself."""

    prompt: int
    answer: int
    place: Span | None


def _sent(demand: Demand, call: CallDemand, application: Application) -> _Sent:
    node = demand.expanded.flow.nodes[call.position]
    assert isinstance(node.operation, Call)
    answer = value_of("max_tokens", called(node.operation, application).settings, kinds()["llm"].settings)
    place = node.span if "max_tokens" in node.operation.settings else None
    return _Sent(math.ceil(call.work.prompt_tokens), int(answer), place)
