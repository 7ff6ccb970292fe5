"""Numbers that are none and keys are findings wherever a number or a text may stand."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files

HEAD = """
component small = llm("SmolLM2-135M-Instruct")
component f(q: text) -> text ~ 9 tokens = small("{q}")
component ok(q: text) -> bool = small("{q}")
component measure(q: text) -> number = python("m:measure")
component kind(q: text) -> "one" | "two" = python("m:kind")
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def errors(text: str, **settings: str) -> set[str]:
    Path("a.rag").write_text(HEAD + text, encoding="utf-8")
    return {item.code for item in check_files([Path("a.rag")], settings).found if item.is_error}


def pipeline(body: str, clauses: str = "") -> str:
    return f"pipeline p(q: text ~ 9 tokens) -> text {{\n{clauses}\n{body}\n}}"


#: Everything that takes a number, at the `@`; and one that it takes.
NUMBERS = {
    "a number": ('component g(q: text) -> text ~ 9 tokens = small("{q}", temperature: @)', "0.5"),
    "a whole number": ('component e = embedder("all-MiniLM-L6-v2", min_replicas: @)', "2"),
    "tokens": ('component g(q: text) -> text = small("{q}", max_tokens: @)', "9"),
    "tokens by name": ('component g(q: text) -> text = small("{q}", max_tokens: @ tokens)', "9"),
    "a duration": ('component g(q: text) -> text ~ 9 tokens = python("m:g", timeout: @ s)', "9"),
    "memory": ('component g(q: text) -> text ~ 9 tokens = python("m:g", memory: @ GiB)', "2"),
    "a default": ('component g(q: text) -> text = small("{q}", max_tokens: setting("n", @))', "9"),
    "a size": ('component g(q: text ~ @ tokens) -> text ~ 9 tokens = small("{q}")', "9"),
    "a result's size": ('component g(q: text) -> text ~ @ tokens = small("{q}")', "9"),
    "a length": ('component g(q: [text] ~ @) -> text ~ 9 tokens = python("m:g")', "9"),
    "a size of items": ('component g(q: [text ~ @ tokens] ~ 4) -> text ~ 9 tokens = python("m:g")', "9"),
    "a port's default": ('component g(q: text, n: number = @) -> text ~ 9 tokens = python("m:g")', "9"),
    "a default in a list": ('component g(q: text, n: [number] = [@]) -> text ~ 9 tokens = python("m:g")', "9"),
    "a default in a record": (
        'component g(q: text, n: (a: number) = (a: @)) -> text ~ 9 tokens = python("m:g")',
        "9",
    ),
    "a class's deadline": ("class one(deadline: @ s)\n" + pipeline("return f(q)"), "9"),
    "a class's weight": ("class one(deadline: 9 s, weight: @)\n" + pipeline("return f(q)"), "9"),
    "a load": (pipeline("return f(q)", "load @ rps"), "9"),
    "a peak": (pipeline("return f(q)", "load 1 rps peak @ rps"), "9"),
    "a promise": (pipeline("return f(q)", "slo p95 latency <= @ s"), "9"),
    "a share": (pipeline("if ok(q) ~ @ { return f(q) }\nreturn q"), "0.5"),
    "a share of a loop": (pipeline("x = q\nrepeat up to 3 { x = f(x) } until ok(x) ~ @\nreturn x"), "0.5"),
    "a share of a list": (pipeline("x = each y in [q, q] where ok(y) ~ @: f(y)\nreturn f(q)"), "0.5"),
    "rounds": (pipeline("x = q\nrepeat up to @ { x = f(x) }\nreturn x"), "2"),
    "a time": (pipeline("return f(q) within @ s else q"), "9"),
    "a setting of a call": (pipeline("return f(q, max_tokens: @)"), "9"),
    "a test": (pipeline("if measure(q) > @ { return f(q) }\nreturn q"), "9"),
    "an item": (pipeline("x = [@]\nreturn f(q)"), "9"),
    "a field": (pipeline("x = (a: @)\nreturn f(q)"), "9"),
    "an argument": (pipeline("x = take([q], @)\nreturn f(q)"), "9"),
}


@pytest.mark.parametrize("place", NUMBERS)
def test_the_place_takes_a_number(place: str) -> None:
    text, fine = NUMBERS[place]
    assert errors(text.replace("@", fine)) == set()


@pytest.mark.parametrize("number", ["NaN", "inf", "-inf", "1e999", "-1e999", "9223372036854775808"])
@pytest.mark.parametrize("place", NUMBERS)
def test_what_is_no_number_is_refused_everywhere(place: str, number: str) -> None:
    text, _ = NUMBERS[place]
    assert errors(text.replace("@", number))


@pytest.mark.parametrize("number", ["NaN", "inf", "-inf", "1e999", "9223372036854775808", "9" * 400, ""])
@pytest.mark.parametrize(
    "setting", ["max_tokens: setting", "temperature: setting", "timeout: setting", "min_replicas: setting"]
)
def test_what_is_no_number_is_refused_on_the_command_line(setting: str, number: str) -> None:
    text = f'component g(q: text) -> text = llm("SmolLM2-135M-Instruct", "{{q}}", {setting}("n"))'
    assert errors(text, n=number)


