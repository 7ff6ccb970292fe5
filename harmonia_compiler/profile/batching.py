"""A language model's engine by what calls do to each other in its batch: as vLLM schedules, in the steady state.

A step computes a token for each sequence that decodes, and what room is left of prompts. So a call spends, in steps,

    places = its wait for the next step + the chunks of its prompt + its tokens after the first

in the engine, and of n calls that are in progress at all times `n / places` end with each step. How long the steps take
then (`At`) says how fast n calls are answered. Calls that come at random make n go up and down: by that rate, and by
how often calls come, follows how often each n is met, the same for whatever lengths where a step serves all alike, and
from this what a call finds: others in its steps, a step that is on, a batch that is full.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.queueing import HEADROOM, LEVELS
from harmonia_compiler.profile.steps import StepLoad, StepModel, chunks

#: Squared coefficient of variation of what calls of one component take, as of their lengths.
LENGTH_CV2 = 0.25

#: What is less likely than this, beside what is most likely, is left out.
_NEVER = 1e-7


class Size(NamedTuple):
    """A call in tokens: those of its prompt, and of its answer after the first."""

    prompt: float
    further: float


class Times(NamedTuple):
    """A call's mean times in ms, without what it takes outside of steps: until its first token, and until all."""

    first: float
    whole: float


class At(NamedTuple):
    """So many calls in progress at all times, and how many of them end in a ms.

    A step in which one decodes takes `step` ms in the mean; of the one that is on `left` ms are left to who comes, and
    `late` steps more are decided on. It has so many chunks of `prompts`, so many sequences that decode, and no room for
    those `held`.
    """

    calls: float
    rate: float
    step: float
    left: float
    late: float
    prompts: float
    decodes: float
    held: float


class _Met(NamedTuple):
    """What calls meet: how many are in progress, how often any is and the batch is full, a step in ms, those held."""

    present: float
    busy: float
    full: float
    step: float
    held: float


