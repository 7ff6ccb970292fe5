"""The systems that are measured side by side, and on which replicas each of them runs.

Each peer appears as its documentation sets it up (`auto`, `even`), with the best set-up that a stated search finds
(`best`, `search.py`), and with the replicas of Harmonia's plan (`ours`): what is left there is scheduling and routing.
Harmonia appears as it is, and once without each of what `ablation.py` takes away.

Ray Serve as documented is `num_replicas="auto"`: each deployment alone between one replica and as many as the cluster
has room for, two calls at once aimed at. An engine that a new replica stands for is there at once here; a real one
would load for half a minute first. `tuned` is the same with the calls at once that the search found.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.peers.ablation import ABLATIONS, WITHOUT, Given, Tried
from bench.peers.allocation import (
    Division,
    allocated,
    apart,
    counts_on_cores,
    everywhere,
    gpus,
    models,
    together,
    uniform,
)
from bench.peers.front import Peer
from bench.peers.judging import OURS
from bench.peers.search import Found, best
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.rehearsal.front import Front
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.policy.parts import ALL, Parts

#: Ray Serve's own settings where nobody changes them, times in seconds (`AutoscalingConfig`).
RAY_TIMES_S = {
    "upscale_delay_s": 30.0,
    "downscale_delay_s": 600.0,
    "look_back_period_s": 30.0,
    "metrics_interval_s": 10.0,
}
#: What `num_replicas="auto"` sets beside these: calls at once that are aimed at, and that are let in.
RAY_TARGET, RAY_ONGOING = 2.0, 5
#: By how many times calls that are let in exceed those that are aimed at, as Ray's guide has it: 20 to 50 percent.
RAY_MARGIN = 1.25
#: How long Ray's autoscaler is given to find its numbers of replicas before requests count, and others to be warm.
SCALING_S, WARM_S = 120.0, 20.0
#: Between which parts of what a simulation says of its best set-up a system's highest rate is looked for: near to it
#: for that set-up, anywhere below for others; and of Harmonia by what the plan is for.
NEAR, BELOW = (0.5, 1.3), (0.05, 1.3)
#: How many calls a deployment that waits for others is given at once: as many as come.
UNBOUNDED = 100_000
#: Deployments that are never the limit: the ingress, and what calls somebody else's service.
FREE = {name: {"num_replicas": 1, "max_ongoing_requests": UNBOUNDED} for name in ("web", "pipeline")}
LANGGRAPH, HAYSTACK, PLANNED = "langgraph_app.py", "haystack_app.py", "the plan's replicas"
#: Ours where nothing is promised: no judge of promises, so that it is measured when it is asked for alone.
UNPROMISED = f"{OURS}-unpromised"


#: Between which rates the highest is looked for.
Between = Callable[[], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Set:
    """A system that is ready to be rehearsed: the replicas that run for it, and its front, None for ours.

    `parts` of our scheduling are on, where it is ours.
    """

    replicas: tuple[Replica, ...]
    front: Front | None
    parts: Parts = ALL


@dataclass(frozen=True)
class System:
    """One that is measured: its name, its set-up in words, what it is tried on, and how it is set up for a factor.

    `replicas` are those that run for it. Its highest rate is looked for between what `between` gives, in requests a
    second, which may have to be searched for. It is warmed up for `warmup_s`. `python` has its packages, None where it
    is ours.
    """

    name: str
    setup: str
    scenario: Scenario
    replicas: tuple[Replica, ...]
    made: Callable[[float], Set]
    between: Between
    warmup_s: float = WARM_S
    python: Path | None = None


class Systems:
    """The systems of one scenario; what is searched for is kept in a folder.

    `python` has Ray and LangGraph, `haystack` has Haystack: neither settles the versions of the other. `planned` makes
    other plans for the same pipeline and hosts (`bench/pipelines`).
    """

    def __init__(
        self, scenario: Scenario, python: Path, haystack: Path, kept: Path, planned: Callable[..., Scenario]
    ) -> None:
        self.scenario, self.parted = scenario, apart(scenario)
        self.python, self.haystack = python, haystack
        self._kept, self._planned = kept, planned

    def named(self, names: Sequence[str]) -> list[System]:
        """Those of these names, in which `*` stands for anything, in the order of `MAKERS`."""
        return [MAKERS[name](self, name) for name in MAKERS if any(fnmatchcase(name, one) for one in names)]

    @cached_property
    def pooled(self) -> Found:
        """The best with one pool per model."""
        return best(self.scenario, self._kept)

    @cached_property
    def deployed(self) -> Found:
        """The best with one deployment per component."""
        return best(self.parted, self._kept)

    @cached_property
    def whole(self) -> Found:
        """The best with the whole pipeline in each replica."""
        return best(self.scenario, self._kept, whole=True)

    def ours(self, name: str) -> System:
        """Our plan, gateway and controller."""
        return self._ours(name, Tried(self.scenario, PLANNED), NEAR)

    def without(self, name: str, what: str) -> System:
        """The same with something taken away."""
        given = Given(self.scenario, lambda: self.pooled.division, lambda: self._planned(passes=False))
        return self._ours(name, ABLATIONS[what](given), BELOW)

    def unpromised(self) -> System:
        """Our plan where nothing is promised, and so nobody refused: what the integer plan says is carried then."""
        return self._ours(UNPROMISED, Tried(self._planned(promised=False), "a plan with nothing promised"), NEAR)

    def _ours(self, name: str, tried: Tried, parts: tuple[float, float]) -> System:
        rate_rps = planned_rps(tried.scenario if name == UNPROMISED else self.scenario)
        replicas = tried.scenario.plan.replicas
        made = Set(replicas, None, tried.parts)
        return System(name, tried.setup, tried.scenario, replicas, lambda _: made, _between(parts, lambda: rate_rps))

    def served(self, name: str, program: str, division: Division | None, between: Between, **settings: Any) -> System:
        """A pool of engines per model; without a division, over the plan's replicas."""
        replicas = allocated(self.scenario, division) if division else self.scenario.plan.replicas
        python = self.haystack if program == HAYSTACK else self.python
        return self._set(name, self.scenario, replicas, division, Peer(name, program, python, settings), between)

    def ray_fixed(self, name: str, scenario: Scenario, division: Division | None, between: Between) -> System:
        """Ray Serve with fixed numbers of replicas: a deployment for each engine of the scenario.

        Of which type a replica's GPU is, is settled by the replicas and not by Ray, which would need a resource for
        each type.
        """
        replicas = allocated(scenario, division) if division else scenario.plan.replicas
        most = max(one.config.batch for one in replicas)
        deployments = {
            engine: {"num_replicas": count, "max_ongoing_requests": most, "ray_actor_options": {"num_cpus": 0}}
            for engine, count in Counter(one.engine for one in replicas).items()
        }
        peer = Peer(name, "ray_app.py", self.python, {"deployments": {**deployments, **FREE}})
        return self._set(name, scenario, replicas, division, peer, between)

    @staticmethod
    def _set(
        name: str,
        scenario: Scenario,
        replicas: tuple[Replica, ...],
        division: Division | None,
        peer: Peer,
        between: Between,
    ) -> System:
        setup = division.describe() if division else PLANNED
        made = Set(replicas, peer.front(scenario, replicas))
        return System(name, setup, scenario, replicas, lambda _: made, between, python=peer.python)

    def ray_scaled(self, name: str, target: float, ongoing: int) -> System:
        """Ray Serve, a deployment per component, each scaled by Serve's autoscaler from one replica on.

        Its times are stretched as all others are. A deployment may have every GPU of the cluster; how many it gets is
        between it and the others.
        """
        scenario, most = self.parted, len(gpus(self.parted))
        replicas, cores = everywhere(scenario, ongoing), counts_on_cores(scenario)

        def made(factor: float) -> Set:
            times = {what: seconds * factor for what, seconds in RAY_TIMES_S.items()}
            deployments = {
                engine: {
                    "autoscaling_config": {
                        "min_replicas": 1,
                        "max_replicas": cores.get(engine, most),
                        "target_ongoing_requests": target,
                        **times,
                    },
                    "max_ongoing_requests": ongoing,
                    "ray_actor_options": {"num_cpus": 1, "num_gpus": int(engine not in cores)},
                }
                for engine in (*models(scenario), *cores)
            }
            peer = Peer(name, "ray_app.py", self.python, {"deployments": {**deployments, **FREE}})
            return Set(replicas, peer.front(scenario, replicas))

        setup = f"min=1 max={most} target={target:g} ongoing={ongoing}"
        between = _between(BELOW, lambda: self.deployed.rate_rps)
        return System(name, setup, scenario, replicas, made, between, SCALING_S, self.python)

    def monolith(self, name: str, division: Division, between: Between) -> System:
        """Ray Serve with the whole pipeline as one deployment: its models share a GPU, or have one each."""
        one = {
            "num_replicas": division.total(models(self.scenario)[0]),
            "max_ongoing_requests": division.batch,
            "ray_actor_options": {"num_cpus": 0},
        }
        return self.served(name, "monolith_app.py", division, between, deployment=one)

    def halves(self) -> Division:
        """Equal parts of each GPU for all models."""
        part = 1.0
        while part * len(models(self.scenario)) > 1.0:
            part /= 2.0
        return together(self.scenario, dict.fromkeys(models(self.scenario), part))


