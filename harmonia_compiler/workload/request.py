"""A request as far as the workload knows it: when it arrives and how large it is, not what becomes of it."""

import msgspec


class Arrival(msgspec.Struct, frozen=True):
    """One request that comes in, so many milliseconds after the run began.

    `question_tokens` is how long the question is; `prompt_tokens` is how long the whole prompt was that a recorded
    engine was given, passages and history included; `answer_tokens` is how long the answer was. None where nobody
    says. `prefix` names what the prompt is made of, in its order: requests whose names begin alike share that
    beginning, in blocks of `block_tokens` where the trace says how long a block is.
    """

    at_ms: float
    question_tokens: int | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    prefix: tuple[int, ...] = ()
    block_tokens: int | None = None
    session: str | None = None
    request_class: str | None = None
