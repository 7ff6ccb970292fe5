"""Reads a request's body within limits of size and time, and its JSON without ever failing on what it holds."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.types import Receive

from harmonia_compiler.runtime.gateway.problem import INVALID_REQUEST, Problem, invalid
from harmonia_compiler.runtime.gateway.within import within_s

#: The fields of a request's head as ASGI gives them: names in lower case, and one that is repeated repeatedly.
Headers = Iterable[tuple[bytes, bytes]]

#: The largest body that is read, in bytes.
BODY_LIMIT = 2**20
#: How long a client may take to send its body, in seconds.
BODY_DEADLINE_S = 10.0


class ClientGone(Exception):
    """The client closed its connection; there is nobody to answer."""


async def read_json_object(headers: Headers, receive: Receive) -> dict[str, Any]:
    """The body of a request with these headers as a JSON object.

    Raises Problem (400, 408, 413, 415) for a body that is none, too long or too slow, and
    ClientGone where the connection ends first.
    """
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                INVALID_REQUEST,
                "unsupported_encoding",
                "the body must not be compressed",
                closes=True,
            )
        if name == b"content-length" and value.isdigit() and int(value) > BODY_LIMIT:
            raise _too_large()
    try:
        with within_s(BODY_DEADLINE_S):
            body = await _read(receive)
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            INVALID_REQUEST,
            "body_too_slow",
            f"the body did not arrive within {BODY_DEADLINE_S:g} s",
            closes=True,
        ) from None
    return parse_object(body)


async def _read(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > BODY_LIMIT:
            raise _too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        INVALID_REQUEST,
        "body_too_large",
        f"the body is larger than {BODY_LIMIT} bytes",
        closes=True,
    )


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in these bytes; raises Problem (400) where there is none."""
    try:
        document = msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise invalid("the body is not UTF-8", code="invalid_json") from None
    except RecursionError:
        raise invalid("the body is nested too deeply", code="invalid_json") from None
    except msgspec.DecodeError as problem:
        raise invalid(f"the body cannot be read as JSON: {problem}", code="invalid_json") from None
    if not isinstance(document, dict):
        raise invalid("the body is not a JSON object", code="invalid_json")
    return document
