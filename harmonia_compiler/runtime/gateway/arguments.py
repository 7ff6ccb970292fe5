"""Turns what a request brings into the arguments of a Program and the settings of its returned call."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec

from harmonia_compiler.contract.program import Program, ProgramParameter, RequestClass
from harmonia_compiler.contract.types import ListOf, Message, Text, Value, mismatch, show
from harmonia_compiler.diagnostics.near import nearest
from harmonia_compiler.kinds.kind import Kind, value_of
from harmonia_compiler.runtime.chat_fields import Sampling, misread, out_of_range
from harmonia_compiler.runtime.gateway.problem import INVALID_REQUEST, Problem, invalid

T = TypeVar("T")


class Options(Sampling, frozen=True):
    """How the returned call samples, as far as the pipeline leaves it open."""

    def settings(self) -> dict[str, Any]:
        """What was said, by the names of the language's settings."""
        said = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed, "stop": self.stops}
        lengths = {"max_tokens": self.most, "ignore_eos": self.ignore_eos}
        return {name: value for name, value in {**said, **lengths}.items() if value is not None}


def read_options(body: Mapping[str, Any]) -> Options:
    """The options in a body; raises Problem (400) where one has a wrong type or lies out of its range."""
    options = convert(body, Options)
    if unfit := out_of_range(options):
        raise invalid(unfit.message, unfit.field)
    return options


def convert(document: Mapping[str, Any], wanted: type[T]) -> T:
    """The document as a struct, fields that it does not have left out; raises Problem (400) that names the field."""
    try:
        return msgspec.convert(document, wanted)
    except msgspec.ValidationError as problem:
        unfit = misread(problem)
        raise invalid(unfit.message, unfit.field) from None


def merge_settings(fixed: Mapping[str, Any], options: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The settings of the returned call: what its component fixes stays, and `max_tokens` can only get lower.

    Options that the kind does not have are left out.
    """
    wished = {name: value for name, value in options.items() if kind.setting(name) or name in kind.asked_only}
    merged = {**wished, **{name: value for name, value in fixed.items() if value is not None}}
    if "max_tokens" in wished:
        limit = value_of("max_tokens", fixed, kind.settings)
        merged["max_tokens"] = wished["max_tokens"] if limit is None else min(wished["max_tokens"], limit)
    return merged


def find_program(programs: Mapping[str, Program], name: str, param: str | None) -> Program:
    """The pipeline of that name; raises Problem (404) with those that sound like it."""
    program = programs.get(name)
    if program is not None:
        return program
    near = nearest(name[:64], programs)
    offered = f"did you mean `{near}`?" if near else "there are " + ", ".join(f"`{other}`" for other in programs)
    shown = name if len(name) <= 64 else name[:61] + "..."
    raise Problem(
        HTTPStatus.NOT_FOUND,
        INVALID_REQUEST,
        "model_not_found",
        f"there is no pipeline `{shown}`; {offered}",
        param=param,
    )


def take_class(program: Program, given: dict[str, Value], named: str | None) -> RequestClass | None:
    """The class of a request: what is given for the class parameter or as `class`, else what its header names.

    Where nobody says one it is the first. It is put in the place of its parameter, and `class` is taken out, since no
    other parameter is called so. None where the pipeline's requests have no classes; raises Problem (400) for a
    class that it does not have.
    """
    if not program.classes:
        return None
    parameter = program.class_parameter
    said = given.pop("class", named)
    if parameter is not None:
        said = given.get(parameter, said)
    by_name = {each.name: each for each in program.classes}
    name = program.classes[0].name if said is None else said
    if not isinstance(name, str) or name not in by_name:
        known = ", ".join(f"`{each}`" for each in by_name)
        shown = repr(name)[:64]
        near = nearest(name[:64], by_name) if isinstance(name, str) else None
        known += f"; did you mean `{near}`?" if near else ""
        raise invalid(f"{shown} is no class of requests; there are {known}", parameter or "class", "unknown_class")
    if parameter is not None:
        given[parameter] = name
    return by_name[name]


def check_arguments(program: Program, given: Mapping[str, Value]) -> dict[str, Value]:
    """Every parameter with its value, defaults filled in.

    Raises Problem (400) for one that is missing, unknown or of another type.
    """
    names = [parameter.name for parameter in program.parameters]
    for name in given:
        if name not in names:
            near = nearest(name[:64], names)
            hint = f"; did you mean `{near}`?" if near else ""
            raise invalid(f"`{program.pipeline}` has no parameter `{name[:64]}`{hint}", name[:64], "unknown_parameter")
    return {parameter.name: _argument(parameter, given) for parameter in program.parameters}


def _argument(parameter: ProgramParameter, given: Mapping[str, Value]) -> Value:
    if parameter.name not in given:
        if parameter.default is msgspec.UNSET:
            raise invalid(f"`{parameter.name}` is missing", parameter.name, "missing_parameter")
        return parameter.default
    value = given[parameter.name]
    why = mismatch(value, parameter.type)
    if why is not None:
        raise invalid(f"`{parameter.name}` takes {show(parameter.type)}: {why}", parameter.name)
    return value


def chat_arguments(
    program: Program, turns: Sequence[Mapping[str, str]], named: Mapping[str, Value]
) -> dict[str, Value]:
    """The arguments of a conversation; `turns` ends with the message that asks, `named` holds ports by their names.

    The message fills the one text that has no default and is not named, or, where every text has one, the one that is
    not named. The turns before it fill a `[message]` port, together with it where there is no text. Raises Problem
    (400) where the message has no place of its own.
    """
    given: dict[str, Value] = dict(named)
    *earlier, message = turns
    history = next(
        (one.name for one in program.parameters if one.type == ListOf(Message()) and one.name not in given), None
    )
    texts = [parameter for parameter in program.parameters if isinstance(parameter.type, Text)]
    if texts:
        given[_asked_port(program, texts, given)] = message["text"]
    elif history is None:
        raise invalid(
            f"`{program.pipeline}` has no port that takes the message; ask it at `/v1/pipelines/{program.pipeline}`",
            "messages",
        )
    if history is not None:
        given[history] = [dict(turn) for turn in (earlier if texts else turns)]
    return check_arguments(program, given)


def _asked_port(program: Program, texts: Sequence[ProgramParameter], given: Mapping[str, Value]) -> str:
    """The text that the message fills."""
    required = [parameter.name for parameter in texts if parameter.default is msgspec.UNSET]
    meant = required or [parameter.name for parameter in texts]
    open_ = [name for name in meant if name not in given]
    if not open_:
        raise invalid(
            f"the last user message fills `{meant[-1]}`, which the body also gives by name: leave that field out",
            meant[-1],
        )
    if len(open_) > 1:
        raise invalid(
            f"`{program.pipeline}` takes several texts; give all but one of them by name in the body: "
            + ", ".join(f"`{name}`" for name in open_),
            open_[-1],
            "missing_parameter",
        )
    return open_[0]
