"""The role `python`: calls the user's function, which is imported once, from the bundle's copy of the user's code.

A coroutine function is awaited on the worker's loop; any other runs in one of as many threads as
the worker has cores. What the function raises becomes an error that names it, and the worker lives on.
"""

import argparse
import asyncio
import inspect
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from harmonia_compiler.kinds.python import CALL
from harmonia_compiler.runtime.worker.server import Handler, Refusal, read_body


class _Ask(msgspec.Struct):
    inputs: dict[str, Any]


class PythonFunction:
    """A function of the user's behind one route; `model` is its name as `module:name`."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model = str(arguments.function)
        self._code = arguments.code
        self._threads = ThreadPoolExecutor(arguments.cores, "calls")

    def load(self) -> None:
        """Import the function; raises where the module or the name in it is not there, or is no function."""
        module, _, name = self.model.partition(":")
        sys.path.insert(0, str(self._code.resolve()))
        found = getattr(import_module(module), name, None)
        if not callable(found):
            raise TypeError(f"`{name}` in {module} is no function")
        self._function: Callable[..., Any] = found
        self._signature = inspect.signature(found)

    def routes(self) -> Sequence[tuple[str, Handler]]:
        """The one route."""
        return [(CALL, self._call)]

    async def _call(self, request: Request) -> Response:
        ask = await read_body(request, _Ask)
        try:
            self._signature.bind(**ask.inputs)
        except TypeError as problem:
            raise Refusal(
                400, "invalid_request_error", f"`{self.model}` does not take these inputs: {problem}"
            ) from problem
        try:
            result = await self._result(ask.inputs)
        except (Exception, SystemExit) as problem:
            traceback.print_exc()
            message = f"`{self.model}` raised {type(problem).__name__}: {problem}"
            raise Refusal(500, "function_error", message) from problem
        try:
            body = msgspec.json.encode({"result": result})
        except (TypeError, ValueError, RecursionError) as problem:
            message = f"`{self.model}` returned what JSON cannot hold: {problem}"
            raise Refusal(500, "function_error", message) from problem
        return Response(body, media_type="application/json")

    async def _result(self, inputs: dict[str, Any]) -> object:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(**inputs)
        call = partial(self._function, **inputs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def make_role(arguments: argparse.Namespace) -> PythonFunction:
    """The role for these arguments."""
    return PythonFunction(arguments)
