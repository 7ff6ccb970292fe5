"""What it means that a call failed: for the client where nothing makes up for it, and for its replica.

Where the replica is to blame, another one may do better.
"""

from http import HTTPStatus
from typing import Literal

from harmonia_compiler.contract.component import Component
from harmonia_compiler.kinds.kind import CutOff, FailedReply, MalformedReply
from harmonia_compiler.policy.line import GivenUp, NoReplica, QueueFull
from harmonia_compiler.runtime.gateway.problem import (
    INVALID_REQUEST,
    OVERLOADED,
    UNAVAILABLE,
    UPSTREAM,
    Problem,
    no_replica,
)
from harmonia_compiler.runtime.gateway.transport import Broken, Refused, Unreachable

#: Statuses with which an engine says that the call itself is at fault, and that it has no room.
_AT_FAULT = frozenset({400, 413, 422})
_BUSY = frozenset({429, 503})

#: What a replica is to blame for: nothing; an error, be it in the midst of its answer; that it is gone or hung up; that
#: it makes no progress.
Blame = Literal["", "error", "gone", "stuck"]


class Stuck(Exception):
    """A replica has a call and makes no progress."""


class Fault(Exception):
    """A call failed. `problem` is what the client is told unless the call is made again."""

    def __init__(self, problem: Problem, blame: Blame = "") -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.blame = blame


Failure = Unreachable | Stuck | Refused | Broken | MalformedReply
FAILURES = (Unreachable, Stuck, Refused, Broken, MalformedReply)


def fault_of(component: str, failure: Failure, *, began: bool, as_long_as_asked: bool = False) -> Fault:
    """What a failure of a component's call means, whose answer had begun to leave, or had not.

    `as_long_as_asked` says that it was the request that said how long the answer may be.
    """
    match failure:
        case Refused(status=status, message=message):
            blame: Blame = "error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
            return Fault(_refused(component, status, message), blame)
        case Stuck() if began:
            return Fault(_broken(component, str(failure)), "stuck")
        case Unreachable() | Stuck():
            problem = problem_of(
                component,
                HTTPStatus.SERVICE_UNAVAILABLE,
                UNAVAILABLE,
                "replica_unreachable",
                str(failure),
                retry_after_s=1,
            )
            return Fault(problem, "gone" if isinstance(failure, Unreachable) else "stuck")
        case Broken():
            return Fault(_broken(component, str(failure)), "error")
        case FailedReply():
            said = f"its engine failed within its answer: {failure}"
            return Fault(problem_of(component, HTTPStatus.BAD_GATEWAY, UPSTREAM, "component_error", said), "error")
        case CutOff() if as_long_as_asked:
            problem = problem_of(component, HTTPStatus.BAD_REQUEST, INVALID_REQUEST, "answer_cut_off", str(failure))
            return Fault(problem)
        case CutOff():
            return Fault(problem_of(component, HTTPStatus.BAD_GATEWAY, UPSTREAM, "answer_cut_off", str(failure)))
        case MalformedReply():
            return Fault(problem_of(component, HTTPStatus.BAD_GATEWAY, UPSTREAM, "malformed_answer", str(failure)))


def turned_away(component: Component, problem: NoReplica | QueueFull | GivenUp, retry_after_s: int) -> Problem:
    """What a client is told where no replica took a call."""
    match problem:
        case NoReplica():
            return no_replica(component.name, component.engine)
        case QueueFull(retry_after_s=after_s):
            code, retry_after_s = "queue_full", after_s
            reason = f"{problem} for its engine `{component.engine}` already"
        case GivenUp():
            code = "given_up"
            reason = f"its engine `{component.engine}` had no room for it while the request was likely to be in time"
    status = HTTPStatus.TOO_MANY_REQUESTS
    return problem_of(component.name, status, OVERLOADED, code, reason, retry_after_s=retry_after_s, shed=True)


def problem_of(
    component: str,
    status: HTTPStatus,
    type_: str,
    code: str,
    reason: str,
    *,
    retry_after_s: int | None = None,
    shed: bool = False,
) -> Problem:
    """A problem with a call of this component."""
    message = f"`{component}`: {reason}"
    return Problem(status, type_, code, message, component=component, retry_after_s=retry_after_s, shed=shed)


def _broken(component: str, reason: str) -> Problem:
    return problem_of(component, HTTPStatus.BAD_GATEWAY, UPSTREAM, "answer_broken", reason)


def _refused(component: str, status: int, message: str) -> Problem:
    said = f"its engine answered {status}: {message}"
    if status in _AT_FAULT:
        return problem_of(component, HTTPStatus.BAD_REQUEST, INVALID_REQUEST, "component_refused", said)
    if status in _BUSY:
        unavailable = HTTPStatus.SERVICE_UNAVAILABLE
        return problem_of(component, unavailable, OVERLOADED, "component_busy", said, retry_after_s=1)
    return problem_of(component, HTTPStatus.BAD_GATEWAY, UPSTREAM, "component_error", said)
