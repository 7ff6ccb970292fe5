"""What an emulated vLLM exports, by the names and labels of vLLM 0.32, for dashboards and whoever scales by them.

Counts of requests and tokens, times as a client sees them, and when the first step began that worked on a request.
What belongs to LoRA, images, sleep and stages of other engines is not there, nor is the same once more by source or by
reason.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from harmonia_compiler.emulate.llm.course import Step
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.limits import Limits

_LABELS = ("model_name", "engine")
#: The only engine of a process of vLLM that is not data-parallel.
_ENGINE = "0"
_GAUGES = {
    "num_requests_running": "Number of requests in model execution batches.",
    "num_requests_waiting": "Number of requests waiting to be processed.",
    "kv_cache_usage_perc": "KV-cache usage. 1 means 100 percent usage.",
}
_COUNTERS = {
    "num_preemptions": "Cumulative number of preemptions.",
    "prefix_cache_queries": "Tokens that were looked for in the prefix cache.",
    "prefix_cache_hits": "Tokens that were found in the prefix cache.",
    "prompt_tokens": "Prefill tokens processed.",
    "prompt_tokens_cached": "Prompt tokens that were cached.",
    "generation_tokens": "Generation tokens processed.",
}
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_HISTOGRAMS: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "request_prompt_tokens": ("Prefill tokens of a request.", _TOKENS),
    "request_generation_tokens": ("Generation tokens of a request.", _TOKENS),
    "request_max_num_generation_tokens": ("The most generation tokens that a request asked for.", _TOKENS),
    "request_params_n": ("The n request parameter.", (1, 2, 5, 10, 20)),
    "request_params_max_tokens": ("The max_tokens request parameter.", _TOKENS),
    "request_num_preemptions": ("How often a request was preempted.", (0, 1, 2, 5, 10, 20)),
    "time_to_first_token_seconds": ("Time to the first token.", _SECONDS),
    "inter_token_latency_seconds": ("Time from one token to the next.", _SECONDS),
    "request_time_per_output_token_seconds": ("Time per output token of a request.", _SECONDS),
    "e2e_request_latency_seconds": ("Latency of a request.", _SECONDS),
    "request_queue_time_seconds": ("Time that a request waits for its first step to begin.", _SECONDS),
    "request_prefill_time_seconds": ("Time from then to a request's first token.", _SECONDS),
    "request_inference_time_seconds": ("Time from then to a request's last token.", _SECONDS),
    "request_decode_time_seconds": ("Time from a request's first token to its last.", _SECONDS),
    "iteration_tokens_total": ("Prompts computed and tokens generated in a step.", _TOKENS),
}


class Metrics:
    """The series of one model's replica, by their names without the prefix."""

    def __init__(self, model: str, limits: Limits) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._gauges = {
            name: Gauge(f"vllm:{name}", said, _LABELS, registry=registry).labels(model, _ENGINE)
            for name, said in _GAUGES.items()
        }
        self._counters = {
            name: Counter(f"vllm:{name}", said, _LABELS, registry=registry).labels(model, _ENGINE)
            for name, said in _COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(f"vllm:{name}", said, _LABELS, buckets=edges, registry=registry).labels(model, _ENGINE)
            for name, (said, edges) in _HISTOGRAMS.items()
        }
        ended = Counter(
            "vllm:request_success",
            "Requests that were processed.",
            (*_LABELS, "finished_reason"),
            registry=registry,
        )
        # All of them from the start, as vLLM has them: a series that appears later counts its first one as nothing.
        self._ended = {
            reason: ended.labels(model, _ENGINE, reason)
            for reason in ("stop", "length", "abort", "error", "repetition")
        }
        cache = {
            "block_size": limits.block_size,
            "num_gpu_blocks": limits.kv_blocks,
            "enable_prefix_caching": limits.prefix_caching,
            "engine": _ENGINE,
        }
        said = "Information of the LLMEngine CacheConfig"
        Gauge("vllm:cache_config_info", said, [*cache], registry=registry).labels(*map(str, cache.values())).set(1)
        self._before = dict.fromkeys(("num_preemptions", "prefix_cache_queries", "prefix_cache_hits"), 0)

    def called(self, prompt: int, most: int | None, sequence: Sequence) -> "Account":
        """Begin to count a request."""
        self._counters["prompt_tokens"].inc(prompt)
        self.observe("request_prompt_tokens", prompt)
        self.observe("request_params_n", 1)
        if most is not None:
            self.observe("request_params_max_tokens", most)
        self.observe("request_max_num_generation_tokens", sequence.answer)
        return Account(self, sequence)

    def observe(self, name: str, value: float) -> None:
        """One more value of a histogram."""
        self._histograms[name].observe(value)

    def generated(self) -> None:
        """One more token."""
        self._counters["generation_tokens"].inc()

    def stepped(self, step: Step) -> None:
        """A step has ended. As vLLM counts them, a prompt's tokens are all in the step that gives its first one."""
        prompts = sum(sequence.prompt - sequence.cached for sequence in step.batch.begun)
        self.observe("iteration_tokens_total", prompts + len(step.batch.given))

    def ended(self, reason: str, sequence: Sequence) -> None:
        """A request has ended, in vLLM's words for how."""
        self._ended[reason].inc()
        self._counters["prompt_tokens_cached"].inc(sequence.cached)

    def exported(self, scheduler: Scheduler) -> bytes:
        """All of it as Prometheus reads it, with what the scheduler says now."""
        self._gauges["num_requests_running"].set(len(scheduler.running))
        self._gauges["num_requests_waiting"].set(len(scheduler.waiting))
        self._gauges["kv_cache_usage_perc"].set(1.0 - scheduler.blocks.free / scheduler.blocks.total)
        counts = scheduler.counts
        now = dict(zip(self._before, (counts.preemptions, counts.queried, counts.hit), strict=True))
        for name, count in now.items():
            # An engine that failed counts from nothing again.
            self._counters[name].inc(count - self._before[name] if count >= self._before[name] else count)
        self._before = now
        return generate_latest(self.registry)


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Account:
    """The times of one request, as its client sees them."""

    metrics: Metrics
    sequence: Sequence
    _began: float = field(default_factory=_now)
    _first: float | None = None
    _last: float = 0.0
    _tokens: int = 0

    def token(self) -> None:
        """One more token has come."""
        now = _now()
        if self._first is None:
            self._first = now
            self.metrics.observe("time_to_first_token_seconds", now - self._began)
        else:
            self.metrics.observe("inter_token_latency_seconds", now - self._last)
        self._last = now
        self._tokens += 1
        self.metrics.generated()

    def ended(self, reason: str) -> None:
        """It is over: `stop` or `length` where it was answered, `abort` where its client left, or `error`."""
        self.metrics.ended(reason, self.sequence)
        self.metrics.observe("e2e_request_latency_seconds", _now() - self._began)
        self.metrics.observe("request_generation_tokens", self._tokens)
        self.metrics.observe("request_num_preemptions", self.sequence.preemptions)
        if (began_ms := self.sequence.began_ms) is not None:
            self.metrics.observe("request_queue_time_seconds", (began_ms - self.sequence.arrived_ms) / 1000.0)
        if self._first is not None:
            assert began_ms is not None
            self.metrics.observe("request_prefill_time_seconds", self._first - began_ms / 1000.0)
            self.metrics.observe("request_inference_time_seconds", self._last - began_ms / 1000.0)
            self.metrics.observe("request_decode_time_seconds", self._last - self._first)
            if self._tokens > 1:
                each = (self._last - self._first) / (self._tokens - 1)
                self.metrics.observe("request_time_per_output_token_seconds", each)
