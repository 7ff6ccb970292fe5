"""What Docker says of a container, as the status of a process. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harmonia_compiler.contract.launch import Probe
from harmonia_compiler.runtime.actuators.actuator import ProcessPhase
from harmonia_compiler.runtime.actuators.supervision.ending import describe_exit

#: The states of a container of which nothing runs.
_ENDED = ("exited", "dead", "restarting")
#: Those in which the engine tells what it said.
_TOLD = ("running", "paused", "restarting", "exited")


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a container: `key` tells it from the one before.

    `health` is empty where the container has no check; `said` is the last line of a check that failed. `exit_code` is
    how it last ended, None where it never did and where Docker does not say: of what runs again it says 0.
    """

    container: str
    started: str
    state: str
    health: str
    said: str
    pid: int | None
    restarts: int
    finished: str
    exit_code: int | None
    out_of_memory: bool

    @property
    def key(self) -> tuple[str, str]:
        """The container, and since when."""
        return self.container, self.started

    @property
    def is_well(self) -> bool:
        """Whether it runs, and its check, if it has one, succeeds."""
        return self.state == "running" and self.health in ("", "healthy")

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs, or only between two starts."""
        return self.state in _ENDED

    @property
    def is_told(self) -> bool:
        """Whether what it said can be had."""
        return self.state in _TOLD

    @property
    def ending(self) -> str:
        """How it ended last; empty where it never did."""
        if self.exit_code is None:
            return "an exit code that Docker does not tell any more" if self.restarts else ""
        return describe_exit(self.exit_code) + (", out of its memory" if self.out_of_memory else "")


def life_of(inspected: Mapping[str, Any]) -> Life:
    """What `docker inspect` says, as far as it matters; it is read with patience, since versions differ."""
    state = inspected.get("State") or {}
    health = state.get("Health") or {}
    log = health.get("Log") or [{}]
    output = str(log[-1].get("Output", "")).strip().splitlines()
    return Life(
        str(inspected.get("Id", "")),
        str(state.get("StartedAt", "")),
        str(state.get("Status", "")),
        str(health.get("Status", "")),
        output[-1][:200] if output and log[-1].get("ExitCode") else "",
        state.get("Pid") or None,
        int(inspected.get("RestartCount") or 0),
        str(state.get("FinishedAt", "")),
        int(state.get("ExitCode") or 0) if state.get("Status") in _ENDED else None,
        bool(state.get("OOMKilled")),
    )


def listens_on(inspected: Mapping[str, Any], port: int) -> bool:
    """Whether a container that runs has this port of its host: published or, where none is, a word of its command."""
    if (inspected.get("State") or {}).get("Status") != "running":
        return False
    published = ((inspected.get("HostConfig") or {}).get("PortBindings") or {}).values()
    ports = [one.get("HostPort") for bindings in published for one in bindings or ()]
    return str(port) in (ports or (inspected.get("Config") or {}).get("Cmd") or ())


def phase_of(life: Life | None, *, was_ready: bool, prepared: bool) -> ProcessPhase:
    """What the container is doing, in the words of all targets."""
    if life is None or life.state == "created":
        return "waiting"
    if life.has_ended:
        return "restarting"
    if life.is_well and prepared:
        return "ready"
    return "restarting" if was_ready else "starting"


def waits_for(life: Life | None, probe: Probe, port: int, *, preparing: str) -> str:
    """What must happen before it is ready, and why that has not happened."""
    if life is None or life.state == "created":
        return "its image, or those that must answer before it"
    if life.has_ended:
        return f"its next start, after: {life.ending}"
    if life.is_well:
        return preparing
    if life.state == "paused":
        return f"whoever paused it to go on with it: `docker unpause {life.container[:12]}`"
    asked = f"Milvus on port {port}" if probe.transport == "milvus" else f"GET {probe.path} on port {port}"
    return f"{asked}: {life.said}" if life.said else asked


def failed(life: Life, probe: Probe, port: int) -> str | None:
    """Why a container that was never ready will not be; None while it still may."""
    if life.has_ended or life.restarts:
        return f"it ended with {life.ending} before it was ready"
    if life.health == "unhealthy":
        return f"its check still fails after {probe.timeout_s:g} s: {waits_for(life, probe, port, preparing='')}"
    return None
