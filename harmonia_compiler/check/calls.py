"""Calls of components and pipelines: which argument goes to which port, and what else is given."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain

import msgspec

from harmonia_compiler.check.program import Context
from harmonia_compiler.contract.component import Port
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.kinds.kind import Setting
from harmonia_compiler.syntax import tree


class Matched(msgspec.Struct):
    """The arguments of a call by port, the settings among them, and those that fit nowhere.

    `missing` are the ports that lack theirs, and `needless` the arguments behind the last port: both are still to be
    reported, as the types of what is given may show what is meant. `whole` is false where something may be missing.
    """

    ports: dict[str, tree.Argument] = msgspec.field(default_factory=dict)
    settings: dict[str, tree.Argument] = msgspec.field(default_factory=dict)
    elsewhere: list[tree.Argument] = msgspec.field(default_factory=list)
    needless: list[tree.Argument] = msgspec.field(default_factory=list)
    missing: list[Port] = msgspec.field(default_factory=list)
    whole: bool = True


def match_arguments(
    call: tree.Call, ports: Sequence[Port], settings: Mapping[str, Setting], context: Context
) -> Matched:
    """Give arguments to ports, by position and then by name; what fits nowhere is reported and left out.

    What has a name that there is not is taken for what it was probably meant as, and else for all that is missing.
    """
    matched, findings = Matched(), context.findings
    known = {port.name for port in ports}
    name = call.name.text
    # Of each argument that fits nowhere the same is said.
    taken_by_name = cache(lambda: _taken(ports, settings))
    meant: set[str | None] = set()
    named: tree.Argument | None = None
    for position, argument in enumerate(call.arguments):
        if argument.name is not None:
            named = argument
            if argument.name.text in known:
                _give(argument, argument.name.text, matched.ports, findings)
            elif argument.name.text in settings:
                _give(argument, argument.name.text, matched.settings, findings)
            else:
                near = context.nearest(argument.name.text, chain(known, settings))
                meant.add(near)
                help = f"did you mean `{near}`?" if near else f"it takes {taken_by_name()}"
                message = f"`{name}` has no port or setting `{argument.name.text}`"
                findings.add("E0216", message, argument.name.span, help=help)
                matched.elsewhere.append(argument)
        elif named is not None:
            notes = (Note(named.span, "this one has a name"),)
            help = "put arguments without a name first, or give this one its name"
            findings.add(
                "E0305", "an argument without a name follows one with a name", argument.span, help=help, notes=notes
            )
            matched.whole = False
            matched.elsewhere.append(argument)
        elif position < len(ports):
            matched.ports[ports[position].name] = argument
        else:
            matched.needless.append(argument)
            matched.elsewhere.append(argument)
    if any(isinstance(argument.value, tree.Broken) for argument in call.arguments):
        # A text that is never closed may hold the arguments behind it.
        matched.whole = False
    missing = [port for port in ports if port.name not in matched.ports and port.default is msgspec.UNSET]
    if missing and matched.whole:
        matched.whole = False
        matched.missing = [] if None in meant else [port for port in missing if port.name not in meant]
    return matched


def report_missing(call: tree.Call, ports: Sequence[Port], missing: Sequence[Port], findings: Findings) -> None:
    """Report the ports that lack an argument, if any do."""
    if missing:
        message = f"`{call.name.text}` is called without {listed(port.name for port in missing)}"
        findings.add("E0302", message, call.span, help=f"it takes {_taken(ports)}")


def report_needless(
    call: tree.Call, ports: Sequence[Port], needless: Sequence[tree.Argument], findings: Findings
) -> None:
    """Report the arguments behind the last port."""
    if not needless:
        return
    name, help = call.name.text, f"it takes {_taken(ports)}"
    for position, argument in enumerate(needless, start=len(ports) + 1):
        findings.add("E0303", f"`{name}` takes no {_ordinal(position)} argument", argument.span, help=help)


def _give(argument: tree.Argument, name: str, into: dict[str, tree.Argument], findings: Findings) -> None:
    if name in into:
        notes = (Note(into[name].span, "given here first"),)
        findings.add("E0304", f"`{name}` is given twice", argument.span, help="delete one of the two", notes=notes)
        return
    into[name] = argument


def warn_of_swapped(call: tree.Call, ports: Sequence[Port], matched: Matched, findings: Findings) -> None:
    """Two arguments without names whose own names are each other's ports were probably swapped."""
    names = {}
    for port in ports:
        argument = matched.ports.get(port.name)
        if argument is not None and argument.name is None and isinstance(argument.value, tree.Reference):
            names[port.name] = argument.value.name.text
    for name, given in names.items():
        if name < given and names.get(given) == name:
            message = f"`{given}` is given for `{name}`, and `{name}` for `{given}`"
            findings.add("W0301", message, call.span, help="swap the two, or name them to say that it is meant")


def _taken(ports: Sequence[Port], settings: Mapping[str, Setting] | None = None) -> str:
    taken = listed(port.name for port in ports) or "no arguments"
    given = [name for name, setting in (settings or {}).items() if setting.scope == "call"]
    return taken + (f", and the settings {listed(given)}" if given else "")


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
