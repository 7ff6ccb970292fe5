"""Shares that say of one value what cannot be together, in whatever statements they stand."""

from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.flow.asked import Test
from harmonia_compiler.flow.disputed import disputed
from harmonia_compiler.flow.graph import Application

#: So many of the places that a share does not fit with are shown.
_MOST_NOTES = 3


def warn_of_disputed(application: Application, findings: Findings) -> None:
    """Name each share that does not fit with what is said elsewhere: a plan can keep to one of the two."""
    reported = set()
    for flow in application.flows:
        for one in disputed(flow):
            if one.at in reported:
                continue
            reported.add(one.at)
            notes = tuple(Note(at, "said here") for at in one.others[:_MOST_NOTES])
            if one.is_repeated:
                message = "another share was given for the same test"
                findings.add("W0501", message, one.at, help="delete this one, or make both equal", notes=notes)
            else:
                message = f"by what else is said of this value, the test holds for {one.found:.3g} of those asked"
                findings.add("W0504", message, one.at, help=_help(one.test), notes=notes)


def _help(test: Test) -> str:
    match test:
        case str():
            return "change one of them: the labels of a value sum to 1, and to 1 at most where some are not named"
        case float():
            return "change one of them: a number is below a bound at least as often as below a smaller one"
    return "leave this one out: it follows from what is said already"
