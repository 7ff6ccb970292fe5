"""What the annotations of a user's function mean to checking, which parses its module and imports none."""

import re
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.check.files import Checked, check_files
from harmonia_compiler.contract.component import Component, Sizes
from harmonia_compiler.contract.types import show

SOURCE = """
import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, TypedDict
import harmonia_compiler.sdk as sdk
from harmonia_compiler.sdk import Message, Passage, Passage as Found, Vector, component, items, tokens

raise SystemExit("nobody imports this")

PATTERN = "\\d"
Verdict = Literal["yes", "no"]

class Step(TypedDict):
    thought: Annotated[str, tokens(30)]
    done: bool

@dataclass(frozen=True)
class Graded:
    verdict: Verdict
    score: float

class Pair(NamedTuple):
    one: Step
    other: "list[float]"

class Tree(TypedDict):
    children: list["Tree"]

class Plain:
    text: str

class Last(Step):
    answer: str

@dataclass(frozen=True)
class Weighed(Graded):
    w: float
    score: Literal["low", "high"]

@dataclass
class Derived(Plain):
    other: str

class Silent(Graded):
    more: str

class Wider(Pair):
    more: str

@dataclass
class Elsewhere(sdk.Base):
    more: str

def f(a: ANNOTATION) -> str: ...
"""

TYPES = {
    "str": "text",
    "int": "number",
    "float": "number",
    "bool": "bool",
    "list[str]": "[text]",
    "list[list[float]]": "[[number]]",
    '"list[Passage]"': "[passage]",
    "sdk.Message": "message",
    "Vector": "vector",
    'Literal["a", "b"]': '"a" | "b"',
    "Verdict": '"yes" | "no"',
    "Annotated[list[Passage], items(4)]": "[passage]",
    "Step": "(thought: text, done: bool)",
    "Graded": '(verdict: "yes" | "no", score: number)',
    "Last": "(thought: text, done: bool, answer: text)",
    "Weighed": '(verdict: "yes" | "no", score: "low" | "high", w: number)',
    "Derived": "(other: text)",
    "Found": "passage",
    "Pair": "(one: (thought: text, done: bool), other: [number])",
}
NO_TYPES = [
    "dict[str, str]",
    "str | None",
    "Literal[1, 2]",
    'Literal["a", "a"]',
    "list",
    "Tree",
    "Plain",
    "Silent",
    "Wider",
    "Elsewhere",
    "Any",
    "f(1)",
]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check(component: str, source: str) -> Checked:
    Path("m.py").write_text(source, encoding="utf-8")
    text = (
        f'component g(t: text) -> text = python("other:g")\n{component}\npipeline p(t: text) -> text {{ return g(t) }}'
    )
    Path("a.rag").write_text(text, encoding="utf-8")
    return check_files([Path("a.rag")])


def read(source: str, call: str, result: str = "text") -> Component:
    """The component `f`, made from `m:f`, which a pipeline calls like this."""
    Path("m.py").write_text(source, encoding="utf-8")
    text = f'component f = python("m:f")\npipeline p(t: text) -> {result} {{ return {call} }}'
    Path("a.rag").write_text(text, encoding="utf-8")
    found = check_files([Path("a.rag")])
    assert found.application is not None, found.found
    return found.application.components["f"]


@pytest.mark.parametrize("annotation", TYPES)
def test_an_annotation_is_a_type(annotation: str) -> None:
    source = SOURCE.replace("ANNOTATION", annotation)
    assert check('component f = python("m:f")', source).found == []
    wrong = check('component f(a: (no: vector)) -> text = python("m:f")', source).found
    assert [item.code for item in wrong] == ["E0326"]
    assert wrong[0].message == f"`a` is `(no: vector)` here, and `{TYPES[annotation]}` in `f`"


@pytest.mark.parametrize("annotation", NO_TYPES)
def test_what_is_no_type_of_the_language_is_said(annotation: str) -> None:
    found = check('component f = python("m:f")', SOURCE.replace("ANNOTATION", annotation)).found
    assert [(item.code, item.message) for item in found] == [
        ("E0622", "`a` of `f` has no annotation that is a type of the language")
    ]


@pytest.mark.parametrize(
    ("default", "reason"),
    [
        ("3", "a default that is no `text`"),
        ("2 ** 70", "a default that is no literal"),
        ("None", "a default that is no `text`"),
    ],
)
def test_a_default_that_does_not_fit_is_the_one_finding(default: str, reason: str) -> None:
    Path("m.py").write_text(f"def f(q: str = {default}) -> str: ...", encoding="utf-8")
    Path("a.rag").write_text('component f = python("m:f")\npipeline p(t: text) -> text { return f(t) }')
    found = check_files([Path("a.rag")]).found
    assert [(item.code, item.message) for item in found] == [("E0622", f"`q` of `f` has {reason}")]


