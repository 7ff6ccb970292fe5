"""The plan that is tried: one that is made here, or one that was saved, which must fit files and inventory."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.cli.main import run

SOURCE = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(question: text) -> text ~ 50 tokens = model("Answer: {question}", max_tokens: 120)

pipeline ask(question: text ~ 30 tokens) -> text {
    slo p95 latency <= 9 s
    load 1 rps
    return stream answer(question)
}
"""
#: With 2 s for a test, 1.5 s for a search and 1 s for a text, the search begins with the test.
EARLY = """
component sure(question: text) -> bool = http("https://a.example/sure", takes: 2 s)
component web(question: text) -> [passage] ~ 4 = http("https://a.example/web", takes: 1500 ms)
component write(question: text, passages: [passage]) -> text ~ 20 tokens = http(
    "https://a.example/write", takes: 1 s, pure: false
)
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component polish(text: text) -> text ~ 20 tokens = model("Polish: {text}", max_tokens: 32)

pipeline ask(question: text ~ 20 tokens) -> text {
    slo p95 latency <= 6700 ms
    load 0.1 rps
    if not sure(question) ~ 0.2 { return write(question, []) }
    return polish(write(question, web(question)))
}
"""
INVENTORY = '[[hosts]]\nname = "HOST"\ncpus = 16\nmemory_gib = 64\ngpus = [{type = "l40s", count = 2}]\n'


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "ask.rag").write_text(SOURCE)
    (tmp_path / "two.toml").write_text(INVENTORY.replace("HOST", "one"))
    return [str(tmp_path / "ask.rag"), "--inventory", str(tmp_path / "two.toml")]


def saved(files: list[str], folder: Path) -> Path:
    """The cheapest plan, which no command makes that is not told to."""
    out = folder / "plan.json"
    assert run(["plan", *files, "--objective", "cost", "--out", str(out)]) == 0
    return out


