"""Text to tree: shapes, what newlines and keywords mean, what is kept for a formatter."""

import gc

import pytest

from harmonia_compiler.contract.garbage import uncollected
from harmonia_compiler.diagnostics.diagnostic import Findings, in_order
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.parser import parse


def read(text: str) -> tree.File:
    findings = Findings()
    file = parse(Source("a.rag", text), findings)
    assert findings.items == []
    return file


def slips(text: str) -> list[tuple[str, int]]:
    """Code and line of each finding."""
    findings = Findings()
    source = Source("a.rag", text)
    parse(source, findings)
    return [(item.code, source.position(item.span.start)[0]) for item in in_order(findings.items) if item.span]


def value(text: str) -> tree.Expression:
    (pipeline,) = read(f"pipeline p(q: text) -> text {{ return {text} }}").declarations
    assert isinstance(pipeline, tree.Pipeline)
    (statement,) = pipeline.body
    assert isinstance(statement, tree.Return)
    return statement.value


def spelled(node: tree.Node) -> str:
    return node.span.source.text[node.span.start : node.span.end]


def test_an_empty_file_declares_nothing() -> None:
    for text in ("", "\n", "# only a comment", "\n\n  # a\n\n"):
        assert read(text).declarations == ()


def test_the_parts_of_a_component() -> None:
    (component,) = read('component a(q: text ~ 3 tokens = "x") -> "y" | "n" = b(k: 3, "p")').declarations
    assert isinstance(component, tree.Component)
    assert component.ports is not None
    assert component.result is not None
    (port,) = component.ports
    assert spelled(port) == 'q: text ~ 3 tokens = "x"'
    assert isinstance(component.result.type, tree.LabelsType)
    assert [label.value for label in component.result.type.labels] == ["y", "n"]
    assert [(a.name.text if a.name else None, spelled(a.value)) for a in component.settings] == [
        ("k", "3"),
        (None, '"p"'),
    ]


def test_a_pipeline_keeps_the_order_of_its_parts() -> None:
    (pipeline,) = read(
        "pipeline p(q: text) -> text {\n"
        "    slo p95 latency <= 4 s, p95 ttft <= 800 ms\n"
        "    load 20 rps peak 60 rps\n"
        "    a = f(q)\n"
        '    if a == "x" ~ 0.3 { b = a }\n'
        "    elif a { return q }\n"
        "    else { return stream g(q) }\n"
        "    return b\n"
        "}\n"
    ).declarations
    assert isinstance(pipeline, tree.Pipeline)
    assert [type(item).__name__ for item in pipeline.body] == ["Slo", "Load", "Bind", "If", "Return"]
    branch = pipeline.body[3]
    assert isinstance(branch, tree.If)
    assert [spelled(arm.test) for arm in branch.arms] == ['a == "x"', "a"]
    assert [arm.share.value if arm.share else None for arm in branch.arms] == [0.3, None]
    assert branch.otherwise is not None


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("not a == b and c or d", "Disjunction(Conjunction(Negation(Comparison(a b)) c) d)"),
        ("a + b + [c]", "Joined(a b ListValue(c))"),
        ("f(a, b: c).d.e", "Access(Call(a c) d e)"),
        ("(a or b) and c", "Conjunction(Group(Disjunction(a b)) c)"),
        ('(x: a, y: "t")', "RecordValue(a Text)"),
        ("[a, [], true, -1.5]", "ListValue(a ListValue() Truth Amount)"),
    ],
)
def test_what_binds_tighter(text: str, shape: str) -> None:
    def show(node: tree.Node) -> str:
        match node:
            case tree.Reference(name=name):
                return name.text
            case tree.Argument(value=inner):
                return show(inner)
            case tree.Access(value=inner, fields=fields):
                return f"Access({' '.join([show(inner), *(field.text for field in fields)])})"
            case tree.Text() | tree.Truth() | tree.Amount():
                return type(node).__name__
        parts: list[str] = []
        for field in node.__struct_fields__[1:]:
            child = getattr(node, field)
            if isinstance(child, tuple):
                parts += [show(item) for item in child]
            elif isinstance(child, tree.Node) and not isinstance(child, tree.Name):
                parts.append(show(child))
        return f"{type(node).__name__}({' '.join(parts)})"

    assert show(value(text)) == shape


@pytest.mark.parametrize(
    "text",
    [
        'component a = b(\n    "x",\n    k: 3,\n)',
        'component a\n    (q: text)\n    -> text\n    = b("x")',
        'component a(q: text) -> "y"\n    | "n" = b()',
        "pipeline p(q: text)\n    -> text\n{\n    return a\n        + b\n        .c\n}",
        "pipeline p(q: bool) -> bool {\n    return q\n        and q\n        or q == q\n}",
        "pipeline p(q: bool) -> bool {\n    if q\n    {\n        return q\n    }\n    else\n    { return q }\n}",
        "pipeline p(q: bool) -> bool { if q { return q } else { return q } }",
        "pipeline p(q: text) -> text {\n    repeat up to 3 {\n        q = q\n    }\n    until q\n    return q\n}",
        "pipeline p(q: text) -> text {\n    x = f(\n        q\n            else q,\n        q\n    )\n    return x\n}",
        "pipeline p(q: text) -> text {\n    x = (f(q)\n        within 2 s\n        else q)\n    return x\n}",
        "pipeline p(q: text) -> text {\n    x = f(q)\n        within 2 s\n        else q\n    return x\n}",
        "pipeline p(q: text) -> text {\n    return f(each x in q\n        where x\n        : x)\n}",
        "component a = b()\r\n\r\ncomponent c = d()\r\n",
    ],
)
def test_where_a_newline_ends_nothing(text: str) -> None:
    read(text)


