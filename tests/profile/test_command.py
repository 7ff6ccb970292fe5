"""`harmoniac profile` and the file that it writes."""

import asyncio
import json
import re
import signal
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harmonia_compiler.cli import one_engine
from harmonia_compiler.cli import profile as command_module
from harmonia_compiler.cli.one_engine import configuration_here
from harmonia_compiler.cli.profile import command, until_interrupted
from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.launch import Fill, Launch, Probe
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import Observation
from harmonia_compiler.profile.record import (
    FORMAT_VERSION,
    MeasuredProfile,
    Ran,
    encode,
    profile_of,
    read_profile,
    this_machine,
)
from harmonia_compiler.profile.steps import StepLoad
from harmonia_compiler.profile.sweep import Sweep
from harmonia_compiler.runtime.weights import wanted

RAG = """
component small = llm("SmolLM2-135M-Instruct")
component answer(question: text) -> text ~ 20 tokens = small("{question}", max_tokens: 40)
component search = milvus("docs", embedder: minilm)
component minilm = embedder("all-MiniLM-L6-v2")
pipeline one(question: text) -> text {
    load 1 rps
    return answer(question)
}
"""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def codes(result: Result) -> list[str]:
    assert isinstance(result.exception, Rejected), result.output
    return [each.code for each in result.exception.found]


