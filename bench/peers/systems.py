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
RAY_TIMES_S = {"upscale_delay_s": 30.0, "downscale_delay_s": 600.0, "look_back_period_s": 30.0}
RAY_METRICS_S = 10.0
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


def ray_fixed(scenario: Scenario, counts: Mapping[str, int], python: Path, at_once: int = MAX_NUM_SEQS) -> Set:
    """Ray Serve, a deployment per component with so many replicas, each of which takes so many calls at once.

    The scenario is one that is `apart`.
    """
    replicas = everywhere(scenario, counts)
    deployments = {
        name: {"num_replicas": count, **_options(name in models(scenario), at_once)} for name, count in counts.items()
    }
    return Set(replicas, _ray(deployments, python).front(scenario, replicas))


def ray_scaled(scenario: Scenario, counts: Mapping[str, int], python: Path, factor: float, target: float = 32.0) -> Set:
    """Ray Serve, a deployment per component, each scaled by Serve's autoscaler between one replica and all it can have.

    The scenario is one that is `apart`. Deployments begin with `counts`; the autoscaler's times are stretched as all
    others are. `target` is `target_ongoing_requests` of a model, whose usual value of 2 is for work that is done one
    by one.
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
            "target_ongoing_requests": target if is_model else 2.0,
            "metrics_interval_s": RAY_METRICS_S,
            **times,
        }
        deployments[name] = {"autoscaling_config": scaling, **_options(is_model, MAX_NUM_SEQS)}
    return Set(replicas, _ray(deployments, python).front(scenario, replicas))


def _options(is_model: bool, at_once: int) -> dict[str, Any]:  # noqa: FBT001 - what the two differ in
    """Resources and concurrency of a deployment: an encoder or a store is not made to wait by Serve either."""
    resources = {"num_cpus": 1, "num_gpus": 1 if is_model else 0}
    return {"ray_actor_options": resources, "max_ongoing_requests": at_once}


def _ray(deployments: Mapping[str, Mapping[str, Any]], python: Path) -> Peer:
    free = {"num_replicas": 1, "max_ongoing_requests": UNBOUNDED}
    return Peer("ray", "ray_app.py", python, {"deployments": {**deployments, "web": free, "pipeline": free}})
