"""What a client is told when it gets no answer: a status, a stable code, a sentence that names the part at fault."""

from http import HTTPStatus
from typing import Any

import msgspec

#: `type` of the error object, after OpenAI's words.
INVALID_REQUEST = "invalid_request_error"
UNAVAILABLE = "service_unavailable_error"
OVERLOADED = "overloaded_error"
UPSTREAM = "upstream_error"
TIMEOUT = "timeout_error"
INTERNAL = "internal_error"

#: When to ask again for what has no replica, in seconds: one that died is back after about this.
NO_REPLICA_RETRY_S = 2


class Problem(Exception):
    """A request ends without an answer.

    `code` is the machine's word for it, `param` the field of the request at fault, `component` the
    component of the pipeline. `shed` marks a refusal for lack of room, which is no failure.
    `retry_after_s` is when it is worth another try.
    """

    def __init__(
        self,
        status: int,
        type_: str,
        code: str,
        message: str,
        *,
        param: str | None = None,
        component: str | None = None,
        retry_after_s: int | None = None,
        shed: bool = False,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.code = code
        self.message = message
        self.param = param
        self.component = component
        self.retry_after_s = retry_after_s
        self.shed = shed
        self.closes = closes

    def document(self) -> dict[str, Any]:
        """The error object of OpenAI, with the component where one is at fault."""
        error: dict[str, Any] = {"message": self.message, "type": self.type, "code": self.code, "param": self.param}
        if self.component is not None:
            error["component"] = self.component
        return {"error": error}

    def body(self) -> bytes:
        """The error object as JSON."""
        return msgspec.json.encode(self.document())

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the response says beside its body; a body that was not read to its end closes the connection."""
        headers = [(b"content-type", b"application/json")]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.closes:
            headers.append((b"connection", b"close"))
        return headers


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> Problem:
    """The request itself is at fault: 400."""
    return Problem(HTTPStatus.BAD_REQUEST, INVALID_REQUEST, code, message, param=param)


def no_replica(component: str, engine: str) -> Problem:
    """Nothing runs that could serve a component: 503."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        UNAVAILABLE,
        "no_replica",
        f"`{component}`: no replica of its engine `{engine}` is running",
        component=component,
        retry_after_s=NO_REPLICA_RETRY_S,
    )


def internal(component: str | None = None) -> Problem:
    """A bug of ours: the client learns that it happened, the log where."""
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        INTERNAL,
        "internal_error",
        "the gateway failed while it served this request",
        component=component,
    )
