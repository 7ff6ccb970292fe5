"""The emulated language model beside the real one: vLLM on this machine's cores, profiled, then emulated.

    python bench/check_emulator.py [--model tiny|smollm2]... [--requests N] [--repeats N]

Each model is measured as `harmoniac profile` does it. Then the same calls, at the same times, go to the
real engine twice and to an emulated one in a process of its own, which knows nothing but the profile: at a third,
at six and at nine tenths of what the engine carries by the profile. Of tokens a second, the
time to the first token and the time from token to token (medians over calls), the emulated engine
should be off from the mean of the real runs by no more than 10 %, or than these two are apart.

Expected before the first run: tokens a second and token to token within 10 % at all three loads; the first
token within 10 % at the lowest load and above it at the highest, since the profile takes the
API server's time for a constant, while calls that come together wait for each other there.

Exits 1 where a figure is off by more. The machine should have nothing else to do.
"""

# mypy: allow-untyped-calls

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from aiohttp import web
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as token_models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from harmonia_compiler.cli.one_engine import configuration_here, running
from harmonia_compiler.contract.card import card_for, load_cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.emulate.behaviour import Behaviour, text_of
from harmonia_compiler.emulate.llm.course import Course
from harmonia_compiler.emulate.llm.engine import Engine as EmulatedEngine
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.emulate.servers.chat import Chat
from harmonia_compiler.emulate.servers.replica import Called
from harmonia_compiler.emulate.servers.speech import Said, Speech
from harmonia_compiler.kinds.openai import CHAT
from harmonia_compiler.profile.asking import Asker, Heard, asking
from harmonia_compiler.profile.facts import facts
from harmonia_compiler.profile.record import MeasuredProfile, encode, profile_of, read_profile
from harmonia_compiler.profile.serving import Stepping, serving
from harmonia_compiler.profile.sweep import observe, sweep_for
from harmonia_compiler.runtime.model_folder import add_to_store, read_model_folder
from harmonia_compiler.workload.draws import Draws

BATCH = 16
LOADS = (0.33, 0.6, 0.9)
ALLOWED = 0.10
CONTEXT = 2048
TEXT = ["where are vectors stored and who wrote hamlet", "the quick brown fox jumps over the lazy dog"]
TEMPLATE = "{% for message in messages %}<s>{{ message['content'] }}</s>{% endfor %}"


@dataclass(frozen=True)
class Arrival:
    """A call: when, with how long a prompt, for how many tokens."""

    at_s: float
    prompt: int
    answer: int


@dataclass(frozen=True)
class Figures:
    """What is compared."""

    tokens_per_s: float
    first_ms: float
    between_ms: float


def make_tiny(folder: Path) -> None:
    """A Llama of five million random weights, and a tokenizer of single bytes."""
    torch.manual_seed(7)
    made = Tokenizer(token_models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(TEXT, trainer)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, **names)
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=768,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def arrivals(profile: MeasuredProfile, load: float, count: int) -> list[Arrival]:
    """Calls as in a Poisson process, at a part of what the profile says that the engine carries."""
    rng = random.Random(5)
    sizes = [(rng.randrange(64, 600), rng.randrange(8, 64)) for _ in range(count)]
    course = Course(Scheduler(profile.limits), profile.steps, leaps=True)
    for prompt, answer in sizes:
        course.submit(Sequence(prompt, answer), 0.0)
    while (due := course.next_ms) is not None:
        course.advance(due)
    rate = load * count / (course.busy_ms / 1000)
    at, found = 0.0, []
    for prompt, answer in sizes:
        at += rng.expovariate(rate)
        found.append(Arrival(at, prompt, answer))
    return found


async def play(asker: Asker, calls: list[Arrival]) -> Figures:
    """Send the calls at their times, whatever became of the ones before."""
    began = time.perf_counter()

    async def one(call: Arrival) -> Heard:
        await asyncio.sleep(began + call.at_s - time.perf_counter())
        return await asker.ask(call.prompt, call.answer)

    heard = await asyncio.gather(*map(one, calls))
    span_ms = max(each.came_ms[-1] for each in heard) - min(each.sent_ms for each in heard)
    return Figures(
        1000 * sum(len(each.came_ms) for each in heard) / span_ms,
        statistics.median(each.first_ms for each in heard),
        statistics.median((each.came_ms[-1] - each.came_ms[0]) / (len(each.came_ms) - 1) for each in heard),
    )


