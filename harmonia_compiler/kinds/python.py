"""`python`: calls a function of the user's, in a worker process of its own.

The function is imported from the project's folder when the worker starts, never while checking. It
takes the component's ports by name and returns plain data of the result type; a coroutine function
is awaited, any other runs in one of `cores` threads. Of what `harmoniac up` was given in its
environment, the worker is handed what its `variables` name.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.launch import Fill, Launch, Reply, Wire
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import Value
from harmonia_compiler.kinds.extents import declared_extent
from harmonia_compiler.kinds.kind import NOTHING, Extent, Kind, Setting, Work, value_of
from harmonia_compiler.kinds.launching import worker
from harmonia_compiler.kinds.openai import checked, post, read

#: The worker's route. The body is `{"inputs": {port: value}}`, the answer `{"result": value}`.
CALL = "/v1/call"

#: The settings that name what a bundle carries beside the function's module and what that imports.
REQUIRES, FILES = "requires", "files"
_VARIABLES = "variables"
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_PATH = r"(?=.{1,255}$)[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"

SETTINGS = (
    Setting(
        "function",
        "text",
        "the function, in the project's folder",
        required=True,
        pattern=r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*",
        form="`module:name`",
    ),
    Setting(
        REQUIRES,
        "text",
        "the file that pins the packages that the function imports, beside the `.rag` or in the project's folder",
        pattern=_PATH,
        form="a path such as `requirements.txt`, of letters, digits, `.`, `_` and `-`",
    ),
    Setting(
        FILES,
        "text",
        "a file or folder that the function reads or imports by name, which lies beside its module there too",
        pattern=_PATH,
        form="a path such as `data`, of letters, digits, `.`, `_` and `-`",
    ),
    Setting(
        _VARIABLES,
        "text",
        "environment variables of `harmoniac up` that the function sees beside `PATH` and the like, such as a key",
        pattern=rf"(?=.{{1,1000}}$){_NAME}(, ?{_NAME})*",
        form="names such as `API_KEY, API_URL`",
    ),
    Setting(
        "cores",
        "number",
        "CPU cores, and so threads, of a replica; the planner chooses where it is not said",
        minimum=0.25,
        maximum=1024,
    ),
    Setting("memory", "memory", "memory of a replica", default=1, minimum=0.125, maximum=65536),
    Setting(
        "takes",
        "duration",
        "how long a call keeps a core busy; a guess that measuring corrects",
        scope="component",
        default=10,
        minimum=0,
    ),
)


class _Result(msgspec.Struct):
    result: Any


def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
    """As long as the user said that a call takes."""
    return Work(core_ms=float(value_of("takes", component.settings, SETTINGS)))


def result_extent(component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
    """What the declaration says, or a guess from the type."""
    return declared_extent(component)


def launch(engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
    """A worker that imports the function from the bundle's copy of the user's code."""
    words = ("--function", str(engine.settings["function"]), "--code", Fill("code"))
    names = re.split(", ?", str(engine.settings[_VARIABLES])) if _VARIABLES in engine.settings else ()
    made = worker("python", words, configuration, timeout_s=60.0)
    return replace(made, late={name: name for name in names})


def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
    """The inputs by name."""
    return post(CALL, {"inputs": dict(inputs)})


def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
    """What the function returned, once it is known to be of the declared type."""
    value = read(body, _Result, "a function's result").result
    return Reply(checked(value, component.result, "what the function returned"))


KIND = Kind(
    name="python",
    doc="Calls a function of yours in a worker process of its own.",
    settings=SETTINGS,
    unnamed="function",
    signature=None,
    transport="http",
    runs_on=("cpu",),
    work=work,
    result_extent=result_extent,
    launch=launch,
    encode=encode,
    decode=decode,
    function_setting="function",
    example='component walk(entities: [text]) -> [passage] ~ 6 = python("hippo:walk", cores: 2, memory: 8 GiB)',
)
