"""The plan: what runs where, what it should achieve, and from which figures that follows.

Written as `plan.json`. Deterministic byte for byte; no secret, no absolute path, no clock.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from harmonia_compiler.contract.component import Component, Engine, Env, Late, Secret
from harmonia_compiler.contract.document import OtherFormat, decode_versioned, encode_document
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected

FORMAT_VERSION = 1

#: The oldest format that is still read: the one before the present one, once there is one.
OLDEST_FORMAT = max(1, FORMAT_VERSION - 1)


#: What names a process, its log and its job, or a host; no target has to quote it, no path leads out of a folder by it.
ProcessName = Annotated[str, Meta(pattern=r"\A(?!\.\.?\Z)[A-Za-z0-9._-]{1,64}\Z")]
#: How much of an engine's name goes into those of its replicas, which name processes: with a number, 64 letters.
MOST_OF_NAME = 56
_NUMBER = re.compile(r"0|[1-9][0-9]{0,6}", re.ASCII)

#: What a replica takes of its host, within what an inventory may say of one.
Cores = Annotated[float, Meta(ge=0, le=4096)]
Gibibytes = Annotated[float, Meta(ge=0, le=2**20)]
Device = Annotated[int, Meta(ge=0, le=1023)]
#: Figures beyond which nothing that is planned goes: what says otherwise was edited, and nothing is made of it. What
#: follows from times and loads goes as far as those, which a file may give in any size.
MOST = 1e300
Rate = Annotated[float, Meta(ge=0, le=MOST)]
Milliseconds = Annotated[float, Meta(ge=0, le=MOST)]
Visits = Annotated[float, Meta(ge=0, le=1e8)]
Batch = Annotated[int, Meta(ge=1, le=65_536)]
_Price = Annotated[float, Meta(ge=0, le=MOST)]
_Part = Annotated[float, Meta(ge=0, le=1.001)]
_Devices = Annotated[float, Meta(ge=0, le=1024)]
_Size = Annotated[float, Meta(ge=0, le=1e15)]


class Configuration(msgspec.Struct, frozen=True, omit_defaults=True):
    """One way to run a replica: `gpu` is a GPU type or empty for CPU alone.

    `gpus` is the tensor-parallel degree times whole devices, or a fraction of one device below 1. `processor` is the
    model of the cores of a replica on CPU alone, where every host has the same and the inventory says so; `bf16` is
    whether they multiply 16-bit numbers by themselves.
    """

    cores: Cores
    memory_gib: Gibibytes
    gpu: str = ""
    gpus: _Devices = 0.0
    gpu_memory_gib: Gibibytes = 0.0
    tensor_parallel: Annotated[int, Meta(ge=1, le=1024)] = 1
    batch: Batch = 1
    processor: str = ""
    bf16: bool = True

    @property
    def precision(self) -> str:
        """The shortest floating-point numbers that its hardware multiplies fast: what a model takes by itself."""
        if self.gpu:
            return GPU_TYPES[self.gpu].precision
        return "bf16" if self.bf16 else "fp32"

    @property
    def devices(self) -> int:
        """How many devices it takes: of a part of one, that one."""
        return max(1, round(self.gpus)) if self.gpu else 0

    def describe(self) -> str:
        """A short name for people: `h100_sxm×2 tp2 batch 64`, `2 cores`."""
        batch = f" batch {self.batch}" if self.batch > 1 else ""
        if not self.gpu:
            return f"{self.cores:g} core{'' if self.cores == 1 else 's'}{batch}"
        tensor_parallel = f" tp{self.tensor_parallel}" if self.tensor_parallel > 1 else ""
        return f"{self.gpu}×{self.gpus:g}{tensor_parallel}{batch}"


class Replica(msgspec.Struct, frozen=True):
    """One process to start. `devices` are indices of GPUs on its host; `serves` the components on it."""

    id: ProcessName
    engine: str
    host: ProcessName
    devices: tuple[Device, ...]
    cores: Cores
    memory_gib: Gibibytes
    config: Configuration
    serves: tuple[str, ...]


class Predicted(msgspec.Struct, frozen=True):
    """What one pipeline should achieve under the plan.

    `throughput_rps` is what the replicas carry at the planned utilisation; latencies are estimates of
    the 95th percentile there, in ms, and `mean_ms` is the mean until the answer has ended; `cost_per_hour` is the
    pipeline's part of the price of the hosts in use, `cost_per_thousand` what a thousand of its requests cost at its
    average load; `bottleneck` is the engine that is busiest.
    """

    throughput_rps: Rate
    latency_ms: Milliseconds
    ttft_ms: Milliseconds
    cost_per_hour: _Price
    bottleneck: str
    cost_per_thousand: _Price = 0.0
    mean_ms: Milliseconds = 0.0


class ProfileUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which figures stood for an engine in the configuration that was chosen, and where they are from.

    `corrected` is how many times as long as there calls take since a running service was measured.
    """

    engine: str
    config: str
    provenance: str
    capacity_rps: Rate
    latency_ms: Milliseconds
    corrected: Annotated[float, Meta(ge=1e-6, le=1e6)] = 1.0


