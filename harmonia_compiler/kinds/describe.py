"""A kind in words, from its declaration alone: what `harmoniac explain` prints and the reference is made of."""

from collections.abc import Iterable

from harmonia_compiler.contract.types import show
from harmonia_compiler.kinds.kind import COMMON_SETTINGS, Kind, Setting

_SCOPES = {
    "engine": "Another value of these means another engine, with replicas of its own:",
    "component": "Components that share an engine may differ in these:",
    "call": "What is made from the component, and a single call, may say these anew:",
}
_TYPES = {
    "text": "text",
    "number": "a number",
    "integer": "a whole number",
    "tokens": "a number of tokens",
    "bool": "`true` or `false`",
    "duration": "a duration",
    "memory": "an amount of memory",
    "prompt": "a prompt",
    "component": "a component",
    "device": "`cpu` or a GPU type",
}
#: The unit that a setting's bounds and default are written in.
_UNITS = {"duration": " ms", "memory": " GiB"}


def describe(kind: Kind) -> str:
    """A kind with what it alone takes, as Markdown."""
    example = "\n".join(f"    {line}" for line in kind.example.splitlines())
    parts = [f"# `{kind.name}`", kind.doc, example, _ports(kind)]
    for scope, title in _SCOPES.items():
        if own := [setting for setting in kind.settings if setting.scope == scope]:
            parts += [title, _listed(own, kind).rstrip("\n")]
    return "\n\n".join(part for part in parts if part) + "\n"


def describe_common() -> str:
    """What every kind takes, as Markdown."""
    return _listed(COMMON_SETTINGS, None)


def _ports(kind: Kind) -> str:
    if kind.signature is None:
        return "Its ports and its result are declared: `component NAME(port: TYPE, …) -> TYPE = …`."
    ports = ", ".join(f"{port.name}: {show(port.type)}" for port in kind.signature.ports)
    return f"It takes `({ports})` and gives `{show(kind.signature.result)}`."


def _listed(settings: Iterable[Setting], kind: Kind | None) -> str:
    """A setting a line. `kind` is the one whose settings they are, if they are one kind's."""
    return "".join(f"- `{one.name}`: {one.doc}. {_facts(one, kind)}\n" for one in settings)


def _facts(setting: Setting, kind: Kind | None) -> str:
    """What may be given for a setting, and what holds where nothing is."""
    facts = [_type(setting)]
    if setting.required:
        facts.append("always given")
    elif setting.default is not None:
        facts.append(f"{_value(setting, setting.default)} where it is not said")
    if kind is not None and setting.name == kind.unnamed:
        facts.append("its name may be left out")
    if setting.confidential:
        facts.append('only as `secret("NAME")` or `env("NAME")`')
    elif setting.late:
        facts.append('also as `env("NAME")` or `secret("NAME")`')
    sentence = "; ".join(facts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _type(setting: Setting) -> str:
    if setting.type == "component":
        return f"a component made from {_or(setting.accepts)}" if setting.accepts else "a component"
    if setting.accepts:
        return _or(f'"{value}"' for value in setting.accepts)
    if setting.form:
        return setting.form
    noun, unit = _TYPES[setting.type], _UNITS.get(setting.type, "")
    least, most = setting.minimum, setting.maximum
    from_ = "" if least is None else f" from {number(least)}{unit}"
    to = "" if most is None else f" {'to' if from_ else 'up to'} {number(most)}{unit}"
    return f"{noun}{from_}{to}"


def _value(setting: Setting, value: object) -> str:
    match value:
        case bool():
            return f"`{str(value).lower()}`"
        case int() | float():
            return f"{number(value)}{_UNITS.get(setting.type, '')}"
        case _:
            return f'`"{value}"`'


def number(value: float) -> str:
    """A number as people write it: 65,536 and 0.25."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _or(names: Iterable[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} or {last}" if first else last
