"""Clusters as inventories, by what their managers printed.

`recorded/slurm.txt` is what `scontrol` of Slurm 22.05 printed of six nodes on one machine, whose GPUs were named in its
configuration, one node drained and another never started. `recorded/ray.json` is what `ray list nodes` of Ray 2.60
printed of two. What Kubernetes prints is written here after its API's reference.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.inventory import Gpu, Host, load_inventory, parse_inventory
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.profile.clusters import kubernetes, ray, slurm
from harmonia_compiler.profile.clusters.asking import MANAGERS, ask
from harmonia_compiler.profile.clusters.nodes import Node, cluster

RECORDED = Path(__file__).parent / "recorded"


def test_slurm_gives_what_it_gives_to_jobs() -> None:
    found = ask(slurm.MANAGER, RECORDED / "slurm.txt", {"a100": "a100_sxm"})
    assert [one.host for one in found.hosts] == [
        # Of 64 threads and 515,000 MiB, two threads and 3,000 MiB are set aside.
        Host("gpu01", 62, 500.0, (Gpu("h100_sxm", 4),)),
        Host("gpu02", 62, 500.0, (Gpu("h100_sxm", 4),)),
        Host("old1", 16, 62.5, (Gpu("a100_sxm", 2),)),
        Host("old2", 8, 31.25),
    ]
    assert [one.unknown_gpus for one in found.hosts] == [(), (), (), ("gpu",)]
    # The reason for the first says `Gres=`, which is no field of it.
    assert found.left_out == (("cpu1", "it is IDLE+DRAIN"), ("gone1", "it is UNKNOWN+NOT_RESPONDING"))


@pytest.mark.parametrize(
    ("state", "is_there"),
    [
        ("IDLE", True),
        ("MIXED+CLOUD", True),
        ("ALLOCATED", True),
        ("IDLE+POWERED_DOWN", True),
        ("IDLE*", False),
        ("DOWN", False),
        ("MIXED+DRAIN", False),
        ("FUTURE", False),
    ],
)
def test_slurm_nodes_are_there_by_their_state(state: str, is_there: bool) -> None:  # noqa: FBT001
    (node,) = slurm.read(f"NodeName=n1 CPUTot=4 RealMemory=8000 State={state} Gres=(null)\n")
    assert node == Node("n1", 4.0, 8000 / 1024, (), "" if is_there else f"it is {state}")


def test_slurm_without_nodes_has_none() -> None:
    assert slurm.read("No nodes in the system\n") == []


def test_ray_gives_what_its_nodes_were_started_with() -> None:
    found = ask(ray.MANAGER, RECORDED / "ray.json", {})
    assert [one.host for one in found.hosts] == [Host("head", 8, 32.0, (Gpu("a10g", 4),)), Host("worker.cpu", 4, 8.0)]


def test_ray_tells_no_numbers_of_several_types_and_keeps_the_dead() -> None:
    total = {"CPU": 8.0, "GPU": 2.0, "memory": "16.000 GiB", "accelerator_type:T4": 1.0, "accelerator_type:L4": 1.0}
    nodes = [{"node_name": "n", "state": state, "resources_total": total} for state in ("ALIVE", "DEAD")]
    assert ray.read(json.dumps(nodes)) == [Node("n", 8.0, 16.0, (("GPU", 2),))]


def node(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": {"podCIDR": "10.1.0.0/24", **spec},
        "status": {
            "capacity": {"cpu": "16", "memory": "65806628Ki", "nvidia.com/gpu": "2"},
            "allocatable": {"cpu": "15890m", "memory": "60Gi", "nvidia.com/gpu": "2", "pods": "110"},
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": spec.pop("ready", "True")},
            ],
        },
    }


def nodes(*items: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def test_kubernetes_gives_what_is_allocatable() -> None:
    listing = nodes(
        node("a", {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}),
        node("b", {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}),
        node("c", {"nvidia.com/gpu.product": "NVIDIA-L4-SHARED"}),
        node("d"),
    )
    found = cluster(kubernetes.read(listing), {})
    assert [one.host.gpus for one in found.hosts] == [(Gpu("a100_sxm", 2),), (Gpu("t4", 2),), (), ()]
    assert {(one.host.cpus, one.host.memory_gib) for one in found.hosts} == {(15, 60.0)}
    assert [one.unknown_gpus for one in found.hosts] == [(), (), ("NVIDIA-L4-SHARED",), ("nvidia.com/gpu",)]


def test_kubernetes_nodes_that_take_no_pods_are_left_out() -> None:
    role = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    listing = nodes(
        node("a", unschedulable=True),
        node("b", ready="Unknown"),
        node("c", taints=[role]),
        node("d", taints=[{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]),
    )
    found = cluster(kubernetes.read(listing), {})
    assert [one.host.name for one in found.hosts] == ["d"]
    assert found.left_out == (
        ("a", "it is cordoned"),
        ("b", "it is not ready"),
        ("c", "it is kept for the role control-plane"),
    )


@pytest.mark.parametrize(
    ("text", "number"), [("3920m", 3.92), ("8", 8.0), ("16Gi", 2.0**34), ("32G", 32e9), ("1e3", 1000.0)]
)
def test_quantities(text: str, number: float) -> None:
    assert kubernetes.quantity(text) == pytest.approx(number)


def test_nodes_that_no_inventory_may_name_are_left_out() -> None:
    found = cluster([Node("n", 4, 8), Node("n", 2, 8), Node("a b", 4, 8), Node("tiny", 0.5, 8)], {})
    assert [one.host for one in found.hosts] == [Host("n", 4, 8.0)]
    assert [name for name, _ in found.left_out] == ["a b", "n", "tiny"]


@pytest.mark.parametrize("name", sorted(MANAGERS))
@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "nonsense", '[{"state": 3}]', '{"items": [{}]}', "NodeName=n CPUTot=x"]
)
def test_what_is_no_list_of_nodes_is_told(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "listing").write_text(text)
    with pytest.raises(Rejected) as rejected:
        ask(MANAGERS[name], tmp_path / "listing", {})
    assert [one.code for one in rejected.value.found] == ["E0708"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "a line names no node"),
        ("NodeName=n CPUTot=x", "`CPUTot` of a node is `x`, which is no number"),
        ("NodeName=n CPUTot=inf RealMemory=8000", "`CPUTot` of a node is `inf`, which is no number"),
        ("NodeName=n CPUTot=8 RealMemory=8e3", "`RealMemory` of a node is `8e3`, which is no number"),
        ("NodeName=n CPUTot=8 RealMemory=8000 Gres=gpu:a:b", "`Gres` of a node is `b`, which is no number"),
    ],
)
def test_what_is_no_list_of_slurms_nodes_is_told_in_its_own_words(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "listing").write_text(text)
    with pytest.raises(Rejected) as rejected:
        ask(MANAGERS["slurm"], tmp_path / "listing", {})
    (found,) = rejected.value.found
    assert found.message == f"what slurm lists cannot be read: {why}"


def test_a_listing_becomes_an_inventory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listing = ["inventory", "detect", "--from", "slurm", "--listing", str(RECORDED / "slurm.txt")]
    assert run(listing) == FINE
    out, err = capsys.readouterr()
    assert [host.name for host in parse_inventory(Source("out", out)).hosts] == ["gpu01", "gpu02", "old1", "old2"]
    assert "cpu1 is left out: it is IDLE+DRAIN" in err
    assert "say it with `--gpu a100=TYPE`" in err
    assert run([*listing, "--gpu", "a100=a100_sxm", "--gpu", "gpu=t4"]) == FINE
    (tmp_path / "site.toml").write_text(capsys.readouterr().out)
    assert load_inventory(tmp_path / "site.toml").hosts[3].gpus == (Gpu("t4", 1),)


def test_a_manager_that_is_not_here_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["inventory", "detect", "--from", "slurm"]) == DIAGNOSTICS
    assert "`scontrol` is not on the path" in capsys.readouterr().err
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\necho 'slurm_load_node error: Unable to contact slurm controller' >&2\nexit 1\n")
    program.chmod(0o755)
    assert run(["inventory", "detect", "--from", "slurm"]) == DIAGNOSTICS
    assert "Unable to contact slurm controller" in capsys.readouterr().err
    assert run(["inventory", "detect", "--from", "slurm", "--listing", str(tmp_path / "none")]) == DIAGNOSTICS
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--gpu", "a=t4"], ["--from", "slurm", "--gpu", "a100=a200"], ["--listing", "x"]])
def test_options_that_do_not_fit_are_wrong_usage(options: list[str]) -> None:
    assert run(["inventory", "detect", *options]) == USAGE