KEY = "sk-0123456789abcdefABCD"

#: Everything that takes a text, at the `@`.
TEXTS = {
    "a prompt": 'component g(q: text) -> text = small("{q} @")',
    "a long prompt": 'component g(q: text) -> text = small("""\n{q}\n@\n""")',
    "a label": 'component g(q: text) -> "a" | "@" = small("{q}")',
    "a label of a type": 'type t = "a" | "@"',
    "a label of a list": 'component g(q: text) -> ["a" | "@"] = small("{q}")',
    "a label of a record": 'component g(q: text) -> (a: "a" | "@") = small("{q}")',
    "a default": 'component g(q: text, a: text = "@") -> text = small("{q} {a}")',
    "a default of a pipeline": 'pipeline p(q: text, a: text = "@") -> text { return f(q + a) }',
    "a file": 'import g from "@.rag"',
    "a prompt's file": 'component g(q: text) -> text = small(file("@"))',
    "a model": 'component g = llm("@")',
    "a collection": 'component e = embedder("all-MiniLM-L6-v2")\ncomponent g = milvus("@", embedder: e)',
    "a URL": 'component g(q: text) -> text = http("http://host/@")',
    "a filter": 'component e = embedder("all-MiniLM-L6-v2")\ncomponent g = milvus("a", embedder: e, filter: "@")',
    "an end": 'component g = llm("SmolLM2-135M-Instruct", stop: "@")',
    "a function": 'component g(q: text) -> text = python("@:f")',
    "a device": 'component g = llm("SmolLM2-135M-Instruct", on: "@")',
    "a label of hosts": 'component g = llm("SmolLM2-135M-Instruct", hosts: "zone=@")',
    "a variable": 'component g(q: text) -> text = http(env("@"))',
    "a secret": 'component g(q: text) -> text = http("http://host", key: secret("@"))',
    "a setting": 'component g = llm(setting("@", "SmolLM2-135M-Instruct"))',
    "a setting's default": 'component g = llm("SmolLM2-135M-Instruct", stop: setting("a", "@"))',
    "an argument": pipeline('return f("@")'),
    "a part": pipeline('return f(q + "@")'),
    "an item": pipeline('x = [q, "@"]\nreturn f(q)'),
    "a field": pipeline('x = (a: "@")\nreturn f(q)'),
    "a test": pipeline('if kind(q) == "@" { return f(q) }\nreturn q'),
    "a fallback": pipeline('return f(q) else "@"'),
    "a result": pipeline('if ok(q) { return f(q) }\nreturn "@"'),
    "a list that is gone through": pipeline('x = each y in ["@"]: f(y)\nreturn f(q)'),
}


@pytest.mark.parametrize("place", TEXTS)
def test_a_key_is_refused_in_every_text(place: str) -> None:
    assert "E0606" in errors(TEXTS[place].replace("@", KEY))


def test_a_key_is_refused_on_the_command_line() -> None:
    text = 'component g = llm("SmolLM2-135M-Instruct", stop: setting("n"))'
    assert errors(text, n=KEY) == {"E0606"}


#: C0, DEL and C1; but for those that end a line or the text itself.
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in '\n"']


@pytest.mark.parametrize("url", ["http://a@b/", "http://u@u/", "http://a:80/b@c", "https://a?b@", "http://[::1]#@"])
def test_no_part_of_a_url_holds_a_control_character(url: str) -> None:
    component = 'component g(q: text) -> text = http("%s")'
    assert errors(component % url.replace("@", "")) == set()
    for control in CONTROLS:
        assert errors(component % url.replace("@", control)) == {"E0615"}, ascii(control)


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ("1e999", "E0110"),
        ("9" * 400, "E0110"),
        ("9" * 5000, "E0620"),
        ("9223372036854775808", "E0110"),
        ("True", "E0504"),
        ("0", "E0505"),
        ("-1", "E0505"),
        ("float('nan')", "E0504"),
    ],
)
def test_what_is_no_size_in_an_annotation_is_found(size: str, code: str) -> None:
    Path("own.py").write_text(f"def g(q: str) -> Annotated[str, tokens({size})]: ...\n")
    text = 'component g = python("own:g")\n' + pipeline("return f(g(q))")
    Path("a.rag").write_text(HEAD + text, encoding="utf-8")
    assert {item.code for item in check_files([Path("a.rag")]).found} == {code}


@pytest.mark.parametrize("default", [f'"{KEY}"', f'"of {KEY}"', f'["a", "{KEY}"]'])
def test_a_key_is_refused_as_the_default_of_a_python_function(default: str) -> None:
    kind = "list[str]" if default.startswith("[") else "str"
    Path("own.py").write_text(f"def g(q: str, key: {kind} = {default}) -> str: ...\n")
    assert errors('component g = python("own:g")') == {"E0622"}
