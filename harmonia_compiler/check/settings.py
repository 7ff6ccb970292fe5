"""Settings: what is given for one, as the value that the kind's declaration asks for."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from harmonia_compiler.check.amounts import COUNT, DURATION, MEMORY, TOKENS, WHOLE, Quantity, amount
from harmonia_compiler.check.program import Context, Unit
from harmonia_compiler.check.prompts import Template, template
from harmonia_compiler.check.sources import beside, is_address, read_source
from harmonia_compiler.contract.component import Env, Secret
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.types import quoted
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.keys import leak
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.diagnostics.numbers import plain
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.kinds.kind import Setting
from harmonia_compiler.syntax import literals, tree

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_DOTTED = re.compile(r"\w+(?:\.\w+)*")
_DEVICES = (*GPU_TYPES, "cpu")
_AMOUNT = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)")

_NOUNS = {
    "text": "a text",
    "number": "a number",
    "integer": "a whole number",
    "tokens": "a number of tokens",
    "bool": "`true` or `false`",
    "duration": "a duration",
    "memory": "an amount of memory",
    "prompt": "a text",
    "component": "a component",
    "device": "`cpu` or a GPU type",
}
_QUANTITIES: dict[str, Quantity] = {
    "duration": DURATION,
    "memory": MEMORY,
    "integer": WHOLE,
    "tokens": TOKENS,
    "number": COUNT,
}
#: Values of other languages for none at all.
NOTHING = ("None", "null", "nil", "undefined")
#: What is counted, and so whole.
_COUNTED = ("integer", "tokens")
FUNCTIONS = ("env", "file", "secret", "setting")


class ComponentName(msgspec.Struct, frozen=True):
    """The value of a component setting before it is known to be of the right kind."""

    name: tree.Name


class SettingReader:
    """Reads the settings that stand in one file; in a pipeline, some names `is_bound` to values."""

    def __init__(self, context: Context, unit: Unit, is_bound: Callable[[str], bool] = lambda _: False) -> None:
        self.context = context
        self.unit = unit
        self.is_bound = is_bound
        self.findings: Findings = context.findings

    def value(self, setting: Setting, given: tree.Expression) -> Any:
        """The value in the setting's unit (ms, GiB), or None where it is reported."""
        match given:
            case tree.Broken():
                return None
            case tree.Group(value=inner):
                return self.value(setting, inner)
            case tree.Call():
                return self._from_function(setting, given)
            case tree.Text() if setting.type == "prompt":
                return self._prompt(setting, given)
            case tree.Text() if setting.type in ("text", "device"):
                return self._text(setting, given.value, given.span, given.raw)
            case tree.Amount() if setting.type in _QUANTITIES:
                return self._amount(setting, given)
            case tree.Truth(value=truth) if setting.type == "bool":
                return truth
            case tree.Reference(name=name) if setting.type == "component":
                return ComponentName(name)
            case tree.Reference(name=name) if _words(setting) and not self.is_bound(name.text):
                return self._text(setting, name.text, given.span)
        self._wrong(setting, given)
        return None

    def _wrong(self, setting: Setting, given: tree.Expression) -> None:
        help = f"`{setting.name}`: {setting.meaning}"
        words = _dotted(given)
        if isinstance(given, tree.Text) and setting.type in (*_QUANTITIES, "bool"):
            help = f"write it without quotes; {help}"
        elif words and self.is_bound(words.partition(".")[0]):
            help = f"write what it is: a setting takes no value of a pipeline; {help}"
        elif words in NOTHING:
            help = f"leave `{setting.name}` out where it says nothing"
        elif setting.type == "bool" and words.lower() in ("true", "false"):
            help = f"write `{words.lower()}`"
        elif words and setting.type in ("text", "prompt", "device"):
            help = f"write it in quotes: `{_short(_as_path(setting, words) or words)}`"
        elif setting.type == "component":
            help = f"name a component, of kind {listed(setting.accepts)}"
        noun = listed(setting.accepts) if setting.type == "text" and setting.accepts else _NOUNS[setting.type]
        self.findings.add("E0602", f"`{setting.name}` takes {noun}", given.span, help=help)

    def _text(self, setting: Setting, value: str, span: Span, raw: str = "") -> str | None:
        """A text that the setting takes; `raw` is how it is written at its place."""
        found = leak(value)
        if found is not None or setting.confidential:
            what = "is a key, and takes no text" if found is None else found.what
            self._refuse(setting, what, span)
            return None
        accepts = _words(setting)
        if accepts and value not in accepts:
            help = suggestion(value, accepts, f"it takes {listed(accepts)}")
            if setting.type == "device" and value.lower() == "gpu":
                help = f"leave it out, and the plan says where, or name a type: it takes {listed(accepts)}"
            self.findings.add("E0615", f"`{setting.name}` cannot be {_short(value)}", span, help=help)
            return None
        is_missing = setting.required and not value
        if is_missing or (setting.pattern and not re.fullmatch(setting.pattern, value)):
            help = f"write {setting.form}" if setting.form else f"`{setting.name}`: {setting.doc}"
            if (path := _as_path(setting, value)) is not None:
                help = f"did you mean `{_short(path)}`?"
            self.findings.add("E0615", f"`{setting.name}` cannot be {_short(value)}", span, help=help)
            return None
        if setting.slip_in is not None and (slip := setting.slip_in(value)) is not None:
            begin, end = literals.place(raw, value, slip.start, slip.end)
            at = Span(span.source, span.start + begin, span.start + end)
            self.findings.add("E0615", f"`{setting.name}`: {slip.message}", at, help=slip.help)
            return None
        return value

    def _prompt(self, setting: Setting, given: tree.Text) -> Template:
        if found := leak(given.value):
            self._refuse(setting, found.what, given.span)
        return template(given.value, given.raw, given.span, self.findings)

    def _refuse(self, setting: Setting, what: str, span: Span) -> None:
        """Report a text that holds what nobody but the service may know."""
        help = (
            f'keep it out of file and plan: `{setting.name}: secret("NAME")` reads it at start'
            if setting.late
            else "keep keys and passwords out of the file"
        )
        self.findings.add("E0606", f"`{setting.name}` {what}", span, help=help)

    def _amount(self, setting: Setting, given: tree.Amount) -> float | None:
        value = amount(given, _QUANTITIES[setting.type], f"`{setting.name}`", self.findings)
        if value is None:
            return None
        if setting.type in _COUNTED and not float(value).is_integer():
            self.findings.add(
                "E0602", f"`{setting.name}` takes a whole number", given.span, help=f"write `{round(value)}`"
            )
            return None
        low, high = setting.minimum, setting.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            unit = {"duration": " ms", "memory": " GiB"}.get(setting.type, "")
            help = f"give a value in that range (`{setting.name}`: {setting.doc})"
            self.findings.add("E0505", f"`{setting.name}` is {_range(low, high)}{unit}", given.span, help=help)
            return None
        return int(value) if setting.type in _COUNTED or float(value).is_integer() else value

    # --- functions ---------------------------------------------------------------------------------------------

    def _from_function(self, setting: Setting, call: tree.Call) -> Any:
        name = call.name.text
        if name not in FUNCTIONS:
            help = suggestion(name, FUNCTIONS, f"here are {listed(FUNCTIONS)}, and no calls")
            self.findings.add("E0614", f"`{name}` is not a function for settings", call.name.span, help=help)
            return None
        arguments = [argument.value for argument in call.arguments if argument.name is None]
        most = 2 if name == "setting" else 1
        if any(isinstance(argument, tree.Broken) for argument in arguments):
            return None
        if (
            not 1 <= len(arguments) <= most
            or len(arguments) < len(call.arguments)
            or not isinstance(arguments[0], tree.Text)
        ):
            form = 'setting("name", default)' if name == "setting" else f'{name}("…")'
            self.findings.add("E0614", f"`{name}` is not called like this", call.span, help=f"write `{form}`")
            return None
        text = arguments[0]
        if name == "file":
            return self._file(setting, text)
        if name == "setting":
            return self._setting(setting, call, text.value, arguments[1] if len(arguments) > 1 else None)
        return self._late(setting, call, name, text)

    def _late(self, setting: Setting, call: tree.Call, name: str, text: tree.Text) -> Env | Secret | None:
        if not setting.late:
            help = f'give the value, or `setting("{setting.name}")` to give it on the command line'
            self.findings.add("E0605", f"`{setting.name}` cannot wait for `{name}`", call.span, help=help)
            return None
        if not _VARIABLE.fullmatch(text.value):
            help = "environment variables are letters, digits and `_`"
            self.findings.add("E0614", f"{_short(text.value)} is no variable's name", text.span, help=help)
            return None
        return Env(text.value) if name == "env" else Secret(text.value)

    def _file(self, setting: Setting, text: tree.Text) -> Any:
        if setting.type != "prompt":
            self.findings.add("E0602", f"`{setting.name}` does not come from a file", text.span, help="only prompts do")
            return None
        if not text.value:
            # It would be the folder of the file that names it.
            help = "name a file; it is relative to this one"
            self.findings.add("E0114", "the path of this file is empty", text.span, help=help)
            return None
        if is_address(text.value, self.findings, text.span):
            return None
        found = Findings()
        name = beside(self.unit.source, text.value)
        path = self.unit.path.parent / text.value
        source = read_source(path, name, self.context.root, found, text.span)
        self.findings.extend(found.items)
        if source is None:
            return None
        self.context.read.append(path)
        if leaked := leak(source.text):
            self._refuse(setting, leaked.what, Span(source, leaked.start, leaked.end))
        return template(source.text, source.text, Span(source, 0, len(source.text)), self.findings)

    def _setting(self, setting: Setting, call: tree.Call, name: str, default: tree.Expression | None) -> Any:
        self.context.taken.add(name)
        given = self.context.given.get(name)
        if given is not None:
            return self._from_command(setting, name, given, call.span)
        if default is not None:
            return self.value(setting, default)
        shown = _short(name)
        help = f"give it: `--set {shown[1:-1]}=…`, or write a default: `setting({shown}, …)`"
        if setting.confidential:
            help = f'a key is read at start: `{setting.name}: secret("NAME")`'
        self.findings.add("E0608", f"the setting `{shown[1:-1]}` has no value", call.span, help=help)
        return None

    def _from_command(self, setting: Setting, name: str, given: str, at: Span) -> Any:
        """A value of the command line, read as the setting's type and reported at the place that asks for it."""
        source = Source(f"--set {name}", given)
        span = Span(source, 0, len(given))
        expression: tree.Expression | None = None
        if setting.type in ("text", "device", "prompt"):
            expression = tree.Text(span, given, given)
        elif setting.type == "bool" and given in ("true", "false"):
            expression = tree.Truth(span, given == "true")
        elif setting.type in _QUANTITIES and (found := _AMOUNT.fullmatch(given)):
            value = literals.number(found[1])
            unit = tree.Name(span, found[2]) if found[2] else None
            expression = None if value is None else tree.Amount(span, value, unit, found[1])
        if expression is None:
            help = f"it is used for `{setting.name}` in `{at.source.name}`"
            message = f"`{setting.name}` takes {_NOUNS[setting.type]}"
            self.findings.add("E0602", message, span, help=help)
            return None
        return self.value(setting, expression)