#: Like a key, and none: no file may hold one, this one included.
KEY = "sk-" + "a1" * 10


@pytest.mark.parametrize(
    ("parameter", "result", "what"),
    [
        (f'Literal["{KEY}", "b"]', "str", "`q` of `f` has"),
        (f'list[Literal["{KEY}"]]', "str", "`q` of `f` has"),
        ("Held", "str", "`q` of `f` has"),
        ("str", f'Literal["{KEY}"]', "the result of `f` has"),
    ],
)
def test_a_label_that_is_a_key_is_refused(parameter: str, result: str, what: str) -> None:
    held = f'class Held(TypedDict):\n    label: Literal["{KEY}", "none"]\n'
    source = f"from typing import Literal, TypedDict\n{held}def f(q: {parameter}) -> {result}: ...\n"
    found = check('component f = python("m:f")', source).found
    assert [(item.code, item.message) for item in found] == [
        ("E0622", f"{what} a label that is a key, which would be in the plan")
    ]


def test_ports_have_names_sizes_and_defaults() -> None:
    source = (
        "from typing import Annotated\nfrom harmonia_compiler.sdk import tokens\n"
        'def f(q: "Annotated[str, tokens(12)]", k: int = 3, *, word: str = "w") -> Annotated[str, tokens(40)]: ...\n'
    )
    made = read(source, 'f(t, word: "v")')
    assert [(port.name, show(port.type), port.size, port.default) for port in made.ports] == [
        ("q", "text", 12, msgspec.UNSET),
        ("k", "number", None, 3),
        ("word", "text", None, "w"),
    ]
    assert made.size == 40


SIZES = (
    "from typing import Annotated, Literal\nfrom harmonia_compiler.sdk import Message, items, tokens, tokens as long\n"
)


@pytest.mark.parametrize(
    ("annotation", "result", "size", "item_size"),
    [
        ("Annotated[str, tokens(expected=9)]", "text", 9, None),
        ("Annotated[str, long(9.5)]", "text", 9.5, None),
        ("Annotated[Message, 'a note', tokens(+9)]", "message", 9, None),
        ("Annotated[list[Annotated[str, tokens(3)]], items(expected=4)]", "[text]", 4, 3),
        ("Annotated[str, tokens(9007199254740992)]", "text", 2**53, None),
    ],
)
def test_a_size_is_read_however_python_lets_it_be_said(
    annotation: str, result: str, size: float, item_size: float | None
) -> None:
    made = read(f"{SIZES}def f(q: str) -> {annotation}: ...\n", "f(t)", result)
    assert (made.size, made.item_size) == (size, item_size)


def test_sizes_of_fields_and_of_lists_in_lists_are_read() -> None:
    source = (
        f"{SIZES}from typing import TypedDict\nclass Person(TypedDict):\n    name: Annotated[str, tokens(5)]\n"
        "    rows: Annotated[list[Annotated[list[str], items(2)]], items(3)]\n    age: int\n"
        "def f(q: str) -> Annotated[list[Person], items(4)]: ...\n"
    )
    made = read(source, "f(t)", "[(name: text, rows: [[text]], age: number)]")
    assert made.sizes == Sizes(4, Sizes(parts={"name": Sizes(5), "rows": Sizes(3, Sizes(2))}))


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ("Annotated[str, tokens(0)]", "E0505: the size of a text is above 0"),
        ("Annotated[str, tokens(-1)]", "E0505: the size of a text is above 0"),
        ("Annotated[list[str], items(expected=-1)]", "E0505: the size of a list is above 0"),
        ("Annotated[str, tokens(9223372036854775808)]", "E0110: this number is beyond 2⁵³"),
        ("Annotated[str, tokens(1e400)]", "E0110: this number is beyond 2⁵³"),
        ('Annotated[str, tokens("x")]', "E0504: the size of a text takes a number of tokens"),
        ("Annotated[str, tokens(True)]", "E0504: the size of a text takes a number of tokens"),
        ("Annotated[str, tokens(SOME)]", "E0504: the size of a text takes a number of tokens"),
        ("Annotated[str, tokens()]", "E0504: the size of a text takes a number of tokens"),
        ("Annotated[str, tokens(9, expected=9)]", "E0504: the size of a text takes a number of tokens"),
        ("Annotated[str, tokens(about=9)]", "E0504: the size of a text takes a number of tokens"),
        ("Annotated[str, items(3)]", "E0504: the size of a text takes a number of tokens, not `items`"),
        ("Annotated[list[str], tokens(3)]", "E0504: the size of a list takes a number of items, not `tokens`"),
        ("Annotated[bool, tokens(3)]", "E0506: `bool` has no size"),
        ('Annotated[Literal["a"], tokens(3)]', 'E0506: `"a"` has no size'),
        ('"Annotated[str, tokens(0)]"', "E0505: the size of a text is above 0"),
    ],
)
@pytest.mark.parametrize("ports", ["", "(q: text) -> text"])
def test_a_size_that_is_none_is_found_at_its_line_as_in_a_rag(annotation: str, said: str, ports: str) -> None:
    source = f"{SIZES}\ndef f(\n    q: str,\n    more: {annotation} = ...,\n) -> str: ...\n"
    found = check(f'component f{ports} = python("m:f")', source).found
    [item] = [item for item in found if item.code not in ("E0326", "E0622")]
    assert f"{item.code}: {item.message}" == said
    span = item.span
    assert span is not None
    assert (span.source.name, span.source.position(span.start)[0]) == ("m.py", 6)


