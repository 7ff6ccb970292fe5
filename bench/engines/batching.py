"""The process that computes for `served_by_transformers.py`: a model of random weights under continuous batching.

Reads calls and writes tokens as lines of JSON. The first line that it writes says what it is, and on a GPU how much
of a decoding step is the GPU's own work.

With `--graphs`, steps have fixed sizes, and those of each size are captured once and replayed, as vLLM does it: the
host then launches a step, and not each kernel of it.
"""

# mypy: allow-untyped-calls

import argparse
import functools
import os
import sys
import threading
import time
from collections.abc import Iterator
from itertools import product
from typing import BinaryIO

import msgspec
import torch
import transformers
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.requests import RequestStatus
from transformers.generation.continuous_batching.utils import create_warmup_future_states

from bench.engines import packed_attention
from bench.engines.random_llama import SHAPES, config_of, make
from bench.engines.wire import BLOCK, Came, Cancel, Line, Pace, Ready, Wanted

#: Where steps are captured, they have a multiple of so many tokens, and read a multiple of so many from the cache.
_TOKENS, _READ = 64, 8192
#: The prompt of a sequence whose steps are looked at, and for how long they are, in seconds.
_PROMPT = [5] * 32
_LOOK_S = 0.6


def started(
    shape: str, device: str, context: int, sequences: int, step_tokens: int, *, graphs: bool
) -> ContinuousBatchingManager:
    """The model, at work."""
    model = make(config_of(shape, context), device)
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=-1),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=BLOCK,
            num_blocks=sequences * -(-context // BLOCK),
            max_batch_tokens=step_tokens,
            max_requests_per_batch=sequences,
            max_blocks_per_request=0,
            allow_block_sharing=False,
            use_async_batching=False,
            use_cuda_graph=graphs,
            q_padding_interval_size=_TOKENS,
            kv_padding_interval_size=_READ,
            safety_margin=0.0,
            auto_switch_to_flash=False,
        ),
    )
    model.set_attn_implementation(packed_attention.NAME)
    if graphs:
        capture(manager)
    manager.start()
    return manager


def capture(manager: ContinuousBatchingManager) -> None:
    """Capture a step of each size before anybody asks, since capturing one takes as long as several steps.

    Of sequences longer than 1024 tokens there are further sizes. The manager's own warm-up, which makes what is
    used here, captures only the largest.
    """
    manager.warmup()
    processor = manager.batch_processor
    assert processor is not None
    runner, inputs, cache = processor.model_runner, processor.inputs_and_outputs, processor.cache
    # The larger first: what they take of the memory, the smaller ones take again.
    tokens = range(cache.max_batch_tokens, 0, -_TOKENS)
    read = range(cache.max_tokens_read, 0, -_READ)
    for sizes in product(tokens, read):
        states = create_warmup_future_states(1, RequestStatus.PREFILLING, 1, 1, cache)
        padded_tokens, padded_read = runner.maybe_pad_inputs(*sizes, use_decode_fast_path=False)
        inputs.prepare_batch_tensors(
            states,
            processor.logit_processor,
            use_decode_fast_path=False,
            num_q_tokens=padded_tokens,
            max_kv_read=padded_read,
            use_padding=True,
        )
        with torch.no_grad():
            runner.compute_batch(manager.model, inputs.get_model_kwargs(use_padding=True))
        cache.free_blocks(states[0].state.request_id)
    torch.cuda.synchronize()
    print(f"{len(tokens) * len(read)} sizes of a step are captured")


def pace(manager: ContinuousBatchingManager, sequences: int, answer: int) -> Pace | None:
    """How much of a step that decodes so many sequences the GPU works; None where the profiler saw no steps."""
    look = functools.partial(torch.profiler.profile, activities=[torch.profiler.ProfilerActivity.CUDA])
    # The first one of a process takes a second to begin.
    with look():
        pass
    names = [f"looked at {number} of {sequences}" for number in range(sequences)]
    for name in names:
        manager.add_request(_PROMPT, request_id=name, max_new_tokens=answer, streaming=True)
    begun: set[str] = set()
    while len(begun) < sequences and manager.is_running():
        begun |= {came.id for came in _ready(manager)}
    # What happens only once is over by then.
    time.sleep(_LOOK_S)
    with look() as seen:
        told = [came.tokens for came in _ready(manager) if came.id == names[0]]
        time.sleep(_LOOK_S)
        told += [came.tokens for came in _ready(manager) if came.id == names[0]]
    for name in names:
        manager.cancel_request(name)
    # Beside what the GPU does, the profiler says what the host asks of it.
    works = [each.time_range for each in seen.events() if each.device_type == torch.autograd.DeviceType.CUDA]
    spans = sorted((each.start, each.end) for each in works)
    if not spans or len(set(told)) < 2:
        return None
    busy_us, until = 0.0, spans[0][0]
    for begin, end in spans:
        busy_us += max(0.0, end - max(begin, until))
        until = max(until, end)
    steps = told[-1] - told[0]
    return Pace(sequences, (until - spans[0][0]) / steps / 1000, busy_us / steps / 1000)


def write_tokens(manager: ContinuousBatchingManager, out: BinaryIO) -> None:
    """Write what comes, all that is there in one line, for as long as the model is at work."""
    while manager.is_running():
        if came := list(_ready(manager)):
            out.write(msgspec.json.encode(came) + b"\n")
            out.flush()
    # A stopped model leaves nothing to serve: whoever reads finds the end of this.
    os._exit(1)


def _ready(manager: ContinuousBatchingManager) -> Iterator[Came]:
    wait_s = 1.0
    while (found := manager.get_result(timeout=wait_s)) is not None:
        yield Came(found.request_id, len(found.generated_tokens), found.is_finished(), found.error)
        wait_s = 0.0


def main() -> None:
    """Take calls until there is nobody any more who sends some."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--sequences", type=int, required=True)
    parser.add_argument("--step-tokens", type=int, required=True)
    parser.add_argument("--graphs", action="store_true")
    given = parser.parse_args()
    # Libraries print; what they do goes where errors go.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if given.device == "cpu":
        # Of a small model; several would wait for each other, and for whoever else is at work here.
        torch.set_num_threads(1)
    attention = packed_attention.register(given.device)
    if given.graphs and attention != packed_attention.flash.__name__:
        sys.exit("steps cannot be captured: attention of one sequence after the other asks the GPU for their lengths")
    sizes = (given.context, given.sequences, given.step_tokens)
    manager = started(given.shape, given.device, *sizes, graphs=given.graphs)
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    version = f"transformers {transformers.__version__}, torch {torch.__version__}, {attention} attention, {name}"
    if given.graphs:
        version += ", captured steps"
    paces = []
    if torch.profiler.ProfilerActivity.CUDA in torch.profiler.supported_activities():
        answer = given.context - 2 * len(_PROMPT)
        paces = [found for each in (1, given.sequences) if (found := pace(manager, each, answer)) is not None]
    out.write(msgspec.json.encode(Ready(version, paces)) + b"\n")
    out.flush()
    threading.Thread(target=write_tokens, args=(manager, out), daemon=True).start()
    for line in sys.stdin.buffer:
        match msgspec.json.decode(line, type=Line):
            case Wanted(id, prompt, answer):
                manager.add_request(prompt, request_id=id, max_new_tokens=answer, streaming=True)
            case Cancel(id):
                manager.cancel_request(id)
    os._exit(0)


if __name__ == "__main__":
    main()