def test_an_engine_at_a_url_is_measured_into_a_file(
    tmp_path: Path, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Sweep(prompts=(35, 101), streams=(1, 2), contexts=(41,), repeats=1)
    monkeypatch.setattr(command_module, "sweep_for", lambda *_: short)
    out = tmp_path / "profile.json"
    result = invoke(
        *("--url", running, "--model", "known", "--batch", "4", "--step-tokens", "256", "--out", str(out)),
        *("--format", "json"),
    )
    assert result.exit_code == 0, result.output
    profile = read_profile(out)
    assert out.read_bytes() == result.stdout_bytes
    assert (profile.model, profile.engine) == ("known", "vllm 0.0")
    assert profile.limits == Limits(kv_blocks=400, step_tokens=256, sequences=4, context=600)
    assert len(profile.observations) == 5
    assert profile.provenance.startswith("measured: vllm 0.0, ")
    assert json.loads(out.read_text())["format_version"] == FORMAT_VERSION


def test_what_is_measured_again_is_not_the_prefix_cache(
    tmp_path: Path, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "sweep_for", lambda *_: Sweep((101, 301), (1, 2), (41,), repeats=2))
    out = tmp_path / "profile.json"
    options = ("--url", running, "--model", "known", "--batch", "4", "--step-tokens", "256", "--out", str(out))
    seeds = set()
    for _ in range(2):
        assert invoke(*options).exit_code == 0
        seeds.add(read_profile(out).seed)
    with urllib.request.urlopen(f"{running}/metrics", timeout=10) as answer:
        counted = dict(re.findall(r"vllm:prefix_cache_(\w+)_total (\d+)", answer.read().decode()))
    queried, hit = int(counted["queries"]), int(counted["hits"])
    assert len(seeds) == 2
    assert queried > 2000
    # Two texts may begin with the same few words.
    assert hit < 0.05 * queried


def test_the_table_says_how_well_it_fits(running: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Sweep(prompts=(35,), streams=(1,), contexts=(41,), repeats=1)
    monkeypatch.setattr(command_module, "sweep_for", lambda *_: short)
    result = invoke("--url", running, "--model", "known", "--batch", "4", "--step-tokens", "256")
    assert "prompt of 35" in result.stdout
    assert "The fit is off by" in result.stdout


@pytest.fixture
def started(running: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The home of a user whose component's engine is the one that runs; `app.rag` lies in it too."""

    @asynccontextmanager
    async def start(engine: Engine, card: Card, configuration: Configuration) -> AsyncIterator[str]:
        yield running

    short = Sweep(prompts=(35,), streams=(1,), contexts=(41,), repeats=1)
    monkeypatch.setattr(command_module, "sweep_for", lambda *_: short)
    monkeypatch.setattr(command_module, "running", start)
    monkeypatch.setattr(command_module, "configuration_here", lambda *_: Configuration(2.0, 4.0, batch=4))
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path))
    (tmp_path / "app.rag").write_text(RAG)
    return tmp_path


@pytest.mark.parametrize("name", ["small", "answer"])
def test_what_was_measured_of_a_component_is_kept_for_plans(started: Path, name: str) -> None:
    """By the name of the model or of what it answers, whether or not it can be called by itself."""
    result = invoke(str(started / "app.rag"), "--component", name)
    assert result.exit_code == 0, result.output
    [path] = (started / "profiles").iterdir()
    assert f"kept for plans as {path}" in result.stderr
    assert read_profile(path).ran == Ran("bf16", "", 0.0, 2.0, wanted("SmolLM2-135M-Instruct").revision)


def test_it_is_not_kept_where_the_user_says_so(started: Path) -> None:
    result = invoke(str(started / "app.rag"), "--component", "small", "--no-keep", "--out", str(started / "out.json"))
    assert result.exit_code == 0, result.output
    assert not (started / "profiles").exists()
    assert read_profile(started / "out.json").model == "SmolLM2-135M-Instruct"


def test_a_home_that_cannot_be_written_is_a_diagnostic(started: Path) -> None:
    (started / "profiles").write_text("in the way")
    result = invoke(str(started / "app.rag"), "--component", "small")
    assert isinstance(result.exception, Rejected), result.output
    assert [each.code for each in result.exception.found] == ["E1207"]


@pytest.mark.parametrize(
    "arguments",
    [(), ("--url", "http://127.0.0.1:1"), ("app.rag",), ("app.rag", "--component", "x", "--url", "u", "--model", "m")],
)
def test_what_to_measure_must_be_said_in_one_way(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert "give FILE and --component, or --url and --model" in result.output


def test_the_tokens_of_a_step_are_asked_of_nobody_who_starts_the_engine_here() -> None:
    result = invoke("app.rag", "--component", "small", "--step-tokens", "4096")
    assert result.exit_code == 2
    assert "--step-tokens is for an engine at a --url" in result.output


def test_nobody_at_the_url_is_a_diagnostic() -> None:
    assert codes(invoke("--url", "http://127.0.0.1:1", "--model", "m")) == ["E1202"]


@pytest.mark.parametrize("url", ["/somewhere", "http://[", f"http://{'a' * 300}"], ids=["none", "open", "long"])
def test_a_url_that_is_none_is_a_diagnostic(url: str) -> None:
    assert codes(invoke("--url", url, "--model", "m")) == ["E1202"]


def test_what_an_engine_calls_itself_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    seen = [Observation("[/a]", (StepLoad(10, 50.0),), 5.0, 1)]
    limits = Limits(kv_blocks=400, step_tokens=256, sequences=4, context=600)
    command_module._print(profile_of(seen, model="[b]", engine="[/c] :cat:", limits=limits, date="2026-01-02"))
    assert "[b] on [/c] :cat:" in capsys.readouterr().out


@pytest.mark.parametrize("lacks", ["", "http://"])
def test_a_url_may_be_the_one_that_clients_are_given(running: str, lacks: str) -> None:
    result = invoke("--url", f"{running}/v1/".removeprefix(lacks), "--model", "other")
    assert isinstance(result.exception, Rejected)
    (found,) = result.exception.found
    assert found.message.startswith(f"{running} cannot be measured: it serves `known`")


def test_what_ends_after_an_interrupt_ends_though_there_is_a_second_one() -> None:
    ended = []

    async def measuring() -> MeasuredProfile:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(60.0)
        finally:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0.01)
            ended.append(True)
        raise AssertionError

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            until_interrupted(measuring())
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended == [True]


def test_another_model_at_the_url_is_a_diagnostic(running: str) -> None:
    assert codes(invoke("--url", running, "--model", "other")) == ["E1202"]


@pytest.mark.parametrize("name", ["search", "answr", "minilm"])
def test_a_component_that_no_model_answers_is_a_diagnostic(tmp_path: Path, name: str) -> None:
    file = tmp_path / "app.rag"
    file.write_text(RAG)
    result = invoke(str(file), "--component", name)
    assert codes(result) == ["E1205"]
    assert isinstance(result.exception, Rejected)
    assert result.exception.found[0].help == "name one of `answer`, `small`"


def test_a_model_that_this_machine_cannot_hold_is_a_diagnostic() -> None:
    with pytest.raises(Rejected) as rejected:
        configuration_here(Engine("small", "llm", {"model": "SmolLM2-135M-Instruct"}), batch=3)
    assert [each.code for each in rejected.value.found] == ["E1203"]


@pytest.mark.parametrize(("code", "said"), [("print('no room'); raise SystemExit(3)", "no room"), ("pass", "nothing")])
async def test_an_engine_that_does_not_start_shows_what_it_said(
    monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    ends = Launch((Fill("python"), "-c", code), Probe("http", "/health"))
    monkeypatch.setattr("harmonia_compiler.cli.one_engine.commands.launch_here", lambda _: ends)
    engine = Engine("small", "llm", {"model": "SmolLM2-135M-Instruct"})
    with pytest.raises(Rejected) as rejected:
        async with one_engine.running(engine, wanted("SmolLM2-135M-Instruct"), Configuration(1.0, 1.0)):
            pass
    [found] = rejected.value.found
    assert found.code == "E1204"
    assert said in str(found.help)


def test_the_most_of_this_machine_is_taken() -> None:
    engine = Engine("small", "llm", {"model": "SmolLM2-135M-Instruct"})
    assert configuration_here(engine, batch=4).batch == 4


@pytest.mark.parametrize("text", ["", "{}", "[]", "\xff", '{"format_version": 1}', '{"format_version": 99}'])
def test_a_damaged_profile_is_a_diagnostic(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Rejected) as rejected:
        read_profile(path)
    assert [each.code for each in rejected.value.found] == ["E1201"]


def test_a_profile_that_is_not_there_is_a_diagnostic(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="E1201"):
        read_profile(tmp_path / "none.json")


def test_a_profile_reads_back_as_it_was(tmp_path: Path) -> None:
    seen = [Observation("a", (StepLoad(10, 50.0),), 5.0, 1), Observation("b", (StepLoad(0, 0.0, 2, 40),), 3.0)]
    limits = Limits(kv_blocks=400, step_tokens=256, sequences=4, context=600, ahead=True)
    profile = profile_of(seen, model="m", engine="e", limits=limits, date="2026-01-02")
    path = tmp_path / "profile.json"
    path.write_bytes(encode(profile))
    assert read_profile(path) == profile
    assert profile.residual.median <= profile.residual.worst


def test_a_machine_is_described_without_its_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert this_machine(cpuinfo).processor == "Some CPU @ 2 GHz"
    assert this_machine(tmp_path / "none").processor