def _between(parts: tuple[float, float], rate_rps: Callable[[], float]) -> Between:
    return lambda: (parts[0] * rate_rps(), parts[1] * rate_rps())


def planned_rps(scenario: Scenario) -> float:
    """The rate that a plan says its replicas carry with the promise kept."""
    (predicted,) = scenario.plan.predicted.values()
    return predicted.throughput_rps


def _without(what: str) -> Callable[[Systems, str], System]:
    return lambda of, name: of.without(name, what)


def _ray_tuned(of: Systems, name: str) -> System:
    most = of.deployed.division.batch
    return of.ray_scaled(name, most / RAY_MARGIN, most)


#: Every system, by its name.
MAKERS: dict[str, Callable[[Systems, str], System]] = {
    "harmonia": Systems.ours,
    **{f"{WITHOUT}{what}": _without(what) for what in ABLATIONS},
    "ray-auto": lambda of, name: of.ray_scaled(name, RAY_TARGET, RAY_ONGOING),
    "ray-tuned": _ray_tuned,
    "ray-best": lambda of, name: of.ray_fixed(
        name, of.parted, of.deployed.division, _between(NEAR, lambda: of.deployed.rate_rps)
    ),
    "ray-ours": lambda of, name: of.ray_fixed(name, of.scenario, None, _between(BELOW, lambda: of.pooled.rate_rps)),
    "monolith-even": lambda of, name: of.monolith(name, of.halves(), _between(BELOW, lambda: of.whole.rate_rps)),
    "monolith-best": lambda of, name: of.monolith(name, of.whole.division, _between(NEAR, lambda: of.whole.rate_rps)),
    "langgraph-even": lambda of, name: of.served(
        name, LANGGRAPH, uniform(of.scenario), _between(BELOW, lambda: of.pooled.rate_rps)
    ),
    "langgraph-best": lambda of, name: of.served(
        name, LANGGRAPH, of.pooled.division, _between(NEAR, lambda: of.pooled.rate_rps)
    ),
    "haystack-even": lambda of, name: of.served(
        name, HAYSTACK, uniform(of.scenario), _between(BELOW, lambda: of.pooled.rate_rps)
    ),
    "haystack-best": lambda of, name: of.served(
        name, HAYSTACK, of.pooled.division, _between(NEAR, lambda: of.pooled.rate_rps)
    ),
    "langgraph-ours": lambda of, name: of.served(name, LANGGRAPH, None, _between(BELOW, lambda: of.pooled.rate_rps)),
}