def test_every_word_is_a_name_before_a_colon_and_after_a_dot() -> None:
    (pipeline,) = read(
        "pipeline p(from: text, type: text) -> (in: text) { return f(to: a.from.class, if: b, until: c) }"
    ).declarations
    assert isinstance(pipeline, tree.Pipeline)
    assert [port.name.text for port in pipeline.ports] == ["from", "type"]


def test_a_keyword_before_the_colon_of_an_each_is_no_name() -> None:
    given = value("f(each x in q where true: x, from: q)")
    assert isinstance(given, tree.Call)
    assert isinstance(given.arguments[0].value, tree.Each)
    assert isinstance(given.arguments[0].value.where, tree.Truth)


def test_a_unit_stands_behind_its_number() -> None:
    amount = value("f(timeout: 3 s, memory: 8GiB, plain: 4)")
    assert isinstance(amount, tree.Call)
    units = [a.value.unit.text if isinstance(a.value, tree.Amount) and a.value.unit else None for a in amount.arguments]
    assert units == ["s", "GiB", None]


@pytest.mark.parametrize(
    ("raw", "meaning"),
    [
        (r'"a\n\t\"\\b"', 'a\n\t"\\b'),
        ('"""\n    one\n      two\n\n    three\n    """', "one\n  two\n\nthree"),
        ('"""one\n    two"""', "one\ntwo"),
        ('"""  one  """', "  one  "),
        (r'"""\n is raw: "quotes" too"""', r'\n is raw: "quotes" too'),
        ('""""""', ""),
        ('"""\r\n  a\r\n  b\r\n  """', "a\nb"),
        ('""', ""),
    ],
)
def test_what_texts_mean(raw: str, meaning: str) -> None:
    text = value(raw)
    assert isinstance(text, tree.Text)
    assert text.value == meaning
    assert text.raw == raw


def test_comments_are_kept_and_document_what_stands_below() -> None:
    file = read("# the file\n\n# first\n#second\ncomponent a = b() # behind\n\n# not this\n\ncomponent c = d()\n")
    assert [comment.text for comment in file.comments] == ["# the file", "# first", "#second", "# behind", "# not this"]
    assert [d.doc for d in file.declarations if isinstance(d, tree.Component)] == ["first\nsecond", ""]


def test_places_are_exact() -> None:
    text = 'import a, b as c from "x.rag"\npipeline p(q: [text] ~ 3) -> text { return f((q), [q], k: 3 s) }'
    file = read(text)
    for declaration in file.declarations:
        for node, _ in tree.walk(declaration):
            inner = [child for child, depth in tree.walk(node) if depth == 1]
            assert all(node.span.start <= child.span.start <= child.span.end <= node.span.end for child in inner), node
    assert [spelled(declaration) for declaration in file.declarations] == text.split("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("component a = b(\ncomponent c = d()\npipeline p(q: text) -> text { return q }", [("E0102", 1)]),
        (
            "pipeline p(q: text) -> text {\n    if q {\n        a = q\n    return q\n}\ncomponent c = d()",
            [("E0102", 2)],
        ),
        ("pipeline p(q: text) -> text {\n    if q {\n        a = q\n    }\n}\n}\ncomponent c = d()", [("E0112", 6)]),
        ("pipeline p(q: text) -> text {\n    a = f(q\n    b = f(q)\n    return b\n}", [("E0102", 2)]),
        ("pipeline p(q: text) -> text {\n    a = f(q, k = 3)\n    return a\n}", [("E0101", 2)]),
        (
            "pipeline p(q: text) -> text {\n    a = f(\n        q,\n        k = 3,\n    )\n    return a\n}",
            [("E0101", 4)],
        ),
        ("pipeline p(q text) -> text {\n    a = = q\n    return a\n}", [("E0101", 1), ("E0101", 2)]),
        ("component a b\ncomponent c = d(]\ncomponent e = f()", [("E0101", 1), ("E0102", 2)]),
        ('component a = b("x)\ncomponent c = d()', [("E0103", 1)]),
    ],
)
def test_one_slip_is_one_finding_and_what_follows_is_read(text: str, expected: list[tuple[str, int]]) -> None:
    assert slips(text) == expected


def test_a_valid_program_may_be_indented_anyhow() -> None:
    read("pipeline p(q: bool) -> bool {\nif q {\n        if q {\nreturn q\n    }\n}\n  return q\n}")


@pytest.mark.parametrize("text", ["component c = f()\n", "pipeline p(q: text) -> text {\n  if q {\n  return (\n}\n"])
def test_reading_leaves_no_cycles_behind(text: str) -> None:
    """Checking looks for none meanwhile: a file's would stay until the end, however short it is."""
    parse(Source("a.rag", text), Findings())
    with uncollected():
        gc.collect()
        parse(Source("a.rag", text), Findings())
        assert gc.collect() == 0


def test_a_declaration_that_cannot_be_read_leaves_its_name() -> None:
    findings = Findings()
    file = parse(Source("a.rag", "component a(q text) -> text = b()\nimport c, d, from e\n"), findings)
    assert {"a", "c", "d"} <= file.unread
    assert not file.whole
