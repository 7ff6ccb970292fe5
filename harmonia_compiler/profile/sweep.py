"""A sweep over an engine's work: prompts alone, answers side by side, and prompts among answers.

Each part isolates some of what a step's time is made of. A prompt alone is one prefill, and what a
call takes besides. Of several answers side by side, the time from one token to the next is a step that
decodes. A prompt that comes among them makes one of their steps longer. The engine should have
nothing else to do meanwhile.
"""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import TypeVar

from harmonia_compiler.profile.asking import Asker, Heard
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import Observation
from harmonia_compiler.profile.steps import StepLoad, chunks

_PROMPTS = (16, 64, 256, 1024, 4096, 16384)
_STREAMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
#: The contexts that decoding sequences have: little, and as much as is usual for retrieval.
_CONTEXTS = (32, 1200)
#: Steps over which the time from token to token is averaged.
_STEPS = 24
#: How many tokens each answer must get after a newcomer's for their pace without it to be known.
_AFTER = 8
#: For so long at least each thing is asked, but so often at most.
_LEAST_S = 1.0
_MOST_REPEATS = 50

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is asked: prompts of these lengths, and so many answers side by side at these contexts.

    Each of it so often, and for so many seconds at least: what takes a moment is over before the machine's own doings
    have evened out.
    """

    prompts: tuple[int, ...]
    streams: tuple[int, ...]
    contexts: tuple[int, ...]
    repeats: int = 5
    seconds: float = 0.0


def sweep_for(limits: Limits, repeats: int = 5) -> Sweep:
    """A sweep as far as an engine's limits go."""
    longest = limits.context - 2 * _STEPS
    prompts = [*(each for each in _PROMPTS if each < longest), longest]
    streams = [*(each for each in _STREAMS if each < limits.sequences), limits.sequences]
    contexts = sorted({min(context, longest // 2) for context in _CONTEXTS})
    return Sweep(tuple(prompts), tuple(streams), tuple(contexts), repeats, _LEAST_S)


async def observe(asker: Asker, limits: Limits, sweep: Sweep, tell: Callable[[str], None]) -> list[Observation]:
    """Everything of a sweep, one after the other; `tell` hears what comes next."""
    found: list[Observation] = []
    for prompt in sweep.prompts:
        tell(what := f"a prompt of {prompt} tokens alone")
        heard = await _asked(partial(asker.ask, prompt, 1), sweep.repeats, sweep.seconds)
        found.append(_alone(what, heard, limits))
    for context in sweep.contexts:
        for streams in sweep.streams:
            if streams * -(-(context + 4 * _STEPS) // limits.block_size) > limits.kv_blocks:
                continue
            tell(what := f"{streams} answers side by side, from prompts of {context} tokens")
            ask = partial(_side_by_side, what, asker, limits, streams, context)
            asked = await _asked(ask, max(1, sweep.repeats // 2), sweep.seconds)
            if rounds := [each for each in asked if each is not None]:
                found.append(_median(rounds))
    # The prompt needs a place beside the answers.
    for streams in sorted({min(most, limits.sequences - 1) for most in (4, 16)} - {0}):
        for prompt in (each for each in sweep.prompts if 64 <= each <= min(limits.step_tokens - streams, 2048)):
            tell(what := f"a prompt of {prompt} tokens among {streams} answers")
            asked = await _asked(partial(_among, what, asker, streams, prompt, limits), sweep.repeats, sweep.seconds)
            if rounds := [each for each in asked if each is not None]:
                found.append(_median(rounds))
    return found


async def _asked(ask: Callable[[], Awaitable[_T]], repeats: int, seconds: float) -> list[_T]:
    """What came of asking so often, and for so long."""
    began, found = perf_counter(), list[_T]()
    while len(found) < repeats or (perf_counter() - began < seconds and len(found) < _MOST_REPEATS):
        found.append(await ask())
    return found


def _alone(what: str, heard: Sequence[Heard], limits: Limits) -> Observation:
    prompt = round(statistics.median(each.prompt for each in heard))
    ms = statistics.median(each.first_ms for each in heard)
    return Observation(what, tuple(chunks(prompt, limits.step_tokens)), ms, requests=1)


async def _side_by_side(what: str, asker: Asker, limits: Limits, streams: int, context: int) -> Observation | None:
    """The mean step while all of so many answers are being given; None where they were not given at one time."""
    prefills = -(-streams * context // limits.step_tokens)
    answer = min(_STEPS + 2 * prefills + streams // 4, limits.context - context - 16)
    return side_by_side(what, await asyncio.gather(*(asker.ask(context, answer) for _ in range(streams))))


def side_by_side(what: str, heard: Sequence[Heard]) -> Observation | None:
    """The mean step over the time in which all answers were being given.

    None where there was none: on a busy machine one may have ended before another had begun.
    """
    begin, end = max(each.came_ms[0] for each in heard), min(each.came_ms[-1] for each in heard)
    spans = [[at for at in each.came_ms if begin <= at <= end] for each in heard]
    if min(map(len, spans)) < 2:
        return None
    steps = sum(len(span) - 1 for span in spans)
    ms = sum(span[-1] - span[0] for span in spans) / steps
    at = sum(each.prompt + _middle(each, span) for each, span in zip(heard, spans, strict=True))
    load = StepLoad(decodes=len(heard), decode_context=at)
    return Observation(what, (load,), ms)


def _middle(heard: Heard, span: Sequence[float]) -> float:
    """Which token of an answer came in the middle of a span."""
    return heard.came_ms.index(span[0]) + len(span) / 2


async def _among(what: str, asker: Asker, streams: int, prompt: int, limits: Limits) -> Observation | None:
    """The step in which a prompt is computed while so many answers are given; None where they were not all given."""
    begun = [asyncio.Event() for _ in range(streams)]
    answer = min(4 * _STEPS + 2 * streams, limits.context // 2)
    answers = [asyncio.create_task(asker.ask(32, answer, each)) for each in begun]
    try:
        await asyncio.gather(*map(_until_begun, begun, answers))
        newcomer = await asker.ask(prompt, 1)
        return among(what, newcomer, await asyncio.gather(*answers))
    finally:
        # Of no consequence for those that are done.
        for each in answers:
            each.cancel()


async def _until_begun(begun: asyncio.Event, answer: asyncio.Task[Heard]) -> None:
    """Wait for the first token of an answer. Raises what its call does, where none comes."""
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait([waiting, answer], return_when=asyncio.FIRST_COMPLETED)
    if not begun.is_set():
        waiting.cancel()
        await answer


def among(what: str, newcomer: Heard, heard: Sequence[Heard]) -> Observation | None:
    """The step of a newcomer's prompt, by how much longer the answers took meanwhile than they did afterwards.

    That is more than the step's own gap, where the steps before it were held up by the newcomer's request. None
    where an answer began too late or ended too soon to say so: there were not so many then.
    """
    came = newcomer.came_ms[0]
    if any(each.came_ms[0] > newcomer.sent_ms or sum(at >= came for at in each.came_ms) < _AFTER for each in heard):
        return None
    context = sum(each.prompt + sum(at <= came for at in each.came_ms) for each in heard)
    new = newcomer.prompt
    load = StepLoad(new, new**2 / 2, len(heard), context, begun=1)
    ms = statistics.median(_longer(each.came_ms, newcomer.sent_ms, came) for each in heard)
    return Observation(what, (load,), ms)


def _longer(tokens: Sequence[float], sent: float, came: float) -> float:
    """One step's time, and what all steps from `sent` until `came` took more than each of those afterwards."""
    first = sum(at <= sent for at in tokens) - 1
    # One step more than the newcomer's: its token may have been told before the others of the same step.
    last = next(position for position, at in enumerate(tokens) if at >= came) + 1
    usual = statistics.median(later - before for before, later in pairwise(tokens[last:]))
    return tokens[last] - tokens[first] - (last - first - 1) * usual


def middle(sweeps: Iterable[Iterable[Observation]]) -> list[Observation]:
    """Of what several sweeps over one engine observed, the one of each kind that took neither long nor short."""
    found: dict[str, list[Observation]] = {}
    for each in (observation for sweep in sweeps for observation in sweep):
        found.setdefault(each.what, []).append(each)
    return [_median(alike) for alike in found.values()]


def _median(rounds: Sequence[Observation]) -> Observation:
    return sorted(rounds, key=lambda each: each.ms)[len(rounds) // 2]
