"""`http`: calls a service that somebody else runs.

The inputs are posted as one JSON object; the reply is the value as JSON, or an object whose only
member `result` holds it. It takes none of the inventory's hardware.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.launch import Reply, Wire
from harmonia_compiler.contract.types import Value, mismatch
from harmonia_compiler.kinds.extents import declared_extent
from harmonia_compiler.kinds.kind import NOTHING, Extent, Kind, Setting, Work, value_of
from harmonia_compiler.kinds.openai import checked, post, read

_PORT = r"0*(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])"
#: Blanks and control characters, which no part of a URL may hold.
_BLANK = r"\s\x00-\x1f\x7f-\x9f"
_HOST = rf"(?:\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]|[^{_BLANK}/?#@:\[\]\\]+)"
#: The URLs that a service may have. One that no client could read is found while checking.
URL = rf"https?://(?:[^{_BLANK}/?#@\[\]\\]*@)?{_HOST}(?::{_PORT})?(?:[/?#][^{_BLANK}]*)?"

#: A key as it stands in a header.
KEY, KEY_FORM = "[!-~]+", "letters, digits and signs of ASCII, without blanks"

#: Where somebody else's service is, and how it knows us.
SERVICE_SETTINGS = (
    Setting(
        "url",
        "text",
        "where the service listens",
        required=True,
        late=True,
        pattern=URL,
        form="`http://HOST` or `https://HOST`, with a port from 1 to 65535 and a path if need be, without blanks",
    ),
    Setting(
        "key",
        "text",
        "a key, sent as a bearer token",
        late=True,
        confidential=True,
        pattern=KEY,
        form=KEY_FORM,
    ),
)

SETTINGS = (
    *SERVICE_SETTINGS,
    Setting(
        "takes",
        "duration",
        "how long the service takes to answer; a guess that measuring corrects",
        scope="component",
        default=200,
        minimum=0,
    ),
)


def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
    """Time, and no hardware of ours."""
    return Work(elsewhere_ms=float(value_of("takes", component.settings, SETTINGS)))


def result_extent(component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
    """What the declaration says, or a guess from the type."""
    return declared_extent(component)


def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
    """The inputs by name, posted to the service's URL."""
    wire = post(str(engine.settings["url"]), dict(inputs))
    return msgspec.structs.replace(wire, headers=(*wire.headers, *key_headers(engine)))


def key_headers(engine: Engine) -> tuple[tuple[str, str], ...]:
    """The header that carries the service's key, where it has one."""
    key = engine.settings.get("key")
    return (("authorization", f"Bearer {key}"),) if key else ()


def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
    """The reply's value, once it is known to be of the declared type."""
    document: Any = read(body, object, "JSON")
    if isinstance(document, dict) and list(document) == ["result"] and mismatch(document, component.result):
        document = document["result"]
    return Reply(checked(document, component.result, "the service's reply"))


KIND = Kind(
    name="http",
    doc="Calls a service that somebody else runs, with the inputs as JSON.",
    settings=SETTINGS,
    unnamed="url",
    signature=None,
    transport="http",
    runs_on=(),
    work=work,
    result_extent=result_extent,
    launch=None,
    encode=encode,
    decode=decode,
    external=True,
    example='component translate(text: text, to: text) -> text = http("https://mt.example/v1", key: secret("MT_KEY"))',
)
