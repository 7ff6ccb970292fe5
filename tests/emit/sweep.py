"""The bundles of every sample for three inventories, as the planner really plans them, and how their files are read.

What a bundle says is read from its files alone, by readers that share nothing with what wrote them.
"""

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan
from tests.emit.conftest import ROOT, Planned

SAMPLES = sorted(path.stem for path in (ROOT / "samples").glob("*.rag"))
INVENTORIES = ("laptop", "mixed", "paper")

#: What `make test` has: planning for GPUs takes a second a sample.
QUICK = {*((sample, "laptop") for sample in SAMPLES), ("fusion", "paper"), ("memorag", "paper")}

#: Every sample with every inventory; those that take longer are for `make integration`.
EVERY = [
    pytest.param(sample, inventory, marks=() if (sample, inventory) in QUICK else pytest.mark.slow)
    for inventory in INVENTORIES
    for sample in SAMPLES
]


@cache
def planned_for(sample: str, inventory: str) -> Planned:
    """A sample as it is planned for an inventory."""
    checked = check_files([ROOT / f"samples/{sample}.rag"], root=ROOT)
    assert checked.application is not None
    application = optimise(checked.application)
    there = load_inventory(ROOT / f"samples/inventories/{inventory}.toml")
    return Planned(application, make_plan(application, inventory=there), ROOT)


def hosts_of(made: Planned) -> dict[str, list[Replica]]:
    """The replicas of each host that the plan uses."""
    found: dict[str, list[Replica]] = {}
    for replica in made.plan.replicas:
        found.setdefault(replica.host, []).append(replica)
    return found


def parsed(name: str, text: str) -> Any:
    """A file read as what its name says; raises where it is none. A file of a sort that is not known here fails."""
    sort = Path(name).suffix or Path(name).name
    return _READERS[sort](text)


def _dockerfile(text: str) -> list[str]:
    """The instructions, each of which is one."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    known = {"ARG", "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD", "LABEL"}
    assert {line.split()[0] for line in lines} <= known
    return lines


def _markdown(text: str) -> str:
    assert text.endswith("\n")
    # What is filled in closes what it opens, or the rest of the file would be code.
    assert text.count("```") % 2 == 0
    return text


def _script(text: str) -> list[dict[str, str]]:
    """What a batch script asks of Slurm, component by component."""
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    components: list[dict[str, str]] = [{}]
    # Slurm reads no options behind the first line that is a command.
    head = re.split(r"^[^#\n]", text, maxsplit=1, flags=re.MULTILINE)[0]
    for line in re.findall(r"^#SBATCH (.*)$", head, flags=re.MULTILINE):
        (option,) = shlex.split(line)
        if option == "hetjob":
            components.append({})
        else:
            name, _, value = option.partition("=")
            assert name not in components[-1], f"{name} is given twice"
            components[-1][name] = value
    assert text.count("#SBATCH") == len(re.findall(r"^#SBATCH ", head, flags=re.MULTILINE))
    return components


_READERS: Mapping[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".yaml": lambda text: yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)),
    ".py": ast.parse,
    ".md": _markdown,
    ".sbatch": _script,
    "Dockerfile": _dockerfile,
}


def shellcheck(scripts: Iterable[Path]) -> None:
    """What shellcheck has to say of scripts, which is nothing."""
    command = [Path(sys.executable).parent / "shellcheck", *sorted(scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