@pytest.mark.parametrize("default", ["9223372036854775808", "-9223372036854775808", "1e400", "9007199254740993"])
def test_a_default_beyond_what_a_rag_may_hold_is_refused_alike(default: str) -> None:
    found = check('component f = python("m:f")', f"def f(q: str, n: int = {default}) -> str: ...").found
    assert [(item.code, item.message) for item in found] == [("E0110", "`n` of `f` has a default beyond 2⁵³")]


def test_a_module_lies_in_a_folder_or_is_one() -> None:
    for path in ("pack/m.py", "pack/m/__init__.py"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("def f(q: str) -> str: ...", encoding="utf-8")
        assert check('component f(q: number) -> text = python("pack.m:f")', "").found[0].code == "E0326"
        Path(path).unlink()
    assert check('component f(q: number) -> text = python("pack.m:f")', "").found == []


def test_a_function_may_come_from_elsewhere() -> None:
    for source in ("from x import f", "from x import *", "f = print", "f: object = 1", "if True:\n    f = 1"):
        assert check('component f(q: text) -> text = python("m:f")', source).found == [], source


def test_a_module_that_leads_out_of_the_project_is_not_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.py"
    outside.write_text("def f(q: int) -> str: ...", encoding="utf-8")
    Path("secret.py").symlink_to(outside)
    found = check('component f(q: text) -> text = python("secret:f")', "").found
    assert [item.code for item in found] == ["E0213"]


WALK = "def walk(q: str) -> str: ..."
CALLED = "\npipeline called(q: text) -> text { return c(q) }\n"


@pytest.mark.parametrize(
    ("component", "code", "help"),
    [
        ('component c = python("hipo:walk")', "E0624", "did you mean `hippo`?"),
        ('component c = python("elsewhere:walk")', "E0624", "declare the ports: `component c(…) -> … = …`"),
        ('component c(q: text) -> text = python("hipo:walk")', "W0601", "did you mean `hippo`?"),
    ],
)
def test_a_module_that_is_not_here_is_told_at_its_name(component: str, code: str, help: str) -> None:
    Path("hippo.py").write_text(WALK, encoding="utf-8")
    (found,) = check(component + CALLED, "").found
    assert (found.code, found.help) == (code, help)
    assert found.span is not None
    module = found.span.source.text[found.span.start : found.span.end]
    assert found.message == f"there is no module `{module}` beside `a.rag` or in the project's folder"


@pytest.mark.parametrize("ports", ["", "(q: text) -> text"])
def test_a_module_that_is_named_as_its_file_is_told_without_the_ending(ports: str) -> None:
    Path("pack").mkdir()
    Path("pack/hippo.py").write_text(WALK, encoding="utf-8")
    (found,) = check(f'component c{ports} = python("pack.hippo.py:walk"){CALLED}', "").found
    assert (found.code, found.help) == ("E0624", "write `pack.hippo:walk`")
    # It may be a module of that name which is installed.
    Path("pack/hippo.py").unlink()
    assert check(f'component c(q: text) -> text = python("pack.hippo.py:walk"){CALLED}', "").found == []


def test_a_module_that_may_be_installed_is_nobodys_mistake() -> None:
    """Python's own, one like none that is here, one whose name another begins with; and one that nothing calls."""
    for name in ("hippo", "jsons", "requests_mocked"):
        Path(f"{name}.py").write_text(WALK, encoding="utf-8")
    for module in ("json", "elsewhere", "requests"):
        assert check(f'component c(q: text) -> text = python("{module}:walk"){CALLED}', "").found == [], module
    base = 'component base = python("hipo:walk")\ncomponent c(q: text) -> text = python("elsewhere:walk")'
    assert check(base + CALLED, "").found == []


def test_a_type_that_grows_without_bound_is_no_type() -> None:
    classes = "".join(
        f"class C{at}(TypedDict):\n" + "".join(f"    f{n}: {f'C{at + 1}' if at < 12 else 'str'}\n" for n in range(9))
        for at in range(13)
    )
    source = f"from typing import TypedDict\n{classes}def f(a: C0) -> str: ...\n"
    assert [item.code for item in check('component f = python("m:f")', source).found] == ["E0622"]


def test_a_module_in_the_projects_folder_is_read_where_there_is_none_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("apps").mkdir()
    Path("tools.py").write_text("def other(): ...\n")
    Path("apps/a.rag").write_text('component f(q: text) -> text = python("tools:f")\n')
    (found,) = check_files([Path("apps/a.rag")]).found
    assert (found.code, found.message) == ("E0621", "`tools.py` has no function `f`")
    Path("apps/tools.py").write_text("def f(q): ...\n")
    assert check_files([Path("apps/a.rag")]).found == []


def test_the_function_of_the_samples_page_says_how_large_its_values_are(tmp_path: Path) -> None:
    """In a prompt as well: a plan of it rests on no guess."""
    page = (Path(__file__).parents[2] / "samples/README.md").read_text(encoding="utf-8")
    (function,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (declared,) = re.findall(r"^    (component \w+ = python\(\"mycode:\w+\"\))$", page, re.MULTILINE)
    (tmp_path / "mycode.py").write_text(function)
    path = tmp_path / "a.rag"
    path.write_text(
        f'{declared}\ncomponent small = llm("SmolLM2-135M-Instruct", max_tokens: 60)\n'
        'component answer(question: text, found: [passage]) -> text = small("{found} {question}")\n'
        "pipeline p(question: text ~ 15 tokens) -> text { return answer(question, walk(question)) }\n"
    )
    assert check_files([path]).found == []


FOLLOWED = """
from dataclasses import dataclass
from typing import Annotated, Literal
from harmonia_compiler.sdk import Message, Passage, items, tokens
@dataclass
class Entity:
    name: str
    kind: Literal["person", "place"]
    tags: list[str]
    found: Passage
def e(q: str) -> {}: ...
"""


@pytest.mark.parametrize(
    "annotation",
    [
        *("str", "Passage", "Message", "list[str]", "list[bool]", "list[Passage]", "list[list[str]]"),
        *("Entity", "list[Entity]", "list[list[Entity]]", "Annotated[list[Entity], items(3)]"),
        *("Annotated[Entity, tokens(8)]", "Annotated[list[Annotated[Entity, tokens(8)]], items(3)]"),
    ],
)
def test_who_says_a_size_as_is_offered_has_said_it(
    annotation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shape = re.sub(r"Annotated\[(.*?), (?:tokens|items)\(\d\)\]", r"\1", annotation)
    named = {"str": "text", "bool": "bool", "Passage": "passage", "Message": "message"}
    entity = '(name: text, kind: "person" | "place", tags: [text], found: passage)'
    of = named.get(re.sub(r"list\[|\]", "", shape), entity)
    depth = shape.count("list[")
    Path("app.rag").write_text(f"""
component small = llm("m")
component e = python("ents:e")
component d(q: text, e: {"[" * depth}{of}{"]" * depth}) -> text ~ 9 tokens = small("{{q}}{{e}}")
pipeline p(q: text ~ 5 tokens) -> text {{ return d(q, e(q)) }}
""")
    source, steps = FOLLOWED.format(annotation), 0
    while True:
        Path("ents.py").write_text(source)
        found = check_files([Path("app.rag")]).found
        if not found:
            break
        steps += 1
        assert steps < 9
        assert {item.code for item in found} <= {"W0502", "E0506"}
        for offered in re.findall(r"`([^`]*)`", found[0].help):
            name, colon, _ = offered.partition(": ")
            line = rf"(?m)^    {name}: .*" if colon else r"(?<=-> ).*(?=: \.\.\.)"
            source = re.sub(line, f"    {offered}" if colon else offered, source)
            # A record is none to say a size of.
            source = re.sub(r"Annotated\[Entity, tokens\(8\)\]", "Entity", source)
    assert steps
