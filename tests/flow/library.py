"""An application to write flows against, and flows read from their canonical text."""

import json
import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.component import Component, Engine, Insert, Port
from harmonia_compiler.contract.launch import Reply, Wire
from harmonia_compiler.contract.objective import METRICS, Objective
from harmonia_compiler.contract.program import (
    After,
    Apply,
    Argument,
    Attempt,
    Call,
    Compare,
    Concat,
    Constant,
    Each,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Operation,
    Output,
    Parameter,
    Repeat,
    RequestClass,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import (
    NAMED,
    Bool,
    Field,
    Labels,
    ListOf,
    Passage,
    Record,
    Text,
    Type,
    Value,
    Vector,
)
from harmonia_compiler.flow.graph import Application, Body, Flow, Load, Node
from harmonia_compiler.kinds.extents import declared_extent
from harmonia_compiler.kinds.kind import NOTHING, Extent, Kind, Setting, Through, Work


def fake_kind(
    name: str,
    settings: tuple[Setting, ...] = (),
    *,
    through: Mapping[str, Through] = NOTHING,
    batches: bool = False,
    has_prompt: bool = False,
) -> Kind:
    """A kind whose work is its inputs' tokens and its result's, and which starts nothing."""

    def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
        return Work(prompt_tokens=sum(each.tokens for each in inputs.values()), output_tokens=result.tokens)

    def result_extent(component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
        top_k = component.settings.get("top_k")
        return declared_extent(component if top_k is None else replace(component, size=top_k))

    def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
        return Wire("/", b"")

    def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
        return Reply(json.loads(body))

    def encode_many(engine: Engine, component: Component, inputs: Sequence[Mapping[str, Value]]) -> Wire:
        return Wire("/", b"")

    def decode_many(component: Component, body: bytes, inputs: Sequence[Mapping[str, Value]]) -> list[Reply]:
        return [Reply(each) for each in json.loads(body)]

    return Kind(
        name=name,
        doc="",
        settings=settings,
        unnamed="",
        signature=None,
        transport="http",
        runs_on=("cpu",),
        work=work,
        result_extent=result_extent,
        launch=None,
        encode=encode,
        decode=decode,
        encode_many=encode_many if batches else None,
        decode_many=decode_many if batches else None,
        through=through,
        has_prompt=has_prompt,
    )


KINDS: dict[str, Kind] = {
    "store": fake_kind(
        "store",
        (Setting("top_k", "integer", "", scope="call"),),
        through={"query": Through("embedder")},
        batches=True,
    ),
    "encoder": fake_kind("encoder", batches=True),
    "model": fake_kind(
        "model",
        (
            Setting("temperature", "number", "", scope="call", default=0),
            Setting("reorder", "bool", "", scope="call", default=False),
        ),
        has_prompt=True,
    ),
    "function": fake_kind("function"),
}

_QUESTION = Port("question", Text())
_PASSAGES = Port("passages", ListOf(Passage()))


_JUDGING = ("Judge.\n\nQuestion: ", Insert("question"), "\n\n", Insert("passages"))
_REPLYING = ("Question: ", Insert("question"), "\n\nBe brief.")
_WRITING = ("Write.\n\n", Insert("passages"), "\n\nQuestion: ", Insert("question"))


def _component(name: str, kind: str, ports: tuple[Port, ...], result: Type, **more: object) -> Component:
    return replace(Component(name, kind, kind, ports, result), **more)


COMPONENTS: dict[str, Component] = {
    component.name: component
    for component in (
        _component("embed", "encoder", (Port("text", Text()),), Vector()),
        _component(
            "search",
            "store",
            (Port("query", Text()),),
            ListOf(Passage()),
            size=8.0,
            item_size=100.0,
            settings={"embedder": "embed"},
        ),
        _component(
            "rerank", "encoder", (Port("query", Text()), _PASSAGES), ListOf(Passage()), size=4.0, item_size=100.0
        ),
        _component("grade", "model", (_QUESTION, _PASSAGES), Labels(("yes", "no"))),
        _component("route", "model", (_QUESTION,), Labels(("none", "one", "many"))),
        _component("sure", "model", (_QUESTION,), Bool()),
        _component("rewrite", "model", (_QUESTION,), Text(), size=12.0),
        _component("imagine", "model", (_QUESTION,), Text(), size=80.0, settings={"temperature": 0.7}),
        _component("web", "function", (Port("query", Text()),), ListOf(Passage()), size=4.0, item_size=150.0),
        _component("count", "function", (_QUESTION,), Text(), size=1.0, settings={"pure": False}),
        _component("answer", "model", (_QUESTION, _PASSAGES), Text(), size=180.0, prompt=_JUDGING),
        _component("recall", "model", (_QUESTION,), Text()),
        _component("judge", "model", (_QUESTION, _PASSAGES), Bool(), prompt=_JUDGING, settings={"reorder": True}),
        _component("write", "model", (_QUESTION, _PASSAGES), Text(), prompt=_WRITING, settings={"reorder": True}),
        _component(
            "advise",
            "model",
            (_QUESTION, _PASSAGES),
            Text(),
            system=("Advise.",),
            prompt=_WRITING,
            settings={"reorder": True},
        ),
        _component("reply", "model", (_QUESTION,), Text(), prompt=_REPLYING, settings={"reorder": True}),
        _component("join", "function", (Port("one", Text()), Port("other", Text())), Text(), size=20.0),
    )
}


def application(*flows: Flow) -> Application:
    """These flows over the library's components."""
    engines = {name: Engine(name, name, {}) for name in KINDS}
    return Application(engines, COMPONENTS, flows)


def read_flow(text: str) -> Flow:
    """The flow that a canonical text shows; spans are lost."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    header = re.fullmatch(r"pipeline (\w+)\((.*)\) -> (.*)", lines[0])
    assert header, lines[0]
    flow = Flow(header[1], tuple(map(_port, _split(header[2]))), _type(header[3]), (), 0)
    bodies: list[Body] = []
    nodes: list[Node] = []
    for line in lines[1:]:
        if line.startswith("%"):
            nodes.append(_node(line, len(nodes)))
        elif line.startswith("block "):
            assert int(line.split()[1].partition("(")[0]) == len(bodies), line
            nodes = []
        elif line.startswith("results "):
            bodies.append(Body(tuple(nodes), _positions(line)))
            nodes = []
        elif end := re.fullmatch(r"return (stream )?%(\d+)", line):
            flow = replace(flow, streams=end[1] is not None, result=int(end[2]))
        else:
            flow = _with_clause(flow, line)
    return replace(flow, nodes=tuple(nodes), blocks=tuple(bodies))


def _with_clause(flow: Flow, line: str) -> Flow:
    if goal := re.fullmatch(r"slo p([\d.]+) (\w+) <= (\S+) ms", line):
        objective = Objective(next(one for one in METRICS if one == goal[2]), float(goal[1]) / 100, float(goal[3]))
        return replace(flow, objectives=(*flow.objectives, objective))
    if load := re.fullmatch(r"load (\S+) rps peak (\S+) rps", line):
        return replace(flow, load=Load(float(load[1]), float(load[2])))
    if load := re.fullmatch(r"load (\w+) (\S+) rps peak (\S+) rps", line):
        assert flow.load is not None, line
        part = Load(float(load[2]), float(load[3]))
        return replace(flow, load=replace(flow.load, by_class={**flow.load.by_class, load[1]: part}))
    if of := re.fullmatch(r"class (\w+)(?: deadline (\S+) ms)? weight (\S+)", line):
        made = RequestClass(of[1], None if of[2] is None else float(of[2]), float(of[3]))
        return replace(flow, classes=(*flow.classes, made))
    port = re.fullmatch(r"class from (\w+)", line)
    assert port, line
    return replace(flow, class_port=port[1])


def _node(line: str, position: int) -> Node:
    written, of = line.rsplit(" : ", 1)
    matched = re.fullmatch(r"%(\d+) = (.*?)(?: ~ ([\d.e-]+))?", written)
    assert matched, line
    assert int(matched[1]) == position, line
    return Node(_operation(matched[2]), _type(of), share=None if matched[3] is None else float(matched[3]))


def _operation(text: str) -> Operation:
    word, _, rest = text.partition(" ")
    at = [int(number) for number in re.findall(r"%(\d+)", rest)]
    match word:
        case "call":
            called = re.fullmatch(r"(\w+)\((.*?)\)(?: (\{.*\}))?(?: after %(\d+))?", rest)
            assert called, text
            ports, inputs = _named(called[2])
            over = tuple(re.findall(r"(\w+): each", called[2]))
            after = None if called[4] is None else int(called[4])
            return Call(called[1], ports, inputs, json.loads(called[3] or "{}"), after, over)
        case "select":
            return Select(at[0], at[1], at[2], tuple(at[3:]))
        case "apply":
            applied = re.fullmatch(r"(\w+)\((.*?)\)(?: (\{.*\}))?", rest)
            assert applied, text
            return Apply(applied[1], _positions(applied[2]), json.loads(applied[3] or "{}"))
        case "after":
            return After(*at)
        case "output":
            return Output(at[0], int(rest.split()[0]))
        case "repeat" | "each" | "attempt":
            return _runner(word, rest)
        case _:
            return _plain(text, word, rest, at)


def _plain(text: str, word: str, rest: str, at: list[int]) -> Operation:
    match word:
        case "parameter":
            return Parameter(rest)
        case "argument":
            return Argument(int(rest))
        case "constant":
            return Constant(json.loads(rest))
        case "compare":
            return Compare(rest.split()[1], *at)  # type: ignore[arg-type]
        case "not":
            return Not(*at)
        case "field":
            return GetField(at[0], rest.rsplit(".", 1)[1])
        case "concat":
            return Concat(*at)
        case "whole":
            return Whole(*at)
    if text.startswith("list("):
        return MakeList(_positions(text))
    assert text.startswith("record("), text
    return MakeRecord(*_named(text[7:-1]))


def _runner(word: str, text: str) -> Operation:
    matched = re.fullmatch(r"block (\d+)\((.*?)\)(.*)", text)
    assert matched, text
    block, rest = int(matched[1]), matched[3]
    changing, _, same = matched[2].partition(";")
    if word == "each":
        return Each(block, _positions(changing), _positions(same))
    if word == "repeat":
        carried = _positions(changing)
        return Repeat(block, (*carried, *_positions(same)), len(carried), int(rest.removeprefix(" up to ")))
    more = re.fullmatch(r"(?: within (\S+) ms)?(?: else %(\d+))?(?: awaits (.*))?", rest)
    assert more, text
    within = None if more[1] is None else float(more[1])
    otherwise = None if more[2] is None else int(more[2])
    return Attempt(block, _positions(changing), within, otherwise, _positions(more[3] or ""))


def _positions(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"%(\d+)", text))


def _named(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """`name: %3, other: %4` as names and positions."""
    pairs = re.findall(r"(\w+): (?:each )?%(\d+)", text)
    return tuple(name for name, _ in pairs), tuple(int(number) for _, number in pairs)


def _port(text: str) -> Port:
    declared, _, default = text.partition(" = ")
    said = re.fullmatch(r"(?P<name>\w+): (?P<type>.*?)(?: ~ (?P<item>[\d.e-]+)\])?(?: ~ (?P<size>[\d.e-]+))?", declared)
    assert said, text
    return Port(
        said["name"],
        _type(said["type"] + ("]" if said["item"] else "")),
        float(said["size"]) if said["size"] else None,
        json.loads(default) if default else msgspec.UNSET,
        float(said["item"]) if said["item"] else None,
    )


def _type(text: str) -> Type:
    text = text.strip()
    if text in NAMED:
        return NAMED[text]
    if text.startswith("["):
        return ListOf(_type(text[1:-1]) if text != "[]" else None)
    if text.startswith("("):
        return Record(
            tuple(Field(part.partition(": ")[0], _type(part.partition(": ")[2])) for part in _split(text[1:-1]))
        )
    assert text.startswith('"'), text
    return Labels(tuple(json.loads(label) for label in text.split(" | ")))


def _split(text: str) -> list[str]:
    """The parts between the commas that stand in no bracket."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]