class Batching:
    """A replica whose calls are a mixture of sizes, each with a weight, and decodes look at `looked` tokens each.

    Sizes are by component, and so are the times that are answered, all in ms.
    """

    def __init__(
        self, steps: StepModel, limits: Limits, sizes: Mapping[str, Size], weights: Mapping[str, float], looked: float
    ) -> None:
        self._steps = steps
        self._limits = limits
        self.sizes = {name: Size(max(1.0, prompt), max(0.0, further)) for name, (prompt, further) in sizes.items()}
        self._looked = looked
        total = math.fsum(weights[name] for name in sizes)
        parts = {name: weights[name] / total if total > 0 else 1.0 / len(sizes) for name in sizes}
        self._parts = parts
        self._further = math.fsum(parts[name] * size.further for name, size in self.sizes.items())
        self._prompt = math.fsum(parts[name] * size.prompt for name, size in self.sizes.items())
        #: Attention looks back: over a prompt of n tokens at n / 2 in the mean.
        self._pairs = math.fsum(parts[name] * size.prompt**2 / 2 for name, size in self.sizes.items())
        prompts = {name: self._alone(size.prompt) for name, size in self.sizes.items()}
        step, prefill = self._step(0.0, 1.0), self._mean(prompts)
        self._lone = prefill + self._further * step
        square = self._mean({name: (prompts[name] + size.further * step) ** 2 for name, size in self.sizes.items()})
        # What remains of the wait in a line whose calls would take exponential times; Pollaczek and Khinchine.
        self._vary = min(1.0, (LENGTH_CV2 + square / self._lone**2) / 2.0)
        self._prefilling = prefill / self._lone
        self._points = [self._at(calls) for calls in _counts(limits.sequences)]
        self._rates, self._paces, self._held = self._every()

    @property
    def capacity(self) -> float:
        """Calls a ms of a replica whose batch is always full."""
        return self._points[-1].rate

    def _mean(self, figures: Mapping[str, float]) -> float:
        return math.fsum(self._parts[name] * figure for name, figure in figures.items())

    def busy_ms(self) -> dict[str, float]:
        """How much of a replica's time a call takes in a full batch: by what its prompt and its answer do there."""
        step = self._step(0.0, float(self._limits.sequences)) / self._limits.sequences
        own = {name: self._alone(size.prompt) + size.further * step for name, size in self.sizes.items()}
        mean = self._mean(own)
        return {name: ms / mean / self.capacity for name, ms in own.items()}

    def adds_ms(self) -> dict[str, float]:
        """How much longer a batch of calls that come together takes for each further one."""
        most = self._limits.sequences
        if most == 1:
            return dict.fromkeys(self.sizes, 0.0)
        slower = max(0.0, (self._step(0.0, float(most)) - self._step(0.0, 1.0)) / (most - 1))
        return {name: self._among(size.prompt, most) + size.further * slower for name, size in self.sizes.items()}

    def times(self) -> list[dict[str, Times]]:
        """For each of LEVELS what calls take on a replica that is so busy; busier ones are never faster."""
        found: list[dict[str, Times]] = []
        for level in LEVELS:
            times = self._at_rate(level * self.capacity)
            if found:
                times = {name: Times(*map(max, one, found[-1][name])) for name, one in times.items()}
            found.append(times)
        return found

    def _at_rate(self, rate: float) -> dict[str, Times]:
        """What calls take that come so often a ms."""
        most = self._limits.sequences
        met = self._met(rate)
        lone = min(met.present, rate * self._lone)
        # Prompts are computed in turn, and not a little of each at a time: fewer are in progress than if they were.
        present = lone + (met.present - lone) * (1.0 - self._prefilling * (1.0 - self._vary))
        others = self._between(min(max(1.0, present / max(met.busy, _NEVER)), float(most)))
        line = met.full / (self.capacity - rate) + met.held / rate
        wait = self._vary * line + (1.0 - self._prefilling) * self._line(rate)
        wait += (met.busy - met.full) * (others.left + others.late * others.step)
        share = min(1.0, present / others.calls)
        found = {}
        for name, size in self.sizes.items():
            first = wait + self._prefill(size.prompt, share * others.prompts, share * others.decodes)
            found[name] = Times(first, first + size.further * met.step)
        return found

    def _met(self, rate: float) -> "_Met":
        """What calls meet that come so often a ms.

        As n calls are answered at a rate of their own, and those who wait for a full batch do not matter to it, how
        often n are in progress follows from how often n - 1 are.
        """
        most, rates, paces, held = self._limits.sequences, self._rates, self._paces, self._held
        peak = bisect_left(rates, rate, 1, most)
        below, weight = [], 1.0
        for n in range(peak, 0, -1):
            weight *= rates[n] / rate
            if weight < _NEVER:
                break
            below.append(weight)
        first = peak - len(below)
        weights = [*reversed(below), 1.0]
        weight = 1.0
        for n in range(peak + 1, most + 1):
            weight *= rate / rates[n]
            if weight < _NEVER:
                break
            weights.append(weight)
        full = 0.0
        if first + len(weights) > most:
            # With those before whom a full batch stands, of whom there are ever fewer.
            full = weights[-1] = weights[-1] / (1.0 - rate / rates[most])
        total = sum(weights)
        present = slow = line = 0.0
        for n, weight in enumerate(weights, first):
            calls = n * weight
            present += calls
            slow += calls * paces[n]
            line += weight * held[n]
        idle = weights[0] if first == 0 else 0.0
        return _Met(
            present / total, (total - idle) / total, full / total, slow / present if present else paces[1], line / total
        )

    def _line(self, rate: float) -> float:
        """The mean wait behind prompts that are more than a step holds, beyond what is left of the step that is on.

        That of a line in turn whose prompts vary little, as often as there are more in it than a step holds.
        """
        most, each = float(self._limits.step_tokens), self._prompt + self._further
        prompt = self._step(most * self._prompt / each, most * self._further / each) * each / most
        busy = min(HEADROOM, rate * prompt)
        return math.pow(busy, 1.0 + most / each) / (1.0 - busy) / 2.0 * prompt

    @property
    def _is_ahead(self) -> bool:
        """Whether who comes is too late for the next step, which is decided on; of one place the next one is empty."""
        return self._limits.ahead and self._limits.sequences > 1

    def _between(self, calls: float) -> At:
        """So many calls in progress, by the points beside: what a call takes goes evenly there."""
        at = bisect_left(self._points, (calls,))
        if at == 0 or self._points[at].calls == calls:
            return self._points[at]
        low, high = self._points[at - 1], self._points[at]
        part = (calls - low.calls) / (high.calls - low.calls)
        spent = low.calls / low.rate + part * (high.calls / high.rate - low.calls / low.rate)
        even = (one + part * (other - one) for one, other in zip(low, high, strict=True))
        return At(*even)._replace(calls=calls, rate=calls / spent)

    def _every(self) -> tuple[list[float], list[float], list[float]]:
        """The rate, the step and those held of every number of calls, as between the points; of none nothing."""
        rates, paces, held = [0.0, self._points[0].rate], [0.0, self._points[0].step], [0.0, self._points[0].held]
        for low, high in pairwise(self._points):
            further = int(high.calls - low.calls)
            spent, more = low.calls / low.rate, (high.calls / high.rate - low.calls / low.rate) / further
            slower, fuller = (high.step - low.step) / further, (high.held - low.held) / further
            for n in range(1, further + 1):
                rates.append((low.calls + n) / (spent + n * more))
                paces.append(low.step + n * slower)
                held.append(low.held + n * fuller)
        return rates, paces, held

    def _at(self, calls: int) -> At:
        """So many calls in progress at all times, each followed by the next."""
        most, further = float(self._limits.step_tokens), self._further
        pieces = math.fsum(self._parts[name] * self._chunks(size.prompt, calls) for name, size in self.sizes.items())
        # Who comes is late for a step that is decided on: one with any of the others who go on.
        going = max(0.0, pieces + further - 1.0) / (pieces + further)
        late = 1.0 - (1.0 - going) ** (calls - 1) if self._is_ahead else 0.0
        ended = min(calls / (late + pieces + further), most / (self._prompt + further))
        piece = self._prompt / pieces
        prompts, decodes = ended * pieces, ended * further
        steps = self._mixed(piece, calls, prompts, decodes)
        step = math.fsum(likely * ms for likely, ms in steps)
        left = math.fsum(likely * ms**2 for likely, ms in steps) / step / 2.0
        # Who decodes is no chunk of a prompt, and one of those who decode.
        beside = (calls - 1.0) / calls
        seen = self._mixed(piece, calls, prompts * beside, 1.0 + decodes * beside)
        return At(
            calls=float(calls),
            rate=ended / step,
            step=math.fsum(likely * ms for likely, ms in seen),
            left=left,
            late=1.0 - (1.0 - going) ** calls if self._is_ahead else 0.0,
            prompts=prompts,
            decodes=decodes,
            held=calls - ended * (late + pieces + further),
        )

    def _mixed(self, piece: float, calls: int, prompts: float, decodes: float) -> list[tuple[float, float]]:
        """Steps of which each is so likely, with so many chunks of prompts and sequences that decode in the mean.

        Chunks are as many by chance as of so many calls are at their prompt: two numbers that vary as much, of which
        the lower is none where they are few. A step has room for so many.
        """
        room = min(float(calls), max(prompts, (self._limits.step_tokens - decodes) / piece))
        variance = prompts * max(0.0, 1.0 - prompts / calls)
        low = max(0.0, prompts - math.sqrt(variance))
        high = prompts + (variance / (prompts - low) if variance > 0.0 else 0.0)
        if high > room > prompts:
            low, high = max(0.0, prompts - variance / (room - prompts)), room
        elif high > room:
            low, high = prompts, prompts
        likely = (prompts - low) / (high - low) if high > low else 1.0
        # The more are at their prompt, the fewer of the others decode.
        others = decodes / (calls - prompts) if calls > prompts else 0.0
        return [
            (chance, self._step(k * piece, others * max(0.0, calls - k)))
            for chance, k in ((1.0 - likely, low), (likely, high))
            if chance > 0.0
        ]

    def _chunks(self, prompt: float, calls: int) -> float:
        """In how many steps a prompt is computed beside so many calls."""
        room = max(1.0, self._limits.step_tokens - (calls - 1) * self._further / (self._further + 1.0))
        return float(max(1, math.ceil(prompt / room - 1e-9)))

    def _step(self, tokens: float, decodes: float) -> float:
        """A step with so many tokens of prompts, and so many sequences that decode; of nothing it takes no time."""
        if tokens + decodes <= 0.0:
            return 0.0
        pairs = tokens * self._pairs / self._prompt
        return self._steps.step_ms(
            StepLoad(tokens, pairs, decodes, decodes * self._looked, begun=tokens / self._prompt)
        )

    def _prefill(self, prompt: float, prompts: float, decodes: float) -> float:
        """The steps that compute a prompt beside so many chunks of others, and so many sequences that decode."""
        others = prompts * self._prompt
        spent, room = 0.0, max(1.0, self._limits.step_tokens - decodes)
        for load in chunks(prompt, int(room)):
            beside = min(others, room - load.prefill_tokens)
            spent += self._steps.step_ms(
                StepLoad(
                    load.prefill_tokens + beside,
                    load.prefill_pairs + beside * self._pairs / self._prompt,
                    decodes,
                    decodes * self._looked,
                    load.begun + beside / self._prompt,
                )
            )
        return spent

    def _alone(self, prompt: float) -> float:
        return math.fsum(map(self._steps.step_ms, chunks(prompt, self._limits.step_tokens)))

    def _among(self, prompt: float, prompts: int) -> float:
        """The time of one of so many prompts that come together, as many of which share a step as it holds."""
        sharing = min(prompts, int(self._limits.step_tokens / prompt))
        if sharing <= 1:
            return self._alone(prompt)
        return self._steps.step_ms(StepLoad(sharing * prompt, sharing * prompt * prompt / 2)) / sharing


def _counts(most: int) -> Sequence[int]:
    """Numbers of calls for which steps are looked at; between them what a call takes is nearly even."""
    return [*(1 << power for power in range(most.bit_length()) if 1 << power < most), most]
