"""The role `python`: calls the user's function, which is imported once, from the bundle's copy of the user's code.

Its parameters are filled by their names, those before a `/` too, and records are given as the classes that its
annotations name. A coroutine function is awaited on the worker's loop; any other runs in one of as many threads as
the worker has cores. What the function raises becomes an error that names it, and the worker lives on.

A call whose client has gone is cancelled, and one that waits for a thread never begins. A thread cannot be stopped: a
function that runs in one already runs to its end.
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
from itertools import takewhile
from typing import Any

import msgspec
from starlette.responses import Response

from harmonia_compiler.contract.requirements import LOCK, lacking_here
from harmonia_compiler.kinds.python import CALL
from harmonia_compiler.runtime.worker.outcome import Raised, awaited, called
from harmonia_compiler.runtime.worker.records import makers, plain
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
        """Import the function; raises where the module or the name in it is not there, or is no function.

        What its bundle's lock pins must be installed: another version would answer otherwise, and nobody would know.
        """
        if wrong := lacking_here(self._code):
            raise RuntimeError(f"{'; '.join(wrong)}: install what {self._code / LOCK} pins")
        module, _, name = self.model.partition(":")
        sys.path.insert(0, str(self._code.resolve()))
        found = getattr(import_module(module), name, None)
        if not callable(found):
            raise TypeError(f"`{name}` in {module} is no function")
        self._function: Callable[..., Any] = found
        self._signature = inspect.signature(found)
        parameters = self._signature.parameters.values()
        self._positional = [each.name for each in parameters if each.kind is each.POSITIONAL_ONLY]
        self._makers = makers(found)

    def routes(self) -> Sequence[tuple[str, Handler]]:
        """The one route."""
        return [(CALL, self._call)]

    async def _call(self, body: bytes) -> Response:
        ask = read_body(body, _Ask)
        bound = called(partial(self._bound, ask.inputs))
        if isinstance(bound, Raised):
            message = f"`{self.model}` does not take these inputs: {bound.message}"
            raise Refusal(400, "invalid_request_error", message) from bound.problem
        result = await self._result(bound)
        if isinstance(result, Raised):
            traceback.print_exception(result.problem)
            message = f"`{self.model}` raised {result.described}"
            raise Refusal(500, "function_error", message) from result.problem
        written = called(lambda: msgspec.json.encode({"result": plain(result)}))
        if isinstance(written, Raised):
            message = f"`{self.model}` returned what JSON cannot hold: {written.message}"
            raise Refusal(500, "function_error", message) from written.problem
        return Response(written, media_type="application/json")

    def _bound(self, inputs: dict[str, Any]) -> inspect.BoundArguments:
        """The inputs as the function takes them; raises TypeError where it does not, or what making a record raises."""
        given = {name: self._makers[name](value) if name in self._makers else value for name, value in inputs.items()}
        first = [given.pop(name) for name in takewhile(given.__contains__, self._positional)]
        return self._signature.bind(*first, **given)

    async def _result(self, bound: inspect.BoundArguments) -> object | Raised:
        call = partial(self._function, *bound.args, **bound.kwargs)
        if inspect.iscoroutinefunction(self._function):
            return await awaited(call)
        return await asyncio.get_running_loop().run_in_executor(self._threads, called, call)


def make_role(arguments: argparse.Namespace) -> PythonFunction:
    """The role for these arguments."""
    return PythonFunction(arguments)
