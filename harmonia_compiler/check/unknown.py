"""Names in a pipeline that mean nothing there, or something else than is wanted."""

from collections.abc import Container, Mapping
from itertools import chain

from harmonia_compiler.check.program import Context, Declared, Unit, not_a
from harmonia_compiler.check.scope import Scope
from harmonia_compiler.check.settings import FUNCTIONS, NOTHING
from harmonia_compiler.diagnostics.diagnostic import Note
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.functions.registry import function_names
from harmonia_compiler.syntax import tree

#: What other languages call functions, with what is called so here.
_CALLED_HERE = {
    **dict.fromkeys(("len", "length", "size"), "count"),
    **dict.fromkeys(("first", "head", "limit", "slice", "top"), "take"),
    **dict.fromkeys(("concat", "flat"), "flatten"),
    "rrf": "fuse",
}
#: Values of other languages, with what is written here.
_WRITTEN_HERE = {
    **dict.fromkeys(NOTHING, 'there is no empty value: write `""` or `[]`'),
    "True": "write `true`",
    "False": "write `false`",
}


def report_unknown_value(
    name: tree.Name, scope: Scope, later: Mapping[str, Span], unit: Unit, context: Context, about: str
) -> None:
    """Report a name that is not bound where it is used; `later` are the places of those bound further down.

    `about` says which name it is, wherever it is used.
    """
    text = name.text
    if text in later:
        notes = (Note(later[text], "bound here"),)
        help = "bind it before it is used"
        message = f"`{text}` is used before it is bound"
        context.findings.add("E0205", message, name.span, help=help, notes=notes, about=about)
        return
    if unit.is_unread(text):
        return
    declared = unit.find(text)
    if declared is not None:
        help = "use a name that is bound"
        if isinstance(declared.node, tree.Component | tree.Pipeline):
            help = f"call it: `{text}(…)`"
        elif isinstance(declared.node, tree.Class):
            help = f'a class is compared by its name in quotes: `"{text}"`'
        not_a(declared, "a value", name.span, context, help)
        return
    if text in function_names():
        context.findings.add("E0214", f"`{text}` is a function, not a value", name.span, help=f"call it: `{text}(…)`")
        return
    otherwise = _WRITTEN_HERE.get(text) or f'bind it before, or write a text: `"{text}"`'
    if "-" in text:
        otherwise = "there is no arithmetic, and a name has `_` in place of `-`"
    elif (whole := scope.with_part(text)) is not None:
        otherwise = f"take it of what it is a part of: `{whole}.{text}`"
    help = context.suggestion(text, scope.names(), otherwise)
    context.findings.add("E0203", f"unknown name `{text}`", name.span, help=help, about=about)


def report_unknown_callee(
    name: tree.Name,
    declared: Declared | None,
    unit: Unit,
    at: Span,
    bases: Container[Declared | None],
    context: Context,
) -> None:
    """Report a call of what cannot be called; `at` is where the pipeline that calls it is named.

    `bases` are the components without ports, which nobody means to call.
    """
    text, span, about = name.text, name.span, unit.about(name)
    if declared is not None:
        not_a(declared, "a component or pipeline", span, context, "only components and pipelines are called")
    elif unit.is_unread(text):
        return
    elif text in context.kinds:
        help = f"declare a component: `component NAME = {text}(…)`"
        message = f"`{text}` is a kind, and only components are called"
        context.findings.add("E0202", message, span, help=help, about=about)
    else:
        # A pipeline never calls itself, however near its own name is.
        declarations = ((one, unit.scope[one]) for one in unit.named(tree.Component, tree.Pipeline))
        others = (one for one, other in declarations if other not in bases and not _is_named(other, at))
        if text in FUNCTIONS:
            help = f"`{text}` stands for settings of components alone; a value comes by a port"
        elif text in _CALLED_HERE:
            help = f"did you mean `{_CALLED_HERE[text]}`?"
        else:
            known = chain(others, function_names())
            help = context.suggestion(text, known, f"declare it: `component {text.replace('-', '_')}(…) -> … = …`")
        context.findings.add("E0202", f"unknown component or pipeline `{text}`", span, help=help, about=about)


def _is_named(declared: Declared | None, at: Span) -> bool:
    """Whether it is what is declared there."""
    return declared is not None and declared.node.name.span == at
