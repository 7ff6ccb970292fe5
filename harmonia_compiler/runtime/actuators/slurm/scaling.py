"""Replicas beyond the plan's, each a job of its own: submitted, and told to end, as the controller wishes.

The head of the job that serves does so. The controller's own process sees nothing of the environment in which a job has
to be submitted.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from harmonia_compiler.contract.slurm import SlurmJob
from harmonia_compiler.runtime.actuators.slurm.commands import cancel, outside, queue, submit
from harmonia_compiler.runtime.bundle import LocalBundle


def bring(bundle: Path, documents: LocalBundle, job: SlurmJob, name: str, replicas: Mapping[str, int]) -> None:
    """Let each engine have so many replicas, as far as those beyond the plan go. Raises `SlurmFailed`.

    Which there are, the queue says: so what is submitted twice, or by two, is one.
    """
    planned: dict[str, int] = {}
    for one in documents.processes.replicas:
        planned[one.engine] = planned.get(one.engine, 0) + 1
    there = {one.name: one for one in queue(name)}
    for beside in job.further:
        if beside.engine not in replicas:
            continue
        count = max(0, replicas[beside.engine] - planned[beside.engine])
        for at, replica in enumerate(beside.names):
            called = f"{name}.{replica}"
            if at < count and called not in there:
                submit(bundle, beside.script, called, (replica,), outside(os.environ, job.site))
            elif at >= count and called in there:
                cancel(there[called], drain=True)
