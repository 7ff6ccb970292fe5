"""Plan documents that somebody edited: each is refused with a finding, or as good as any other."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.comparing import change_remarks, change_tables, stale_remarks
from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE
from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory, parse_inventory
from harmonia_compiler.contract.plan import Plan, Replica, decode_plan, encode_plan, read_plan
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise as rewritten
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.corrected import corrected, measured_by
from harmonia_compiler.plan.optimise import Allocation, optimise
from harmonia_compiler.plan.planner import make_plan, write_down
from harmonia_compiler.plan.running import changes, stale, staying, with_running
from harmonia_compiler.plan.verify import faults
from harmonia_compiler.profile.best import BestProfiles

QUICKSTART = Path(__file__).resolve().parents[2] / "samples" / "quickstart.rag"
HOSTS = Inventory((Host("one", 8, 64.0, (Gpu("l4", 2),), 1.0), Host("two", 8, 64.0, (), 0.5)))
VALUES: tuple[Any, ...] = (None, "", "NaN", "..", "x", -1, 0, 1e308, [], [0, 0])


@pytest.fixture(scope="module")
def application() -> Application:
    checked = check_files([QUICKSTART])
    assert checked.application is not None
    return rewritten(checked.application)


@pytest.fixture(scope="module")
def plan(application: Application) -> Plan:
    return make_plan(application, HOSTS)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document holds anything, from its root."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*at, key))


def edited(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    copy = document.copy()
    copy[at[0]] = edited(document[at[0]], at[1:], value)
    return copy


def edits(document: Any) -> Iterator[tuple[str, Any]]:
    """Each place with each value, each list with its parts twice, each part left out."""
    for at in places(document):
        for value in VALUES:
            yield f"{at} = {value!r}", edited(document, at, value)
        own = document
        for key in at:
            own = own[key]
        if isinstance(own, list) and own:
            yield f"{at} twice", edited(document, at, [*own, *own])
            yield f"{at} shorter", edited(document, at, own[1:])
        if isinstance(own, dict):
            for name in own:
                yield f"{at} without {name}", edited(document, at, {key: own[key] for key in own if key != name})


@pytest.mark.slow
def test_every_edit_of_a_plan_is_refused_or_does_no_harm(application: Application, plan: Plan) -> None:
    """What is kept of it is planned with, and what it predicts is compared. What is planned anew is of few kinds."""
    demanded = build_problem(application, HOSTS, "throughput", BestProfiles())
    solved: dict[str, Allocation] = {}
    document = json.loads(encode_plan(plan))
    read = 0
    for what, other in edits(document):
        try:
            found = decode_plan(json.dumps(other).encode())
        except msgspec.MsgspecError:
            continue
        read += 1
        former = staying(found, application)
        problem = with_running(demanded.problem, former)
        key = repr(problem.running)
        if key not in solved:
            best = optimise(problem)
            assert best is not None, what
            solved[key] = best
        if former != plan.replicas:
            made = write_down(application, replace(demanded, problem=problem), solved[key], former)
            assert faults(made, problem) == [], what
        for before, after in ((found, plan), (plan, found)):
            compared = changes(before, after)
            assert change_remarks(compared)
            change_tables(compared)
        stale_remarks("plan.json", stale(found, plan.sources, HOSTS))
        measured = measured_by(found, {"small": 2.0, "rerank": 0.5}, {"quickstart": {"answer": 1.5}})
        for need in corrected(demanded.problem, measured).needs:
            times = [ms for option in need.options for one in option.latency_ms.values() for ms in one]
            assert all(0.0 < ms < float("inf") for ms in times), what
    assert read > 100


@pytest.mark.parametrize("name", ["..", ".", "gateway", "lock", "a/b", "small-", "small-00", "rerank-0", "other-0"])
def test_what_no_planner_calls_a_replica_is_refused(tmp_path: Path, plan: Plan, name: str) -> None:
    """A name of another engine's, one that leads out of a folder, and what a bundle calls something else."""
    document = json.loads(encode_plan(plan))
    at = next(at for at, one in enumerate(document["replicas"]) if one["engine"] == "small")
    document["replicas"][at]["id"] = name
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(Rejected) as refused:
        read_plan(path)
    assert [found.code for found in refused.value.found] == ["E0730"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpus": 0}, "on GPUs of the type `l4`, and on none of them"),
        ({"devices": []}, "has 0 devices, and as `l4×1"),
        ({"gpus": 2}, "has 1 device, and as `l4×2"),
        ({"gpu": ""}, "has 1 device, and as "),
        ({"gpu": "", "devices": [], "cores": 0}, "has neither a GPU nor a core"),
    ],
)
def test_what_no_planner_gives_a_replica_is_refused(
    tmp_path: Path, plan: Plan, changes: dict[str, Any], said: str
) -> None:
    document = json.loads(encode_plan(plan))
    at = next(at for at, one in enumerate(document["replicas"]) if one["config"].get("gpus") == 1)
    replica = document["replicas"][at]
    assert msgspec.convert(replica, Replica).config.devices == len(replica["devices"]) == 1
    for key, value in changes.items():
        (replica if key == "devices" else replica["config"])[key] = value
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(Rejected) as refused:
        read_plan(path)
    (found,) = refused.value.found
    assert found.code == "E0730"
    assert said in found.message
    assert found.message.endswith(f"at `$.replicas[{at}]`")


