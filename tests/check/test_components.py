"""Components: what they take over, on which engine they stand, what their settings become."""

from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.check.files import Checked, check_files
from harmonia_compiler.contract.component import Component, Env, Insert, Secret, Sizes
from harmonia_compiler.contract.types import Labels, ListOf, Message, Text
from harmonia_compiler.flow.graph import Application


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(**files: str) -> None:
    for name, text in files.items():
        Path(f"{name}.rag").write_text(text, encoding="utf-8")


def check(*names: str, **settings: str) -> Checked:
    return check_files([Path(f"{name}.rag") for name in names], settings)


def application(text: str, **settings: str) -> Application:
    write(a=text)
    checked = check("a", **settings)
    assert checked.application is not None, checked.found
    return checked.application


CALL = "\npipeline p(q: text) -> text { return f(q) }"


def test_what_is_made_from_a_component_shares_its_engine() -> None:
    app = application(
        'component small = llm("SmolLM2-135M-Instruct", system: "Be brief.", max_tokens: 64)\n'
        'component f(q: text) -> text = small("Q: {q}")\n'
        'component g(q: text) -> "x" | "y" = f(max_tokens: 2, "Choose: {q}")\n'
        "pipeline p(q: text) -> text { return f(g(q)) }"
    )
    assert list(app.engines) == ["small"]
    assert app.engines["small"].settings == {"model": "SmolLM2-135M-Instruct"}
    f, g = app.components["f"], app.components["g"]
    assert (f.engine, g.engine) == ("small", "small")
    assert f.prompt == ("Q: ", Insert("q"))
    assert g.prompt == ("Choose: ", Insert("q"))
    assert f.system == g.system == ("Be brief.",)
    assert (f.settings, g.settings) == ({"max_tokens": 64}, {"max_tokens": 2})
    assert (f.result, g.result) == (Text(), Labels(("x", "y")))


def test_equal_engines_are_one_and_named_after_the_first_that_is_needed() -> None:
    app = application(
        'component unused = llm("SmolLM2-135M-Instruct")\n'
        'component one = llm("SmolLM2-135M-Instruct", server: "auto")\n'
        'component two = llm("SmolLM2-135M-Instruct")\n'
        'component other = llm("SmolLM2-135M-Instruct", min_replicas: 2)\n'
        'component f(q: text) -> text = two("{q}")\n'
        'component g(q: text) -> text = one("{q}")\n'
        'component h(q: text) -> text = other("{q}")\n'
        "pipeline p(q: text) -> text { return f(g(h(q))) }"
    )
    assert list(app.engines) == ["one", "other"]
    assert {name: made.engine for name, made in app.components.items()} == {"f": "one", "g": "one", "h": "other"}


def test_only_what_the_served_pipelines_reach_is_there() -> None:
    write(
        library='component f(q: text) -> text = python("m:f")\ncomponent g(q: text) -> text = python("m:g")\n'
        "pipeline other(q: text) -> text { return g(q) }",
        main='import f from "library.rag"\n' + CALL,
    )
    app = check("main").application
    assert app is not None
    assert [flow.name for flow in app.flows] == ["p"]
    assert list(app.components) == list(app.engines) == ["f"]
    both = check("main", "library").application
    assert both is not None
    assert [flow.name for flow in both.flows] == ["p", "other"]


def test_the_embedder_that_a_search_names_is_there() -> None:
    app = application(
        'component minilm = embedder("all-MiniLM-L6-v2")\n'
        'component search = milvus("docs", embedder: minilm, top_k: 3)\n'
        "component wide = search(top_k: 40)\n"
        "pipeline p(q: text) -> [passage] { return wide(q) }"
    )
    assert list(app.components) == ["minilm", "wide"]
    assert list(app.engines) == ["minilm", "search"]
    assert app.components["wide"].settings == {"collection": "docs", "embedder": "minilm", "top_k": 40}


def test_names_that_clash_between_files_are_qualified() -> None:
    write(
        b='component f(q: text) -> text = python("m:b")\npipeline p(q: text) -> text { return f(q) }',
        a='import p as other from "b.rag"\ncomponent f(q: text) -> text = python("m:a")\n'
        "pipeline p(q: text) -> text { return f(other(q)) }",
    )
    app = check("a", "b").application
    assert app is not None
    assert list(app.components) == ["f", "b.f"]
    assert [flow.name for flow in app.flows] == ["p", "b.p"]
    assert app.engines["b.f"].settings == {"function": "m:b"}


