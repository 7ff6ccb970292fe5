"""Why an engine runs where it does: what limits the rate, and what comes of each device."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harmonia_compiler.cli.exits import FINE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.plan.explain import Limit, alternatives, explain, limiting
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.place import place
from harmonia_compiler.plan.problem import Problem, Promise
from harmonia_compiler.profile.queueing import HEADROOM
from tests.plan.problems import chain, machine, need, on_cores, on_gpu

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
INVENTORY = '[[hosts]]\nname = "box"\ncpus = 8\nmemory_gib = 128\ngpus = [{type = "a100_sxm", count = 2}]\n'

SEARCH = need("search", on_cores("search", 10.0), maximum=1)
WRITE = need("write", on_gpu("write", 100.0))


def test_what_is_used_up_limits_the_rate() -> None:
    """Two GPUs carry 16 a second, a third as much as each of them; one search would carry 80."""
    problem = Problem((SEARCH, WRITE), (chain("search", "write"),), (machine("box", 8, 2),))
    (limit,) = limiting(problem)
    assert (limit.what, limit.hosts) == ("a100_sxm", ("box",))
    assert limit.brings == pytest.approx(0.5)


def test_hosts_that_are_alike_are_one_limit() -> None:
    hosts = (*(machine(f"gpu{at}", 1, 2) for at in range(4)), machine("cores", 8))
    problem = Problem((SEARCH, WRITE), (chain("search", "write"),), hosts)
    (limit,) = limiting(problem)
    assert (limit.what, limit.hosts) == ("a100_sxm", ("gpu0", "gpu1", "gpu2", "gpu3"))
    assert limit.brings == pytest.approx(1 / 8)


@pytest.mark.parametrize("stateful", [True, False])
def test_an_engine_that_may_have_no_more_replicas_limits_the_rate(stateful: bool) -> None:  # noqa: FBT001
    """One search carries 80 a second, and fifteen GPUs 120."""
    search = replace(SEARCH, stateful=stateful)
    problem = Problem((search, WRITE), (chain("search", "write"),), (machine("box", 8, 15),))
    (limit,) = limiting(problem)
    assert replace(limit, brings=0.0) == Limit("search", (), 0.0, stateful)
    assert limit.brings == pytest.approx(0.5)


def test_where_two_limits_bind_neither_alone_is_one() -> None:
    problem = Problem((SEARCH, WRITE), (chain("search", "write"),), (machine("box", 8, 10),))
    assert limiting(problem) == []


def test_each_device_is_planned_for_alone() -> None:
    write = need("write", on_gpu("write", 100.0), on_cores("write", 400.0), on_gpu("write", 200.0, gpu="l4"))
    hosts = (machine("dear", 1, 1, price=4.0), machine("cores", 4, price=1.0), machine("l4s", 1, 2, 2.0, "l4"))
    problem = Problem((write,), (chain("write"),), hosts)
    found = optimise(problem)
    assert found is not None
    replicas = place(problem, found.counts)
    by_device = {one.device: one for one in alternatives(problem, write, replicas)}
    assert list(by_device) == ["a100_sxm", "cpu", "l4"]
    rates = {device: one.rate for device, one in by_device.items()}
    # A core of each of the other two hosts as well.
    assert rates == pytest.approx({"a100_sxm": 10 * HEADROOM, "cpu": 6 * 2.5 * HEADROOM, "l4": 2 * 5 * HEADROOM})
    assert {device: one.cost_per_hour for device, one in by_device.items()} == {"a100_sxm": 4.0, "cpu": 7.0, "l4": 2.0}
    assert {device: one.replicas for device, one in by_device.items()} == {
        device: sum((one.config.gpu or "cpu") == device for one in replicas) for device in by_device
    }


def test_a_device_that_will_not_do_says_why() -> None:
    write = need("write", on_gpu("write", 100.0), on_cores("write", 400.0))
    promised = replace(chain("write"), promises=(Promise("latency", 0.95, 400.0),))
    problem = Problem((write,), (promised,), (machine("box", 4, 1),), running={(0, 1, 0): 1})
    gpu, cpu = explain(problem, write, ()).alternatives
    assert gpu.rate is not None
    assert (cpu.device, cpu.rate, cpu.cost_per_hour) == ("cpu", None, None)
    assert cpu.why.startswith("`p` promises a p95 latency of 400 ms")


@pytest.fixture
def plan(tmp_path: Path) -> list[str]:
    """The words of a command that plans a sample."""
    inventory = tmp_path / "box.toml"
    inventory.write_text(INVENTORY)
    return ["plan", str(SAMPLES / "quickstart.rag"), "--inventory", str(inventory)]


def test_the_command_shows_both(plan: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*plan, "--explain", "answer"]) == FINE
    out = " ".join(capsys.readouterr().out.split())
    assert "If small ran on one device alone" in out
    assert "a100_sxm" in out
    assert "cpu" in out
    assert "What limits the rate" in out
    assert run([*plan, "--objective", "cost", "--explain", "answer", "--format", "json"]) == FINE
    document = json.loads(capsys.readouterr().out)["explanation"]
    assert document["engine"] == "small"
    assert [one["device"] for one in document["alternatives"]] == ["a100_sxm", "cpu"]


def test_what_is_not_in_the_plan_is_a_mistake(
    plan: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*plan, "--explain", "anwser"]) == USAGE
    assert "did you mean answer?" in capsys.readouterr().err
    assert run([*plan, "--explain", "answer", "--diff", "x.json"]) == USAGE
    assert run([*plan, "--explain", "answer", "--simulate"]) == USAGE
    source = tmp_path / "app.rag"
    source.write_text(
        'component web(q: text) -> text = http("https://example.org/q")\n'
        "pipeline p(q: text ~ 9 tokens) -> text { return web(q) }\n"
    )
    assert run(["plan", str(source), *plan[2:], "--explain", "web"]) == USAGE
    assert "takes no hardware" in capsys.readouterr().err
    assert run(["plan", str(source), *plan[2:], "--explain", "answer"]) == USAGE
    assert "there are `web`" in capsys.readouterr().err
