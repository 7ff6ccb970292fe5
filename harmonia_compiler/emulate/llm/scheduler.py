"""What an engine computes in each step, as the scheduler of vLLM's v1 engine decides it. Pure, and without a clock.

A step computes at most so many tokens. Sequences in the batch come first, each with what it lacks: one
token where it decodes, a chunk of its prompt where it does not. What is left goes to those that
wait, as long as the batch has a place and the KV cache room for all of their tokens. Where a
sequence of the batch lacks a block, the last that was admitted, or the one of the lowest priority, gives
up all of its blocks and waits again; later it computes its tokens anew, but for what the prefix
cache still holds. Nobody is admitted in a step that took a sequence's blocks away.

`schedule` decides on a step and counts its tokens as computed, `complete` hands out what it gave. With
`Limits.ahead`, the next step is decided on between the two. Steps in a row that differ in nothing but
the growing context can be taken at once: `repeats` says how many, `repeat` takes them.
"""

from dataclasses import dataclass, field

from harmonia_compiler.emulate.llm.batch import Batch, Counts
from harmonia_compiler.emulate.llm.blocks import Blocks
from harmonia_compiler.emulate.llm.sequence import NEVER, Sequence
from harmonia_compiler.emulate.llm.waiting import ByPriority, InTurn, Line
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.steps import StepLoad


