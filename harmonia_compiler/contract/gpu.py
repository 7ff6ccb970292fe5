"""The GPU types that an inventory may name, with the figures that planning needs.

Keys are aiconfigurator's system names. Memory is in the vendors' decimal gigabytes, bandwidth in
GB/s, compute in dense 16-bit TFLOP/s (bf16; fp16 on the T4): the sparse figures of many data
sheets are twice as large and no model reaches them.
"""

import re

import msgspec


class GpuType(msgspec.Struct, frozen=True):
    """One GPU type. `product` are parts of the names under which `nvidia-smi` reports it.

    `precision` are the 16-bit numbers that it multiplies: before Ampere there was no bf16, and vLLM refuses it there.
    """

    name: str
    memory_gb: float
    bandwidth_gb_s: float
    tflops: float
    product: tuple[str, ...]
    precision: str = "bf16"

    @property
    def memory_gib(self) -> float:
        """Memory in binary gigabytes; never more than the card has."""
        return self.memory_gb * 1e9 / 2**30


GPU_TYPES: dict[str, GpuType] = {
    gpu.name: gpu
    for gpu in (
        GpuType("t4", 16, 320, 65, ("T4",), "fp16"),
        GpuType("a10g", 24, 600, 70, ("A10G",)),
        GpuType("l4", 24, 300, 121, ("L4",)),
        GpuType("l40s", 48, 864, 362, ("L40S",)),
        GpuType("a100_sxm", 80, 2039, 312, ("A100-SXM4-80GB", "A100-SXM-80GB")),
        GpuType("h100_sxm", 80, 3350, 989, ("H100 80GB HBM3",)),
        GpuType("h200_sxm", 141, 4800, 989, ("H200",)),
    )
}


def gpu_type_of_product(product: str) -> GpuType | None:
    """The type of a card that calls itself `NVIDIA H200`; None for one that the table lacks.

    Cluster managers spell the same names in small letters, and with other signs between the words.
    """
    words = _spelled(product)
    return next((gpu for gpu in GPU_TYPES.values() if words in map(_spelled, (gpu.name, *gpu.product))), None)


def _spelled(product: str) -> str:
    return re.sub(r"[\s_-]+", " ", product.lower()).strip().removeprefix("nvidia ").removeprefix("tesla ")