def test_a_pipeline_is_served_once_and_predicted(plan: Plan) -> None:
    document = json.loads(encode_plan(plan))
    with pytest.raises(msgspec.ValidationError, match="serves the pipeline `quickstart` twice"):
        decode_plan(json.dumps({**document, "pipelines": 2 * document["pipelines"]}).encode())
    with pytest.raises(msgspec.ValidationError, match="what it predicts is not of the pipelines"):
        decode_plan(json.dumps({**document, "predicted": {}}).encode())


def numbers(document: Any) -> Iterator[tuple[Any, ...]]:
    """Where a plan holds a figure of its own: what components and engines are set to is theirs."""
    for at in places(document):
        value = document
        for key in at:
            value = value[key]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and at[0] not in ("components", "engines"):
            yield at


def test_no_figure_of_a_plan_is_out_of_all_bounds(plan: Plan) -> None:
    document = json.loads(encode_plan(plan))
    document["memory"] = [
        {"engine": "small", "config": "", "weights_gib": 1, "cache_gib": 1, "cache_tokens": 1, "rest_gib": 1}
    ]
    document["late"] = {"small": 0.5}
    document["replicas"][0]["config"] |= {"gpus": 1, "gpu_memory_gib": 1, "tensor_parallel": 1, "batch": 1}
    document["profiles"][0]["corrected"] = 1.0
    assert decode_plan(json.dumps(document).encode()).memory
    figures = [*numbers(document)]
    assert len(figures) > 40
    for at in figures:
        for value in ("-1", "1e301", "1e999", "NaN", "Infinity", "null", '"1"', "[]"):
            raw = json.dumps(edited(document, at, "HERE")).replace('"HERE"', value)
            with pytest.raises(msgspec.MsgspecError):
                decode_plan(raw.encode())


ABSURD: list[tuple[tuple[Any, ...], Any]] = [
    (("pipelines", 0, "load_rps"), 0),
    (("pipelines", 0, "visits", "rerank"), 1e9),
    (("replicas", 0, "config"), {"cores": 1, "memory_gib": 1, "batch": 0}),
    (("replicas", 0, "config"), {"cores": 1, "memory_gib": 1, "batch": 10**9}),
    (("replicas", 0, "config"), {"cores": 1, "memory_gib": 1, "tensor_parallel": 0}),
    (("replicas", 0, "config"), {"cores": 1, "memory_gib": 1, "gpu": "abacus"}),
    (("replicas", 0, "host"), ".."),
    (("replicas", 0, "host"), "."),
    (("utilisation", "small"), 7),
    (("predicted", "quickstart", "throughput_rps"), -0.5),
]


@pytest.mark.parametrize("at", range(len(ABSURD)))
def test_what_no_planner_writes_is_refused_wherever_a_plan_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at: int
) -> None:
    inventory, bundle = tmp_path / "hosts.toml", tmp_path / "bundle"
    inventory.write_text('[[hosts]]\nname = "one"\ncpus = 8\nmemory_gib = 64\n', encoding="utf-8")
    given = [str(QUICKSTART), "--inventory", str(inventory)]
    assert run(["compile", *given, "--target", "local", "--out", str(bundle)]) == FINE
    path = bundle / "plan.json"
    path.write_text(json.dumps(edited(json.loads(path.read_bytes()), *ABSURD[at])), encoding="utf-8")
    capsys.readouterr()
    assert run(["plan", *given, "--from", str(path)]) == DIAGNOSTICS
    assert "error[E0730]" in capsys.readouterr().err
    assert run(["up", str(bundle)]) == DIAGNOSTICS
    assert "error[E0905]" in capsys.readouterr().err
    assert not (bundle / "run" / "state.json").exists()


@pytest.mark.parametrize("name", [".", ".."])
def test_a_host_is_called_by_no_folder(name: str) -> None:
    with pytest.raises(Rejected, match=r"E0705.*cannot name a host"):
        parse_inventory(Source("hosts.toml", f'[[hosts]]\nname = "{name}"\ncpus = 8\nmemory_gib = 64\n'))


@pytest.mark.parametrize("option", ["--from", "--diff"])
def test_replicas_of_one_name_are_refused_with_a_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    inventory, path = tmp_path / "hosts.toml", tmp_path / "plan.json"
    inventory.write_text('[[hosts]]\nname = "one"\ncpus = 8\nmemory_gib = 64\n', encoding="utf-8")
    command = ["plan", str(QUICKSTART), "--inventory", str(inventory)]
    assert run([*command, "--out", str(path)]) == FINE
    document = json.loads(path.read_bytes())
    document["replicas"].append(document["replicas"][0])
    path.write_text(json.dumps(document), encoding="utf-8")
    capsys.readouterr()
    assert run([*command, option, str(path)]) == DIAGNOSTICS
    said = capsys.readouterr().err
    assert "E0730" in said
    assert "two replicas have the id" in said
    assert "write it again with" in said
