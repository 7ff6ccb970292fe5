"""Settings that contradict each other: each is fine alone, and together they cannot work."""

from collections.abc import Collection, Mapping
from typing import Any

from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.kinds.kind import Kind


def report_faults(
    kind: Kind,
    settings: Mapping[str, Any],
    places: Mapping[str, Span],
    findings: Findings,
    *,
    among: Collection[str],
    at_least_one: bool = False,
) -> None:
    """Report contradictions where the settings were given.

    Those count that concern the settings `among` alone or, with `at_least_one`, some of them. A setting that has
    a place and no value was reported before.
    """
    unread = places.keys() - settings.keys()
    for fault in kind.faults(settings):
        concerned = [name in among for name in fault.settings]
        if not unread.isdisjoint(fault.settings) or not (any(concerned) if at_least_one else all(concerned)):
            continue
        given = [name for name in fault.settings if name in places]
        notes = tuple(Note(places[name], f"`{name}` stands here") for name in given[1:])
        findings.add("E0616", fault.message, places[given[0]], help=fault.help, notes=notes)
