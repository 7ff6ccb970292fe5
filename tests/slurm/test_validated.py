"""Slurm itself takes the scripts of every sample, on nodes like the hosts that they were planned for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.runtime.actuators.slurm.preflight import refused
from tests.emit.conftest import ROOT
from tests.emit.sweep import INVENTORIES, SAMPLES, planned_for

from .cluster import Cluster, Nodes
from .conftest import running

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]

ANYWHERE = (
    '[slurm]\nnodes = "any"\nsubmit_from_nodes = true\nscale_out = 1\nwall_time = "02:00:00"\nhandover = "00:20:00"\n'
)


def nodes() -> Nodes:
    """A node for each host of the inventories. What the gateway takes there is beside what the plan may use."""
    hosts = [host for name in INVENTORIES for host in load_inventory(ROOT / f"samples/inventories/{name}.toml").hosts]
    return {
        host.name: (host.cpus, int(host.memory_gib * 1024), {gpu.type: gpu.count for gpu in host.gpus})
        for host in hosts
    }


@pytest.fixture(scope="module")
def alike() -> Iterator[Cluster]:
    """A Slurm with the hosts of all inventories."""
    with running(nodes()) as found:
        yield found


@pytest.mark.parametrize("site", ["", ANYWHERE], ids=["named", "anywhere"])
@pytest.mark.parametrize("inventory", INVENTORIES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_slurm_takes_every_script(alike: Cluster, sample: str, inventory: str, site: str, tmp_path: Path) -> None:
    planned_for(sample, inventory).write(tmp_path / "bundle", "slurm", site)
    assert refused(tmp_path / "bundle", os.environ) == []


def test_slurm_refuses_what_it_does_not_have(alike: Cluster, tmp_path: Path) -> None:
    """So the test above would fail if a script asked for too much."""
    made = planned_for("vanilla", "laptop").on_hosts("nowhere")
    made.write(tmp_path / "bundle", "slurm")
    (found,) = refused(tmp_path / "bundle", os.environ)
    assert found.code == "E0936"
    assert "nowhere" in found.message or "node" in found.message
