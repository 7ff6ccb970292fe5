"""Components that ask for hosts: where they are placed, what checks it, and what is said where no host will do."""

from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.verify import faults
from harmonia_compiler.profile.best import BestProfiles

SOURCE = """
component first = python("work:first", cores: 1, hosts: "zone=b")
component one(q: text) -> text = first()
component second = python("work:second", cores: 1)
component other(q: text) -> text = second()
pipeline p(q: text ~ 20 tokens) -> text { return other(one(q)) }
"""

ZONES = Inventory(
    (
        Host("plain", 8, 32.0),
        Host("a", 8, 32.0, labels={"zone": "a"}),
        Host("b", 2, 4.0, price_per_hour=9.0, labels={"zone": "b", "disk": "fast"}),
    )
)


def planned_on(folder: Path, inventory: Inventory, source: str = SOURCE) -> dict[str, set[str]]:
    path = folder / "app.rag"
    path.write_text(source)
    checked = check_files([path])
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    plan = make_plan(application, inventory)
    problem = build_problem(application, inventory, "throughput", BestProfiles()).problem
    assert faults(plan, problem) == []
    elsewhere = [msgspec.structs.replace(one, host="a") if one.engine == "first" else one for one in plan.replicas]
    found = faults(msgspec.structs.replace(plan, replicas=tuple(elsewhere)), problem)
    asks = next(need.hosts for need in problem.needs if need.engine == "first")
    assert any(fault == f"first-0 is on a, which does not carry {asks}" for fault in found) == (asks is not None)
    placed: dict[str, set[str]] = {}
    for one in plan.replicas:
        placed.setdefault(one.engine, set()).add(one.host)
    return placed


def test_replicas_stand_only_where_the_label_is(tmp_path: Path) -> None:
    placed = planned_on(tmp_path, ZONES)
    assert placed["first"] == {"b"}
    assert "a" in placed["second"] or "plain" in placed["second"]
    free = planned_on(tmp_path, ZONES, SOURCE.replace(', hosts: "zone=b"', ""))
    assert free["first"] != {"b"}


@pytest.mark.parametrize("label", ["zone=c", "rack=b", "disk=slow"])
def test_no_host_carries_the_label(tmp_path: Path, label: str) -> None:
    with pytest.raises(Rejected) as caught:
        planned_on(tmp_path, ZONES, SOURCE.replace("zone=b", label))
    (found,) = caught.value.found
    assert found.code == "E0725"
    assert found.message == f"`first` must stand on hosts with the label `{label}`, and the inventory has none"
    name, value = label.split("=")
    assert found.help == f'give a host `labels = {{{name} = "{value}"}}`, or change `hosts`'


def test_hosts_with_the_label_that_are_too_small(tmp_path: Path) -> None:
    small = Inventory((*ZONES.hosts[:2], Host("b", 1, 4.0, labels={"zone": "b"})))
    with pytest.raises(Rejected) as caught:
        planned_on(tmp_path, small, SOURCE.replace('"work:first", cores: 1', '"work:first", cores: 4'))
    (found,) = caught.value.found
    assert found.code == "E0720"
    assert found.message == "`first` needs 4 cores and a device or host of the inventory has 1 at most"
    assert found.help == "add a larger device or host, or choose fewer `cores`"


@pytest.mark.parametrize("label", ["zone", "zone=", "=b", "zone=a,b", "zone = b"])
def test_what_is_no_label(tmp_path: Path, label: str) -> None:
    path = tmp_path / "app.rag"
    path.write_text(SOURCE.replace("zone=b", label))
    assert [one.code for one in check_files([path]).found] == ["E0615"]


BIG = """
component big = llm("meta-llama/Llama-3.1-8B-Instruct", {settings})
component answer(question: text ~ 15 tokens) -> text ~ 60 tokens = big("{{question}}")
pipeline ask(question: text ~ 15 tokens) -> text {{
    load 1 rps
    return answer(question)
}}
"""


@pytest.mark.parametrize(
    ("settings", "gpus", "why"),
    [
        ("tensor_parallel: 2", 1, "2 GPUs of one type on one host and a device or host of the inventory has 1 at most"),
        ("tensor_parallel: 8", 4, "8 GPUs of one type on one host and a device or host of the inventory has 4 at most"),
        ('on: "t4"', 1, "18 GiB of memory on each GPU and a device or host of the inventory has 13.4 at most"),
    ],
)
def test_a_replica_is_never_spread_over_hosts(tmp_path: Path, settings: str, gpus: int, why: str) -> None:
    """All hosts together would have what it needs, and the links between them are reckoned with nowhere."""
    hosts = Inventory(tuple(Host(name, 16, 64.0, (Gpu("t4", gpus),)) for name in ("a", "b", "c", "d")))
    with pytest.raises(Rejected) as caught:
        planned_on(tmp_path, hosts, BIG.format(settings=settings))
    (found,) = caught.value.found
    assert (found.code, found.message) == ("E0720", f"`big` needs {why}")
    assert found.help is not None
    assert ("`tensor_parallel`" in found.help) == settings.startswith("tensor_parallel")
