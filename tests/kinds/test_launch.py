"""The command of each kind's replica, as a shell would show it; words that a target fills in stand in braces."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.launch import Fill, Launch, chosen
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.limits import limits_for
from harmonia_compiler.runtime.weights import wanted

CPU = Configuration(cores=2, memory_gib=8, batch=16)
PLAIN_CPU = Configuration(cores=2, memory_gib=8, batch=16, bf16=False)
T4 = Configuration(cores=1, memory_gib=4, gpu="t4", gpus=1, gpu_memory_gib=14.9, batch=8)
GPU = Configuration(cores=4, memory_gib=16, gpu="h100_sxm", gpus=1, gpu_memory_gib=80, batch=64)
TWO_GPUS = Configuration(cores=8, memory_gib=32, gpu="h100_sxm", gpus=2, tensor_parallel=2, batch=128)
A100 = Configuration(cores=4, memory_gib=16, gpu="a100_sxm", gpus=1, gpu_memory_gib=80, batch=64)
T4_FULL = Configuration(cores=1, memory_gib=4, gpu="t4", gpus=1, gpu_memory_gib=14.9, batch=4096)
HALF_GPU = Configuration(cores=2, memory_gib=8, gpu="l40s", gpus=0.5, batch=8)

SMALL = "SmolLM2-135M-Instruct"
MINILM = "all-MiniLM-L6-v2"
UNSAID = msgspec.structs.replace(wanted(MINILM), pooling="mean")
CROSS = "ms-marco-MiniLM-L6-v2"


def launch(kind: str, settings: dict[str, Any], configuration: Configuration) -> Launch:
    found = kinds()[kind]
    assert found.launch is not None
    engine = Engine("e", kind, settings)
    model = found.model_of(engine)
    return found.launch(engine, None if model is None else load_cards().of(model), configuration)


def shown(of: Launch) -> str:
    return " ".join(f"{word.prefix}{{{word.slot}}}" if isinstance(word, Fill) else word for word in of.command)


def test_vllm_on_cpu() -> None:
    made = launch("llm", {"model": SMALL, "max_model_len": 4096}, CPU)
    assert shown(made) == (
        "{python} -m vllm.entrypoints.openai.api_server --model {weights} --served-model-name SmolLM2-135M-Instruct"
        " --host {host} --port {port} --dtype bfloat16 --max-model-len 4096 --max-num-seqs 16"
        " --max-num-batched-tokens 2048 --enable-chunked-prefill --enable-prefix-caching"
        " --scheduling-policy priority --generation-config vllm"
        ' --structured-outputs-config {"backend":"xgrammar","disable_any_whitespace":true}'
        " --disable-uvicorn-access-log --enforce-eager"
    )
    assert made.environment["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert made.environment["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"
    assert made.environment["VLLM_HOST_IP"] == "127.0.0.1"
    assert made.environment["HF_HUB_OFFLINE"] == "1"
    assert made.model == f"HuggingFaceTB/SmolLM2-135M-Instruct@{wanted(SMALL).revision}"
    assert (made.module, made.extra) == ("vllm", "vllm-cpu")


@pytest.mark.parametrize(
    ("settings", "configuration", "words"),
    [
        ({}, GPU, "--dtype bfloat16 --max-model-len 8192 --max-num-seqs 64"),
        ({}, GPU, "--max-num-batched-tokens 8192 --enable-chunked-prefill --enable-prefix-caching"),
        ({}, HALF_GPU, "--max-num-batched-tokens 2048 "),
        ({}, A100, "--max-num-batched-tokens 2048 "),
        ({}, T4_FULL, "--max-num-seqs 4096 --max-num-batched-tokens 4096 "),
        ({}, GPU, "--tensor-parallel-size 1 --gpu-memory-utilization 0.90"),
        ({}, TWO_GPUS, "--tensor-parallel-size 2 --gpu-memory-utilization 0.90"),
        ({}, HALF_GPU, "--tensor-parallel-size 1 --gpu-memory-utilization 0.45"),
        ({"precision": "fp8"}, GPU, "--quantization fp8"),
        ({"precision": "fp16"}, GPU, "--dtype float16"),
        ({}, T4, "--dtype float16"),
        ({"precision": "any"}, GPU, "--dtype auto"),
        ({"max_model_len": 32768}, GPU, "--max-model-len 32768"),
    ],
)
def test_vllm_on_gpus(settings: dict[str, Any], configuration: Configuration, words: str) -> None:
    made = launch("llm", {"model": "meta-llama/Llama-3.1-8B-Instruct", **settings}, configuration)
    assert words in shown(made)
    assert "--enforce-eager" not in shown(made)
    assert not [name for name in made.environment if name.startswith("VLLM_CPU")]
    assert made.extra == "vllm"


@pytest.mark.parametrize(
    ("settings", "configuration", "words"),
    [
        ({}, PLAIN_CPU, "--dtype float32"),
        ({"precision": "bf16"}, PLAIN_CPU, "--dtype bfloat16"),
        ({"server": "transformers"}, PLAIN_CPU, "--precision fp32"),
        ({"server": "transformers"}, CPU, "--precision bf16"),
    ],
)
def test_cores_compute_in_what_they_multiply_fast(
    settings: dict[str, Any], configuration: Configuration, words: str
) -> None:
    assert words in shown(launch("llm", {"model": SMALL, **settings}, configuration))


@pytest.mark.parametrize("configuration", [CPU, T4, T4_FULL, GPU, A100, TWO_GPUS, HALF_GPU])
def test_vllm_is_started_with_what_plans_and_emulations_reckon_with(configuration: Configuration) -> None:
    engine = Engine("e", "llm", {"model": "meta-llama/Llama-3.1-8B-Instruct"})
    limits = limits_for(engine, wanted(str(engine.settings["model"])), configuration)
    words = shown(launch("llm", dict(engine.settings), configuration))
    assert f" --max-num-batched-tokens {limits.step_tokens} " in words
    assert f" --max-num-seqs {limits.sequences} " in words
    assert f" --max-model-len {limits.context} " in words
    assert (" --enable-prefix-caching " in words) is limits.prefix_caching
    assert (" --scheduling-policy priority " in words) is limits.by_priority


def test_a_revision_of_the_users_names_the_weights() -> None:
    made = launch("llm", {"model": SMALL, "revision": "abc123"}, CPU)
    assert made.model == "HuggingFaceTB/SmolLM2-135M-Instruct@abc123"


def test_the_kv_cache_takes_no_more_than_there_is() -> None:
    made = launch("llm", {"model": SMALL}, Configuration(cores=2, memory_gib=4.5, batch=256))
    assert made.environment["VLLM_CPU_KVCACHE_SPACE"] == "1"


def test_without_vllm_our_own_worker_is_started() -> None:
    made = launch("llm", {"model": SMALL, "max_model_len": 2048}, CPU)
    assert chosen(made, lambda _: True) == made
    other = chosen(made, lambda module: module != "vllm")
    assert other is not None
    assert shown(other) == (
        "{python} -m harmonia_compiler.runtime.worker llm --model SmolLM2-135M-Instruct --weights {weights}"
        " --precision bf16 --device cpu --batch 16 --max-model-len 2048 --cores 2 --host {host} --port {port}"
    )
    assert chosen(made, lambda _: False) is None


def test_a_server_that_is_asked_for_is_insisted_on() -> None:
    assert launch("llm", {"model": SMALL, "server": "vllm"}, CPU).otherwise is None
    assert "runtime.worker llm" in shown(launch("llm", {"model": SMALL, "server": "transformers"}, CPU))


def test_the_other_kinds() -> None:
    lines = {
        "embedder": launch("embedder", {"model": MINILM}, CPU),
        "embedder on a GPU": launch("embedder", {"model": MINILM, "precision": "fp16"}, HALF_GPU),
        "reranker": launch("reranker", {"model": MINILM}, CPU),
        "python": launch("python", {"function": "hippo:walk", "cores": 2}, CPU),
        "milvus": launch("milvus", {}, CPU),
    }
    assert {name: shown(made) for name, made in lines.items()} == {
        "embedder": "{python} -m harmonia_compiler.runtime.worker embedder --model all-MiniLM-L6-v2 --weights {weights}"
        " --precision fp32 --device cpu --batch 16 --cores 2 --host {host} --port {port}",
        "embedder on a GPU": "{python} -m harmonia_compiler.runtime.worker embedder --model all-MiniLM-L6-v2"
        " --weights {weights} --precision fp16 --device cuda --batch 8 --cores 2 --host {host} --port {port}",
        "reranker": "{python} -m harmonia_compiler.runtime.worker rerank --model all-MiniLM-L6-v2 --weights {weights}"
        " --precision fp32 --device cpu --batch 16 --cores 2 --host {host} --port {port}",
        "python": "{python} -m harmonia_compiler.runtime.worker python --function hippo:walk --code {code}"
        " --cores 2 --host {host} --port {port}",
        "milvus": "{python} -m milvus_lite server --data-dir {data} --host {host} --port {port}",
    }
    assert [made.probe.transport for made in lines.values()] == ["http", "http", "http", "http", "milvus"]
    assert [made.late for made in lines.values()] == [{}] * 5
    assert [made.model is None for made in lines.values()] == [False, False, False, True, True]


@pytest.mark.parametrize("names", ["A_KEY,URL", "A_KEY, URL", "A_KEY, URL, A_KEY"])
def test_a_function_waits_for_the_variables_that_it_names(names: str) -> None:
    made = launch("python", {"function": "hippo:walk", "variables": names}, CPU)
    assert made.late == {"A_KEY": "A_KEY", "URL": "URL"}


@pytest.mark.parametrize(
    ("kind", "model", "settings", "configuration", "words"),
    [
        ("embedder", MINILM, {}, CPU, "--dtype float32 --runner pooling --max-num-seqs 32"),
        ("embedder", MINILM, {"precision": "bf16"}, CPU, "--dtype bfloat16 --runner pooling"),
        ("embedder", MINILM, {}, CPU, "--max-num-batched-tokens 2048 --no-enable-chunked-prefill"),
        ("embedder", MINILM, {}, CPU, "--no-enable-prefix-caching --disable-uvicorn-access-log --enforce-eager"),
        ("embedder", MINILM, {"precision": "fp16"}, HALF_GPU, "--dtype float16 --runner pooling"),
        ("embedder", MINILM, {}, HALF_GPU, "--tensor-parallel-size 1 --gpu-memory-utilization 0.45"),
        ("embedder", MINILM, {}, GPU, "--max-num-seqs 64 --max-num-batched-tokens 8192 "),
        ("reranker", CROSS, {}, CPU, "--runner pooling --max-num-seqs 32"),
        ("reranker", CROSS, {}, GPU, '--hf-overrides {"problem_type":"single_label_classification"} '),
    ],
)
def test_vllm_serves_encoders(
    kind: str, model: str, settings: dict[str, Any], configuration: Configuration, words: str
) -> None:
    made = launch(kind, {"model": model, "server": "vllm", **settings}, configuration)
    assert words in shown(made)
    assert "--enable-prefix-caching" not in shown(made)
    assert "--scheduling-policy" not in shown(made)
    assert made.module == "vllm"
    assert made.otherwise is None
    assert made.extra == ("vllm" if configuration.gpu else "vllm-cpu")
    assert made.model == f"{wanted(model).name}@{wanted(model).revision}"
    assert len(made.probe.warm_up) == 1


def test_vllm_is_told_what_no_file_beside_the_weights_says() -> None:
    made = kinds()["embedder"].launch
    assert made is not None
    engine = Engine("e", "embedder", {"model": MINILM, "server": "vllm"})
    words = shown(made(engine, UNSAID, CPU))
    assert ' --runner pooling --pooler-config {"seq_pooling_type":"MEAN"} --max-num-seqs 32' in words
    assert "--pooler-config" not in shown(made(engine, wanted(MINILM), CPU))


def test_a_text_that_vllm_reads_whole_has_room_in_a_step() -> None:
    card = msgspec.structs.replace(wanted(MINILM), context=8192)
    made = kinds()["embedder"].launch
    assert made is not None
    words = shown(made(Engine("e", "embedder", {"model": MINILM, "server": "vllm"}), card, CPU))
    assert "--max-num-seqs 32 --max-num-batched-tokens 8192" in words


def parsed_by_vllm(commands: Sequence[Launch]) -> list[dict[str, Any]]:
    """What vLLM's own parser makes of the words after the module's name."""
    code = (
        "import json, sys\n"
        "from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args\n"
        "from vllm.utils.argparse_utils import FlexibleArgumentParser\n"
        "for words in json.load(sys.stdin):\n"
        "    parsed = make_arg_parser(FlexibleArgumentParser()).parse_args(words)\n"
        "    validate_parsed_serve_args(parsed)\n"
        "    print(json.dumps(vars(parsed), default=str))\n"
    )
    words = [["8000" if isinstance(word, Fill) else word for word in made.command[3:]] for made in commands]
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(words), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.engines
@pytest.mark.slow
def test_vllm_takes_the_flags() -> None:
    pytest.importorskip("vllm.version")
    large, unsaid = "meta-llama/Llama-3.1-8B-Instruct", kinds()["embedder"].launch
    assert unsaid is not None
    parsed = parsed_by_vllm(
        [
            launch("llm", {"model": SMALL, "max_model_len": 4096}, CPU),
            launch("llm", {"model": large, "precision": "fp8"}, TWO_GPUS),
            launch("llm", {"model": large, "precision": "any"}, HALF_GPU),
            launch("embedder", {"model": MINILM, "server": "vllm"}, CPU),
            unsaid(Engine("e", "embedder", {"model": MINILM, "server": "vllm"}), UNSAID, CPU),
            launch("reranker", {"model": CROSS, "server": "vllm", "precision": "fp16"}, HALF_GPU),
        ]
    )
    *parsed, embedder, pooled, reranker = parsed
    assert [each["pooler_config"] is None for each in (embedder, pooled, reranker)] == [True, False, True]
    assert "seq_pooling_type='MEAN'" in pooled["pooler_config"]
    assert [each["runner"] for each in (*parsed, embedder, reranker)] == [*["auto"] * 3, "pooling", "pooling"]
    for encoder in (embedder, reranker):
        assert (encoder["enable_chunked_prefill"], encoder["enable_prefix_caching"]) == (False, False)
    assert (embedder["dtype"], embedder["max_num_seqs"]) == ("float32", 32)
    assert (reranker["dtype"], reranker["gpu_memory_utilization"]) == ("float16", 0.45)
    assert reranker["hf_overrides"] == {"problem_type": "single_label_classification"}
    assert [each["max_num_seqs"] for each in parsed] == [16, 128, 8]
    assert [each["max_num_batched_tokens"] for each in parsed] == [2048, 8192, 2048]
    assert all(each["enable_chunked_prefill"] is True for each in parsed)
    assert all(each["enable_prefix_caching"] is True for each in parsed)
    assert [each["tensor_parallel_size"] for each in parsed] == [1, 2, 1]
    assert [each["gpu_memory_utilization"] for each in parsed][1:] == [0.9, 0.45]
    assert [each["quantization"] for each in parsed] == [None, "fp8", None]
    assert [each["enforce_eager"] for each in parsed] == [True, False, False]
    assert all(each["generation_config"] == "vllm" for each in parsed)
    assert all(each["scheduling_policy"] == "priority" for each in parsed)
