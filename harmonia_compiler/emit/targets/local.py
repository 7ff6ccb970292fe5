"""Target `local`: the processes that a supervisor starts on this machine."""

from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.bundle import LocalProcesses
from harmonia_compiler.contract.launch import Fill, Launch, Probe
from harmonia_compiler.emit.emission import Emission

PROCESSES = "local/processes.json"


def files(emission: Emission) -> dict[str, bytes]:
    """The target's own files, by their paths in the bundle."""
    encoded = msgspec.json.encode(_processes(emission))
    return {PROCESSES: msgspec.json.format(encoded, indent=2) + b"\n"}


def faults(emission: Emission, written: Mapping[str, bytes]) -> list[str]:
    """Where the files as written say something else than the plan; empty when all is well."""
    found = msgspec.json.decode(written[PROCESSES], type=LocalProcesses)
    planned = [(one.id, one.engine, one.host, one.cores, one.devices) for one in emission.plan.replicas]
    started = [(one.replica, one.engine, one.host, one.cores, one.devices) for one in found.replicas]
    wrong = [] if started == planned else [f"{PROCESSES} starts {started} and the plan has {planned}"]
    if found != _processes(emission):
        wrong.append(f"{PROCESSES} does not read back as what was written")
    return wrong


def _processes(emission: Emission) -> LocalProcesses:
    gateway = Launch(
        (
            *(Fill("python"), "-m", "harmonia_compiler.runtime.gateway"),
            *("--service", "service.json", "--endpoints", "run/endpoints.json"),
            *("--host", Fill("host"), "--port", Fill("port")),
        ),
        Probe("http", "/healthz", timeout_s=60.0),
        late={name: name for name in emission.late},
    )
    return LocalProcesses(emission.replicas, gateway)