def simulated(capsys: pytest.CaptureFixture[str], files: list[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["simulate", *files, "--for", "60s", "--format", "json", *more]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_a_saved_plan_is_tried_as_it_is_and_every_report_says_which_one_was(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = simulated(capsys, files)
    assert made["settings"]["plan"] == "made here for throughput at 1 rps of ask"
    assert [use["replicas"] for use in made["engines"]] == [2]
    path, page = saved(files, tmp_path), tmp_path / "report.html"
    found = simulated(capsys, files, "--plan", str(path))
    said = f"of {path}, made for cost at 1 rps of ask"
    assert found["settings"]["plan"] == said
    assert [use["replicas"] for use in found["engines"]] == [1]
    assert run(["simulate", *files, "--for", "60s", "--plan", str(path), "--html", str(page)]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(f"the plan is {said}\n")
    assert f"How it was run: plan {said};" in " ".join(printed.out.split())
    assert f"<th>plan</th><td>{said}</td>" in page.read_text()


@pytest.mark.parametrize("source", [SOURCE, EARLY])
def test_a_plan_that_is_read_is_tried_as_where_it_was_made(
    source: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what begins early where it needs that."""
    (tmp_path / "ask.rag").write_text(source)
    path = saved(files, tmp_path)
    assert ("begins early" in capsys.readouterr().err) == (source == EARLY)
    made, read = simulated(capsys, files, "--objective", "cost"), simulated(capsys, files, "--plan", str(path))
    assert made["settings"].pop("plan") != read["settings"].pop("plan")
    assert made == read


@pytest.mark.parametrize("command", ["simulate", "rehearse", "emulate"])
def test_what_is_about_a_plan_that_is_made_is_refused_beside_one_that_is_read(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = saved(files, tmp_path)
    capsys.readouterr()
    assert run([command, *files, "--plan", str(path), "--objective", "throughput"]) == 2
    assert "--objective is about a plan that is made here" in capsys.readouterr().err


def test_a_plan_is_tried_on_another_load_and_is_said_to_be_older(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(files, tmp_path)
    (tmp_path / "ask.rag").write_text(SOURCE.replace("load 1 rps", "load 2 rps"))
    capsys.readouterr()
    assert run(["simulate", *files, "--for", "60s", "--plan", str(path)]) == 0
    printed = capsys.readouterr()
    assert f"`{path}` was planned before these changed: ask.rag\n" in printed.err
    assert "arrivals Poisson, 2/s" in " ".join(printed.out.split())


BOTH = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct")
component large = llm("meta-llama/Llama-3.1-8B-Instruct", max_model_len: 4096)
component brief(question: text) -> text ~ 100 tokens = small("Answer: {question}", max_tokens: 300)
component long(question: text) -> text ~ 200 tokens = large("Answer: {question}", max_tokens: 400)
class urgent(deadline: 30 s, weight: 4)
class patient(deadline: 60 s)

pipeline one(question: text ~ 30 tokens, who: class) -> text {
    slo p95 latency <= 20 s
    load urgent 2 rps, patient 2 rps
    return stream brief(question)
}
pipeline two(question: text ~ 30 tokens) -> text {
    slo p95 latency <= 20 s
    load 1 rps peak 12 rps
    return stream long(question)
}
"""


def test_what_a_simulation_has_confirmed_is_kept_at_the_rate_that_it_names(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In parts that are those of the plan, peaks included; without a rate, at the declared loads."""
    (tmp_path / "ask.rag").write_text(BOTH)
    path = tmp_path / "plan.json"
    assert run(["plan", *files, "--objective", "cost", "--simulate", "--out", str(path)]) == 0
    said = capsys.readouterr().err
    assert "no promise is missed" in said
    rate = re.findall(r"with --plan, and --rate ([\d.]+)$", said, re.MULTILINE)[-1]

    def came(*more: str) -> tuple[str, float]:
        report = simulated(capsys, files, "--plan", str(path), "--for", "100s", *more)
        groups = {(one["pipeline"], one["request_class"]): one["figures"] for one in report["groups"]}
        assert {at for at, of in groups.items() if not all(one["met"] for one in of["kept"])} == set()
        assert ("one", "urgent") in groups
        return report["settings"]["pipelines"], groups["two", None]["requests"] / groups["one", None]["requests"]

    said, parts = came("--rate", rate)
    assert said == "by the plan's loads"
    assert parts == pytest.approx(3.0, rel=0.15)
    said, parts = came()
    assert said == "by the declared loads"
    assert parts == pytest.approx(0.25, rel=0.25)


def _other_prompt(folder: Path, _: dict[str, Any]) -> None:
    (folder / "ask.rag").write_text(SOURCE.replace("Answer: ", "Say: "))


def _other_model(folder: Path, _: dict[str, Any]) -> None:
    (folder / "ask.rag").write_text(SOURCE.replace("3.2-3B", "3.1-8B"))


def _another_pipeline(folder: Path, _: dict[str, Any]) -> None:
    (folder / "ask.rag").write_text(SOURCE.replace("pipeline ask", "pipeline tell"))


def _other_host(folder: Path, _: dict[str, Any]) -> None:
    (folder / "two.toml").write_text(INVENTORY.replace("HOST", "other"))


def _fewer_devices(folder: Path, plan: dict[str, Any]) -> None:
    plan["replicas"][0]["devices"] = [1]
    (folder / "two.toml").write_text(INVENTORY.replace("HOST", "one").replace(", count = 2", ""))


def _other_devices(folder: Path, _: dict[str, Any]) -> None:
    (folder / "two.toml").write_text(INVENTORY.replace("HOST", "one").replace("l40s", "l4"))


def _less_memory(folder: Path, _: dict[str, Any]) -> None:
    (folder / "two.toml").write_text(INVENTORY.replace("HOST", "one").replace("= 64", "= 0.5"))


def _more_cores(_: Path, plan: dict[str, Any]) -> None:
    plan["replicas"][0]["cores"] = 17.0


def _no_cores(_: Path, plan: dict[str, Any]) -> None:
    plan["replicas"][0]["cores"] = 0.0


def _no_replica(_: Path, plan: dict[str, Any]) -> None:
    plan["replicas"] = []


def _no_engine(_: Path, plan: dict[str, Any]) -> None:
    plan |= {"engines": {}, "replicas": []}


def _strange_visits(_: Path, plan: dict[str, Any]) -> None:
    plan["pipelines"][0]["visits"]["other"] = 1.0


def _strange_beginnings(_: Path, plan: dict[str, Any]) -> None:
    plan["pipelines"][0]["early"] = ["answer"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_prompt, "the component `answer` is not as the files have it"),
        (_other_model, "the engine `model` is not as the files have it"),
        (_another_pipeline, "it is for `ask`, and the files have `tell`"),
        (_other_host, "it has replicas on `one`, which is none there"),
        (_fewer_devices, "model-0 has device 1 of one, which is no l40s"),
        (_other_devices, "model-0 has device 0 of one, which is no l40s"),
        (_less_memory, "one has 0.5 GiB of memory and is asked for "),
        (_more_cores, "one has 16 cores and is asked for 17"),
        (_no_cores, "model-0 is given 0.0 cores and "),
        (_no_replica, "it has no replica of the engine `model`"),
        (_no_engine, "the engine `model` is not as the files have it"),
        (_strange_visits, "the component `other` is not as the files have it"),
        (_strange_beginnings, "it begins `answer` early in `ask`, and for what the files say it would be nothing"),
    ],
)
def test_a_plan_of_something_else_is_a_finding(
    files: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path, dict[str, Any]], None],
    said: str,
) -> None:
    path = saved(files, tmp_path)
    plan = json.loads(path.read_bytes())
    change(tmp_path, plan)
    path.write_text(json.dumps(plan))
    capsys.readouterr()
    assert run(["simulate", *files, "--plan", str(path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"error[E1344]: the plan `{path}` cannot be tried: {said}" in printed.err


def test_a_plan_that_is_none_is_a_finding(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.json").write_text("{}")
    assert run(["rehearse", *files, "--plan", str(tmp_path / "plan.json")]) == 1
    assert "error[E0730]" in capsys.readouterr().err


def test_who_names_a_bundle_is_told_where_its_plan_is(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle").mkdir()
    assert run(["simulate", *files, "--plan", str(tmp_path / "bundle")]) == 1
    said = capsys.readouterr().err
    assert "error[E0730]" in said
    assert f"a bundle keeps its plan in `{tmp_path / 'bundle' / 'plan.json'}`" in said
