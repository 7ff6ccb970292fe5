"""The parts of hardware that a replica may be given, as a roofline sees them."""

from collections.abc import Iterator
from dataclasses import dataclass

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.profile.assumptions import (
    CORE_BANDWIDTH_GB_S,
    CORE_GFLOPS,
    CORES,
    GPU_FRACTIONS,
    HOST_BANDWIDTH_GB_S,
    SHARED_EFFICIENCY,
)


@dataclass(frozen=True, slots=True)
class GpuPart:
    """`gpus` devices of one type, or a fraction of one; rates and memory are those of the whole part."""

    type: str
    gpus: float

    @property
    def precision(self) -> str:
        """The 16-bit numbers that the type multiplies."""
        return GPU_TYPES[self.type].precision

    @property
    def tensor_parallel(self) -> int:
        """Over how many devices the part reaches."""
        return max(1, round(self.gpus))

    @property
    def flops_per_ms(self) -> float:
        """Peak 16-bit operations."""
        return GPU_TYPES[self.type].tflops * 1e9 * self._rate

    @property
    def bytes_per_ms(self) -> float:
        """Peak memory traffic."""
        return GPU_TYPES[self.type].bandwidth_gb_s * 1e6 * self._rate

    @property
    def _rate(self) -> float:
        return self.gpus if self.gpus >= 1 else self.gpus * SHARED_EFFICIENCY

    @property
    def device_memory_gib(self) -> float:
        """Memory of the part on each of its devices."""
        return GPU_TYPES[self.type].memory_gib * min(self.gpus, 1.0)


@dataclass(frozen=True, slots=True)
class CpuPart:
    """Some cores of a host, or a part of one; of which processor, where that is known, and whether that has bf16."""

    cores: float
    processor: str = ""
    bf16: bool = True

    @property
    def precision(self) -> str:
        """The shortest floating-point numbers that the cores multiply fast."""
        return "bf16" if self.bf16 else "fp32"

    @property
    def flops_per_ms(self) -> float:
        """16-bit operations."""
        return CORE_GFLOPS * 1e6 * self.cores

    @property
    def bytes_per_ms(self) -> float:
        """Memory traffic."""
        return min(CORE_BANDWIDTH_GB_S * self.cores, HOST_BANDWIDTH_GB_S) * 1e6


def part_of(configuration: Configuration) -> GpuPart | CpuPart:
    """The hardware of a replica."""
    return (
        GpuPart(configuration.gpu, configuration.gpus)
        if configuration.gpu
        else CpuPart(configuration.cores, configuration.processor, configuration.bf16)
    )


def most_gpus(inventory: Inventory, name: str) -> int:
    """The most GPUs of a type that one host has."""
    return max((sum(gpu.count for gpu in host.gpus if gpu.type == name) for host in inventory.hosts), default=0)


def gpu_parts(inventory: Inventory, degrees: tuple[int, ...]) -> Iterator[GpuPart]:
    """Fractions and whole groups of each GPU type; a group is no larger than what one host has."""
    for name in GPU_TYPES:
        most = most_gpus(inventory, name)
        if most and 1 in degrees:
            yield from (GpuPart(name, fraction) for fraction in GPU_FRACTIONS)
        yield from (GpuPart(name, float(degree)) for degree in degrees if degree <= most)


def cpu_parts(inventory: Inventory, exactly: float | None = None) -> Iterator[CpuPart]:
    """The numbers of cores that a host of the inventory has, or the one that the user fixed.

    Of several processors none is what all cores are: a replica may stand on any, so that one without bf16 is enough to
    plan without.
    """
    most = max((host.cpus for host in inventory.hosts), default=0)
    processor = " or ".join(sorted({host.processor for host in inventory.hosts} - {""}))
    bf16 = native_precision(inventory) == "bf16"
    wanted = (exactly,) if exactly is not None else CORES
    yield from (CpuPart(cores, processor, bf16) for cores in wanted if cores <= most)


def native_precision(inventory: Inventory) -> str:
    """The shortest floating-point numbers that the cores of every host multiply fast."""
    return "bf16" if all(host.bf16 for host in inventory.hosts) else "fp32"
