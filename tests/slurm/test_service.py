"""Services as jobs of a real Slurm: where replicas run, what survives, and who takes over."""

from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.slurm import ACTUATOR

from .cluster import Cluster
from .service import ask, up, write

pytestmark = pytest.mark.slurm

MIXED = [
    ("large", (2,), "a100_sxm", 1.0),
    ("large", (0, 3), "a100_sxm", 2.0),
    ("small", (1,), "l40s", 1.0),
    ("plain1", (), "", 0.5),
]


def told(answers: list[str]) -> set[tuple[str, str]]:
    """The nodes and GPUs that answers tell of."""
    return {(answer.split(" ")[0], answer.split(" ")[2]) for answer in answers}


def test_each_replica_has_the_gpus_that_the_plan_names_on_the_node_that_it_names(
    cluster: Cluster, tmp_path: Path
) -> None:
    bundle = write(tmp_path, MIXED)
    with up(bundle):
        status = ACTUATOR.status(bundle)
        assert status.ready
        assert [process.name for process in status.processes] == ["see-0", "see-1", "see-2", "see-3", "gateway"]
        answers = [ask(bundle) for _ in range(40)]
        assert told(answers) == {("large", "2"), ("large", "0,3"), ("small", "1"), ("plain1", "")}
        assert any("ssh -N -L" in note for note in status.notes)
        # Asked again it is adopted, by whomever.
        assert not ACTUATOR.start(bundle, port=None, reembed=False, timeout_s=10, watch=lambda _: None)
    assert not cluster.call("squeue", "--noheader")
