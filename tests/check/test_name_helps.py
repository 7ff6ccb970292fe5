"""The next step where a name, of a component, a pipeline, a function or a type, does not say what was meant."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files


def test_a_component_that_names_itself_is_told_to_name_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written = ('s = milvus("docs", embedder: s)', "b = b()", "c = d()", "d = c()", 'llm = llm("m")')
    Path("a.rag").write_text("".join(f"component {one}\n" for one in written))
    assert [item.help for item in check_files([Path("a.rag")]).found] == [
        "let `s` name another component than `s` here",
        "make it from a kind, or from another component",
        "make one of them from a kind",
        "the component hides the kind `llm`: give it another name",
    ]


def test_a_function_without_its_quotes_gets_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.rag").write_text(
        "component parse = python(tools:parse)\ncomponent f(q: text) -> text = python(tools: walk, cores: 2)\n"
        "component g(q: text) -> text = llm(tools:parse)\n"
        "component h(q: text) -> text = python(lib.tools.parse)\ncomponent i(q: text) -> text = llm(tools.parse)\n"
    )
    first, second, other = (item.help for item in check_files([Path("a.rag")]).found if item.code == "E0601")
    assert [first, second] == ['write it in quotes: `"tools:parse"`', 'write it in quotes: `"tools:walk"`']
    assert other.startswith("`llm` takes `model`, ")
    assert [item.help for item in check_files([Path("a.rag")]).found if item.code == "E0602"] == [
        'write it in quotes: `"lib.tools:parse"`',
        'write it in quotes: `"tools.parse"`',
    ]


def test_a_component_s_own_name_is_never_what_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = (
        'component small = smal("x")',
        'component search = milvus("docs", embedder: serch)',
        # The name of another is still offered.
        'component large = smaal("x")',
    )
    Path("a.rag").write_text("\n".join(lines))
    helps = [item.help for item in check_files([Path("a.rag")]).found if item.code == "E0201"]
    assert "`small`" not in helps[0]
    assert helps[0].startswith("the kinds are ")
    assert helps[1:] == ["declare it: `component serch = embedder(…)`", "did you mean `small`?"]


def test_a_pipeline_s_own_name_is_never_what_was_meant_by_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asking = "pipeline asking(q: text) -> text { return askin(q) }\n"
    Path("a.rag").write_text(asking + "pipeline other(q: text) -> text { return asing(q) }\n")
    helps = [item.help for item in check_files([Path("a.rag")]).found]
    assert helps == ["declare it: `component askin(…) -> … = …`", "did you mean `asking`?"]


def test_a_type_s_own_name_is_never_what_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.rag").write_text("type record = (a: recor)\ntype other = [recrd]")
    helps = [item.help for item in check_files([Path("a.rag")]).found if item.code == "E0210"]
    assert helps[0].startswith("declare it with `type`")
    assert helps[1] == "did you mean `record`?"


def test_a_port_of_one_class_is_told_the_type_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.rag").write_text("class fast(deadline: 3 s)\npipeline p(u: fast) -> text { return u }\n")
    (found,) = check_files([Path("a.rag")]).found
    assert (found.code, found.help.partition(":")[0]) == ("E0214", "write `class`")


@pytest.mark.parametrize(
    ("written", "help"),
    [
        ("str", "write `text`"),
        ("Integer", "write `number`"),
        ("boolean", "write `bool`"),
        ("List", "a list type is its item's in brackets: `[text]`"),
        ("dict", "a record type names its parts: `(name: text, sure: bool)`"),
        ("Class", "did you mean `class`?"),
        ("any", "declare it with `type`, or use one of `text`, `number`, `bool`, `vector`, `message`, `passage`"),
    ],
)
def test_a_type_of_another_language_is_told_what_it_is_called_here(written: str, help: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rag"
    path.write_text(f'component c(q: {written}) -> text = python("m:c")\n')
    assert [item.help for item in check_files([path]).found if item.code == "E0210"] == [help]


def test_what_another_file_imports_is_imported_from_where_it_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.rag").write_text('component find(q: text) -> text = python("m:find")\n')
    asking = 'import find as look from "base.rag"\npipeline asking(q: text) -> text { return look(q) }\n'
    Path("asking.rag").write_text(asking)
    other = 'import look, asking from "asking.rag"\npipeline other(q: text) -> text { return asking(look(q)) }\n'
    Path("other.rag").write_text(other)
    for paths in (["other.rag"], ["other.rag", "asking.rag"], ["asking.rag", "other.rag"]):
        (found,) = check_files([*map(Path, paths)]).found
        assert (found.code, found.help) == ("E0212", "import `find` from the file that declares it, `base.rag`")


def test_a_function_without_annotations_is_told_to_have_its_ports_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.py").write_text("lam = lambda q: q\n")
    Path("a.rag").write_text(
        'component f = python("m:lam")\ncomponent g = f()\npipeline p(q: text) -> text { return f(g(q)) }\n'
    )
    found = [item for item in check_files([Path("a.rag")]).found if item.code == "E0310"]
    assert {item.help for item in found} == {"declare the ports: `component f(…) -> … = …`"}


def test_a_keyword_that_is_bound_as_a_name_is_one_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = "pipeline p(q: text) -> text {\nto = q\nx = [to]\nreturn to\n}\n"
    Path("a.rag").write_text(body)
    Path("b.rag").write_text(body.replace("pipeline p", "pipeline o"))
    found = check_files([Path("a.rag"), Path("b.rag")]).found
    assert [(item.code, len(item.notes)) for item in found] == [("E0104", 2)] * 2


@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("done", "take it of what it is a part of: `step.done`"),
        ("source", "take it of what it is a part of: `first.source`"),
        ("dune", 'bind it before, or write a text: `"dune"`'),
    ],
)
def test_a_part_without_its_record_is_offered_with_it(name: str, help: str, tmp_path: Path) -> None:
    file = tmp_path / "a.rag"
    file.write_text(
        'component think(q: text) -> (thought: text, done: bool) = python("m:f")\n'
        'component ok(q: text) -> bool = python("m:g")\n'
        "pipeline p(q: text, first: passage) -> text {\n    x = q\n    repeat up to 3 {\n"
        f"        step = think(x)\n        x = step.thought\n    }} until {name}\n    return x\n}}\n"
    )
    (found,) = (item for item in check_files([file]).found if item.is_error)
    assert (found.code, found.help) == ("E0203", help)
