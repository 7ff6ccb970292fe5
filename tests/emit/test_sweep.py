"""Every file of every sample, target and inventory can be read, and says what the plan says."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.plan import Replica, read_plan
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emit.manifest import read_manifest, target_names
from tests.emit.conftest import Planned
from tests.emit.sweep import EVERY, hosts_of, parsed, planned_for, shellcheck

#: A site that has each target emit all that it can.
SITE = (
    "[compose]\nscale_out = 1\n"
    '[slurm]\nsubmit_from_nodes = true\nscale_out = 1\nwall_time = "02:00:00"\nhandover = "00:20:00"\n'
    'modules = ["python/3.11"]\nvenv = "/shared/venv"\npartition = "gpu"\n'
)


@pytest.mark.parametrize(("sample", "inventory"), EVERY)
def test_every_file_can_be_read_and_says_what_the_plan_says(sample: str, inventory: str, tmp_path: Path) -> None:
    made = planned_for(sample, inventory)
    scripts = []
    for target in target_names():
        out = tmp_path / target
        if len(hosts_of(made)) > 1 and not read_manifest(target).capabilities.multi_host:
            with pytest.raises(Rejected, match="E0902"):
                made.write(out, target, SITE)
            assert not out.exists()
            continue
        files = made.write(out, target, SITE)
        read = {name: parsed(name, text) for name, text in files.items()}
        assert read_plan(out / "plan.json") == made.plan
        assert {*read["bundle.json"]["files"], "bundle.json"} == files.keys()
        assert read["bundle.json"]["target"] == target
        serves(made, read["service.json"])
        SAYS[target](made, read)
        scripts += [out / name for name in files if name.endswith(".sbatch")]
    shellcheck(scripts)


def serves(made: Planned, service: dict[str, Any]) -> None:
    """What the gateway is told: the pipelines, their engines as the plan has them, and what each replica is given."""
    assert service["programs"].keys() == {one.name for one in made.plan.pipelines}
    engines = msgspec.to_builtins(made.plan.engines)
    assert {name: service["engines"][name] for name in engines} == engines
    batches = {name: share["batch"] for name, share in service["shares"].items()}
    assert batches == {one.id: one.config.batch for one in made.plan.replicas}


def launched(made: Planned, launches: list[dict[str, Any]]) -> None:
    """How each replica is started, in the plan's order: where, on what, and as a model's server with what of it."""
    assert [one["replica"] for one in launches] == [one.id for one in made.plan.replicas]
    for one, launch in zip(made.plan.replicas, launches, strict=True):
        engine = made.plan.engines[one.engine]
        given = (launch["engine"], launch["host"], launch["cores"], launch["devices"])
        assert given == (one.engine, one.host, one.cores, [*one.devices])
        model = engine.settings.get("model")
        if isinstance(model, str) and "model" in launch["launch"]:
            assert launch["launch"]["model"].partition("@")[0].rpartition("/")[2] == model
        if engine.kind == "llm":
            options = after(launch["launch"]["command"])
            assert options["--max-num-seqs"] == str(one.config.batch)
            assert options["--served-model-name"] == model
            if one.devices:
                assert options["--tensor-parallel-size"] == str(len(one.devices))
                # What replicas of one GPU take of it together is not more than there is.
                assert float(options["--gpu-memory-utilization"]) <= min(1.0, one.config.gpus) + 0.005


def after(command: list[Any]) -> dict[str, Any]:
    """The word after each option."""
    return {word: command[at + 1] for at, word in enumerate(command[:-1]) if str(word).startswith("--")}


def local_says(made: Planned, read: dict[str, Any]) -> None:
    """The processes."""
    launched(made, read["local/processes.json"]["replicas"])


def compose_says(made: Planned, read: dict[str, Any]) -> None:
    """A service for each replica in the file of its host, with what the plan gives it of that host."""
    launched(made, read["compose/services.json"]["replicas"])
    hosts = hosts_of(made)
    further = {one["replica"] for one in read["compose/services.json"]["services"] if one["further"]}
    seen: Counter[str] = Counter()
    for host, replicas in hosts.items():
        services = read["compose.yaml" if len(hosts) == 1 else f"compose.{host}.yaml"]["services"]
        seen.update(services.keys())
        for one in replicas:
            service = services[one.id]
            asked = service.get("deploy", {"resources": {"reservations": {"devices": []}}})
            devices = asked["resources"]["reservations"]["devices"]
            assert [int(each) for device in devices for each in device["device_ids"]] == [*one.devices]
            assert int(service["mem_limit"].removesuffix("m")) == max(64, math.ceil(one.memory_gib * 1024))
        held_to(replicas, {one.id: numbers(services[one.id]["cpuset"]) for one in replicas})
    assert {*seen.values()} == {1}
    assert seen.keys() == {*(one.id for one in made.plan.replicas), *further, "gateway", "controller"}


def held_to(replicas: list[Replica], cpus: dict[str, set[int]]) -> None:
    """Whole cores are of one replica alone; those of less than one share as many as they need together."""
    whole = {one.id for one in replicas if one.cores >= 1 and one.cores == int(one.cores)}
    for one in replicas:
        others = set[int]().union(*(held for name, held in cpus.items() if name != one.id))
        if one.id in whole:
            assert len(cpus[one.id]) == one.cores
            assert not cpus[one.id] & others
    shared = set[int]().union(*(held for name, held in cpus.items() if name not in whole))
    assert len(shared) >= sum(one.cores for one in replicas if one.id not in whole)


def numbers(written: str) -> set[int]:
    """`0-2,5` as Docker reads it."""
    ends = [part.partition("-") for part in written.split(",")]
    return {at for first, _, last in ends for at in range(int(first), int(last or first) + 1)}


def slurm_says(made: Planned, read: dict[str, Any]) -> None:
    """A job that has, on each host of the plan, what its replicas take there; and a step for each."""
    job, hosts = read["slurm/job.json"], hosts_of(made)
    launched(made, job["replicas"])
    asked = read["slurm/job.sbatch"]
    by_host = {host: options for options in asked for host in options["--nodelist"].split(",")}
    assert by_host.keys() == hosts.keys()
    assert sum(int(options["--nodes"]) for options in asked) == len(hosts)
    for host, replicas in hosts.items():
        options = by_host[host]
        assert int(options["--cpus-per-task"]) >= sum(one.cores for one in replicas)
        assert int(options["--mem"].removesuffix("M")) >= sum(one.memory_gib for one in replicas) * 1024
        devices = [device for one in replicas for device in one.devices]
        types = {one.config.gpu for one in replicas if one.devices}
        wanted = f"gpu:{types.pop()}:{max(devices) + 1}" if devices else None
        assert options.get("--gres") == wanted
    steps = {step["replica"]: step for step in job["steps"]}
    assert [*steps] == [one.id for one in made.plan.replicas]
    for one in made.plan.replicas:
        step = steps[one.id]
        assert (step["host"], step["devices"]) == (one.host, [*one.devices])
        assert step["cpus"] == max(1, math.floor(one.cores))
        assert step["memory_mib"] >= one.memory_gib * 1024
    for more in job["further"]:
        (options,) = read[more["script"]]
        like = next(one for one in made.plan.replicas if one.id == more["like"])
        assert int(options["--cpus-per-task"]) >= like.cores
        assert options.get("--gres") == (f"gpu:{like.config.gpu}:{len(like.devices)}" if like.devices else None)
    assert {name for name in read if name.endswith(".sbatch")} == {
        "slurm/job.sbatch",
        *(more["script"] for more in job["further"]),
    }


SAYS: dict[str, Callable[[Planned, dict[str, Any]], None]] = {
    "local": local_says,
    "compose": compose_says,
    "slurm": slurm_says,
}


def test_no_target_is_left_out() -> None:
    assert {*SAYS} == {*target_names()}
