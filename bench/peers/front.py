"""A measured system as the front of a rehearsal: its processes are started over the emulated replicas, and ended."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.allocation import gpus
from harmonia_compiler.contract.component import Component, Insert, Prompt
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.rehearsal.child import command, wait_for
from harmonia_compiler.emulate.rehearsal.front import Behind, Front, Fronted, is_ready
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.listeners import HOST
from harmonia_compiler.kinds.kind import value_of
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.actuators.supervision.ports import free_port

PROGRAMS = Path(__file__).parent / "programs"
#: How long a system may take to be ready beside what a rehearsal allows, and how long it waits for an engine, in
#: seconds: none of them gives up a request by itself.
START_S, TIMEOUT_S = 480.0, 3600.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A system: its program, the interpreter that has its packages, and settings that the program reads."""

    name: str
    program: str
    python: Path
    settings: Mapping[str, Any]

    def front(self, scenario: Scenario, replicas: tuple[Replica, ...]) -> Front:
        """The system over these replicas."""

        @contextmanager
        def front(behind: Behind) -> Iterator[Fronted]:
            document = {**_document(scenario, replicas, behind), **self.settings}
            path, port = behind.folder / "peer.json", free_port(())
            path.write_text(json.dumps(document, indent=1))
            words = [str(self.python), str(PROGRAMS / self.program), str(path), str(port)]
            with command(behind.folder, self.name, words, environment()) as started:
                address = f"http://{HOST}:{port}"
                wait_for(started, lambda: is_ready(address), START_S + behind.patience_s)
                yield Fronted(address, {self.name: started}, lambda _: ((), ""))

        return front


def environment() -> dict[str, str]:
    """The environment of a system: it has a folder of packages of its own, and is given nothing of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # Of a machine that others use as well, Ray's proxy may be slow to start: it is killed after five seconds otherwise.
    patient = {f"RAY_SERVE_PROXY_{what}_CHECK_TIMEOUT_S": "60" for what in ("READY", "HEALTH")}
    return {**kept, **patient, "RAY_USAGE_STATS_ENABLED": "0", "NO_PROXY": "*", "LANGSMITH_TRACING": "false"}


def _document(scenario: Scenario, replicas: tuple[Replica, ...], behind: Behind) -> dict[str, Any]:
    """What `programs/engines.py` reads."""
    listens = {one.replica: f"http://{one.host}:{one.port}/" for one in behind.replicas}
    numbers = {(gpu.host, gpu.index): gpu.number for gpu in gpus(scenario)}
    engines: dict[str, list[dict[str, Any]]] = {}
    for one in replicas:
        device = numbers[one.host, one.devices[0]] if one.devices else None
        engines.setdefault(one.engine, []).append({"id": one.id, "url": listens[one.id], "device": device})
    for name, engine in scenario.service.engines.items():
        if kinds()[engine.kind].external:
            engines[name] = [{"id": name, "url": behind.service.engines[name].settings["url"], "device": None}]
    settings = {name: engine.settings.get("model") for name, engine in scenario.service.engines.items()}
    ((pipeline, program),) = scenario.service.programs.items()
    components = program.components
    return {
        "pipeline": pipeline,
        "components": {
            name: {"engine": one.engine, "prompt": template(one.prompt or ()), "most": _most_tokens(one)}
            for name, one in components.items()
        },
        "engines": engines,
        "models": {name: model for name, model in settings.items() if model is not None},
        "embedder": next((name for name, one in components.items() if one.kind == "embedder"), None),
        "collection": next(iter(scenario.service.collections), None),
        "found": _top(components.values(), "milvus"),
        "found_in_web": _top(components.values(), "web_search"),
        "cores": sum(host.cpus for host in scenario.inventory.hosts),
        "gpus": len(numbers),
        "timeout_s": TIMEOUT_S,
    }


def template(prompt: Prompt) -> str:
    """A prompt as Python's `str.format` fills it in."""
    return "".join(
        f"{{{part.port}}}" if isinstance(part, Insert) else part.replace("{", "{{").replace("}", "}}")
        for part in prompt
    )


def _most_tokens(component: Component) -> int | None:
    """How long an answer of a model may be."""
    if not kinds()[component.kind].has_prompt:
        return None
    return int(value_of("max_tokens", component.settings, kinds()[component.kind].settings))


def _top(components: Iterable[Component], kind: str) -> int | None:
    """How many passages the components of a kind look for."""
    return next((one.settings["top_k"] for one in components if one.kind == kind), None)
