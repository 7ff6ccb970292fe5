"""Whether the parts of a component belong together: settings, prompts and ports, expected size and limit."""

from harmonia_compiler.check.faults import report_faults
from harmonia_compiler.check.made import Made
from harmonia_compiler.check.program import Context
from harmonia_compiler.check.prompts import can_insert, warn_of_inserted
from harmonia_compiler.contract.types import ListOf, Message, Text
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.numbers import plain
from harmonia_compiler.kinds.kind import COMMON_SETTINGS
from harmonia_compiler.syntax import tree


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


def check_size(made: Made, node: tree.Component, findings: Findings) -> None:
    """A result that is expected to be longer than it may be."""
    limit = made.settings.get("max_tokens")
    size = made.result.size if made.result is not None and isinstance(made.result.type, Text) else None
    if isinstance(limit, int) and size is not None and size > limit:
        place = node.result.size if node.result is not None else None
        notes = (Note(made.places["max_tokens"], "the limit stands here"),)
        message = f"a result of {plain(size)} tokens is expected, but `max_tokens` is {limit}"
        findings.add(
            "E0507",
            message,
            place.span if place is not None else made.places["max_tokens"],
            help="raise `max_tokens`, or expect less",
            notes=notes if place is not None else (),
        )
