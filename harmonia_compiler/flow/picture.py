"""A flow as boxes and arrows, before any drawing language.

What loops, lists and fallbacks run is framed. Arrows follow the values; a dashed one decides a branch
or the end of a loop, or says only what comes first. What is shown and what is folded away: `shown.py`.
"""

from typing import Literal

import msgspec

from harmonia_compiler.contract.program import (
    After,
    Apply,
    Argument,
    Attempt,
    Call,
    Concat,
    Constant,
    Each,
    MakeList,
    MakeRecord,
    Operation,
    Output,
    Parameter,
    Repeat,
    Select,
    Whole,
    block_of,
    inputs,
)
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.expand import last_share
from harmonia_compiler.flow.graph import EVEN, Application, Flow, Node
from harmonia_compiler.flow.shown import Place, Shown, as_json

Shape = Literal["input", "call", "branch", "data", "answer"]

#: The longest line of a box, in characters.
WIDTH = 60


class Box(msgspec.Struct, frozen=True):
    """One thing to draw; `lines` are the user's words as they are, escaped by nobody yet."""

    name: str
    shape: Shape
    lines: tuple[str, ...]


class Opened(msgspec.Struct, frozen=True):
    """A frame begins: what follows stands in it, until it is closed."""

    name: str
    title: str


class Closed(msgspec.Struct, frozen=True):
    """The frame that was opened last ends."""


class Arrow(msgspec.Struct, frozen=True):
    """From the box of a value to the box that reads it."""

    source: str
    target: str
    label: str = ""
    is_dashed: bool = False


