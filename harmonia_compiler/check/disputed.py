"""Shares that say of one value what cannot be together, in whatever statements they stand."""

from collections.abc import Mapping

from harmonia_compiler.contract.program import Call
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.flow.asked import Below, Exactly
from harmonia_compiler.flow.disputed import Disputed, disputed
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.passes.definition import Context
from harmonia_compiler.flow.passes.likeness import may_merge
from harmonia_compiler.kinds.kind import Kind


def warn_of_disputed(application: Application, kinds: Mapping[str, Kind], findings: Findings) -> None:
    """Name each share that does not fit with what is said elsewhere: a plan can keep to one of the two."""
    reported, context = set(), Context(application, kinds)

    def is_one(call: Call) -> bool:
        return may_merge(call, context)

    for flow in application.flows:
        for one in disputed(flow, is_one) if _may_be_disputed(flow) else ():
            if one.at in reported:
                continue
            reported.add(one.at)
            notes = tuple(Note(at, "said here") for at in one.others)
            if one.is_repeated:
                message = "another share was given for the same test"
                findings.add("W0501", message, one.at, help="delete this one, or make both equal", notes=notes)
            else:
                message = f"by what else is said of this value, the test holds for {one.found:.3g} of those asked"
                findings.add("W0504", message, one.at, help=_help(one), notes=notes)


def _may_be_disputed(flow: Flow) -> bool:
    """Whether two shares are of the same requests, so that it is worth while to look at what they are about.

    The loads of the classes say shares of all of them.
    """
    written = {node.written for body in flow.bodies for node in body.nodes if node.written is not None}
    if flow.class_shares and any(each.among == flow.span for each in written):
        return True
    places = {(each.at, place) for each in written for place in (each.among, each.around) if place is not None}
    return len({place for _, place in places}) < len(places)


def _help(one: Disputed) -> str:
    if one.is_of_class:
        return "leave this one out: it follows from the loads of the classes"
    match one.test:
        case str():
            return "change one of them: the labels of a value sum to 1, and to 1 at most where some are not named"
        case Below():
            return "change one of them: a number is below a bound at least as often as below a smaller one"
        case Exactly():
            return "change one of them: the shares of several numbers, and of what is below and above them, sum to 1"
    return "leave this one out: it follows from what is said already"
