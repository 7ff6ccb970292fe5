"""The emulated language model beside the real one: vLLM on this machine's cores, profiled, then emulated.

    python bench/check_emulator.py [--model tiny|smollm2]... [--requests N] [--rounds N]

Each model is measured, and compared at a third, at six and at nine tenths of what the engine carries by the
profile, as `bench/engines/side_by_side.py` says. Measuring and runs take turns, for several rounds: a machine
that is slower for a minute is then slow for both. Many short rounds rather than few long ones: one engine's steps
were 8 % apart from one sweep to the next, with nothing else on the machine.

Expected before the first run: tokens a second and token to token within 10 % at all three loads; the first
token within 10 % at the lowest load and above it at the highest, since the profile takes the
API server's time for a constant, while calls that come together wait for each other there.

Exits 1 where a figure is off by more. The machine should have nothing else to do.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

from bench.engines import random_llama
from bench.engines.emulated import emulated
from bench.engines.side_by_side import HEADER, LOADS, Figures, Swept, arrivals, measure, once, rows
from harmonia_compiler.cli.one_engine import configuration_here, running
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.profile.serving import Stepping, serving
from harmonia_compiler.profile.sweep import middle
from harmonia_compiler.runtime.model_folder import add_to_store, read_model_folder
from harmonia_compiler.runtime.weights import wanted

BATCH = 16
#: How often a sweep asks each thing at least; every round has a sweep.
REPEATS = 1
#: For so long calls come in during a run, at least.
RUN_S = 20.0
CONTEXT = 2048
#: One core is left to vLLM's scheduler and API server and to who asks, as by vLLM's own default. Where the model
#: computes on all of two cores, its threads take turns with these in the kernel's slices, which are as long as a step
#: of the tiny model: no step model says which steps wait.
LEFT = {"VLLM_CPU_NUM_OF_RESERVED_CPU": "1"}


@contextlib.asynccontextmanager
async def real(engine: Engine) -> AsyncIterator[str]:
    """The URL of the real engine."""
    model = str(engine.settings["model"])
    async with running(engine, wanted(model), configuration_here(engine, BATCH), LEFT) as url:
        yield url


async def compare(engine: Engine, requests: int, rounds: int) -> bool:
    """Print the figures of one model; whether all are as near as they should be."""
    works = serving(engine, configuration_here(engine, BATCH), load_cards())
    assert isinstance(works, Stepping)
    model = str(engine.settings["model"])
    sweeps: list[Swept] = []
    runs: dict[float, list[Figures]] = {load: [] for load in LOADS}
    async with real(engine) as url:
        for seeds in range(100, 100 + 10 * rounds, 10):
            sweeps.append(await measure(url, model, works.limits, REPEATS, seeds))
            calls = {load: arrivals(sweeps[0].profile, load, requests, RUN_S) for load in LOADS}
            for seed, load in enumerate(LOADS, seeds + 1):
                runs[load].append(await once(url, model, calls[load], seed))
    profile = replace(sweeps[0], observations=middle(each.observations for each in sweeps)).profile
    print(f"\n{profile.model} on {profile.engine}, {profile.machine.processor}, {profile.machine.cores} cores")
    print(f"fit off by {profile.residual.median:.1%} in the median, {profile.residual.worst:.1%} at worst")
    print(HEADER)
    fine = True
    with emulated(profile) as url:
        for seed, load in enumerate(LOADS):
            # Words that no other load has had: the prefix cache would know them.
            for row in rows(load, runs[load], await once(url, model, calls[load], seed)):
                fine &= row.fine
                print(row)
    return fine


@contextlib.contextmanager
def added(name: str, folder: Path) -> Iterator[None]:
    """A model of random weights in a store of its own, for as long as the context lasts."""
    before = os.environ.get("HARMONIA_HOME")
    os.environ["HARMONIA_HOME"] = str(folder / "home")
    random_llama.write(folder / name, name, CONTEXT)
    card = read_model_folder(folder / name, name=name, role="llm", licence="none")
    add_to_store(card, folder / name, copy=False)
    try:
        yield
    finally:
        os.environ.pop("HARMONIA_HOME")
        if before is not None:
            os.environ["HARMONIA_HOME"] = before


def main() -> int:
    """Compare the models one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", choices=["tiny", "smollm2"])
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=6, help="two at least")
    options = parser.parse_args()
    fine = True
    for name in options.model or ["tiny", "smollm2"]:
        with contextlib.ExitStack() as stack:
            if name == "tiny":
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                stack.enter_context(added(name, Path(folder)))
            model = {"tiny": name, "smollm2": "SmolLM2-135M-Instruct"}[name]
            engine = Engine("model", "llm", {"model": model, "max_model_len": CONTEXT})
            fine &= asyncio.run(compare(engine, options.requests, max(2, options.rounds)))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
