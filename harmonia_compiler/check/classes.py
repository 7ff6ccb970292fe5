"""Request classes: what `class NAME(deadline: …, weight: …)` declares, and which a pipeline's requests may be of."""

from collections.abc import Mapping, Sequence

from harmonia_compiler.check.amounts import COUNT, DURATION, amount
from harmonia_compiler.check.narrowing import Narrowed, narrow
from harmonia_compiler.check.program import Context, Unit
from harmonia_compiler.check.scope import Scope
from harmonia_compiler.contract.program import RequestClass
from harmonia_compiler.contract.types import Labels, Type
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.near import suggestion
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Load
from harmonia_compiler.syntax import tree

_QUANTITIES = {"deadline": DURATION, "weight": COUNT}


def check_classes(context: Context) -> None:
    """Read the declared classes, and give each file those that it declares or imports; these count as used."""
    settings = {
        declared: _read(declared.node, context.findings)
        for declared in context.declared()
        if isinstance(declared.node, tree.Class)
    }
    for unit in context.units:
        names = [*unit.named(tree.Class)]
        unit.used.update(names)
        unit.classes = tuple(_class(name, settings[declared]) for name in names if (declared := unit.scope[name]))


def class_port(ports: Sequence[tree.Port], unit: Unit, findings: Findings) -> str | None:
    """The port that holds a request's class; a second one is reported."""
    found = [port for port in ports if _is_class(port.sized.type, unit)]
    for port in found[1:]:
        notes = (Note(found[0].name.span, "the first stands here"),)
        help = "a request is of one class; delete this port"
        findings.add("E0219", "a second port of type `class`", port.name.span, help=help, notes=notes)
    return found[0].name.text if found else None


def class_shares(
    tests: Sequence[tree.Expression], asked: Sequence[Narrowed], scope: Scope, port: str | None, load: Load | None
) -> list[float | None]:
    """For each test of a branch, the part of the requests that reach the branch for which it is the first to hold.

    By the loads of the classes: None where it or one before it asks about anything but the request's class. `asked` is
    what is known of label types where each is asked.
    """
    found: list[float | None] = [None] * len(tests)
    binding = None if port is None or load is None or not load.by_class else scope.find(port)
    if port is None or load is None or binding is None or binding.value is None:
        return found
    whole = _rate_of(binding.value.type, load)
    if not whole or not all(variable.is_port for variable in binding.variables):
        return found
    for at, (test, known) in enumerate(zip(tests, asked, strict=True)):
        holds, fails = (side.get(port) for side in narrow(test, Scope(scope, narrowed=dict(known))))
        # It asks about the class alone where no class is on both of its sides.
        if not isinstance(holds, Labels) or not isinstance(fails, Labels) or {*holds.labels} & {*fails.labels}:
            break
        found[at] = _rate_of(holds, load) / whole
    return found


def _rate_of(classes: Type, load: Load) -> float:
    """How many requests a second are of some classes."""
    names = classes.labels if isinstance(classes, Labels) else ()
    return sum(load.by_class[name].rps for name in names if name in load.by_class)


def _is_class(of: tree.TypeTree, unit: Unit) -> bool:
    """Whether a type is `class`, itself or by names for it."""
    passed: set[tuple[Unit, str]] = set()
    while isinstance(of, tree.NamedType) and (unit, of.name.text) not in passed:
        passed.add((unit, of.name.text))
        declared = unit.scope.get(of.name.text)
        if declared is None or not isinstance(declared.node, tree.Alias):
            return False
        of, unit = declared.node.type, declared.unit
    return isinstance(of, tree.ClassType)


def _class(name: str, settings: Mapping[str, float]) -> RequestClass:
    return RequestClass(name, settings.get("deadline"), settings.get("weight", 1.0))


def _read(node: tree.Class, findings: Findings) -> dict[str, float]:
    settings: dict[str, float] = {}
    places: dict[str, Span] = {}
    for argument in node.settings:
        name = None if argument.name is None else argument.name.text
        if name not in _QUANTITIES:
            what = "a setting without a name" if name is None else f"no setting `{name}`"
            message = f"a class has {what}" if name is not None else "a setting of a class has a name"
            help = "write `deadline: 2 s` or `weight: 4`"
            span = argument.span if argument.name is None else argument.name.span
            findings.add("E0601", message, span, help=suggestion(name or "", _QUANTITIES, help))
            continue
        if name in places:
            notes = (Note(places[name], "given here first"),)
            help = "delete one of the two"
            findings.add("E0603", f"`{name}` is given twice", argument.span, help=help, notes=notes)
            continue
        places[name] = argument.span
        value = _amount(name, argument.value, findings)
        if value is not None:
            settings[name] = value
    return settings


def _amount(name: str, given: tree.Expression, findings: Findings) -> float | None:
    quantity = _QUANTITIES[name]
    if not isinstance(given, tree.Amount):
        if not isinstance(given, tree.Broken):
            help = f"write it like this: `{name}: {quantity.example}`"
            findings.add("E0602", f"`{name}` takes {quantity.noun}", given.span, help=help)
        return None
    value = amount(given, quantity, f"`{name}`", findings)
    if value is not None and value <= 0:
        findings.add("E0505", f"`{name}` is above 0", given.span, help=f"write it like this: `{quantity.example}`")
        return None
    return value