def test_units_are_normalised() -> None:
    app = application(
        "component f(q: text ~ 10 tokens, w: number = 0.5) -> [text ~ 15 tokens] ~ 4 = "
        'python("m:f", memory: 512 MiB, timeout: 2 min, cores: 1.5, takes: 30 ms, pure: false)\n'
        "pipeline p(q: text) -> [text] { return f(q) }"
    )
    component = app.components["f"]
    assert app.engines["f"].settings == {"function": "m:f", "memory": 0.5, "cores": 1.5}
    assert component.settings == {"timeout": 120_000, "takes": 30, "pure": False}
    assert (component.size, component.item_size) == (4, 15)
    assert [(port.size, port.default) for port in component.ports] == [(10, msgspec.UNSET), (None, 0.5)]


def test_late_settings_keep_only_the_name() -> None:
    app = application('component f(q: text) -> text = http(env("F_URL"), key: secret("F_KEY"))' + CALL)
    assert app.engines["f"].settings == {"url": Env("F_URL"), "key": Secret("F_KEY")}


def test_settings_come_from_the_command_line() -> None:
    text = (
        'component small = llm(setting("model", "SmolLM2-135M-Instruct"), max_tokens: setting("most", 64))\n'
        'component f(q: text) -> text = small("{q}", timeout: setting("wait"))' + CALL
    )
    app = application(text, wait="2 s")
    assert app.engines["small"].settings == {"model": "SmolLM2-135M-Instruct"}
    assert app.components["f"].settings == {"max_tokens": 64, "timeout": 2000}
    app = application(text, wait="1 min", model="SmolLM2-360M-Instruct", most="8")
    assert app.engines["small"].settings == {"model": "SmolLM2-360M-Instruct"}
    assert app.components["f"].settings == {"max_tokens": 8, "timeout": 60_000}


@pytest.mark.parametrize("written", ["0.5", "5e-1", "5E-1", "0.05e+1"])
def test_a_number_is_written_on_the_command_line_as_in_a_file(written: str) -> None:
    text = (
        'component small = llm("SmolLM2-135M-Instruct", temperature: PLACE)\n'
        'component f(q: text) -> text = small("{q}")' + CALL
    )
    app = application(text.replace("PLACE", 'setting("t")'), t=written)
    assert app.components["f"].settings["temperature"] == 0.5
    assert application(text.replace("PLACE", written)).components["f"].settings["temperature"] == 0.5


def test_prompts() -> None:
    Path("prompts").mkdir()
    Path("prompts/p.txt").write_text("Dear {q},\n{{q}} is {plain: 3} { q }.\n", encoding="utf-8")
    app = application(
        'component small = llm("SmolLM2-135M-Instruct")\n'
        'component f(q: text) -> text = small(file("prompts/p.txt"))\n'
        'component chat(turns: [message], q: text) -> text = small("{q}", system: "Help.")\n'
        "pipeline p(turns: [message], q: text) -> text { return chat(turns, f(q)) }"
    )
    assert app.components["f"].prompt == ("Dear ", Insert("q"), ",\n{q} is {plain: 3} { q }.\n")
    assert app.components["chat"].ports[0].type == ListOf(Message())


def test_types_by_name() -> None:
    app = application(
        'type label = "x" | "y"\ntype pair = (left: label, right: [text ~ 5 tokens] ~ 2)\n'
        'component f(q: text) -> pair = python("m:f")\n'
        "pipeline p(q: text) -> text { return f(q).left }"
    )
    assert app.components["f"].sizes == Sizes(parts={"right": Sizes(2, Sizes(5))})


def test_a_size_is_known_wherever_it_is_said() -> None:
    app = application(
        "type person = (name: text ~ 5 tokens, age: number, notes: [[text ~ 9 tokens] ~ 2] ~ 3)\n"
        'component f(people: [person] ~ 7, some: [text ~ 4 tokens]) -> [[text ~ 5 tokens] ~ 12] ~ 3 = python("m:f")\n'
        "pipeline p(people: [person], some: [text]) -> [[text]] { return f(people, some) }"
    )
    person = Sizes(parts={"name": Sizes(5), "notes": Sizes(3, Sizes(2, Sizes(9)))})
    component = app.components["f"]
    assert [port.sizes for port in component.ports] == [Sizes(7, person), Sizes(item=Sizes(4))]
    assert component.sizes == Sizes(3, Sizes(12, Sizes(5)))
    assert app.flows[0].ports[0].sizes == Sizes(item=person)
    assert msgspec.json.decode(msgspec.json.encode(component), type=Component) == component


