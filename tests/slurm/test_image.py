"""Replicas in a real Apptainer image: those of the plan, and one that comes on top as a job of its own.

    HARMONIA_APPTAINER_IMAGE=/shared/harmonia.sif python -m pytest -m slurm tests/slurm/test_image.py

The image, a file or a folder, has a `python3` with harmonia-compiler of this version.
"""

import os
import shutil
from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.slurm import ACTUATOR

from .cluster import Cluster
from .service import CODE, Load, ask, until, up, write

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(200)]

IMAGE = os.environ.get("HARMONIA_APPTAINER_IMAGE", "")

#: An answer also tells which image its worker runs in, as the launcher above it sees that.
INSIDE = CODE.replace('return f"', "return f\"{of_slurm('APPTAINER_CONTAINER', os.getppid())} ")

SITE = f"""[slurm]
nodes = "any"
submit_from_nodes = true
scale_out = 1
exclusive = false
image = "{IMAGE}"
"""


@pytest.fixture(autouse=True)
def _needed() -> None:
    if shutil.which("apptainer") is None:
        pytest.skip("apptainer is not installed here")
    if not IMAGE:
        pytest.skip("HARMONIA_APPTAINER_IMAGE names no image that has harmonia-compiler")


async def test_replicas_run_in_the_image_also_those_that_come_on_top(cluster: Cluster, tmp_path: Path) -> None:
    bundle = write(tmp_path, [("anywhere", (1,), "a100_sxm", 1.0)], SITE, INSIDE)
    ((engine, (name,)),) = ACTUATOR.room(bundle).items()
    load = Load(bundle)
    with up(bundle):
        image, _, _, devices = ask(bundle).split(" ")
        assert (image, devices) == (IMAGE, "1")
        async with load.going():
            ACTUATOR.scale(bundle, {engine: 2})
            await until(lambda: len({answer.split(" ")[2] for answer in load.answers}) == 2)
            ACTUATOR.scale(bundle, {engine: 1})
            await until(lambda: len(cluster.call("squeue", "--noheader").splitlines()) == 1)
        assert name in ACTUATOR.log_names(bundle)
    assert load.failures == []
    assert {answer.split(" ")[0] for answer in load.answers} == {IMAGE}
    assert not cluster.call("squeue", "--noheader")
