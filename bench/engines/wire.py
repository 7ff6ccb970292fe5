"""What goes over the pipes between the server and the process that computes, a line each."""

import msgspec

#: Tokens of a block of the KV cache: what transformers takes where nobody says otherwise.
BLOCK = 256


class Pace(msgspec.Struct):
    """A decoding step of so many sequences: how long it took, and for how much of that the GPU was at work."""

    sequences: int
    step_ms: float
    busy_ms: float


class Ready(msgspec.Struct):
    """The first line of all: what computes, and how it decodes on a GPU."""

    version: str
    paces: list[Pace]


class Open(msgspec.Struct):
    """What the server says once it can be asked."""

    port: int
    paces: list[Pace]


class Wanted(msgspec.Struct, tag=True, array_like=True):
    """A call: the tokens of its prompt, and how many to give."""

    id: str
    prompt: list[int]
    answer: int


class Cancel(msgspec.Struct, tag=True, array_like=True):
    """Nobody awaits a call any more."""

    id: str


Line = Wanted | Cancel


class Came(msgspec.Struct, array_like=True):
    """How many tokens a call has been given by now, whether that is all, and what went wrong."""

    id: str
    tokens: int
    ended: bool
    error: str | None
