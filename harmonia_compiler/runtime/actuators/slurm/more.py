"""A job that is one more replica beside a service: `python -m …slurm.more DIR REPLICA [ADDRESS]`.

What Slurm sends it when it is to go, it takes as a wish to end what it has begun first. Where replicas run in an image,
it asks Slurm for its node's address outside, and becomes itself inside.
"""

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

import msgspec

from harmonia_compiler.runtime.actuators.slurm.commands import SlurmFailed, address_of
from harmonia_compiler.runtime.actuators.slurm.folder import MORE, SharedFolder, life_here
from harmonia_compiler.runtime.actuators.slurm.image import is_inside, python_in
from harmonia_compiler.runtime.actuators.slurm.keeping import LOG, main, read_job
from harmonia_compiler.runtime.actuators.slurm.step import Step, spec_of
from harmonia_compiler.runtime.actuators.supervision.ending import FAILED


async def _serve(bundle: Path, name: str, address: str = "") -> int:
    documents, job = read_job(bundle)
    run = SharedFolder(bundle).run()
    # The name of its job is its service's with more behind it.
    if run is None or os.environ.get("SLURM_JOB_NAME", run.name).split(".")[0] != run.name:
        LOG.error("the service that it belongs to has ended")
        return FAILED
    of = next(one for one in job.further if name in one.names)
    like = next(one for one in documents.processes.replicas if one.replica == of.like)
    try:
        address = address or await asyncio.to_thread(address_of, os.environ["SLURMD_NODENAME"])
    except SlurmFailed as failed:
        LOG.error("%s", failed)
        return FAILED
    if job.site.image and not is_inside():
        python = python_in(job.site, str(bundle), like.devices, like.launch.model)
        os.execvp(python[0], [*python, __spec__.name, str(bundle), name, address])
    # All GPUs that the job has are its own, by whatever numbers.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    devices = [int(one) for one in visible if one.isdigit()][: len(like.devices)]
    replica = msgspec.structs.replace(like, replica=name)
    spec = spec_of(bundle, documents, job.site, replica, devices, reembed=run.asked.reembed)
    folder, life = SharedFolder(bundle), f"{MORE}{life_here()}"
    folder.enter(life)
    return await Step(bundle, life, spec, address, drains=True).serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[2], partial(_serve, Path(sys.argv[1]).resolve(), *sys.argv[2:4])))
