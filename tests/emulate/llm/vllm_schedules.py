"""Lets the scheduler of the installed vLLM decide on steps, without a model: `python vllm_schedules.py < work > log`.

A process of its own, since importing vLLM takes seconds, and warns. The work is a JSON list of workloads: `limits`,
and `calls` with their tokens and the steps in which they come and are given up. The log has, for each
workload, what each step computed, whom it pushed out, who ended, and how many blocks were free then.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from vllm.config import CacheConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "intermediate_size": 64,
    "vocab_size": 100,
    "max_position_embeddings": 4096,
}


def scheduler_of(limits: dict[str, Any], folder: str) -> Scheduler:
    """vLLM's scheduler under these limits."""
    size = limits["block_size"]
    config = VllmConfig(
        model_config=ModelConfig(
            model=folder, skip_tokenizer_init=True, dtype="float32", max_model_len=limits["context"], seed=0
        ),
        scheduler_config=SchedulerConfig(
            max_num_seqs=limits["sequences"],
            max_num_batched_tokens=limits["step_tokens"],
            max_model_len=limits["context"],
            enable_chunked_prefill=True,
            is_encoder_decoder=False,
            policy="priority" if limits["by_priority"] else "fcfs",
        ),
        cache_config=CacheConfig(block_size=size, enable_prefix_caching=limits["prefix_caching"]),
    )
    # One of vLLM's blocks stands for those that hold nothing, and is never free.
    blocks = limits["kv_blocks"] + 1
    config.cache_config.num_gpu_blocks = blocks
    spec = FullAttentionSpec(block_size=size, num_kv_heads=1, head_size=1, dtype=torch.float32)
    return (AsyncScheduler if limits["ahead"] else Scheduler)(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)]),
        structured_output_manager=StructuredOutputManager(config),
        block_size=size,
        log_stats=True,
    )


class Run:
    """One workload."""

    def __init__(self, work: dict[str, Any], folder: str) -> None:
        self.calls = work["calls"]
        self.ahead = work["limits"]["ahead"]
        self.scheduler = scheduler_of(work["limits"], folder)
        hasher = get_request_block_hasher(work["limits"]["block_size"], sha256)
        self.requests = [
            Request(
                request_id=f"{number:04}",
                prompt_token_ids=call["prompt"],
                sampling_params=SamplingParams(max_tokens=len(call["answer"]), ignore_eos=True),
                pooling_params=None,
                arrival_time=float(call["at"]),
                priority=call["priority"],
                block_hasher=hasher,
            )
            for number, call in enumerate(self.calls)
        ]
        self.cached: dict[str, int] = {}

    def log(self) -> dict[str, Any]:
        """All steps."""
        steps: list[Any] = []
        flying: list[tuple[SchedulerOutput, list[str]]] = []
        last = max(call["at"] for call in self.calls)
        step = 0
        while flying or self.scheduler.has_unfinished_requests() or step <= last:
            for request, call in zip(self.requests, self.calls, strict=True):
                if call["at"] == step:
                    self.scheduler.add_request(request)
                if call["until"] == step:
                    self.scheduler.finish_requests(request.request_id, RequestStatus.FINISHED_ABORTED)
            output = self.scheduler.schedule()
            tokens = output.num_scheduled_tokens
            if tokens:
                given = [each for each in tokens if not self.scheduler.requests[each].is_prefill_chunk]
                flying.append((output, given))
            ended = []
            if len(flying) > (1 if self.ahead and tokens else 0):
                ended = self._complete(*flying.pop(0))
            free = self.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
            steps.append([[[int(name), count] for name, count in tokens.items()], ended, free])
            step += 1
        preemptions = [request.num_preemptions for request in self.requests]
        cached = [self.cached.get(request.request_id, 0) for request in self.requests]
        return {"steps": steps, "preemptions": preemptions, "cached": cached}

    def _complete(self, output: SchedulerOutput, given: list[str]) -> list[int]:
        names = list(output.num_scheduled_tokens)
        sampled = []
        for name in names:
            answer = self.calls[int(name)]["answer"]
            said = self.requests[int(name)].num_output_tokens
            sampled.append([answer[said]] if name in given else [])
        order = {name: position for position, name in enumerate(names)}
        results = self.scheduler.update_from_output(output, ModelRunnerOutput(names, order, sampled))
        ended = []
        for outputs in results.values():
            for each in outputs.outputs:
                if each.prefill_stats is not None:
                    self.cached[each.request_id] = each.prefill_stats.num_local_cached_tokens
                if each.finish_reason is not None:
                    ended.append(int(each.request_id))
        return ended


if __name__ == "__main__":
    init_none_hash(sha256)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(MODEL))
        logs = [Run(work, folder).log() for work in json.load(sys.stdin)]
    json.dump(logs, sys.stdout)
