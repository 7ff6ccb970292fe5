"""The plan: what runs where, what it should achieve, and from which figures that follows.

Written as `plan.json`. Deterministic byte for byte; no secret, no absolute path, no clock.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harmonia_compiler.contract.component import Component, Engine, Env, Late, Secret
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected

FORMAT_VERSION = 1

#: The oldest format that is still read: the one before the present one, once there is one.
OLDEST_FORMAT = max(1, FORMAT_VERSION - 1)


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
        """A short name for people: `h100_sxm×2 tp2 batch 64`, `2 cores`."""
        batch = f" batch {self.batch}" if self.batch > 1 else ""
        if not self.gpu:
            return f"{self.cores:g} core{'' if self.cores == 1 else 's'}{batch}"
        tensor_parallel = f" tp{self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        return f"{self.gpu}×{self.gpus:g}{tensor_parallel}{batch}"


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
    `guessed` are the components for whose sizes (tokens, items) the user and the kind said nothing;
    `estimated` are the pipelines with too many branches for exact probabilities.
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
    estimated: tuple[str, ...] = ()


class _Versioned(msgspec.Struct):
    format_version: int


def encode_plan(plan: Plan) -> bytes:
    """The plan's canonical JSON: sorted maps, two spaces, a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(plan, order="deterministic"), indent=2) + b"\n"


def read_plan(path: Path) -> Plan:
    """The plan in a file; raises Rejected where it is damaged or of a format that is not read."""
    try:
        text = path.read_bytes()
        version = decode_document(text, _Versioned).format_version
        if version > FORMAT_VERSION:
            message = f"`{path}` has format_version {version}, and this harmoniac reads up to {FORMAT_VERSION}"
            raise Rejected([Diagnostic("E0731", message, help="update harmoniac, or plan again with this one")])
        if version < OLDEST_FORMAT:
            message = f"`{path}` has format_version {version}, and this harmoniac reads from {OLDEST_FORMAT} on"
            raise Rejected([Diagnostic("E0731", message, help="plan again with this harmoniac")])
        plan = decode_document(text, Plan)
    except OSError as problem:
        raise _unreadable(path, problem.strerror or "it cannot be read") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise _unreadable(path, str(problem)) from None
    return msgspec.structs.replace(
        plan,
        components={name: _with_late(component) for name, component in plan.components.items()},
        engines={name: _with_late(engine) for name, engine in plan.engines.items()},
    )


def _unreadable(path: Path, why: str) -> Rejected:
    message = f"the plan `{path}` cannot be read: {why}"
    return Rejected([Diagnostic("E0730", message, help="write it again with `harmoniac plan … --out FILE`")])


_Part = TypeVar("_Part", Component, Engine)


def _with_late(part: _Part) -> _Part:
    """Settings are plain JSON to the decoder; those that wait for the start become what they were."""
    settings = {name: _late(value) for name, value in part.settings.items()}
    return msgspec.structs.replace(part, settings=settings)


def _late(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"late", "name"}:
        late: Late = msgspec.convert(value, Env | Secret)
        return late
    return value
