"""Target `local`: the processes that a supervisor starts on this machine."""

from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.bundle import LocalProcesses
from harmonia_compiler.contract.document import encode_document
from harmonia_compiler.contract.site import Site
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.emit.emission import Emission, started_otherwise

PROCESSES = "local/processes.json"


def check_site(site: Site | None) -> None:
    """It asks nothing about the place where the bundle is started."""


def files(emission: Emission) -> dict[str, bytes]:
    """The target's own files, by their paths in the bundle."""
    return {PROCESSES: encode_document(_processes(emission))}


def faults(emission: Emission, written: Mapping[str, bytes]) -> list[str]:
    """Where the files as written say something else than the plan; empty when all is well."""
    found = msgspec.json.decode(written[PROCESSES], type=LocalProcesses)
    wrong = started_otherwise(emission.plan, PROCESSES, found.replicas)
    if found != _processes(emission):
        wrong.append(f"{PROCESSES} does not read back as what was written")
    return wrong


def warnings(emission: Emission) -> list[Diagnostic]:  # noqa: ARG001 - there is nothing to warn of
    """What does not forbid the bundle, and whoever starts it should know."""
    return []


def _processes(emission: Emission) -> LocalProcesses:
    return LocalProcesses(emission.replicas, emission.gateway)
