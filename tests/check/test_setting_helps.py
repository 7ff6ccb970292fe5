"""What a finding offers for a setting that is not as it should be: for what it holds, and for prompts."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files

SETTINGS = {
    'python("m:f", on: gpu)': (
        "leave it out, and the plan says where, or name a type: it takes "
        "`t4`, `a10g`, `l4`, `l40s`, `a100_sxm`, `h100_sxm`, `h200_sxm`, `cpu`"
    ),
    'milvus("dö-cs x", embedder: e)': "write at most 64 letters from a to z, digits and `_`, the first no digit",
    'python("tidy")': "write `module:name`",
    'python("lib/tools.py")': "write `module:name`",
    'python("lib/tools.py:tidy")': 'did you mean `"lib.tools:tidy"`?',
    'python("lib.tools.tidy")': 'did you mean `"lib.tools:tidy"`?',
    'llm("m", revision: "refs/pr:1")': "write at most 64 letters from a to z, digits, `.`, `_` and `-`",
    'http("ftp://host")': "write `http://HOST` or `https://HOST`, with a port from 1 to 65535 and a path if need be, "
    "without blanks",
    'llm("")': "write a model's name, which has no blanks and no braces",
    'llm("Answer: {q}")': "name the model first, and give what else there is behind it",
    'reranker("of the web")': "name the model first, and give what else there is behind it",
    'llm("SmolLM2-135M-Instruct", stop: "")': "write a text that is not empty",
    'llm("SmolLM2-135M-Instruct", hosts: "a")': "write `name=value`, each of at most 64 letters from a to z, digits, "
    "`.`, `_` and `-`",
}


@pytest.mark.parametrize("made", SETTINGS)
def test_a_finding_says_what_a_setting_may_hold(made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ports = "" if made.startswith(("milvus", "reranker")) else "(q: text) -> text"
    Path("a.rag").write_text(f'component e = embedder("all-MiniLM-L6-v2")\ncomponent c{ports} = {made}\n')
    found = [item for item in check_files([Path("a.rag")]).found if item.code == "E0615"]
    assert [item.help for item in found] == [SETTINGS[made]]


def test_a_setting_that_is_needed_is_given_as_more_than_nothing(tmp_path: Path) -> None:
    """Also on the command line, where a variable of the shell may be unset."""
    path = tmp_path / "a.rag"
    path.write_text('component c(q: text) -> text = llm(setting("model"), prompt: "{q}")\n')
    assert [item.code for item in check_files([path], {"model": "any"}).found] == []
    (found,) = [item for item in check_files([path], {"model": ""}).found if item.is_error]
    assert (found.code, found.message) == ("E0615", '`model` cannot be ""')


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("max_model_len: 5", "`max_model_len` is from 128 to 1048576"),
        ("seed: -1", "`seed` is from 0 to 2147483647"),
        ("top_p: 0", "`top_p` is from 0.01 to 1"),
    ],
)
def test_bounds_are_plain_numbers(setting: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rag"
    path.write_text(f'component c(q: text) -> text = llm("SmolLM2-135M-Instruct", "{{q}}", {setting})\n')
    assert message in [item.message for item in check_files([path]).found]


@pytest.mark.parametrize(
    ("declared", "found"),
    [
        ('llm("m", "{q}")', [("E0603", "write `prompt: …` if this is the prompt, or delete one of the two")]),
        (
            'llm("m", "{qu}")',
            [
                ("E0603", "write `prompt: …` if this is the prompt, or delete one of the two"),
                ("E0610", "did you mean `{q}`?"),
            ],
        ),
        ('llm("m", "n", prompt: "{q}")', [("E0603", "delete one of the two")]),
        ('llm("m", prompt: "{q}", "{q}")', [("E0603", "delete one of the two")]),
        ('python("m:f", "g")', [("E0603", "delete one of the two")]),
    ],
)
def test_a_second_unnamed_setting_may_be_meant_as_the_prompt(
    declared: str, found: list[tuple[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "a.rag"
    file.write_text(f"component c(q: text) -> text = {declared}\npipeline p(q: text) -> text {{ return c(q) }}\n")
    assert [(item.code, item.help) for item in check_files([file]).found if item.is_error] == found


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("{Question}", [("E0610", "did you mean `{question}`?")]),
        ("{question} {Question} {QUESTION}", [("W0205", "did you mean `{question}`?")]),
        ('{question} {{Question}} {"Question": 3} { Question } {Questions} {"a": {Question: 1}}', []),
        ("{questions}", [("E0610", "did you mean `{question}`?")]),
    ],
)
def test_a_port_with_capital_letters_is_told_its_name(
    prompt: str, found: list[tuple[str, str]], tmp_path: Path
) -> None:
    file = tmp_path / "a.rag"
    file.write_text(
        'component small = llm("m")\n'
        f'component c(question: text) -> text ~ 4 tokens = small("""{prompt}""")\n'
        "pipeline p(question: text ~ 4 tokens) -> text { return c(question) }\n"
    )
    items = [item for item in check_files([file]).found if item.code != "E0801"]
    assert [(item.code, item.help) for item in items] == found


@pytest.mark.parametrize(("given", "written"), [("1_000", "1000"), ("1_000_000", "1000000")])
def test_a_number_in_groups_is_told_to_be_written_as_one(given: str, written: str, tmp_path: Path) -> None:
    path = tmp_path / "a.rag"
    path.write_text(f'component c(q: text) -> text = llm("m", prompt: "{{q}}", timeout: {given} ms)\n')
    found = next(item for item in check_files([path]).found if item.is_error)
    assert (found.code, found.help) == ("E0105", f"write `{written}`")


def test_a_key_is_read_at_start_and_not_given_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "a.rag"
    file.write_text('component c(q: text) -> text = http("https://example.org", key: setting("K"))\n')
    (found,) = (item for item in check_files([file]).found if item.is_error)
    assert (found.code, found.help) == ("E0608", 'a key is read at start: `key: secret("NAME")`')
