"""Checking: `.rag` files to an Application, with everything that is wrong collected on the way."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.check.classes import check_classes
from harmonia_compiler.check.collections import contradicting
from harmonia_compiler.check.components import Components
from harmonia_compiler.check.disputed import warn_of_disputed
from harmonia_compiler.check.documents import document, engine, engine_key
from harmonia_compiler.check.engines import cards_here, impossible
from harmonia_compiler.check.keys import refuse_keys
from harmonia_compiler.check.lengths import warn_of_guesses
from harmonia_compiler.check.pipelines import check_pipelines
from harmonia_compiler.check.program import Context, load
from harmonia_compiler.check.sources import project_root
from harmonia_compiler.check.types import Types
from harmonia_compiler.contract.card import Cards
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.garbage import uncollected
from harmonia_compiler.contract.program import Call
from harmonia_compiler.diagnostics.diagnostic import MOST_OF_A_SORT, Diagnostic, Findings, in_order
from harmonia_compiler.diagnostics.near import suggestion
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.kinds.registry import kinds as registered_kinds


class Checked(msgspec.Struct, frozen=True):
    """The result of checking: the application where there is no error, and the findings in order.

    Of very many findings the first are there, and the others are counted in `left_out`. `read` are the user's files
    that it was made of: those given, what they import, prompts, and modules whose annotations were read.
    """

    application: Application | None
    found: list[Diagnostic]
    left_out: int = 0
    read: tuple[Path, ...] = ()


def check_files(
    paths: Sequence[Path],
    settings: Mapping[str, str] = {},
    *,
    kinds: Mapping[str, Kind] | None = None,
    root: Path | None = None,
) -> Checked:
    """Check files and what they import. Pipelines of the given files are served; imported ones only called.

    `settings` are values for `setting("name")`, as texts. Nothing outside of `root` is read, and nothing that a
    file names is imported, executed or fetched.
    """
    # What a check makes is bounded, lives until its end, and has no cycles.
    with uncollected():
        return _checked(paths, settings, registered_kinds() if kinds is None else kinds, root)


def _checked(
    paths: Sequence[Path], settings: Mapping[str, str], kinds: Mapping[str, Kind], root: Path | None
) -> Checked:
    findings = Findings(most=MOST_OF_A_SORT)
    folder = (root or project_root(paths)).resolve()
    context = Context(findings, kinds, settings, folder)
    load(context, list(paths))
    check_classes(context)
    components = Components(context, Types(context))
    flows = check_pipelines(context, components)
    refuse_keys(context)
    _warn_of_imports(context)
    _warn_of_nothing(context)
    _refuse_unknown_settings(context)
    if findings.failed:
        return Checked(None, in_order(findings.items), findings.left_out)
    assert None not in flows.values(), "a pipeline that cannot be lowered has a finding that says why"
    served = [flow for declared, flow in flows.items() if flow is not None and declared.unit.served]
    order = {declared.id: position for position, declared in enumerate(context.declared())}
    application = _application(context, components, sorted(served, key=lambda flow: order[flow.name]))
    warn_of_guesses(context, components, application)
    warn_of_disputed(application, kinds, findings)
    cards = cards_here() if application.engines else Cards([])
    wrong = [*impossible(application, kinds, cards), *contradicting(application, kinds, cards)]
    findings.extend(wrong)
    found = None if wrong else application
    return Checked(found, in_order(findings.items), findings.left_out, tuple(context.read))


def _warn_of_imports(context: Context) -> None:
    """Name what the given files import and do not use; of a file with errors, its use may be what is wrong."""
    if context.findings.left_out:
        return
    failed = {item.span.source.name for item in context.findings.items if item.is_error and item.span is not None}
    for unit in context.units:
        if not unit.served or unit.in_circle or unit.source.name in failed:
            continue
        for name, imported in unit.imports.items():
            if name not in unit.used and unit.scope[name] is not None:
                help = "delete it from the import"
                context.findings.add("W0201", f"`{name}` is imported and never used", imported.span, help=help)


def _warn_of_nothing(context: Context) -> None:
    """Name the given files that hold no declaration: nobody checks an empty file on purpose."""
    for unit in context.units:
        if unit.served and unit.file.whole and not unit.file.declarations:
            help = "declare a component and a pipeline in it; `harmoniac explain W0204` shows two"
            message = f"`{unit.source.name}` declares nothing, and so holds no pipeline"
            context.findings.add("W0204", message, Span(unit.source, 0, 0), help=help)


def _refuse_unknown_settings(context: Context) -> None:
    if not all(unit.file.whole for unit in context.units):
        return
    for name in context.given:
        if name not in context.taken:
            known = ", ".join(f"`{taken}`" for taken in sorted(context.taken))
            help = suggestion(name, context.taken, f"there are {known}" if known else "no file asks for one")
            context.findings.add("E0609", f'no file has a `setting("{name}")`', help=help)


def _application(context: Context, components: Components, flows: list[Flow]) -> Application:
    """What the served flows reach, in the order of declaration."""
    pending = [
        node.operation.component
        for flow in flows
        for body in flow.bodies
        for node in body.nodes
        if isinstance(node.operation, Call)
    ]
    reached: set[str] = set()
    while pending:
        name = pending.pop()
        found = components.by_id(name)
        if name not in reached and found is not None:
            reached.add(name)
            pending += found.named
    made = [
        found for declared in context.declared() if (found := components.made.get(declared)) and declared.id in reached
    ]
    engines: dict[str, Engine] = {}
    ids: dict[tuple[str, bytes], str] = {}
    roots = {found.root: found for found in made}
    for declared in context.declared():
        if declared in roots:
            base = components.made[declared]
            assert base is not None
            if engine_key(base) not in ids:
                ids[engine_key(base)] = declared.id
                engines[declared.id] = engine(base)
    documents: dict[str, Component] = {
        found.declared.id: document(found, ids[engine_key(found)]) for found in made if found.ports is not None
    }
    sources = tuple(unit.source for unit in context.units)
    places = {found.declared.id: found.places for found in components.made.values() if found is not None}
    return Application(engines, documents, tuple(flows), sources, places)
