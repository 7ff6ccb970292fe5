"""What somebody might slip into a file is a finding, at its place, in bounded time, and never a traceback."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from harmonia_compiler.check import annotations, branching, calling, program
from harmonia_compiler.check.files import check_files
from harmonia_compiler.check.made import MOST_PORTS
from harmonia_compiler.check.nodes import MOST_NODES
from harmonia_compiler.contract.program import MOST_ITEMS
from harmonia_compiler.diagnostics.diagnostic import MOST_OF_A_SORT
from harmonia_compiler.diagnostics.near import nearest
from tests.executed import executed

HEAD = """
component small = llm("SmolLM2-135M-Instruct")
component f(q: text) -> text ~ 9 tokens = small("{q}")
component ok(q: text) -> bool = small("{q}")
component note(q: text) -> text = python("m:note", pure: false)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)


def codes(text: str, **others: str) -> set[str]:
    for name, other in others.items():
        Path(f"{name}.rag").write_text(other, encoding="utf-8")
    Path("a.rag").write_text(text, encoding="utf-8")
    return {item.code for item in check_files([Path("a.rag")]).found}


def pipeline(body: str) -> str:
    return f"{HEAD}pipeline p(q: text) -> text {{\n{body}\n}}"


ODDITIES = {
    "code in a prompt": ('component g(q: text) -> text = small("{q.__class__}")\n' + HEAD, "E0611"),
    "code in another prompt": (
        'component g(q: text) -> text = small("{q}", system: "{q.__class__}")\n' + HEAD,
        "E0611",
    ),
    "code in a prompt by default": (
        'component g(q: text) -> text = small(setting("n", "{q.__class__}"))\n' + HEAD,
        "E0611",
    ),
    "a file that imports itself": ('import f from "a.rag"\n' + HEAD, "E0207"),
    "a link that leads outside": ('import f from "link.rag"', "E0213"),
    "a prompt's link that leads outside": ('component g(q: text) -> text = small(file("link.rag"))\n' + HEAD, "E0213"),
    "an index in a prompt": ('component g(q: text) -> text = small("{q[0]}")\n' + HEAD, "E0611"),
    "a key": ('component g(q: text) -> text = http("https://x.org", key: "sk-0123456789abcdef")', "E0606"),
    "a password": ('component g(q: text) -> text = http("https://u:secret@x.org")', "E0606"),
    "not a number": (pipeline("if q == NaN { return q }\nreturn q"), "E0203"),
    "a number beyond the doubles' whole ones": (pipeline("x = [9223372036854775808]\nreturn f(q)"), "E0110"),
    "a file outside": ('import f from "../b.rag"', "E0213"),
    "a file that is everywhere": ('import f from "/etc/passwd"', "E0213"),
    "a prompt from outside": ('component g(q: text) -> text = small(file("../b.rag"))\n' + HEAD, "E0213"),
    "a value of two values of two values": (
        pipeline("x0 = q\n" + "".join(f"x{at + 1} = (a: x{at}, b: x{at})\n" for at in range(100)) + "return x100"),
        "E0314",
    ),
    "a list of a list of a list": (
        pipeline("x0 = q\n" + "".join(f"x{at + 1} = [x{at}]\n" for at in range(40)) + "return x40"),
        "E0314",
    ),
    "lists of lists by `each`": (
        pipeline("x0 = [q]\n" + "".join(f"x{at + 1} = each i in [q]: x{at}\n" for at in range(2000)) + "return x2000"),
        "E0314",
    ),
    "a list that doubles in each round": (
        pipeline("x = []\ny = q\nrepeat up to 3 {\nx = [(a: x, b: x)]\ny = f(y)\n}\nreturn y"),
        "E0314",
    ),
    "many rounds": (pipeline("x = q\nrepeat up to 1000000 { x = f(x) }\nreturn x"), "E0512"),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_a_finding(name: str) -> None:
    Path("../b.rag").write_text(HEAD, encoding="utf-8")
    Path("link.rag").symlink_to("../b.rag")
    text, code = ODDITIES[name]
    assert code in codes(text)


def test_files_that_import_each_other_are_a_finding() -> None:
    assert codes('import g from "b.rag"\n' + HEAD, b='import f from "a.rag"\n') >= {"E0207"}


MANY = {
    "blocks": ("if ok(q) {\n" * 10_000 + "}\n" * 10_000 + "return f(q)", "E0107"),
    "loops": ("repeat up to 2 {\n" * 10_000 + "}\n" * 10_000 + "return f(q)", "E0107"),
    "calls": ("return " + "f(" * 10_000 + "q" + ")" * 10_000, "E0107"),
    "lists": ("x = " + "[" * 10_000 + "]" * 10_000 + "\nreturn f(q)", "E0107"),
    "fallbacks": ("return f(q)" + " else f(q)" * 10_000, "E0107"),
    "items": ("x = " + "".join(f"each x{at} in [q]: " for at in range(5_000)) + "q\nreturn f(q)", "E0107"),
    "tests": ("if " + "ok(q) and " * (MOST_NODES + 1) + "ok(q) { return f(q) }\nreturn q", "E0406"),
    # The choice between what is returned is written last.
    "returns": ("if ok(q) { return f(q) }\n" * (MOST_NODES * 2 // 5) + "return q", "E0406"),
    "items of a list": (f"x = each one in [{', '.join(['q'] * (MOST_ITEMS + 1))}]: f(one)\nreturn f(q)", "E0323"),
    "statements": ("".join(f"x{at} = f(q)\n" for at in range(MOST_NODES + 1)) + "return q", "E0406"),
}


@pytest.mark.parametrize("what", MANY)
def test_too_many_of_anything_is_a_finding(what: str) -> None:
    body, code = MANY[what]
    assert code in codes(pipeline(body))


def test_a_list_may_have_as_many_items_as_each_goes_over() -> None:
    assert "E0323" not in codes(pipeline(f"x = each one in ([{'q, ' * MOST_ITEMS}]): f(one)\nreturn f(q)"))


def test_a_chain_of_components_may_be_long() -> None:
    many = 5_000
    chain = "".join(f"component c{at} = c{at - 1}()\n" for at in range(1, many))
    made = f'{HEAD}component c0(q: text) -> text ~ 9 tokens = small("{{q}}")\n{chain}'
    assert codes(f"{made}pipeline p(q: text ~ 9 tokens) -> text {{ return c{many - 1}(q) }}") == set()


def test_pipelines_that_double_are_refused_where_they_get_too_large() -> None:
    doubling = "".join(
        f"pipeline p{at}(q: text) -> text {{ return p{at - 1}(p{at - 1}(note(q))) }}\n" for at in range(1, 40)
    )
    assert codes(f"{HEAD}pipeline p0(q: text) -> text {{ return f(q) }}\n{doubling}") == {"E0406"}


def test_pipelines_that_call_one_another_are_bounded_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is small, and all that it calls stands in it anew: of many in a row this grows with their square."""
    many = 20
    # A port, its own call, and one of each before it.
    monkeypatch.setattr(calling, "MOST_COPIED", sum(at + 2 for at in range(many)))

    def found(*calls: tuple[int, int]) -> list[str]:
        made = (f"pipeline p{at}(q: text ~ 9 tokens) -> text {{ return f(p{of}(q)) }}\n" for at, of in calls)
        last = "pipeline p0(q: text ~ 9 tokens) -> text { return f(q) }\n"
        Path("a.rag").write_text(f"{HEAD}{last}{''.join(made)}", encoding="utf-8")
        return [one.message for one in check_files([Path("a.rag")]).found]

    chain = [(at, at - 1) for at in range(1, many + 1)]
    said = "with this call, pipelines that are called come to more than 230 operations in all"
    assert found(*chain) == []
    assert found(*chain, (many + 1, 0), (many + 2, many + 1), (many + 3, many)) == [said]


@pytest.mark.parametrize(("brought", "call", "operations"), [("called", "p0", 20), ("left out", "few", 1)])
def test_a_loop_that_is_read_again_has_called_once(
    monkeypatch: pytest.MonkeyPatch, brought: str, call: str, operations: int
) -> None:
    """Its block is read anew where a type grows from round to round; what was found before is forgotten."""
    loops = 4
    pipelines = "".join(
        f"""pipeline p{at}(q: text ~ 9 tokens) -> text {{
    x = q
    k = "a"
    repeat up to 3 {{
        x = {call}(of(x, k))
        k = "b"
    }}
    return x
}}
"""
        for at in range(1, loops + 1)
    )
    callee = f"pipeline p0(q: text ~ 9 tokens) -> text {{ return {'f(' * 19}q{')' * 19} }}\n"
    made = 'component few(q: text, r: text = "r") -> text ~ 9 tokens = small("{q}{r}")\n'
    of = 'component of(q: text, k: "a" | "b") -> text ~ 9 tokens = small("{q}{k}")\n'
    monkeypatch.setattr(calling, "MOST_COPIED", loops * operations)
    assert codes(f"{HEAD}{of}{made}{callee}{pipelines}") == set()
    monkeypatch.setattr(calling, "MOST_COPIED", loops * operations - 1)
    assert codes(f"{HEAD}{of}{made}{callee}{pipelines}") == {"E0406"}


@pytest.mark.parametrize("after", ["return x", "return f(q)"])
def test_why_a_name_cannot_be_read_in_a_loop_is_not_forgotten(after: str) -> None:
    assert codes(pipeline(f"x = q\nrepeat up to 3 {{ x = each i in q: f(i) }} until ok(q)\n{after}")) >= {"E0323"}


@pytest.mark.parametrize("asked", ["ok(q)", 'k == "a"', 'not (k != "a" or ok(q))'])
@pytest.mark.parametrize("block", ["if TEST { return k }", "repeat up to 3 { k = kind(k) } until TEST"])
def test_tests_within_tests_are_read_once_each(asked: str, block: str) -> None:
    test = asked
    for depth in range(40):
        test = f"({test}) {'and' if depth % 2 else 'or'} ok(q)"
    kind = 'component kind(q: text) -> "a" | "b" | "c" = small("{q}")\n'
    body = f"k = kind(q)\n{block.replace('TEST', test)}\nreturn k"
    assert not {code for code in codes(kind + pipeline(body)) if code.startswith("E")}


def test_what_is_wrong_in_a_prompt_of_a_file_is_shown_at_its_place() -> None:
    Path("prompt.txt").write_text('"é {q}"\n日本 {r} {q} {q.a}"', encoding="utf-8")
    Path("a.rag").write_text(
        f'{HEAD}component g(q: text) -> text = small(file("prompt.txt"))\n'
        "pipeline p(q: text ~ 9 tokens) -> text { return g(q) }",
        encoding="utf-8",
    )
    places = {
        one.span.source.text[one.span.start : one.span.end] for one in check_files([Path("a.rag")]).found if one.span
    }
    assert places >= {"{r}", "{q.a}"}


def test_what_a_called_pipeline_runs_in_blocks_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    many = 20
    monkeypatch.setattr(calling, "MOST_COPIED", many)
    of = f"{HEAD}pipeline p0(q: text) -> [text] {{ return each x in [q]: {'f(' * many}x{')' * many} }}\n"
    assert "E0406" in codes(f"{of}pipeline p(q: text) -> [text] {{ return p0(q) }}")


def test_a_branch_may_have_as_many_arms_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branching, "MOST_NODES", 6)

    def found(arms: int) -> set[str]:
        return codes(pipeline("\nel".join(["if ok(q) { return f(q) }"] * arms) + "\nreturn q"))

    assert "E0406" not in found(3)
    assert "E0406" in found(4)


def test_of_very_many_arms_it_is_not_asked_what_each_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as many labels each would keep all the others."""
    monkeypatch.setattr(branching, "chain", None)
    many = range(MOST_NODES // 2 + 1)
    labels = " | ".join(f'"k{at}"' for at in many)
    arms = "\nelif ".join(f'k == "k{at}" {{ return f("{at}") }}' for at in many)
    kind = f'component of(q: text) -> {labels} = small("{{q}}")\n'
    assert "E0406" in codes(kind + pipeline(f"k = of(q)\nif {arms}\nreturn q"))


@pytest.mark.parametrize("begun", ["sk-", "hf_", "glpat-", "://", "://:"])
def test_a_text_that_begins_many_keys_ends_in_none(begun: str) -> None:
    """Each beginning looks ahead a bounded way: otherwise this would take longer than a test may."""
    assert codes(pipeline(f'return f("a{begun * 150_000}")')) == {"W0203"}


def test_of_very_many_wrong_names_in_one_call_a_few_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes through all that are known, so that thousands of them would take a minute."""
    compared: list[str] = []

    def counted(name: str, known: Iterable[str]) -> str | None:
        compared.append(name)
        return nearest(name, known)

    monkeypatch.setattr(program, "nearest", counted)
    ports, wrong = (", ".join(f"{name}{at}: {of}" for at in range(100)) for name, of in (("p", "text"), ("q", "q")))
    many = f'component many({ports}) -> text ~ 9 tokens = python("m:many")\n'
    assert "E0216" in codes(HEAD + many + f"pipeline p(q: text ~ 9 tokens) -> text {{ return many({wrong}) }}")
    assert 0 < len(compared) <= program.MOST_SUGGESTED


def test_of_very_many_wrong_ports_of_a_function_a_few_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Components may have many wrong ports in all, however few each has."""
    compared: list[str] = []

    def counted(name: str, known: Iterable[str]) -> str | None:
        compared.append(name)
        return nearest(name, known)

    monkeypatch.setattr(annotations, "nearest", counted)
    Path("m.py").write_text("def f(other: str, another: str) -> str: ...\n", encoding="utf-8")
    ports = ", ".join(f"p{at}: text" for at in range(20))
    assert codes("".join(f'component f{at}({ports}) -> text = python("m:f")\n' for at in range(100))) == {"E0326"}
    # Once for the name alone, and once among those that no port has.
    assert 0 < len(compared) <= 2 * (program.MOST_SUGGESTED + 20)


def with_ports(many: int, default: str = "") -> str:
    """A component with so many ports."""
    ports = ", ".join(f"p{at}: text{default}" for at in range(many))
    prompt = "".join(f"{{p{at}}}" for at in range(many))
    return f'{HEAD}component wide({ports}) -> text ~ 9 tokens = small("{prompt}")\n'


def test_one_port_too_many_is_one_mistake() -> None:
    def found(ports: int) -> list[str]:
        wide = with_ports(ports) + "".join(
            f"pipeline p{at}({given}) -> text {{ return {call} }}\n"
            for at, (given, call) in enumerate((("q: text", "wide(q, of: q)"), ("a: bool", "wide(a, p1: a)")))
        )
        Path("a.rag").write_text(wide, encoding="utf-8")
        return [one.message for one in check_files([Path("a.rag")]).found]

    assert found(MOST_PORTS + 1) == ["`wide` has more than 100 ports"]
    assert "`wide` has more than 100 ports" not in found(MOST_PORTS)


@pytest.mark.parametrize("declared", ["", "(p0: text) -> text"])
def test_one_parameter_too_many_is_one_mistake(declared: str) -> None:
    def found(parameters: int) -> list[str]:
        given = ", ".join(f'p{at}: str = "a"' for at in range(parameters))
        Path("wide.py").write_text(f"def f({given}) -> str: ...\n", encoding="utf-8")
        made = f'component f{declared} = python("wide:f")\ncomponent g = python("wide:f")\n'
        text = f"{made}pipeline p(q: text) -> text {{ return f(g(q)) }}\n"
        Path("a.rag").write_text(text, encoding="utf-8")
        return [one.message for one in check_files([Path("a.rag")]).found if one.is_error]

    assert found(MOST_PORTS) == []
    said = "`f` has more than 100 parameters, of which a component would have its ports"
    assert found(MOST_PORTS + 1) == [said, said]


#: Calls of what has so many ports, with so many arguments in all, of which none is right.
WRONG = {
    "of wrong types": lambda ports, many: [", ".join(["[q]"] * ports)] * (many // ports),
    "with unknown names": lambda ports, many: [", ".join(f"q{at}: q" for at in range(many))],
    "too many": lambda ports, many: [", ".join(["q"] * (many + ports))],
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_argument_is_as_much_work_whatever_the_ports(what: str) -> None:
    def work(ports: int, many: int) -> int:
        calls = ", ".join(f"wide({given})" for given in WRONG[what](ports, many))
        text = f"{with_ports(ports)}pipeline p(q: text ~ 9 tokens) -> [text] {{ return [{calls}] }}"
        Path("a.rag").write_text(text, encoding="utf-8")
        return executed(lambda: check_files([Path("a.rag")]), but="/syntax/")

    work(10, 100)
    few, many = (work(ports, 2_000) - work(ports, 1_000) for ports in (10, MOST_PORTS))
    assert many < 1.2 * few


@pytest.mark.parametrize("written", ["k == {} or ok(q)", "k == ({})", "k != [{}]"], ids=["alone", "at once", "listed"])
def test_a_literal_that_is_no_label_is_as_much_work_whatever_the_labels(written: str) -> None:
    def work(labels: int, many: int) -> int:
        given = ("," if "[" in written else " or ").join(f'"z{at}"' for at in range(many))
        of = " | ".join(f'"l{at}"' for at in range(labels))
        head = f'{HEAD}component kind(q: text) -> {of} = python("m:kind")\n'
        body = f"k = kind(q)\nif {written.format(given)} {{ return q }}\nreturn q"
        Path("a.rag").write_text(f"{head}pipeline p(q: text ~ 9 tokens) -> text {{\n{body}\n}}", encoding="utf-8")
        return executed(lambda: check_files([Path("a.rag")]), but="/syntax/")

    work(10, 10)
    few, many = (work(labels, 600) - work(labels, 300) for labels in (10, 200))
    assert many < 1.2 * few


@pytest.mark.parametrize("named", ["f", "g"])
def test_a_module_is_looked_through_once_however_many_components_are_made_from_it(named: str) -> None:
    def work(length: int, many: int) -> int:
        body, after = "    print(q)\n" * length, "a = 1\n" * length
        Path("long.py").write_text(f"def f(q: str) -> str:\n{body}\n{after}g = f\n", encoding="utf-8")
        made = "".join(f'component f{at}(q: text) -> text = python("long:{named}")\n' for at in range(many))
        Path("a.rag").write_text(made, encoding="utf-8")
        return executed(lambda: check_files([Path("a.rag")]), but="/syntax/")

    work(1, 1)
    few, many = (work(length, 20) - work(length, 10) for length in (10, 100))
    assert many < 1.2 * few


@pytest.mark.parametrize("default", ["", ' = "a"'])
def test_ports_that_calls_leave_out_are_bounded_all_together(default: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "MOST_COPIED", 4 * 49)

    def found(calls: int) -> list[str]:
        made = (f"pipeline p{at}(q: text ~ 9 tokens) -> text {{ return wide(q) }}\n" for at in range(calls))
        Path("a.rag").write_text(with_ports(50, default) + "".join(made), encoding="utf-8")
        return [one.message for one in check_files([Path("a.rag")]).found if one.code != "E0302"]

    assert found(4) == []
    assert found(8) == ["with this call, the ports that calls leave out come to more than 196 operations in all"]


@pytest.mark.parametrize("many", [300, 20_000])
def test_very_many_findings_are_counted_and_the_first_are_kept(many: int) -> None:
    Path("a.rag").write_text(pipeline(f"x = [{', '.join(['q + q'] * many)}]\nreturn q"), encoding="utf-8")
    checked = check_files([Path("a.rag")])
    assert {item.code for item in checked.found} == {"E0312"}
    assert (len(checked.found), checked.left_out) == (MOST_OF_A_SORT, many - MOST_OF_A_SORT)


#: Texts with one mistake, and what there is to say of it.
ONE_MISTAKE = {
    "a function that is not there": (
        'component g = python("other:g")\npipeline p(q: text) -> text { return g(q) }',
        "E0621",
    ),
    "a function's name that is none": (
        'component g = python("g")\npipeline p(q: text) -> text { return g(q) }',
        "E0615",
    ),
    "an inner block that is not closed": (pipeline("    if ok(q) {\n        x = f(q)\n    return x"), "E0102"),
    "the same without indentation": (pipeline("if ok(q) {\nx = f(q)\nreturn x"), "E0102"),
    "a bracket too many": (pipeline("if ok(q) {\nx = f(q)\n}\n}\nreturn q"), "E0112"),
    "a file that imports itself": ('import f from "a.rag"\n' + pipeline("return f(q)"), "E0207"),
    "files that import each other": ('import g from "b.rag"\n' + pipeline("return f(q)"), "E0207"),
}


@pytest.mark.parametrize("what", ONE_MISTAKE)
def test_one_mistake_is_one_finding(what: str) -> None:
    text, code = ONE_MISTAKE[what]
    Path("other.py").write_text("def other(q: str) -> str: ...\n", encoding="utf-8")
    Path("b.rag").write_text('import f from "a.rag"\ncomponent g(q: text) -> text = f()\n', encoding="utf-8")
    Path("a.rag").write_text(text, encoding="utf-8")
    assert [item.code for item in check_files([Path("a.rag")]).found] == [code]


@pytest.mark.parametrize(
    "text", ['import f from "http://x.org/b.rag"', 'component g(q: text) -> text = small(file("http://x.org/b.rag"))']
)
def test_an_address_is_no_file_and_stands_in_the_message_as_it_was_written(text: str) -> None:
    Path("a.rag").write_text(f"{text}\n{HEAD}", encoding="utf-8")
    (found,) = check_files([Path("a.rag")]).found
    assert (found.code, found.message) == ("E0114", "`http://x.org/b.rag` is no file, and nothing is fetched")


@pytest.mark.parametrize("place", [r"{q[\t]}", r"\\{q[\\]}"])
def test_places_in_a_prompt_are_found_in_one_reading(place: str) -> None:
    """Where each one reads the rest of what is written, this takes longer than a test may."""
    text = 'component small = llm("m")\ncomponent g(q: text) -> text = small("PLACES {q}")\n'
    assert codes(text.replace("PLACES", place * 100_000)) == {"E0611"}


@pytest.mark.parametrize("name", ["q", "r"])
def test_a_long_prompt_is_looked_through_once_however_many_components_have_it(name: str) -> None:
    def work(inserts: int, many: int) -> int:
        base = f'component g(q: text) -> text = small("{{q}}{f"{{{name}}}" * inserts}")\n'
        made = "".join(f"component g{at}(q: text) -> text = g()\n" for at in range(many))
        Path("a.rag").write_text(f'component small = llm("m")\n{base}{made}', encoding="utf-8")
        return executed(lambda: check_files([Path("a.rag")]), but="/syntax/")

    work(1, 1)
    few, many = (work(inserts, 20) - work(inserts, 10) for inserts in (200, 2_000))
    assert many < 1.2 * few


@pytest.mark.parametrize(
    "written", [r'"{q[\t]}"', r'"\t{q[\\]}"', '"""\n  {q}\n  \t{q[a]}"""', r'"\t\\n{q.a}"', r'"\"{{q}} {q} {q.a} {q}"']
)
def test_a_place_in_a_prompt_is_told_where_it_is_written(written: str) -> None:
    Path("a.rag").write_text(f'component small = llm("m")\ncomponent g(q: text) -> text = small({written})\n')
    found = next(one for one in check_files([Path("a.rag")]).found if one.code == "E0611")
    assert found.span is not None
    text = found.span.source.text
    assert found.span.start == max(text.find("{q["), text.find("{q."))
    assert found.span.end == text.index("}", found.span.start) + 1


@pytest.mark.parametrize(
    ("written", "column"),
    [('"source == \\"a\\" source"', 65), ('"""source source"""', 58), ('setting("x", "source source")', 69)],
)
def test_what_is_wrong_within_a_text_is_said_at_its_place(written: str, column: int) -> None:
    text = f'component e = embedder("all-MiniLM-L6-v2")\ncomponent g = milvus("a", embedder: e, filter: {written})\n'
    Path("a.rag").write_text(text, encoding="utf-8")
    (found,) = check_files([Path("a.rag")]).found
    assert found.span is not None
    assert found.span.source.position(found.span.start) == (2, column)
