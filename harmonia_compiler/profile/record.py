"""The file that `harmoniac profile` writes: what was measured of an engine, the fit, and where it is from.

Versioned JSON. A reader takes the format that it knows and names one that is newer.
"""

import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil

from harmonia_compiler.contract.document import decode_document, encode_document
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import MeasuredSteps, Observation, fitted, predicted_ms, residuals

FORMAT_VERSION = 1


class Seen(msgspec.Struct, frozen=True):
    """One thing that was measured, and what the fit says of it."""

    what: str
    measured_ms: float
    fitted_ms: float


class Residual(msgspec.Struct, frozen=True):
    """How far the fit is from what was measured, as parts of it."""

    median: float
    worst: float


class Machine(msgspec.Struct, frozen=True):
    """What it was measured on. No name that tells one host from another."""

    processor: str
    cores: int
    memory_gib: float
    system: str


class Ran(msgspec.Struct, frozen=True):
    """How the engine was run: the numbers of its weights, and the GPUs of a type, or the cores, that it had.

    `revision` is the model's: two folders that were added under one name may be of any two sizes.
    """

    precision: str
    gpu: str
    gpus: float
    cores: float
    revision: str = ""


class MeasuredProfile(msgspec.Struct, frozen=True):
    """How fast one model runs on one engine on one machine.

    `ran` is None where only a URL was known of it; the words of the prompts were drawn with `seed`, where it is known.
    """

    format_version: int
    model: str
    engine: str
    measured_on: str
    with_version: str
    machine: Machine
    limits: Limits
    steps: MeasuredSteps
    residual: Residual
    observations: tuple[Seen, ...]
    ran: Ran | None = None
    seed: int | None = None

    @property
    def provenance(self) -> str:
        """Where the figures are from, in one line, as plans say it."""
        on = self.ran.gpu if self.ran is not None and self.ran.gpu else self.machine.processor
        return f"measured: {self.engine}, {on}, {self.measured_on}"


def profile_of(
    observations: Sequence[Observation],
    *,
    model: str,
    engine: str,
    limits: Limits,
    date: str,
    ran: Ran | None = None,
    seed: int | None = None,
) -> MeasuredProfile:
    """The profile that follows from what was observed."""
    steps = fitted(observations)
    errors = [abs(error) for error in residuals(steps, observations)]
    return MeasuredProfile(
        FORMAT_VERSION,
        model=model,
        engine=engine,
        measured_on=date,
        with_version=version("harmonia-compiler"),
        machine=this_machine(),
        limits=limits,
        steps=steps,
        residual=Residual(statistics.median(errors), max(errors)),
        observations=tuple(Seen(each.what, each.ms, predicted_ms(steps, each)) for each in observations),
        ran=ran,
        seed=seed,
    )


def this_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    """The machine that runs this."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    memory = round(psutil.virtual_memory().total / 2**30, 1)
    return Machine(processor, psutil.cpu_count() or 1, memory, f"{platform.system()} {platform.machine()}")


def encode(profile: MeasuredProfile) -> bytes:
    """The document, for people to read as well."""
    return encode_document(profile)


def read_profile(path: Path) -> MeasuredProfile:
    """The profile in a file; raises `Rejected` where it cannot be read or is none."""
    try:
        raw = path.read_bytes()
        found = decode_document(raw, _Version).format_version
        if found > FORMAT_VERSION:
            raise _rejected(path, f"it has format {found}, and this version reads format {FORMAT_VERSION}")
        return decode_document(raw, MeasuredProfile)
    except (OSError, msgspec.DecodeError) as problem:
        raise _rejected(path, getattr(problem, "strerror", None) or str(problem)) from problem


class _Version(msgspec.Struct):
    format_version: int


def _rejected(path: Path, why: str) -> Rejected:
    help = "remove it and measure again with `harmoniac profile`, or give a file that it wrote"
    return Rejected([Diagnostic("E1201", f"the profile {path} cannot be read: {why}", help=help)])
