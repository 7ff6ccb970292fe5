"""What the chat route makes of each field of a body: read, left unread, refused, or taken for a port.

What would change an answer and is not done is refused, so that nobody takes an answer for what it is not. What no
answer hangs on is accepted, since clients send it unasked. The ports of a pipeline go before both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harmonia_compiler.contract.program import Program
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.runtime.chat_fields import NOTHING, UNREAD
from harmonia_compiler.runtime.gateway.problem import Problem, invalid

#: Fields that mean what OpenAI says, whatever ports a pipeline has.
READ = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "max_tokens",
        "max_completion_tokens",
    }
)

#: Fields of vLLM's that mean what vLLM says: load generators for it ask for answers of exactly so many tokens.
OF_VLLM = frozenset({"ignore_eos"})

_ACCEPTED = READ | OF_VLLM | UNREAD


@dataclass(frozen=True, slots=True)
class Undone:
    """A field that asks for what a pipeline does not do, unless it holds one of `nothing`; `instead` is what helps."""

    instead: str
    nothing: tuple[Any, ...] = ()


_DECLARE = "what a pipeline may call are the components that its source declares"
_TYPE = "an answer has the form of the type that the pipeline declares as its result"
_SAMPLING = "`temperature`, `top_p`, `seed` and `stop` can be given"
_TEXT = "a pipeline answers in text"
_NATIVE = "the native route tells the passages and the tokens of an answer"

_INSTEAD = {
    "audio": _TEXT,
    "frequency_penalty": _SAMPLING,
    "function_call": _DECLARE,
    "functions": _DECLARE,
    "logit_bias": _SAMPLING,
    "logprobs": _NATIVE,
    "modalities": _TEXT,
    "moderation": "a component of the pipeline can judge the question or the answer",
    "n": "a pipeline gives one answer: send the request again for another",
    "presence_penalty": _SAMPLING,
    "reasoning_effort": "the pipeline's source says which model answers, and how",
    "response_format": _TYPE,
    "tool_choice": _DECLARE,
    "tools": _DECLARE,
    "top_logprobs": _NATIVE,
    "verbosity": "the pipeline's prompt says how long an answer shall be",
    "web_search_options": "a component of the kind `web_search` searches the web",
}

UNDONE: Mapping[str, Undone] = {name: Undone(_INSTEAD[name], nothing) for name, nothing in NOTHING.items()}


def named_ports(program: Program, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a body gives to ports by their names, and to `class` where requests have classes.

    Raises Problem (400) for a field that asks for what is not done, and for one that nobody knows.
    """
    ports = [parameter.name for parameter in program.parameters]
    if program.classes:
        ports.append("class")
    for name, value in body.items():
        undone = UNDONE.get(name)
        if undone is not None and name not in ports and value is not None and value not in undone.nothing:
            raise invalid(
                f"`{name}` asks for what a pipeline does not do: {undone.instead}; leave the field out",
                name,
                "unsupported_parameter",
            )
        if name not in ports and undone is None and name not in _ACCEPTED:
            raise _unknown(name[:64], program, ports)
    return {name: value for name, value in body.items() if name in ports and name not in READ}


def _unknown(name: str, program: Program, ports: list[str]) -> Problem:
    known = (*ports, *READ, *OF_VLLM, *UNREAD, *UNDONE)
    help_ = suggestion(name, known, f"its ports are {listed(ports)}" if ports else "it has no ports")
    message = f"`{program.pipeline}` has no port `{name}`, and the route no such field; {help_}"
    return invalid(message, name, "unknown_parameter")
