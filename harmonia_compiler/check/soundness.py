"""Whether the parts of a component belong together: settings, prompts and ports, expected size and limit."""

import math
from collections.abc import Mapping
from typing import Any

from harmonia_compiler.check.faults import report_faults
from harmonia_compiler.check.made import Made
from harmonia_compiler.check.program import Context
from harmonia_compiler.check.prompts import can_insert, warn_of_inserted
from harmonia_compiler.contract.types import ListOf, Message, Number, Record, Text, Type, Vector
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.numbers import plain
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.kinds.extents import typed_extent
from harmonia_compiler.kinds.kind import COMMON_SETTINGS
from harmonia_compiler.syntax import tree

#: Says how long the answer of a model may be.
_LIMIT = "max_tokens"


def check_settings(made: Made, findings: Findings) -> None:
    """Settings that contradict each other; what is only a base may leave those of calls to what is made from it."""
    known = (*made.kind.settings, *COMMON_SETTINGS)
    among = {setting.name for setting in known if setting.scope != "call" or made.ports is not None}
    report_faults(made.kind, made.given, made.places, findings, among=among)


def warn_of_braces(made: Made, node: tree.Component, findings: Findings) -> None:
    """Texts of this component's own settings, which are no prompts, that seem to insert one of its ports."""
    ports = {port.name for port in made.ports or ()}
    own = {argument.value.span for argument in node.settings}
    for name, value in made.given.items():
        if isinstance(value, str) and made.places[name] in own:
            warn_of_inserted(value, ports.__contains__, made.places[name], findings)


def check_prompts(made: Made, node: tree.Component, context: Context) -> None:
    """Every insertion names a port, and every port is inserted somewhere."""
    if not made.kind.has_prompt or made.ports is None:
        return
    ports = {port.name: port for port in made.ports}
    inserted: set[str] = set()
    for template in made.prompts.values():
        inserted |= template.mentioned | template.inserted
        # Any number of components may be made from one that has a long prompt.
        if template.inserted <= ports.keys() or context.findings.is_full:
            continue
        for name, span in template.inserts:
            if name not in ports:
                near = context.nearest(name, ports)
                inserted.add(near or name)
                help = f"did you mean `{{{near}}}`?" if near else f"write `{{{{{name}}}}}` if it is meant literally"
                context.findings.add("E0610", f"`{name}` is not a port of `{made.declared.name}`", span, help=help)
    for template in made.prompts.values():
        for name in [port for port in ports if port in template.misspelt]:
            word, span = template.misspelt[name]
            code, message = "E0610", f"`{word}` is not a port of `{made.declared.name}`"
            if name in inserted:
                # It is there as it should be, so that this may be meant.
                code, message = "W0205", f"`{{{word}}}` stays as it is written: names are lower-case"
            inserted.add(name)
            context.findings.add(code, message, span, help=f"did you mean `{{{name}}}`?")
    # What was refused as the name of a model may be the prompt.
    prompts = {setting.name for setting in made.kind.settings if setting.type == "prompt" or setting.slip_in}
    if any(name in made.places and name not in made.prompts and name not in made.given for name in prompts):
        return
    turns = [port for port in made.ports if port.name not in inserted and port.type == ListOf(Message())]
    left = [port for port in made.ports if port.name not in inserted and port not in turns] + turns[1:]
    places = {port.name.text: port.name.span for port in node.ports or ()}
    for port in (port for port in left if can_insert(port.name)):
        help = f"insert it: `{{{port.name}}}`, or delete the port"
        context.findings.add(
            "E0612", f"the port `{port.name}` is in no prompt", places.get(port.name, node.name.span), help=help
        )


def check_result(made: Made, node: tree.Component, findings: Findings) -> None:
    """A result that no model can write, or of which more is expected than it may write."""
    if not made.kind.has_prompt or made.result is None:
        return
    if node.result is not None and _holds_vector(made.result.type):
        message = f"`{made.kind.name}` writes text, and no vectors"
        findings.add("E0329", message, node.result.type.span, help="make them with an `embedder`")
        return
    limit = made.places.get(_LIMIT)
    if limit is not None and _LIMIT not in made.settings:
        # It could not be read, which is reported.
        return
    if node.result is not None:
        size = node.result.size if isinstance(made.result.type, Text) else None
        place = (size or node.result).span
        notes = () if limit is None else (Note(limit, "the limit stands here"),)
        _report_too_long(made, made.settings, place, findings, notes)
    elif limit is not None and limit in {argument.value.span for argument in node.settings}:
        _report_too_long(made, made.settings, limit, findings)


def check_call(made: Made, settings: Mapping[str, Any], places: Mapping[str, Span], findings: Findings) -> None:
    """A call whose own limit is less than what is expected; `settings` are those that it gives."""
    if made.kind.has_prompt and _LIMIT in settings:
        _report_too_long(made, settings, places[_LIMIT], findings)


def _report_too_long(
    made: Made, settings: Mapping[str, Any], place: Span, findings: Findings, notes: tuple[Note, ...] = ()
) -> None:
    """Report that more is expected than these settings allow, or those that stand where they say nothing."""
    assert made.result is not None
    setting = made.kind.setting(_LIMIT)
    limit = settings.get(_LIMIT, setting and setting.default)
    expected = typed_extent(made.result.type, made.result.sizes, at_least=True).tokens
    if isinstance(made.result.type, Number):
        # Of one that ends with the limit nobody knows whether more digits were to come.
        expected += 1.0
    if limit is None or expected <= limit:
        return
    is_said = isinstance(made.result.type, Text)
    how_many = plain(expected) if is_said else f"at least {plain(math.ceil(expected))}"
    said = f"{limit}" if _LIMIT in settings else f"{limit} where it is not said"
    message = f"a result of {how_many} tokens is expected, but `{_LIMIT}` is {said}"
    findings.add("E0507", message, place, help=f"raise `{_LIMIT}`, or expect less", notes=notes)


def _holds_vector(of: Type) -> bool:
    match of:
        case ListOf(item) if item is not None:
            return _holds_vector(item)
        case Record(fields):
            return any(_holds_vector(field.type) for field in fields)
        case _:
            return isinstance(of, Vector)