class MemoryUse(msgspec.Struct, frozen=True):
    """What a replica of a model holds in one configuration, over all of its devices.

    `cache_gib` is for `cache_tokens` of text; `rest_gib` is for activations and the engine itself.
    """

    engine: str
    config: str
    weights_gib: _Size
    cache_gib: _Size
    cache_tokens: _Size
    rest_gib: _Size


class Solver(msgspec.Struct, frozen=True):
    """How the optimum was reached: `optimal` when proven, `feasible` within the gap otherwise."""

    status: str
    gap: Annotated[float, Meta(ge=0, le=1e12)]


class PipelineShare(msgspec.Struct, frozen=True, omit_defaults=True):
    """A served pipeline: the load it was planned for and the expected visits of each component.

    `early` are the components, by name, whose calls some branch begins before it knows that they are wanted.
    """

    name: str
    load_rps: Annotated[float, Meta(gt=0, le=1e18)]
    visits: dict[str, Visits]
    early: tuple[str, ...] = ()


class MissedShare(msgspec.Struct, frozen=True):
    """A share that is `said` on a line of a source and that comes to the one that is `found`."""

    source: str
    line: Annotated[int, Meta(ge=1)]
    said: _Part
    found: _Part


class CutText(msgspec.Struct, frozen=True):
    """Texts of so many `tokens`, as expected, of which a model reads no more than the first `window`."""

    tokens: _Size
    window: _Size


class Plan(msgspec.Struct, frozen=True):
    """The document. Maps are in the order of their keys.

    `utilisation` is the part of the time that each engine's replicas are busy at the predicted rates;
    `guessed` are the components and ports (`pipeline.port`) of whose sizes (tokens, items) nobody said anything;
    `estimated` are the pipelines with too many branches for exact probabilities; `missed` are shares that are said and
    that the visits do not keep to, since what else is said leaves others; `late` says of components how
    often what their calls belong to takes longer than its `within`, where that is often, and `cut` what they are given
    that is longer than their model reads; `memory` is of the engines of models.
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
    utilisation: dict[str, _Part] = {}
    guessed: tuple[str, ...] = ()
    estimated: tuple[str, ...] = ()
    missed: tuple[MissedShare, ...] = ()
    late: dict[str, _Part] = {}
    cut: dict[str, CutText] = {}
    memory: tuple[MemoryUse, ...] = ()


def replica_id(engine: str, number: int) -> str:
    """What a replica of an engine is called: nothing else that a bundle names ends in a number like this."""
    return f"{engine[:MOST_OF_NAME]}-{number}"


def usual_ms(plan: Plan) -> dict[str, float]:
    """How long a call takes at each engine, on the mean of the configurations of its replicas, in ms."""
    per_engine: dict[str, list[ProfileUse]] = {}
    for use in plan.profiles:
        per_engine.setdefault(use.engine, []).append(use)
    return {name: fmean(use.latency_ms for use in uses) for name, uses in per_engine.items()}


def encode_plan(plan: Plan) -> bytes:
    """The plan's canonical JSON: sorted maps, two spaces, a newline at the end."""
    return encode_document(plan)


