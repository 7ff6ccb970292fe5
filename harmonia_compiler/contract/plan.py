"""The plan: what runs where, what it should achieve, and from which figures that follows.

Written as `plan.json`. Deterministic byte for byte; no secret, no absolute path, no clock.
"""

import msgspec

from harmonia_compiler.contract.component import Component, Engine

FORMAT_VERSION = 1


class Configuration(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to run a replica: `gpu` is a GPU type or empty for CPU alone.

    `gpus` is the tensor-parallel degree times whole devices, or a fraction of one device below 1.
    """

    cores: float
    memory_gib: float
    gpu: str = ""
    gpus: float = 0.0
    gpu_memory_gib: float = 0.0
    tensor_parallel: int = 1
    batch: int = 1

    def describe(self) -> str:
        """A short name for people: `h100_sxm×2 tp2`, `2 cores`."""
        if not self.gpu:
            return f"{self.cores:g} core{'' if self.cores == 1 else 's'}"
        tensor_parallel = f" tp{self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        return f"{self.gpu}×{self.gpus:g}{tensor_parallel}"


class Replica(msgspec.Struct, frozen=True):
    """One process to start. `devices` are indices of GPUs on its host; `serves` the components on it."""

    id: str
    engine: str
    host: str
    devices: tuple[int, ...]
    cores: float
    memory_gib: float
    config: Configuration
    serves: tuple[str, ...]


class Predicted(msgspec.Struct, frozen=True):
    """What one pipeline should achieve under the plan.

    `throughput_rps` is what the replicas carry at the planned utilisation; latencies are estimates of
    the 95th percentile there, in ms; `cost_per_hour` is the pipeline's part of the price of the hosts
    in use; `bottleneck` is the engine that is busiest.
    """

    throughput_rps: float
    latency_ms: float
    ttft_ms: float
    cost_per_hour: float
    bottleneck: str


class ProfileUse(msgspec.Struct, frozen=True):
    """Which figures stood for an engine in the configuration that was chosen, and where they are from."""

    engine: str
    config: str
    provenance: str
    capacity_rps: float
    latency_ms: float


class Solver(msgspec.Struct, frozen=True):
    """How the optimum was reached: `optimal` when proven, `feasible` within the gap otherwise."""

    status: str
    gap: float


class PipelineShare(msgspec.Struct, frozen=True):
    """A served pipeline: the load it was planned for and the expected visits of each component."""

    name: str
    load_rps: float
    visits: dict[str, float]


class Plan(msgspec.Struct, frozen=True):
    """The document. Maps are in the order of their keys.

    `utilisation` is the part of the time that each engine's replicas are busy at the predicted rates;
    `guessed` are the components for whose sizes (tokens, items) the user and the kind said nothing.
    """

    format_version: int
    objective: str
    pipelines: tuple[PipelineShare, ...]
    components: dict[str, Component]
    engines: dict[str, Engine]
    replicas: tuple[Replica, ...]
    predicted: dict[str, Predicted]
    profiles: tuple[ProfileUse, ...]
    solver: Solver
    sources: dict[str, str]
    utilisation: dict[str, float] = {}
    guessed: tuple[str, ...] = ()