class Exactly(Speech):
    """Says as many tokens as it is asked for, as the real engine does that may not end its answer before."""

    def answer(self, whose: Called, most: int | None, choices: list[str] | None, body: bytes) -> Said:  # noqa: ARG002
        """Filling."""
        return Said(text_of("answer", most or 1), most or 1)


async def serve(path: Path) -> None:
    """The emulated engine's process: prints its port, and serves until it is ended."""
    profile = read_profile(path)
    engine = EmulatedEngine(profile.limits, profile.steps)
    chat = Chat(profile.model, engine, Exactly(Behaviour({}, {}, Draws(1)), {}), profile.limits.block_size)
    app = web.Application()
    app.router.add_post(CHAT, chat.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def emulated(profile: MeasuredProfile) -> Iterator[str]:
    """The URL of an emulated engine in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.json"
        path.write_bytes(encode(profile))
        with subprocess.Popen(
            [sys.executable, __file__, "--serve", str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            try:
                yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
            finally:
                process.terminate()


async def measure(url: str, engine: Engine, repeats: int) -> MeasuredProfile:
    """The profile of a running engine."""
    model = str(engine.settings["model"])
    works = serving(engine, configuration_here(engine, BATCH), load_cards())
    assert isinstance(works, Stepping)
    found = await facts(url, model, works.limits)
    async with asking(url, model) as asker:
        seen = await observe(asker, found.limits, sweep_for(found.limits, repeats), lambda _: None)
    return profile_of(seen, model=model, engine=found.engine, limits=found.limits, date="today")


@contextlib.asynccontextmanager
async def real(engine: Engine) -> AsyncIterator[str]:
    """The URL of the real engine."""
    model = str(engine.settings["model"])
    async with running(engine, card_for(model), configuration_here(engine, BATCH)) as url:
        yield url


async def compare(engine: Engine, requests: int, repeats: int) -> bool:
    """Print the figures of one model; whether all are as near as they should be."""
    async with real(engine) as url:
        profile = await measure(url, engine, repeats)
        plans = [arrivals(profile, load, requests) for load in LOADS]
        runs = []
        for number, calls in enumerate(plans):
            pair = []
            for again in (0, 1):
                async with asking(url, profile.model, seed=100 + 10 * number + again) as asker:
                    pair.append(await play(asker, calls))
            runs.append(pair)
    print(f"\n{profile.model} on {profile.engine}, {profile.machine.processor}, {profile.machine.cores} cores")
    print(f"fit off by {profile.residual.median:.1%} in the median, {profile.residual.worst:.1%} at worst")
    print(f"{'load':>5} {'figure':16} {'real':>9} {'again':>9} {'emulated':>9} {'off by':>8} {'allowed':>8}")
    fine = True
    with emulated(profile) as url:
        for load, calls, pair in zip(LOADS, plans, runs, strict=True):
            async with asking(url, profile.model, seed=7) as asker:
                found = await play(asker, calls)
            for name in ("tokens_per_s", "first_ms", "between_ms"):
                one, other, ours = (getattr(each, name) for each in (*pair, found))
                mean = (one + other) / 2
                off, allowed = ours / mean - 1, max(ALLOWED, abs(one - other) / mean)
                verdict = "" if abs(off) <= allowed else "  too far"
                fine &= not verdict
                print(f"{load:5.0%} {name:16} {one:9.1f} {other:9.1f} {ours:9.1f} {off:+8.1%} {allowed:8.1%}{verdict}")
    return fine


def main() -> int:
    """Compare the models one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=["tiny", "smollm2"])
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
    fine = True
    for name in options.model or ["tiny", "smollm2"]:
        engine = Engine("model", "llm", {"model": "SmolLM2-135M-Instruct", "max_model_len": CONTEXT})
        if name == "smollm2":
            fine &= asyncio.run(compare(engine, options.requests, options.repeats))
            continue
        with tempfile.TemporaryDirectory() as folder:
            before = os.environ.get("HARMONIA_HOME")
            os.environ["HARMONIA_HOME"] = str(Path(folder) / "home")
            make_tiny(Path(folder) / "tiny")
            card = read_model_folder(Path(folder) / "tiny", name="tiny", role="llm", licence="none")
            add_to_store(card, Path(folder) / "tiny", copy=False)
            engine = Engine("model", "llm", {"model": "tiny", "max_model_len": CONTEXT})
            try:
                fine &= asyncio.run(compare(engine, options.requests, options.repeats))
            finally:
                os.environ.pop("HARMONIA_HOME")
                if before is not None:
                    os.environ["HARMONIA_HOME"] = before
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
