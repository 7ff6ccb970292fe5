from pathlib import Path

import pytest

from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.flow.passes.registry import PASSES

SAMPLES = Path(__file__).parents[2] / "samples"
CORRECTIVE = str(SAMPLES / "corrective.rag")


def test_mermaid_shows_component_kind_engine_visits_and_shares(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", CORRECTIVE]) == FINE
    drawn = capsys.readouterr().out
    assert drawn.startswith("flowchart TD\n")
    for part in ("pipeline corrective", "search<br/>milvus ·", "×0.3 a request", "grade == #34;no#34;", "yes, 30 %"):
        assert part in drawn


def test_dot_is_one_digraph(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", CORRECTIVE, "--format", "dot"]) == FINE
    assert capsys.readouterr().out.startswith("digraph flows {\n")


def test_text_after_all_passes_shows_the_embedding_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", CORRECTIVE, "--format", "text"]) == FINE
    assert capsys.readouterr().out.count("call minilm(") == 1


TWICE = """
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm)

pipeline twice(question: text) -> [passage] {
    return search(question) + search(question)
}
"""


def test_without_a_pass_its_work_is_not_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "twice.rag"
    file.write_text(TWICE, encoding="utf-8")
    assert run(["graph", str(file), "--format", "text"]) == FINE
    assert capsys.readouterr().out.count("call search(") == 1
    assert run(["graph", str(file), "--format", "text", "--without", "common_subexpressions"]) == FINE
    assert capsys.readouterr().out.count("call search(") == 2


@pytest.mark.parametrize("name", [each.name for each in PASSES])
def test_the_flow_can_be_seen_after_each_pass(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", CORRECTIVE, "--format", "text", "--after", name]) == FINE
    assert capsys.readouterr().out.startswith("pipeline corrective(")


def test_an_unknown_pipeline_is_a_diagnostic_that_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", CORRECTIVE, "--pipeline", "corective"]) == DIAGNOSTICS
    message = capsys.readouterr().err
    assert "error[E1120]" in message
    assert "did you mean `corrective`?" in message


@pytest.mark.parametrize("option", ["--after", "--without"])
def test_an_unknown_pass_is_a_usage_error_that_offers_the_nearest(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["graph", CORRECTIVE, option, "dead_cod"]) == USAGE
    assert "no pass is called 'dead_cod'; did you mean dead_code?" in capsys.readouterr().err
    assert run(["graph", CORRECTIVE, option, "inline"]) == USAGE
    assert "there are expand_retrieval, hoist_invariants, " in " ".join(capsys.readouterr().err.split())


def test_stopping_and_leaving_out_compose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "twice.rag"
    file.write_text(TWICE, encoding="utf-8")
    arguments = ["graph", str(file), "--format", "text", "--after", "dead_code"]
    searches = []
    for more in ([], ["--without", "common_subexpressions"], ["--without", "expand_retrieval"]):
        assert run([*arguments, *more]) == FINE
        written = capsys.readouterr().out
        searches.append((written.count("call search("), written.count("call minilm(")))
    # Merging needs the embeddings to be seen, so that it is left out with them.
    assert searches == [(1, 1), (2, 2), (2, 0)]


BRANCHING = """
component sure(question: text) -> bool = http("https://a.example/sure", takes: 2 s)
component web(question: text) -> [passage] ~ 4 = http("https://a.example/web", takes: 1500 ms)
component write(question: text, found: [passage]) -> text ~ 20 tokens = http("https://a.example/write", takes: 1 s)

pipeline ask(question: text ~ 20 tokens) -> text {
    load 0.01 rps
    if not sure(question) ~ 0.2 { return write(question, []) }
    return write(question, web(question))
}
"""
LAPTOP = str(SAMPLES / "inventories" / "laptop.toml")


@pytest.mark.parametrize(
    ("more", "early"),
    [
        ([], 0),
        (["--after", "speculate"], 0),
        (["--inventory", LAPTOP], 1),
        (["--inventory", LAPTOP, "--after", "speculate"], 1),
        (["--inventory", LAPTOP, "--after", "order_prompts"], 0),
        (["--inventory", LAPTOP, "--without", "speculate"], 0),
    ],
)
def test_what_begins_early_is_seen_where_the_machines_are_known(
    more: list[str], early: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ask.rag"
    file.write_text(BRANCHING, encoding="utf-8")
    assert run(["graph", str(file), "--format", "text", *more]) == FINE
    assert capsys.readouterr().out.count(" early ") == early


FRAMED = """
component small = llm("SmolLM2-135M-Instruct")
component tell(question: text) -> text ~ 20 tokens = small("{question}")
component good(answer: text) -> bool = small("Is this good? {answer}", max_tokens: 2)

pipeline told(question: text) -> text {
    answer = question
    repeat up to 3 {
        answer = tell(answer) within 2 s else "nothing"
    } until good(answer) ~ 0.7
    return answer
}
"""


@pytest.mark.parametrize("form", ["mermaid", "dot"])
def test_loops_and_fallbacks_are_framed(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "told.rag"
    file.write_text(FRAMED, encoding="utf-8")
    assert run(["graph", str(file), "--format", form]) == FINE
    written = capsys.readouterr().out
    assert '"repeat up to 3, last round 70 %"' in written
    assert '"try within 2 s, else"' in written


SAID_ONCE = """
component sort(q: text) -> "a" | "b" = python("tools:sort")
component w(q: text) -> text ~ 9 tokens = python("tools:w")

pipeline p(q: text) -> text {
    found = sort(q)
    y = q
    if found == "b" ~ 0.2 { y = w(y) }
    is_b = found == "b"
    if is_b { y = w(y) }
    return y
}
"""


def test_a_branch_has_the_share_that_is_said_elsewhere_of_its_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "once.rag"
    file.write_text(SAID_ONCE, encoding="utf-8")
    assert run(["graph", str(file)]) == FINE
    written = capsys.readouterr().out
    assert (written.count("yes, 20 %"), written.count("no, 80 %")) == (2, 2)


LATE = """
component slow(q: text) -> text ~ 9 tokens = python("tools:slow", takes: 400 ms)
component other(q: text) -> text ~ 9 tokens = python("tools:other", takes: 5 ms)

pipeline p(q: text) -> text {
    return slow(q) within 400 ms else other(q)
}
"""


def test_what_is_late_is_drawn_as_it_falls_back_where_the_machines_are_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "late.rag"
    file.write_text(LATE, encoding="utf-8")
    assert run(["graph", str(file)]) == FINE
    assert "×0.51 a request" not in capsys.readouterr().out
    assert run(["graph", str(file), "--inventory", LAPTOP]) == FINE
    assert "other<br/>python · other<br/>×0.51 a request" in capsys.readouterr().out
    page = tmp_path / "plan.html"
    assert run(["plan", str(file), "--inventory", LAPTOP, "--html", str(page)]) == FINE
    assert "×0.51 a request" in page.read_text(encoding="utf-8")


def test_a_broken_file_is_reported_and_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.rag"
    broken.write_text("pipeline p(question: text) -> text {\n    return nothing(question)\n}\n", encoding="utf-8")
    assert run(["graph", str(broken)]) == DIAGNOSTICS
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error[E02" in shown.err


def test_what_is_drawn_and_does_not_hold_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "apart.rag"
    source.write_text(
        """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 9)
component one(q: text) -> bool = small("one {q}")
component other(q: text) -> bool = small("other {q}")
component mend(q: text) -> text = small("mend {q}")
pipeline p(q: text ~ 9 tokens) -> text {
    y = q
    m = one(q)
    n = other(q)
    if m ~ 0.3 { y = mend(y) }
    if n ~ 0.4 { y = mend(y) }
    if m and n ~ 0.5 { y = mend(y) }
    return y
}
"""
    )
    assert run(["graph", str(source)]) == FINE
    assert f"{source}:12 says ~ 0.5, and what else is said leaves 0.12.\n" in capsys.readouterr().err
    assert run(["graph", CORRECTIVE]) == FINE
    assert not capsys.readouterr().err
