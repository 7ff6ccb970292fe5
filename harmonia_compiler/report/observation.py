"""What became of one request, whoever watched it: a simulation, a rehearsal or a measurement.

Times are milliseconds from the start of the run. Everything counts from when the request was meant to be sent: a
sender that is held up by slow answers would otherwise leave out just the waiting that it caused.
"""

from enum import StrEnum

import msgspec

from harmonia_compiler.contract.objective import Metric


class Outcome(StrEnum):
    """How a request ended.

    `refused` is for lack of room, at once; `late` is given up by the service since its time had passed;
    `cancelled` was still running when the run was ended.
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

    def is_within(self, metric: Metric, bound_ms: float | None) -> bool:
        """Whether its answer, or the first text of it, came in time, or still could when it was cut off."""
        if bound_ms is None:
            return True
        is_cut = self.outcome is Outcome.CANCELLED
        took_ms = self.latency_ms if metric == "latency" or (is_cut and self.first_ms is None) else self.ttft_ms
        return took_ms is not None and took_ms <= bound_ms

    @property
    def is_good(self) -> bool:
        """Whether it was answered within all that it was promised."""
        return self.outcome is Outcome.OK and self._is_in_time

    @property
    def is_open(self) -> bool:
        """Whether it was cut off while it could still keep what it was promised: nobody knows whether it would have."""
        return self.outcome is Outcome.CANCELLED and self._is_in_time

    @property
    def _is_in_time(self) -> bool:
        return self.is_within("latency", self.deadline_ms) and self.is_within("ttft", self.ttft_deadline_ms)