def _range(low: float | None, high: float | None) -> str:
    """Bounds in words, of which there is one at least."""
    if low is not None and high is not None:
        return f"from {plain(low)} to {plain(high)}"
    return f"at least {plain(low)}" if low is not None else f"at most {plain(high or 0)}"


def _words(setting: Setting) -> tuple[str, ...]:
    """The words that a setting takes, with quotes or without, where it does not take any text."""
    return _DEVICES if setting.type == "device" else setting.accepts if setting.type == "text" else ()


def _dotted(given: tree.Expression) -> str:
    """A name, or several with dots between; nothing for another value."""
    text = given.span.source.text[given.span.start : given.span.end]
    return text if isinstance(given, tree.Reference | tree.Access) and _DOTTED.fullmatch(text) else ""


def _as_path(setting: Setting, given: str) -> str | None:
    """What is given as a file's path or a dotted one, where the setting writes such as `folder.file:name`."""
    dotted = given.replace("/", ".").replace(".py:", ":")
    paths = (dotted, "" if dotted.endswith(".py") else ":".join(dotted.rsplit(".", 1)))
    fitting = (path for path in paths if setting.pattern and re.fullmatch(setting.pattern, path))
    return next((path for path in fitting if ":" in path), None)


def _short(text: str) -> str:
    return quoted(text if len(text) <= 40 else text[:37] + "...")