class Picture(msgspec.Struct, frozen=True):
    """One pipeline to draw: its boxes, framed, and the arrows between them."""

    title: str
    parts: tuple[Box | Opened | Closed, ...]
    arrows: tuple[Arrow, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes of all frames."""
        return tuple(part for part in self.parts if isinstance(part, Box))


def picture(flow: Flow, application: Application, demand: Demand, prefix: str = "") -> Picture:
    """What there is to draw; names of boxes begin with the prefix and are letters and digits."""
    return _Drawing(flow, application, demand, prefix).run()


class _Drawing:
    def __init__(self, flow: Flow, application: Application, demand: Demand, prefix: str) -> None:
        self._flow = flow
        self._bodies = flow.bodies
        self._main = len(flow.blocks)
        self._application = application
        self._shown = Shown(flow)
        self._runs = demand.runs()
        self._items = demand.items_of()
        self._shares = demand.shares_of()
        self._prefix = prefix
        self._arrows: list[Arrow] = []

    def run(self) -> Picture:
        """Bodies within bodies, without recursion, since they may be nested deeply."""
        parts: list[Box | Opened | Closed] = []
        agenda: list[int | Opened | Closed] = [self._main]
        while agenda:
            part = agenda.pop()
            if isinstance(part, int):
                parts += self._body(part)
                agenda += reversed(self._frames(part))
            elif isinstance(part, Closed) and isinstance(parts[-1], Opened):
                # A block that only hands on has nothing to frame.
                parts.pop()
            else:
                parts.append(part)
        end = f"{self._prefix}end_"
        parts.append(Box(end, "answer", ("answer, streamed" if self._flow.streams else "answer",)))
        self._arrow((self._main, self._flow.result), end)
        return Picture(f"pipeline {self._flow.name}", tuple(parts), tuple(self._arrows))

    def _frames(self, body: int) -> list[int | Opened | Closed]:
        """The blocks that a body runs, each in its frame."""
        found: list[int | Opened | Closed] = []
        for at, node in enumerate(self._bodies[body].nodes):
            if (block := block_of(node.operation)) is not None:
                found += [Opened(f"{self._prefix}b{block}", self._title(node, (body, at))), block, Closed()]
        return found

    def _title(self, node: Node, place: Place) -> str:
        match node.operation:
            case Repeat(limit=limit):
                last = self._last(node, place)
                return f"repeat up to {limit}, last round {last * 100:.3g} %" if last > 0.0 else f"repeat {limit} times"
            case Each():
                return f"each of ~{self._items.get(place, 0.0):.3g}"
            case Attempt(_, _, within_ms, otherwise):
                within = "" if within_ms is None else f" within {_duration(within_ms)}"
                return f"try{within}" + ("" if otherwise is None else ", else")
            case operation:
                raise TypeError(f"{operation} runs no block")

    def _last(self, node: Node, place: Place) -> float:
        """How often a round of a loop is the last: as is reckoned or, where nothing asks which one was, as is said."""
        body, repeat = place
        nodes = enumerate(self._bodies[body].nodes)
        outputs = [at for at, one in nodes if isinstance(one.operation, Output) and one.operation.repeat == repeat]
        reckoned = [self._shares[body, at] for at in outputs if (body, at) in self._shares]
        return reckoned[0] if reckoned else last_share(self._flow, node)

    def _body(self, body: int) -> list[Box]:
        """The boxes of a body; their arrows are noted on the way."""
        early = {
            at for node in self._bodies[body].nodes if isinstance(node.operation, Select) for at in node.operation.early
        }
        found: list[Box] = []
        for at in self._shown.boxes(body):
            place = (body, at)
            name = self._name(place)
            shape, lines = self._inside(self._bodies[body].nodes[at].operation, place, is_early=at in early)
            found.append(Box(name, shape, tuple(map(_short, lines))))
            self._reads(self._bodies[body].nodes[at], place, name)
        return found + self._until(body)

    def _until(self, body: int) -> list[Box]:
        """The test of a loop's rounds, where there is one."""
        runner = self._shown.runner(body)
        if runner is None or not isinstance(self._shown.operation(runner), Repeat):
            return []
        test = (body, self._bodies[body].results[0])
        if isinstance(self._shown.operation(self._shown.source(test)), Constant):
            return []
        name = f"{self._prefix}b{body}until"
        self._decides(test, name)
        return [Box(name, "branch", (_short(f"until {self._shown.wording(test)}"),))]

    def _inside(self, operation: Operation, place: Place, *, is_early: bool) -> tuple[Shape, list[str]]:
        """The shape of a box and what is written in it."""
        body, _ = place
        match operation:
            case Parameter(name):
                return "input", [name]
            case Argument():
                runner = self._shown.runner(body)
                assert runner is not None
                is_item = isinstance(self._shown.operation(runner), Each)
                return "data", ["item" if is_item else "as of the round before"]
            case Call():
                return "call", self._call(operation, place, is_early=is_early)
            case Select(condition):
                return "branch", [self._shown.wording((body, condition))]
            case Attempt(within_ms=within):
                return "branch", ["failed?" if within is None else "failed or late?"]
            case _:
                return "data", self._data(operation, place)

    def _data(self, operation: Operation, place: Place) -> list[str]:
        """What neither comes from outside, nor calls, nor branches."""
        match operation:
            case MakeRecord(names):
                return [f"({', '.join(names)})"]
            case MakeList(items):
                return ["list" if items else "[]"]
            case Concat():
                return ["joined lists"]
            case Apply(function, _, settings):
                return [function, *([as_json(settings)] if settings else [])]
            case After():
                return ["in this order"]
            case Whole():
                return ["in one piece"]
            case _:
                return [self._shown.wording(place)]

    def _call(self, call: Call, place: Place, *, is_early: bool) -> list[str]:
        component = self._application.components[call.component]
        return [
            call.component,
            f"{component.kind} · {component.engine}",
            *([as_json(call.settings)] if call.settings else []),
            *([f"each {' and '.join(call.over)}, at once"] if call.over else []),
            *(["begun early"] if is_early else []),
            f"×{self._runs.get(place, 0.0):.3g} a request",
        ]

    def _reads(self, node: Node, place: Place, name: str) -> None:
        """Note the arrows to a box."""
        body, _ = place
        match node.operation:
            case Argument():
                self._changing(place, name)
            case Select(condition, then, otherwise):
                share = self._shares.get(place, EVEN if node.share is None else node.share)
                self._decides((body, condition), name)
                self._arrow((body, then), name, f"yes, {share * 100:.3g} %")
                self._arrow((body, otherwise), name, f"no, {(1.0 - share) * 100:.3g} %")
            case Attempt(block, _, _, otherwise):
                assert otherwise is not None
                self._arrow(self._shown.result(block, 0), name, "no")
                self._arrow((body, otherwise), name, "yes")
            case Call(_, ports, positions, _, after):
                for port, at in zip(ports, positions, strict=True):
                    self._arrow((body, at), name, port if len(ports) > 1 else "")
                if after is not None:
                    self._arrow((body, after), name, "first", is_dashed=True)
            case MakeRecord(names, positions):
                for part, at in zip(names, positions, strict=True):
                    self._arrow((body, at), name, part)
            case After(first, then):
                self._arrow((body, first), name, "first", is_dashed=True)
                self._arrow((body, then), name)
            case operation:
                for at in dict.fromkeys(inputs(operation)):
                    self._arrow((body, at), name)

    def _changing(self, place: Place, name: str) -> None:
        """The arrows to the item of a list, or to what a loop carries: the first one, and the next from the last."""
        body, _ = place
        runner, argument = self._shown.runner(body), self._shown.operation(place)
        assert runner is not None
        assert isinstance(argument, Argument)
        if isinstance(self._shown.operation(runner), Each):
            self._arrow(self._shown.given(place), name)
            return
        self._arrow(self._shown.given(place), name, "first round")
        if (following := self._shown.result(body, 1 + argument.index)) != place:
            self._arrow(following, name, "next round")

    def _decides(self, test: Place, name: str) -> None:
        for place in self._shown.looked_at(test):
            self._arrow(place, name, is_dashed=True)

    def _arrow(self, source: Place, target: str, label: str = "", *, is_dashed: bool = False) -> None:
        self._arrows.append(Arrow(self._name(self._shown.source(source)), target, label, is_dashed))

    def _name(self, place: Place) -> str:
        body, at = place
        return f"{self._prefix}n{at}" if body == self._main else f"{self._prefix}b{body}n{at}"


def _duration(ms: float) -> str:
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