@dataclass(slots=True, eq=False)
class Scheduler:
    """The scheduler of one replica."""

    limits: Limits
    running: list[Sequence] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    blocks: Blocks = field(init=False)
    waiting: Line = field(init=False)
    _number: int = 0
    #: Whether somebody came or went since the newest step was decided on.
    _changed: bool = False

    def __post_init__(self) -> None:
        self.blocks = Blocks(self.limits.kv_blocks, caching=self.limits.prefix_caching)
        self.waiting = ByPriority() if self.limits.by_priority else InTurn()

    def fits(self, prompt: int) -> bool:
        """Whether a prompt of so many tokens leaves room for an answer, in the context and in the KV cache."""
        return prompt < self.limits.context and self._blocks(prompt + 1) <= self.limits.kv_blocks

    def room(self, prompt: int) -> int:
        """How many tokens an answer to a prompt of so many may have, by the context and the KV cache."""
        return min(self.limits.context, self.limits.kv_blocks * self.limits.block_size) - prompt

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its turn; it fits, and wants at least one token. Its answer ends with the context."""
        assert self.fits(sequence.prompt), sequence
        assert sequence.prompt > 0 < sequence.answer, sequence
        sequence.answer = min(sequence.answer, self.room(sequence.prompt))
        sequence.number = self._number = self._number + 1
        self.waiting.add(sequence)
        self._changed = True

    def cancel(self, sequence: Sequence) -> None:
        """Nobody awaits a sequence any more. Of no consequence where it has ended."""
        if sequence.ended:
            return
        sequence.ended = self._changed = True
        if sequence.running:
            self.running.remove(sequence)
            self._release(sequence)
        else:
            self.waiting.remove(sequence)

    def next_batch(self) -> Batch | None:
        """The next step that computes something, or nothing where there is nothing to compute."""
        while True:
            preemptions = self.counts.preemptions
            batch = self.schedule()
            # Where the first of the batch has itself to yield, the others come with the step after.
            if batch is not None or self.counts.preemptions == preemptions:
                return batch

    def schedule(self) -> Batch | None:
        """What one step computes, or nothing: where there is nothing to compute, or the first of the batch yielded."""
        tokens: dict[Sequence, int] = {}
        preempted: list[Sequence] = []
        self._changed = False
        budget = self._schedule_running(tokens, preempted)
        begun = self._admit(tokens, budget) if not preempted and len(self.waiting) else 0
        if not tokens:
            return None
        return self._batch(tokens, tuple(preempted), begun)

    def complete(self, batch: Batch) -> list[Sequence]:
        """Hand out the tokens of a step: `batch.given` have them now. Returns those whose answer is whole, which leave.

        A sequence that was preempted meanwhile still gets its token; one that was cancelled does not.
        """
        self.counts.steps += batch.steps
        ended, ahead = [], self.limits.ahead
        for sequence in batch.given:
            if sequence.ended:
                continue
            sequence.delivered = delivered = sequence.delivered + 1
            # How far others are filled is of no consequence before they leave.
            if ahead and sequence.names_at < NEVER and sequence.running:
                self._fill(sequence)
                if sequence.filled >= sequence.names_at:
                    self._name(sequence)
            if delivered == sequence.answer:
                ended.append(sequence)
        for sequence in ended:
            self.cancel(sequence)
        return ended

    def repeats(self, batch: Batch) -> int:
        """How many times more the newest batch would be scheduled in the same way if nobody came or went.

        None of these steps gives a first token: only their sum need be told.
        """
        given = batch.given
        load = batch.load
        alike = len(given) == len(batch.tokens) == len(self.running) and not (load.prefill_tokens or load.begun)
        if not alike or batch.preempted or self._may_admit(len(given)):
            return 0
        if batch.begun:
            return 0
        most = min([sequence.answer - sequence.scheduled for sequence in given])
        # Where a block gets a name, who waits may find it.
        most = min(most, min([sequence.names_at - sequence.computed for sequence in given]) - 1)
        return self._affordable(given, most)

    def repeat(self, batch: Batch, more: int) -> None:
        """Let the newest batch stand for so many steps more; `repeats` says how many there may be.

        The steps before the last of them are then complete.
        """
        batch.steps += more
        wanted, size = 0, self.limits.block_size
        for sequence in batch.given:
            sequence.computed = sequence.filled = computed = sequence.computed + more
            sequence.scheduled += more
            sequence.delivered += more
            held = sequence.blocks
            if computed > held * size:
                sequence.blocks = blocks = -(-computed // size)
                wanted += blocks - held
        if wanted:
            self.blocks.take(wanted)

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.limits.block_size)

    def _schedule_running(self, tokens: dict[Sequence, int], preempted: list[Sequence]) -> int:
        """Give each sequence of the batch what it lacks; the budget that is left."""
        budget, size = self.limits.step_tokens, self.limits.block_size
        for sequence in (*self.running,):
            if budget <= 0:
                break
            scheduled = sequence.scheduled
            if scheduled == sequence.answer or not sequence.blocks:
                # Its last token is on its way, or it had to yield in this very step.
                continue
            prompt, computed = sequence.prompt, sequence.computed
            new = prompt + scheduled - computed
            if new > 1:
                new = min(new, budget)
            after = computed + new
            if after > sequence.blocks * size:
                wanted = -(-after // size) - sequence.blocks
                while wanted > self.blocks.free and sequence.running:
                    budget += self._preempt(tokens, preempted)
                if not sequence.running:
                    break
                self.blocks.take(wanted)
                sequence.blocks += wanted
            # A token that a step in flight computes is not known yet.
            known = min(after, prompt + sequence.delivered)
            if known > sequence.filled:
                sequence.filled = known
                if known >= sequence.names_at:
                    self._name(sequence)
            tokens[sequence] = new
            budget -= new
        return budget

    def _preempt(self, tokens: dict[Sequence, int], preempted: list[Sequence]) -> int:
        """Take away the blocks of the sequence that must yield; what it had of this step's budget."""
        if self.limits.by_priority:
            victim = max(self.running, key=lambda sequence: (sequence.priority, sequence.arrived_ms))
            self.running.remove(victim)
        else:
            victim = self.running.pop()
        restored = tokens.pop(victim, 0)
        self._release(victim)
        victim.computed = 0
        victim.preemptions += 1
        self.counts.preemptions += 1
        self.waiting.put_back(victim)
        preempted.append(victim)
        return restored

    def _name(self, sequence: Sequence) -> None:
        """Say what the blocks hold that a sequence has filled. Who waits finds them at once, in this very step."""
        named, keys, size = sequence.named, sequence.keys, self.limits.block_size
        full = sequence.filled // size
        if full > len(named) < len(keys):
            named += self.blocks.name(keys[len(named) : full])
        sequence.names_at = (len(named) + 1) * size if len(named) < len(keys) else NEVER

    def _fill(self, sequence: Sequence) -> None:
        """Let a sequence be filled as far as its tokens have been handed out."""
        known = sequence.computed - (sequence.scheduled - sequence.delivered)
        sequence.filled = max(sequence.filled, known)

    def _release(self, sequence: Sequence) -> None:
        if self.limits.ahead:
            self._fill(sequence)
        named, full = sequence.named, sequence.filled // self.limits.block_size
        self.blocks.give_back(named, full - len(named), sequence.blocks - full)
        sequence.named, sequence.blocks, sequence.filled, sequence.running = [], 0, 0, False

    def _admit(self, tokens: dict[Sequence, int], budget: int) -> int:
        """Give those that wait what is left of the budget, until one does not fit; how many were never in it."""
        skipped, begun = [], 0
        while budget > 0 and len(self.waiting) and len(self.running) < self.limits.sequences:
            sequence = self.waiting.first()
            if sequence.delivered < sequence.scheduled:
                # It was preempted while a token of it was computed: that comes first.
                skipped.append(self.waiting.pop())
                continue
            new = self._begin(sequence, budget)
            if new == 0:
                break
            self.waiting.pop()
            self.running.append(sequence)
            sequence.running = True
            tokens[sequence] = new
            budget -= new
            begun += not sequence.preemptions
        for sequence in reversed(skipped):
            self.waiting.put_back(sequence)
        return begun

    def _begin(self, sequence: Sequence, budget: int) -> int:
        """Reserve the blocks of a sequence's first chunk; how many tokens that is, 0 where all would not fit.

        The last token is computed in any case, for the next one follows from it.
        """
        size, total = self.limits.block_size, sequence.tokens
        hits = self.blocks.found(sequence.keys, (total - 1) // size)
        if self._blocks(total) - len(hits) + self.blocks.unused(hits) > self.blocks.free:
            return 0
        known = len(hits) * size
        new = min(total - known, budget)
        self.blocks.share(hits)
        sequence.blocks = self._blocks(known + new)
        self.blocks.take(sequence.blocks - len(hits))
        sequence.named = hits
        sequence.computed = known
        sequence.filled = known + new
        self._name(sequence)
        if not sequence.preemptions:
            sequence.cached = known
            self.counts.queried += total
            self.counts.hit += known
        return new

    def _batch(self, tokens: dict[Sequence, int], preempted: tuple[Sequence, ...], begun: int) -> Batch:
        """Count the tokens of a step as computed, and add up its work."""
        given, first = [], []
        prefill = decodes = context = 0
        pairs = 0.0
        for sequence, new in tokens.items():
            before = sequence.computed
            sequence.computed = after = before + new
            if new == 1:
                decodes += 1
                context += after
            else:
                prefill += new
                pairs += new * (before + new / 2)
            scheduled = sequence.scheduled
            if after == sequence.prompt + scheduled:
                sequence.scheduled = scheduled + 1
                given.append(sequence)
                if not scheduled:
                    first.append(sequence)
        return Batch(tokens, given, StepLoad(prefill, pairs, decodes, context, begun), first, preempted)

    def _may_admit(self, places: int) -> bool:
        """Whether who waits may be admitted by the next step, although the newest one did not."""
        if not len(self.waiting) or places >= min(self.limits.sequences, self.limits.step_tokens):
            return False
        first = self.waiting.first()
        return self._changed or first.delivered < first.scheduled

    def _affordable(self, given: list[Sequence], most: int) -> int:
        """How many steps more the free blocks carry, at most `most`."""
        size, free = self.limits.block_size, self.blocks.free

        def wanted(steps: int) -> int:
            return sum(max(0, -(-(each.computed + steps) // size) - each.blocks) for each in given)

        # None of them needs more than it fills anew: mostly that is enough to know.
        if most <= 0 or len(given) * -(-most // size) <= free or wanted(most) <= free:
            return max(0, most)
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if wanted(middle) <= free else (low, middle)
        return low
