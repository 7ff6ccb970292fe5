"""`harmoniac simulate`: reports, exit codes, and traces that are wrong."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from harmonia_compiler.cli import simulate
from harmonia_compiler.cli.main import run
from tests.cli.one_host import on_one_host

SOURCE = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component sure(question: text) -> bool = model("Sure? {question}", max_tokens: 2)
component answer(question: text) -> text ~ 50 tokens = model("Answer: {question}", max_tokens: 120)

pipeline ask(question: text ~ 30 tokens) -> text {
    slo p95 latency <= 2 s
    load 4 rps
    if sure(question) ~ 0.25 { return "yes" }
    return stream answer(question)
}
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return on_one_host(tmp_path, SOURCE)


def simulated(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["simulate", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_report_at_the_declared_load(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = simulated(capsys, *files, "--for", "100s", "--format", "json")
    assert code == 0
    report = json.loads(out)
    assert report["kind"] == "simulation"
    assert report["window_ms"] == [10_000, 100_000]
    (group,) = report["groups"]
    figures = group["figures"]
    assert figures["outcomes"] == {**figures["outcomes"], "ok": figures["requests"]}
    assert figures["requests"] == pytest.approx(360, rel=0.2)
    calls = {stage["component"]: stage["calls_per_request"] for stage in report["stages"]}
    assert calls["sure"] == 1.0
    assert calls["answer"] == pytest.approx(0.75, abs=0.1)
    assert "events in" in err


@pytest.mark.parametrize(
    ("load", "least", "most"), [("10 rps", 480, 600), ("0.02 rps", 300, 500), ("0.001 rps", 50, 130)]
)
def test_where_nobody_says_for_how_long_enough_come_at_a_low_load_too(
    files: list[str], capsys: pytest.CaptureFixture[str], load: str, least: int, most: int
) -> None:
    """A minute, until there are about 400, or a day; less the warm-up."""
    Path(files[0]).write_text(SOURCE.replace("4 rps", load))
    code, out, _ = simulated(capsys, *files, "--format", "json", "--without", "controller")
    assert code == 0
    assert least < json.loads(out)["groups"][0]["figures"]["requests"] < most


def test_the_same_seed_prints_the_same_report(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    once, again = (simulated(capsys, *files, "--for", "20s")[1] for _ in range(2))
    assert once == again
    assert once != simulated(capsys, *files, "--for", "20s", "--seed", "2")[1]


def test_a_run_that_the_controller_makes_long_says_so(
    files: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "the controller looks 12 times, idle or not: that takes minutes, and `--without controller` leaves it out"
    assert said not in simulated(capsys, *files, "--for", "60s")[2]
    monkeypatch.setattr(simulate, "_MANY_LOOKS", 12)
    assert f"the run lasts 1 min, in which {said}" in simulated(capsys, *files, "--for", "60s")[2]
    assert said not in simulated(capsys, *files, "--for", "60s", "--without", "controller")[2]


def test_a_trace_says_when_and_how_long(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "azure.csv"
    rows = [f"2024-01-01 00:00:{second:02d}.0000000,100,{40 if second % 2 else 80}" for second in range(0, 60, 2)]
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")
    code, out, _ = simulated(capsys, *files, "--trace", str(trace), "--format", "json", "--warmup", "1s")
    assert code == 0
    (group,) = json.loads(out)["groups"]
    assert group["figures"]["requests"] == 29


@pytest.mark.parametrize("longest", [120, 9000])
def test_a_report_says_how_many_recorded_answers_were_cut(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], longest: int
) -> None:
    """A quarter of the requests are answered with "yes", whatever is recorded of them."""
    trace = tmp_path / "azure.csv"
    rows = [f"2024-01-01 00:00:{second:02d}.0,100,{longest if second % 2 else 80}" for second in range(60)]
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")
    notes = json.loads(simulated(capsys, *files, "--trace", str(trace), "--format", "json")[1])["notes"]
    said = [note for note in notes if "of the trace" in note]
    if longest == 120:
        assert said == []
        return
    (note,) = said
    found = re.fullmatch(r"Of 60 answers of the trace, (\d+) are longer than .*`answer`.* were cut to that\.", note)
    assert found is not None
    assert 15 <= int(found[1]) <= 30
    assert note in simulated(capsys, *files, "--trace", str(trace))[1]


@pytest.mark.parametrize("more", [[], ["--scale", "2"], ["--from", "100s"]])
def test_a_trace_comes_at_the_rate_that_is_asked_for_in_the_part_that_is_sent(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    trace = tmp_path / "mooncake.jsonl"
    # Ten minutes, of which the first two are quiet.
    times = [*range(0, 120, 10), *range(120, 600)]
    row = '{{"timestamp": {}, "input_length": 9, "output_length": 9}}\n'
    trace.write_text("".join(row.format(second * 1000) for second in times))
    sent = ("--trace", str(trace), "--rate", "2", "--for", "40s", "--warmup", "1ms", *more)
    code, out, _ = simulated(capsys, *files, *sent, "--format", "json")
    assert code == 0
    assert json.loads(out)["groups"][0]["figures"]["requests"] == pytest.approx(80, abs=8)


def test_a_trace_that_is_wrong_is_a_finding_with_its_line(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "azure.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-01-01 00:00:00.0000000,-4,10\n")
    code, out, err = simulated(capsys, *files, "--trace", str(trace))
    assert (code, out) == (1, "")
    assert "azure.csv:2:" in err


def test_a_page_is_written_beside_the_text(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    code, out, _ = simulated(capsys, *files, "--for", "20s", "--html", str(page))
    assert code == 0
    assert "What came of the requests" in out
    assert "<svg" in page.read_text()


def test_what_was_found_is_told_though_the_disk_is_full_by_then(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = simulated(capsys, *files, "--for", "20s", "--html", "/dev/full")
    assert code == 1
    assert "What came of the requests" in out
    assert "error[E1131]: `/dev/full` cannot be written" in err


@pytest.mark.parametrize(("wrong", "code"), [(["--without", "all"], 2), (["--rate", "1e-9"], 1)])
def test_what_gives_no_report_leaves_no_page_and_changes_none(
    files: list[str], tmp_path: Path, wrong: list[str], code: int
) -> None:
    new, old = tmp_path / "new.html", tmp_path / "old.html"
    old.write_text("of another run")
    for page in (new, old):
        assert run(["simulate", *files, "--html", str(page), *wrong]) == code
    assert not new.exists()
    assert old.read_text() == "of another run"


def test_options_that_make_no_run_are_usage_mistakes(files: list[str]) -> None:
    for wrong in (["--warmup", "2m", "--for", "1m"], ["--rate", "0"], ["--for", "soon"]):
        assert run(["simulate", *files, *wrong]) == 2


def test_nothing_to_simulate_is_a_finding(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for nothing in (["--rate", "1e-9"], ["--rate", "0.01", "--for", "200s", "--warmup", "199.9s"]):
        code, out, err = simulated(capsys, *files, *nothing)
        assert (code, out) == (1, "")
        assert "error[E1307]" in err


@pytest.mark.parametrize(
    ("times", "more", "code"),
    [
        ((), ["--rate", "1e6", "--for", "1h"], "E1308"),
        ((), ["--rate", "1e-3", "--for", "10000h"], "E1308"),
        (range(10), ["--scale", "1e6"], "E1308"),
        ((0, 100), ["--rate", "1e-300"], "E1308"),
        ((0, 100), ["--rate", "5e-324", "--scale", "1e6"], "E1308"),
        ((0, 100), ["--compress", "1e-320"], "E1308"),
        ((0, "1e13"), [], "E1308"),
        ((0, "5e-324"), ["--rate", "4"], "E1307"),
    ],
)
def test_more_than_a_run_holds_is_a_finding_and_no_wait(
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    times: Sequence[int | str],
    more: list[str],
    code: str,
) -> None:
    if times:
        trace = tmp_path / "mooncake.jsonl"
        trace.write_text("".join(f'{{"timestamp": {at}, "input_length": 9, "output_length": 9}}\n' for at in times))
        more = ["--trace", str(trace), *more]
    status, out, err = simulated(capsys, *files, *more)
    assert (status, out) == (1, "")
    assert f"error[{code}]" in err
    assert "help: " in err


def test_a_trace_of_one_request_is_simulated_without_the_warm_up_that_it_comes_in(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "mooncake.jsonl"
    trace.write_text('{"timestamp": 0, "input_length": 9, "output_length": 9}\n')
    status, _, err = simulated(capsys, *files, "--trace", str(trace))
    assert (status, "error[E1307]" in err) == (1, True)
    assert "--warmup 0s" in err
    status, out, _ = simulated(capsys, *files, "--trace", str(trace), "--warmup", "0s", "--format", "json")
    assert (status, json.loads(out)["groups"][0]["figures"]["requests"]) == (0, 1)


def test_requests_that_come_hardly_apart_come_at_once(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "mooncake.jsonl"
    trace.write_text("".join(f'{{"timestamp": {at}, "input_length": 9, "output_length": 9}}\n' for at in (0, "5e-324")))
    status, out, _ = simulated(capsys, *files, "--trace", str(trace), "--warmup", "0s", "--format", "json")
    assert status == 0
    assert json.loads(out)["groups"][0]["figures"]["requests"] == 2


def test_gaps_that_hardly_vary_are_to_be_called_even(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = simulated(capsys, *files, "--bursty", "1e-200")
    assert status == 2
    assert "--bursty is 0" in err


def test_a_class_that_no_pipeline_has_is_a_usage_mistake(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert simulated(capsys, *files, "--class", "bogus=1")[0] == 2
    (Path(files[0])).write_text(
        "class urgent(deadline: 2 s)\nclass batch(deadline: 60 s)\n"
        + SOURCE.replace("question: text ~ 30 tokens)", "question: text ~ 30 tokens, who: class)", 1).replace(
            "load 4 rps", "load urgent 2 rps, batch 2 rps"
        )
    )
    code, _, err = simulated(capsys, *files, "--class", "urgnt=1")
    assert code == 2
    assert "did you mean `urgent`?" in err
    assert simulated(capsys, *files, "--class", "urgent=1", "--for", "10s")[0] == 0


def test_there_need_be_no_warmup(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = simulated(capsys, *files, "--for", "20s", "--warmup", "0s", "--format", "json")
    assert code == 0
    assert json.loads(out)["window_ms"] == [0, 20_000]


def test_the_controller_can_be_turned_off(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    on, off = (simulated(capsys, *files, "--for", "20s", *more)[1] for more in ([], ["--without", "controller"]))
    assert "The controller's last words" in on
    assert "The controller" not in off
    assert on != off


def test_no_plan_is_exit_3(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.toml").write_text('[[hosts]]\nname = "one"\ncpus = 1\nmemory_gib = 1\n')
    assert simulated(capsys, *files)[0] == 3
