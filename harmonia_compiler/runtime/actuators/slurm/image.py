"""The Apptainer image that a site may name: replicas run in it, and see of their node what they need."""

import os
from collections.abc import Sequence

from harmonia_compiler.contract.slurm import SlurmSite
from harmonia_compiler.runtime.weights import folders_of


def python_in(site: SlurmSite, bundle: str, devices: Sequence[int], model: str | None) -> list[str]:
    """The words before a module's name that run a Python in the image, beside a bundle and the weights of a model."""
    needed = [bundle, *map(str, folders_of(model)), *([site.stage] if site.stage and model else [])]
    flags = ["--nv"] if devices else []
    return ["apptainer", "exec", *flags, *(f"--bind={folder}" for folder in needed), site.image, "python3", "-P", "-m"]


def is_inside() -> bool:
    """Whether this process runs in such an image already."""
    return "APPTAINER_CONTAINER" in os.environ
