"""What became of one request, whoever watched it: a simulation, a rehearsal or a measurement.

Times are milliseconds from the start of the run. Everything counts from when the request was meant to be sent: a
sender that is held up by slow answers would otherwise leave out just the waiting that it caused.
"""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """How a request ended.

    `refused` is for lack of room, at once; `late` is given up by the service since its time had passed;
    `cancelled` was still running when the run was ended: nobody knows what would have become of it.
    """

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"
    LATE = "late"
    CANCELLED = "cancelled"


class StageTime(msgspec.Struct, frozen=True):
    """One call on the way of a request: how long it waited for a replica, and how long that took."""

    component: str
    queue_ms: float
    service_ms: float


class Observation(msgspec.Struct, frozen=True):
    """One request. `first_ms` is when the first piece of its answer's text came, if it was asked for in pieces.

    `deadline_ms` and `ttft_deadline_ms` are what it was promised, counted from `arrived_ms`. `reason` says in a few
    words why there was no answer. Tokens and stages are there where somebody told them: `tokens_in` and `tokens_out`
    are those of all calls of models, `answer_tokens` those of the text that came in pieces.
    """

    pipeline: str
    arrived_ms: float
    sent_ms: float
    finished_ms: float
    outcome: Outcome
    first_ms: float | None = None
    request_class: str | None = None
    deadline_ms: float | None = None
    ttft_deadline_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    answer_tokens: int | None = None
    reason: str = ""
    stages: tuple[StageTime, ...] = ()

    @property
    def latency_ms(self) -> float:
        """From when it was meant to be sent to its end."""
        return self.finished_ms - self.arrived_ms

    @property
    def ttft_ms(self) -> float | None:
        """From when it was meant to be sent to the first piece of text."""
        return None if self.first_ms is None else self.first_ms - self.arrived_ms

    @property
    def token_ms(self) -> float | None:
        """The mean time between two tokens of the answer; None where it has fewer than two."""
        if self.first_ms is None or self.answer_tokens is None or self.answer_tokens < 2:
            return None
        return (self.finished_ms - self.first_ms) / (self.answer_tokens - 1)

    @property
    def is_good(self) -> bool:
        """Whether it was answered within all that it was promised."""
        return (
            self.outcome is Outcome.OK
            and (self.deadline_ms is None or self.latency_ms <= self.deadline_ms)
            and (self.ttft_deadline_ms is None or (self.ttft_ms is not None and self.ttft_ms <= self.ttft_deadline_ms))
        )
