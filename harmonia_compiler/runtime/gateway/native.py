"""Our own route as documents: inputs by name, and beside the value the passages and the time of each stage.

The body is `{"inputs": {name: value}}`, with `stream` and the sampling options of the chat route
beside it. A stream is events `{"type": "text", "text"}` and one `{"type": "result", …}` at the end.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.sse import END, event
from harmonia_compiler.diagnostics.near import suggestion
from harmonia_compiler.runtime.gateway.arguments import (
    Options,
    check_arguments,
    convert,
    find_program,
    read_options,
    take_class,
)
from harmonia_compiler.runtime.gateway.driver import Served
from harmonia_compiler.runtime.gateway.exchange import Understood
from harmonia_compiler.runtime.gateway.problem import Problem, invalid


class _Body(msgspec.Struct):
    inputs: dict[str, Any] = {}
    stream: bool | None = None


_FIELDS = (*_Body.__struct_fields__, *Options.__struct_fields__)


def understand(
    programs: Mapping[str, Program],
    name: str,
    document: Mapping[str, Any],
    id_: str,
    named_class: str | None = None,
) -> Understood:
    """What a body asks of the pipeline of that name, by a caller who names this class; raises Problem (400, 404)."""
    program = find_program(programs, name, None)
    for field in document:
        if field not in _FIELDS:
            hint = suggestion(field[:64], _FIELDS, "parameters stand in `inputs`")
            raise invalid(f"the body has no field `{field[:64]}`; {hint}", field[:64], "unknown_field")
    body = convert(document, _Body)
    inputs = dict(body.inputs)
    request_class = take_class(program, inputs, named_class)
    arguments = check_arguments(program, inputs)
    options = read_options(document).settings()
    shape = NativeShape(id_, program.pipeline)
    return Understood(program, arguments, options, bool(body.stream), shape, request_class)


class NativeShape:
    """How an answer looks on our own route."""

    def __init__(self, id_: str, pipeline: str) -> None:
        self._id = id_
        self._pipeline = pipeline

    def whole(self, served: Served) -> bytes:
        """The result."""
        return msgspec.json.encode(self._result(served))

    def opening(self) -> bytes:
        """Nothing: the first text is the first event."""
        return b""

    def piece(self, text: str) -> bytes:
        """A piece of the answer's text."""
        return event({"type": "text", "text": text})

    def closing(self, served: Served, *, streamed: bool) -> bytes:  # noqa: ARG002 - the result is sent in any case
        """The result, which holds the whole value whether or not its text was streamed."""
        return event({"type": "result", **self._result(served)}) + END

    def broken(self, problem: Problem) -> bytes:
        """The event that tells of a stream that broke off."""
        return event({"type": "error", **problem.document()})

    def _result(self, served: Served) -> dict[str, Any]:
        return {
            "id": self._id,
            "pipeline": self._pipeline,
            "value": served.value,
            "passages": served.passages,
            "finish": served.finish,
            "timings": {
                "total_ms": served.total_ms,
                "ttft_ms": served.ttft_ms,
                "stages": served.stages,
            },
            "usage": served.usage,
        }
