"""The process that computes for `served_by_transformers.py`: a model of random weights under continuous batching.

Reads calls and writes tokens as lines of JSON. The first line that it writes says what it is.
"""

# mypy: allow-untyped-calls

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

import msgspec
import torch
import transformers
from transformers import ContinuousBatchingConfig, GenerationConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager

from bench.engines import packed_attention
from bench.engines.random_llama import SHAPES, config_of, make
from bench.engines.wire import BLOCK, Came, Cancel, Line, Ready, Wanted


def started(shape: str, device: str, context: int, sequences: int, step_tokens: int) -> ContinuousBatchingManager:
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
            use_cuda_graph=False,
            safety_margin=0.0,
            auto_switch_to_flash=False,
        ),
    )
    model.set_attn_implementation(packed_attention.NAME)
    manager.start()
    return manager


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
    given = parser.parse_args()
    # Libraries print; what they do goes where errors go.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if given.device == "cpu":
        # Of a small model; several would wait for each other, and for whoever else is at work here.
        torch.set_num_threads(1)
    attention = packed_attention.register(given.device)
    manager = started(given.shape, given.device, given.context, given.sequences, given.step_tokens)
    name = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    version = f"transformers {transformers.__version__}, torch {torch.__version__}, {attention} attention, {name}"
    out.write(msgspec.json.encode(Ready(version)) + b"\n")
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