def decode_plan(raw: bytes) -> Plan:
    """The plan in a document; raises `msgspec.DecodeError`, and `OtherFormat` among them."""
    plan = decode_versioned(raw, Plan, OLDEST_FORMAT, FORMAT_VERSION)
    for wrong in _edited(plan):
        raise msgspec.ValidationError(wrong)
    return msgspec.structs.replace(
        plan,
        components={name: _with_late(component) for name, component in plan.components.items()},
        engines={name: _with_late(engine) for name, engine in plan.engines.items()},
    )


def _edited(plan: Plan) -> Iterator[str]:
    """What no planner serves, and what none calls its replicas or gives them."""
    if twice := [name for name, times in Counter(share.name for share in plan.pipelines).items() if times > 1]:
        yield f"it serves the pipeline `{twice[0]}` twice - at `$.pipelines`"
    if {share.name for share in plan.pipelines} != plan.predicted.keys():
        yield "what it predicts is not of the pipelines that it serves - at `$.predicted`"
    known: set[str] = set()
    for at, replica in enumerate(plan.replicas):
        where = f"at `$.replicas[{at}]`"
        if replica.id in known:
            yield f"two replicas have the id `{replica.id}` - {where}"
        if replica.engine not in plan.engines:
            yield f"a replica is of the engine `{replica.engine}`, which is none of the plan's - {where}"
        stem, _, number = replica.id.rpartition("-")
        named = replica.engine[:MOST_OF_NAME]
        # Who writes a plan by hand may leave the number out.
        if replica.id != named and (stem != named or not _NUMBER.fullmatch(number)):
            wanted = replica_id(replica.engine, 0)
            yield f"a replica has the id `{replica.id}`, where one is expected like `{wanted}` - {where}"
        config = replica.config
        if config.gpu and config.gpu not in GPU_TYPES:
            yield f"a replica has GPUs of the type `{config.gpu}`, which is none - {where}"
        if config.gpu and not config.gpus:
            yield f"a replica runs on GPUs of the type `{config.gpu}`, and on none of them - {where}"
        if not config.gpu and not config.cores:
            yield f"a replica has neither a GPU nor a core - {where}"
        if len(replica.devices) != config.devices:
            given, taken = (
                f"{count} device{'' if count == 1 else 's'}" for count in (len(replica.devices), config.devices)
            )
            yield f"a replica has {given}, and as `{config.describe()}` it takes {taken} - {where}"
        if len(set(replica.devices)) != len(replica.devices):
            yield f"a replica has one device twice - {where}"
        known.add(replica.id)


def read_plan(path: Path) -> Plan:
    """The plan in a file; raises Rejected where it is damaged or of a format that is not read.

    A plan is kept for whoever compares it with a later one: it must be read across releases, as `OLDEST_FORMAT` says.
    """
    try:
        return decode_plan(read_regular(path, MOST_DOCUMENT_BYTES))
    except OtherFormat as other:
        step = "update harmoniac, or plan again with this one" if other.version > FORMAT_VERSION else "plan again"
        raise Rejected([Diagnostic("E0731", f"the plan `{path}` cannot be read: {other}", help=step)]) from None
    except (OSError, msgspec.MsgspecError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else problem
        step = "write it again with `harmoniac plan … --out FILE`"
        raise Rejected([Diagnostic("E0730", f"the plan `{path}` cannot be read: {why}", help=step)]) from None


_Made = TypeVar("_Made", Component, Engine)


def _with_late(part: _Made) -> _Made:
    """Settings are plain JSON to the decoder; those that wait for the start become what they were."""
    settings = {name: _late(value) for name, value in part.settings.items()}
    return msgspec.structs.replace(part, settings=settings)


def _late(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"late", "name"}:
        late: Late = msgspec.convert(value, Env | Secret)
        return late
    return value