def test_a_file_of_components_alone_is_fine() -> None:
    app = application('component f(q: text) -> text = python("m:f")')
    assert (app.flows, app.components, app.engines) == ((), {}, {})


def test_a_file_given_twice_is_one() -> None:
    write(a='component f(q: text) -> text = python("m:f")' + CALL)
    checked = check_files([Path("a.rag"), Path("./a.rag"), Path("a.rag").resolve()])
    assert checked.application is not None
    assert len(checked.application.flows) == len(checked.application.sources) == 1


def test_sources_bear_the_names_that_the_user_wrote() -> None:
    Path("sub").mkdir()
    Path("sub/library.rag").write_text('component f(q: text) -> text = python("m:f")', encoding="utf-8")
    Path("sub/a.rag").write_text('import f from "./library.rag"' + CALL, encoding="utf-8")
    checked = check_files([Path("sub/a.rag")])
    assert checked.application is not None
    assert [source.name for source in checked.application.sources] == ["sub/a.rag", "sub/library.rag"]


def test_nothing_outside_of_the_project_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside.txt").write_text("secret", encoding="utf-8")
    inside = tmp_path / "project"
    inside.mkdir()
    monkeypatch.chdir(inside)
    Path("link.txt").symlink_to(tmp_path / "outside.txt")
    for path in ("../outside.txt", "link.txt", str(tmp_path / "outside.txt")):
        write(a=f'component f(q: text) -> text = small(file("{path}"))\ncomponent small = llm("SmolLM2-135M-Instruct")')
        (found,) = check("a").found
        assert found.code == "E0213"


def test_odd_files_are_findings(tmp_path: Path) -> None:
    (tmp_path / "large.rag").write_bytes(b"#" * (2**20 + 1))
    (tmp_path / "folder.rag").mkdir()
    (tmp_path / "marked.rag").write_bytes(b"\xef\xbb\xbf# with a byte order mark\n")
    codes = {name: [item.code for item in check(name).found] for name in ("large", "folder", "missing", "marked")}
    assert codes == {"large": ["E0108"], "folder": ["E0114"], "missing": ["E0114"], "marked": ["W0204"]}
    write(a='import f from "a\0b.rag"\n' + CALL)
    assert [item.code for item in check("a").found] == ["E0114"]


def test_the_order_of_declarations_does_not_matter() -> None:
    lines = [
        "pipeline p(q: text) -> text { return r(q) }",
        'component f(q: t) -> t = g("{q}")',
        "pipeline r(q: t) -> text { return f(q) }",
        'component g = llm("SmolLM2-135M-Instruct")',
        "type t = text",
    ]
    assert application("\n".join(lines)).components == application("\n".join(reversed(lines))).components


def test_unknown_places_are_marked_behind_escapes_too() -> None:
    text = r'component small = llm("m")' "\n" r'component a(q: text) -> text = small("{q.\n} \t{q} \"{nobody}\"")'
    write(a=text)
    (found,) = check("a").found
    assert found.span is not None
    assert text[found.span.start : found.span.end] == "{nobody}"


def test_what_shares_with_nobody_has_an_engine_of_its_own_whatever_it_is_made_from() -> None:
    app = application(
        'component small = llm("SmolLM2-135M-Instruct")\n'
        'component twin = llm("SmolLM2-135M-Instruct", share: never)\n'
        'component f(q: text) -> text ~ 9 tokens = small("{q}")\n'
        'component g(q: text) -> text ~ 9 tokens = small("{q}", share: never)\n'
        'component h(q: text) -> text ~ 9 tokens = twin("{q}")\n'
        'component i(q: text) -> text ~ 9 tokens = g("{q}!")\n'
        "pipeline p(q: text) -> text { return f(g(h(i(q)))) }"
    )
    assert {name: made.engine for name, made in app.components.items()} == {
        "f": "small",
        "g": "g",
        "h": "twin",
        "i": "g",
    }
    assert {engine.settings["model"] for engine in app.engines.values()} == {"SmolLM2-135M-Instruct"}


@pytest.mark.parametrize("word", ["bf16", '"bf16"'])
def test_a_word_that_a_setting_takes_needs_no_quotes(word: str) -> None:
    app = application(
        f'component small = llm("SmolLM2-135M-Instruct", precision: {word})\n'
        'component f(q: text) -> text ~ 9 tokens = small("{q}")' + CALL
    )
    assert app.engines["small"].settings["precision"] == "bf16"
