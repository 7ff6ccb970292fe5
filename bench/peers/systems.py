"""The systems that are measured side by side, and on which replicas each of them runs.

Each peer appears as its documentation sets it up, with the GPUs divided evenly, and with the best division that a
stated search finds (`bench/peers/dividing.py`). Harmonia's own plan needs none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.allocation import MAX_NUM_SEQS, allocated, everywhere, gpus, models
from bench.peers.front import Peer
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.rehearsal.front import Front
from harmonia_compiler.emulate.scenario import Scenario

#: Ray Serve's own settings where nobody changes them, times in seconds (`AutoscalingConfig`).
RAY_TIMES_S = {
    "upscale_delay_s": 30.0,
    "downscale_delay_s": 600.0,
    "look_back_period_s": 30.0,
    "metrics_interval_s": 10.0,
}
#: Calls at once that the autoscaler aims at: of a model, and, by Serve's own figure, of what does its work one by one.
TARGET, TARGET_ONE_BY_ONE = 32.0, 2.0
#: How many calls a deployment that waits for others is given at once: as many as come.
UNBOUNDED = 100_000


@dataclass(frozen=True, slots=True)
class Set:
    """A system that is ready to be rehearsed: the replicas that run for it, and its front, None for ours."""

    replicas: tuple[Replica, ...]
    front: Front | None


def harmonia(scenario: Scenario) -> Set:
    """Our plan, gateway and controller."""
    return Set(scenario.plan.replicas, None)


def langgraph(scenario: Scenario, counts: Mapping[str, int], python: Path) -> Set:
    """LangGraph behind uvicorn, one pool of engines per model."""
    replicas = allocated(scenario, counts)
    peer = Peer("langgraph", "langgraph_app.py", python, {})
    return Set(replicas, peer.front(scenario, replicas))


def ray_fixed(scenario: Scenario, counts: Mapping[str, int], python: Path) -> Set:
    """Ray Serve, a deployment per component with so many replicas; the scenario is one that is `apart`."""
    replicas = everywhere(scenario, counts)
    deployments = {
        name: {"num_replicas": count, **_options(name in models(scenario))} for name, count in counts.items()
    }
    return Set(replicas, _ray(deployments, python).front(scenario, replicas))


def ray_scaled(scenario: Scenario, counts: Mapping[str, int], python: Path, factor: float) -> Set:
    """Ray Serve, a deployment per component, each scaled by Serve's autoscaler between one replica and all it can have.

    The scenario is one that is `apart`. Deployments begin with `counts`; the autoscaler's times are stretched as all
    others are.
    """
    replicas = everywhere(scenario, counts)
    times = {name: seconds * factor for name, seconds in RAY_TIMES_S.items()}
    deployments: dict[str, dict[str, Any]] = {}
    most_gpus = len(gpus(scenario)) - len(models(scenario)) + 1
    for name, count in counts.items():
        is_model = name in models(scenario)
        scaling = {
            "min_replicas": 1,
            "initial_replicas": count,
            "max_replicas": most_gpus if is_model else count,
            "target_ongoing_requests": TARGET if is_model else TARGET_ONE_BY_ONE,
            **times,
        }
        deployments[name] = {"autoscaling_config": scaling, **_options(is_model)}
    return Set(replicas, _ray(deployments, python).front(scenario, replicas))


def _options(is_model: bool) -> dict[str, Any]:  # noqa: FBT001 - what the two differ in
    """Resources and concurrency of a deployment: an encoder or a store is not made to wait by Serve either."""
    resources = {"num_cpus": 1, "num_gpus": 1 if is_model else 0}
    return {"ray_actor_options": resources, "max_ongoing_requests": MAX_NUM_SEQS}


def _ray(deployments: Mapping[str, Mapping[str, Any]], python: Path) -> Peer:
    free = {"num_replicas": 1, "max_ongoing_requests": UNBOUNDED}
    return Peer("ray", "ray_app.py", python, {"deployments": {**deployments, "web": free, "pipeline": free}})
