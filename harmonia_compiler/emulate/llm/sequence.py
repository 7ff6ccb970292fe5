"""A call as the scheduler of an engine sees it: so many tokens in, so many out, and how far it is."""

from collections.abc import Hashable

import msgspec

from harmonia_compiler.emulate.llm.blocks import Block

#: More tokens than any sequence has.
NEVER = 1 << 62


class Sequence(msgspec.Struct, eq=False):
    """`prompt` tokens, to which `answer` tokens are generated.

    `keys[i]` stands for the first `i + 1` blocks' tokens: sequences with an equal key share them. There are
    as many keys as full blocks that another sequence may ask for, of prompt and answer. What follows
    is the scheduler's: tokens whose keys and values are `computed`, answer tokens that are `scheduled` and
    `delivered`, the `blocks` held, of which the first are `named`, how many tokens have `filled` them, with how many
    of them the next block gets a name (`names_at`), and what the prefix cache gave. `began_ms` is when the first step
    began that works on it, by whoever has a clock.
    """

    prompt: int
    answer: int
    keys: tuple[Hashable, ...] = ()
    priority: int = 0
    arrived_ms: float = 0.0
    began_ms: float | None = None
    number: int = 0
    computed: int = 0
    scheduled: int = 0
    delivered: int = 0
    blocks: int = 0
    filled: int = 0
    names_at: int = NEVER
    named: list[Block] = []
    cached: int = 0
    preemptions: int = 0
    running: bool = False
    ended: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of the prompt, and of the answer as far as it is scheduled."""
        return self.prompt + self.scheduled

    @property
    def order(self) -> tuple[int, float, int]:
        """Who goes first by priority: the lowest."""
        return self.priority, self.arrived_ms, self.number
