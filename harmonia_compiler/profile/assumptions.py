"""What rooflines assume of hardware and engines: every such number stands here.

They hold where neither a measurement nor a table of measured kernels is at hand.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What part of a GPU's peak a language model reaches, and the time of a step that no GPU takes off."""

    compute: float
    bandwidth: float
    step_ms: float


#: By tensor-parallel degree; fitted on large models in 16-bit numbers, off by more on small ones.
EFFICIENCY = {
    1: Efficiency(0.50, 0.80, 2.0),
    2: Efficiency(0.49, 0.70, 2.0),
    4: Efficiency(0.43, 0.60, 2.5),
    8: Efficiency(0.36, 0.50, 3.0),
}

#: Powers of two, so that parts and whole devices fill a host without a rest.
GPU_FRACTIONS = (0.5, 0.25, 0.125)
BATCHES = (1, 4, 16, 64, 256)
ENCODER_BATCHES = (1, 8, 32)
CORES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: Cores that the searches of one store keep busy together, however many it is given: milvus-lite is served by one
#: Python process. Measured on two cores, clients included, with 10,000 vectors of 384 numbers: 4 and 8 clients keep
#: it at 0.97 to 0.99 of a core, with 6 to 7 ms of it a search.
STORE_THREADS = 1
#: What processes that share a GPU lose to taking turns.
SHARED_EFFICIENCY = 0.85

#: The part of a GPU's memory that an engine may take, and what it needs there beside weights and KV cache.
GPU_MEMORY_SHARE = 0.9
GPU_RUNTIME_GIB = 2.0

#: What a process that works on a GPU takes of its host.
GPU_HOST_CORES = 1.0
GPU_HOST_MEMORY_GIB = 4.0

#: A modest core with vector instructions: 16-bit matrix products, and its part of the memory bandwidth.
CORE_GFLOPS = 60.0
CORE_BANDWIDTH_GB_S = 10.0
#: No host's cores together read faster than this.
HOST_BANDWIDTH_GB_S = 200.0
#: The time of a step of a language model on CPU that no core takes off.
CPU_STEP_MS = 20.0
#: 32-bit products, as encoders compute on CPU, run at this part of the 16-bit rate.
FP32_RATE = 0.5

#: Encoders: part of a GPU's peak, and the time of a call besides.
ENCODER_EFFICIENCY = 0.4
ENCODER_CALL_MS = 3.0
#: Memory of a process of ours with torch in it, beside the weights.
TORCH_RUNTIME_GIB = 1.0
#: The same of vLLM's two processes where they serve an encoder: 1.2 of version 0.32 with steps of 2,048 tokens.
VLLM_ENCODER_RUNTIME_GIB = 1.5

#: Bytes of a weight by the precision that a component asks for; others are as the card says.
WEIGHT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0}
