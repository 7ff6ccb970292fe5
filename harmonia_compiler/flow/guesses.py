"""Whose sizes nobody has said, of those that calls rest on: what a user should say before a plan is believed.

What only passes on a size that is guessed, or follows from one, is not to blame for it. So each value has the ports
and components behind it that have said nothing, and those of a call are what its inputs and its result have. Loops,
lists and fallbacks are read as they stand: a block says what it makes of its arguments, and what runs it says what
these are.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    After,
    Argument,
    Attempt,
    Call,
    Each,
    Output,
    Parameter,
    Repeat,
    inputs,
)
from harmonia_compiler.contract.types import Type
from harmonia_compiler.flow.bits import bits
from harmonia_compiler.flow.extents import called
from harmonia_compiler.flow.graph import Application, Body, Flow
from harmonia_compiler.kinds.extents import is_fixed, item_type, typed_extent
from harmonia_compiler.kinds.kind import Extent, Kind


class Unsaid(msgspec.Struct, frozen=True, order=True):
    """Of whose size nobody said anything: a component's results or, `is_port`, a port of the pipeline."""

    name: str
    is_port: bool = False


class _Behind(msgspec.Struct, frozen=True):
    """What stands behind a value, as bits: `unsaid` by number, and the arguments of its block."""

    unsaid: int = 0
    arguments: int = 0

    def __or__(self, other: "_Behind") -> "_Behind":
        return _Behind(self.unsaid | other.unsaid, self.arguments | other.arguments)

    def given(self, arguments: Sequence["_Behind"]) -> "_Behind":
        """The same outside of the block, where its arguments are these."""
        return _all(arguments[index] for index in bits(self.arguments)) | _Behind(self.unsaid)


_NOTHING = _Behind()


class _Block(msgspec.Struct, frozen=True):
    """What a body makes of its arguments: what stands behind its results, and behind its calls, if it has any."""

    results: tuple[_Behind, ...]
    calls: _Behind
    has_calls: bool


class Results(msgspec.Struct, frozen=True):
    """Whether the sizes of an application's results are guessed. What one call of a component tells, equal ones do."""

    application: Application
    kinds: Mapping[str, Kind]
    _known: dict[tuple[str, tuple[Type, ...], bool], bool] = msgspec.field(default_factory=dict)

    def kind(self, call: Call) -> Kind:
        """The kind of the component that is called."""
        return self.kinds[self.application.components[call.component].kind]

    def is_guessed(self, call: Call, types: tuple[Type, ...], *, inputs_are: bool) -> bool:
        """Whether the size of the call's result is guessed where those of its inputs all are, or where none is."""
        if call.settings:
            return self._is_guessed(call, types, inputs_are=inputs_are)
        key = (call.component, types, inputs_are)
        if key not in self._known:
            self._known[key] = self._is_guessed(call, types, inputs_are=inputs_are)
        return self._known[key]

    def _is_guessed(self, call: Call, types: tuple[Type, ...], *, inputs_are: bool) -> bool:
        told: dict[str, Extent] = {
            port: replace(typed_extent(of), guessed=inputs_are) for port, of in zip(call.ports, types, strict=True)
        }
        return self.kind(call).result_extent(called(call, self.application), told).guessed


def unsaid(flow: Flow, told: Results, *, prompts_alone: bool = False) -> frozenset[Unsaid]:
    """The ports and components of whose size somebody should have said something, for the sake of the flow's calls.

    With `prompts_alone`, for the sake of those that a prompt is made for.
    """
    reading = _Reading(flow, told, prompts_alone)
    for body in flow.bodies:
        reading.blocks.append(reading.read(body))
    numbers = reading.blocks[-1].calls.unsaid
    return frozenset(each for each, number in reading.numbers.items() if numbers >> number & 1)


