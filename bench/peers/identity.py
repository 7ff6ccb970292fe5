"""What a measured cell depends on beside what it is asked for, as digests: its file outlives neither code nor plan.

Other systems depend on what measures them. Harmonia itself depends on all of its code, so that its cells alone are
measured anew when the planner, the gateway or the controller changes.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.rehearsal.processes import rehearsal_of
from harmonia_compiler.emulate.scenario import Scenario

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "harmonia_compiler"
#: What a simulation of a division consists of.
SIMULATING = (
    *(PACKAGE / name for name in ("contract", "emulate", "kinds", "policy", "profile", "report", "workload")),
    ROOT / "bench" / "peers" / "allocation.py",
)
#: What sends requests, emulates engines and makes figures, and what runs of the other systems.
MEASURING = (
    *SIMULATING,
    PACKAGE / "runtime" / "load",
    *(ROOT / "bench" / "peers" / name for name in ("arriving.py", "cells.py", "front.py", "systems.py", "programs")),
)
#: The same, and what is ours beside it.
WHOLE = (
    *MEASURING,
    ROOT / "bench" / "peers" / "ablation.py",
    *(PACKAGE / name for name in ("check", "emit", "flow", "functions", "plan", "runtime", "syntax")),
)
#: What a prediction is made by: the planner, simulations, and what is searched and asked.
PREDICTING = (
    *SIMULATING,
    *(PACKAGE / name for name in ("check", "flow", "plan")),
    *(ROOT / "bench" / "peers" / name for name in ("ablation.py", "predicting.py", "search.py", "systems.py")),
    ROOT / "bench" / "pipelines",
)
#: How many digits of a digest are kept: enough for some thousand files.
_DIGITS = 12
_VERSIONS = (
    "import importlib.metadata as m, json;print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
)


def digest(*parts: bytes) -> str:
    """A short name for some bytes, which are told apart from the same in other portions."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()[:_DIGITS]


def code(paths: Iterable[Path]) -> str:
    """The digest of some files, and of all files in folders, by their names and contents."""
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}
    kept = sorted(file for file in files if "__pycache__" not in file.parts)
    return digest(*(part for file in kept for part in (str(file.relative_to(ROOT)).encode(), file.read_bytes())))


def subject(scenario: Scenario, replicas: tuple[Replica, ...]) -> str:
    """The digest of what is served.

    That is programs and prompts, the replicas of the plan or of a division, what is drawn, what is promised, and the
    hosts with their prices. What a plan says beside its replicas follows from these and from code.
    """
    document = rehearsal_of(scenario, 1.0, {}, ())
    service = msgspec.structs.replace(document.service, shares={}, expected={})
    served = msgspec.structs.replace(document, service=service, replicas=replicas)
    promised = [(flow.name, flow.objectives, flow.load) for flow in scenario.application.flows]
    return digest(
        msgspec.json.encode(served, order="sorted"), repr(promised).encode(), repr(scenario.inventory).encode()
    )


def versions(python: Path) -> dict[str, str]:
    """What an interpreter has installed, by name. Raises CalledProcessError where it does not run."""
    said = subprocess.run([str(python), "-c", _VERSIONS], check=True, capture_output=True, text=True).stdout
    return dict(sorted(json.loads(said).items()))


def of_versions(installed: dict[str, str]) -> str:
    """The digest of what is installed."""
    return digest(json.dumps(installed, sort_keys=True).encode())