class _Reading(msgspec.Struct):
    """One flow, block by block; `numbers` are those of what has been found to say nothing."""

    flow: Flow
    told: Results
    prompts_alone: bool
    numbers: dict[Unsaid, int] = msgspec.field(default_factory=dict)
    blocks: list[_Block] = msgspec.field(default_factory=list)

    def read(self, body: Body) -> _Block:
        found: list[_Behind] = []
        outputs: dict[int, list[_Behind]] = {}
        calls, has_calls = _NOTHING, False
        used = _used(body)
        for at, node in enumerate(body.nodes):
            match node.operation:
                case Parameter(name):
                    behind = self.parameter(name)
                case Argument(index):
                    behind = _Behind(arguments=1 << index)
                case Call() as call:
                    given = _all(found[one] for one in call.inputs)
                    behind = self.result(call, body, found)
                    if at in used and (self.told.kind(call).has_prompt or not self.prompts_alone):
                        calls, has_calls = calls | given | behind, True
                case Output(repeat, index):
                    behind = outputs[repeat][1 + index]
                case After(_, then):
                    behind = found[then]
                case Repeat() | Each() | Attempt() as runner:
                    block = self.blocks[runner.block]
                    arguments = _arguments(runner, block, found)
                    outputs[at] = [result.given(arguments) for result in block.results]
                    items = _all(found[one] for one in runner.lists) if isinstance(runner, Each) else _NOTHING
                    behind = outputs[at][0] | items
                    if isinstance(runner, Attempt) and runner.otherwise is not None:
                        behind |= found[runner.otherwise]
                    if at in used and block.has_calls:
                        # How often they are made is how many items there are.
                        calls, has_calls = calls | block.calls.given(arguments) | items, True
                case operation:
                    behind = _all(found[one] for one in inputs(operation))
            found.append(_NOTHING if is_fixed(node.type) else behind)
        return _Block(tuple(found[result] for result in body.results), calls, has_calls)

    def parameter(self, name: str) -> _Behind:
        port = next(port for port in self.flow.ports if port.name == name)
        is_guessed = typed_extent(port.type, port.sizes).guessed
        return self.said_nothing(Unsaid(name, is_port=True)) if is_guessed else _NOTHING

    def result(self, call: Call, body: Body, found: Sequence[_Behind]) -> _Behind:
        """What stands behind a call's result: the component, or what it is given, where its size follows from that."""
        types = tuple(
            item_type(body.nodes[at].type) if port in call.over else body.nodes[at].type
            for port, at in zip(call.ports, call.inputs, strict=True)
        )
        items = _all(found[at] for port, at in zip(call.ports, call.inputs, strict=True) if port in call.over)
        behind = _all(found[at] for at in call.inputs)

        if self.told.is_guessed(call, types, inputs_are=False):
            return self.said_nothing(Unsaid(call.component)) | items
        # What is given may be guessed or not: where nothing stands behind it, it makes no difference.
        return behind if behind != items and self.told.is_guessed(call, types, inputs_are=True) else items

    def said_nothing(self, of: Unsaid) -> _Behind:
        return _Behind(1 << self.numbers.setdefault(of, len(self.numbers)))


def _arguments(runner: Repeat | Each | Attempt, block: _Block, found: Sequence[_Behind]) -> list[_Behind]:
    """What stands behind a block's arguments, of a loop's in whichever round."""
    handed = (*runner.lists, *runner.inputs) if isinstance(runner, Each) else runner.inputs
    arguments = [found[at] for at in handed]
    if isinstance(runner, Repeat):
        before: list[_Behind] = []
        while before != arguments:
            before = [*arguments]
            for index in range(runner.carried):
                arguments[index] |= block.results[1 + index].given(before)
    return arguments


def _used(body: Body) -> set[int]:
    """The positions that the results read, directly or not: what is never used needs no size."""
    found = {*body.results}
    for at in range(len(body.nodes) - 1, -1, -1):
        if at in found:
            found.update(inputs(body.nodes[at].operation))
    return found


def _all(several: Iterable[_Behind]) -> _Behind:
    return reduce(or_, several, _NOTHING)
