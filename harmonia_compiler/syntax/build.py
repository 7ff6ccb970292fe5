"""Tokens to the nodes of the tree: one function for each rule of the grammar, called as the parser reduces by it."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax import literals, tree
from harmonia_compiler.syntax.lexer import BROKEN_NAME
from harmonia_compiler.syntax.reductions import Reduction, reductions
from harmonia_compiler.syntax.token import Token

_PROPER_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: The tokens that become parts of the tree.
_MEANING = frozenset({"NAME", "UNIT", "TEXT", "LONG_TEXT"})

Built = Any


def is_proper(name: tree.Name) -> bool:
    """Whether a name is one that may be given."""
    return _PROPER_NAME.fullmatch(name.text) is not None


def made_proper(name: tree.Name) -> str:
    """The name that one which may not be given most likely becomes."""
    return name.text.lower().replace("-", "_")


class Builder:
    """The rules, for one text. Each takes its place and its children, already built; absent optional ones are None.

    `findings` are the faults inside literals and names, `misread` the places of texts that do not say what they mean,
    `strays` those of broken texts where none can stand: what is a name there is none that anybody has given.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.findings = Findings()
        self.misread: set[int] = set()
        self.strays: set[int] = set()

    def leaf(self, token: Token) -> Built:
        """What a token means."""
        kind, text = token.kind, token.text
        if kind not in _MEANING:
            return token
        span = Span(self.source, token.start, token.end)
        if kind == "LONG_TEXT":
            return tree.Text(span, literals.long_text(text), text)
        if kind == "TEXT":
            value, unknown = literals.short_text(text)
            for offset in unknown:
                self.misread.add(span.start)
                place = Span(self.source, span.start + offset, span.start + offset + 2)
                escape = text[offset : offset + 2]
                self.findings.add(
                    "E0113", f"`{escape}` is not an escape", place, help=r"there are `\n`, `\t`, `\"`, `\\`"
                )
            return tree.Text(span, value, text)
        if text == BROKEN_NAME:
            self.strays.add(span.start)
        return tree.Name(span, text)

    def declared(self, name: tree.Name) -> tree.Name:
        """A name that is given here, and so must be one."""
        if not is_proper(name) and name.text != BROKEN_NAME:
            help = "names are lower-case letters, digits and `_`, begin with a letter, and have at most 64 characters"
            if _PROPER_NAME.fullmatch(made_proper(name)):
                help = f"write `{made_proper(name)}`: {help}"
            self.findings.add("E0106", f"`{name.text[:40]}` is not a name", name.span, help=help)
        return name


def _pipeline(it: Builder, span: Span, parts: list[Built]) -> Built:
    name, ports, result, *body = parts
    return tree.Pipeline(span, it.declared(name), ports[1], result, tuple(body))


def _component(it: Builder, span: Span, parts: list[Built]) -> Built:
    name, ports, result, base, settings = parts
    return tree.Component(span, it.declared(name), None if ports is None else ports[1], result, base, settings)


def _objective(_it: Builder, span: Span, parts: list[Built]) -> Built:
    return tree.Objective(span, tuple(parts[:-2]), parts[-2].text, parts[-1])


def _branch(_it: Builder, span: Span, parts: list[Built]) -> Built:
    *pairs, otherwise = parts
    arms = [
        tree.Arm(test[0].span.to(body[0]), test[0], test[1], body[1])
        for test, body in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    return tree.If(span, tuple(arms), otherwise and otherwise[1], otherwise and otherwise[0])


def _repeat(_it: Builder, span: Span, parts: list[Built]) -> Built:
    limit, body, test = parts
    return tree.Repeat(span, limit, body[1], body[0], test and test[0], test and test[1])


def _each(it: Builder, span: Span, parts: list[Built]) -> Built:
    name, items, test, value = parts
    return tree.Each(span, it.declared(name), items, test and test[0], test and test[1], value)


def _reference(it: Builder, span: Span, parts: list[Built]) -> Built:
    if parts[0].text != BROKEN_NAME:
        return tree.Reference(span, parts[0])
    it.strays.discard(span.start)
    return tree.Broken(span)


def _type_name(it: Builder, span: Span, parts: list[Built]) -> Built:
    it.strays.discard(parts[0].span.start)
    return tree.NamedType(span, parts[0])


def _amount(it: Builder, span: Span, parts: list[Built]) -> Built:
    token, unit = parts
    value = literals.number(token.text)
    if value is None:
        it.findings.add("E0110", "this number is beyond 2⁵³", span, help="no amount here needs one so large")
    if unit is not None and unit.text == BROKEN_NAME:
        it.strays.discard(unit.span.start)
        return tree.Amount(span, None, None, token.text)
    return tree.Amount(span, value, unit, token.text)


#: What builds the node of each rule.
_RULES: dict[str, Callable[[Builder, Span, list[Built]], Built]] = {
    "file": lambda _it, _, parts: parts,
    "import": lambda _it, span, parts: tree.Import(span, tuple(parts[:-1]), parts[-1]),
    "imported": lambda it, span, parts: tree.Imported(span, parts[0], parts[1] and it.declared(parts[1])),
    "alias": lambda it, span, parts: tree.Alias(span, it.declared(parts[0]), parts[1]),
    "class": lambda it, span, parts: tree.Class(span, it.declared(parts[0]), parts[1]),
    "component": _component,
    "pipeline": _pipeline,
    "ports": lambda _it, span, parts: (span, tuple(parts)),
    "port": lambda it, span, parts: tree.Port(span, it.declared(parts[0]), *parts[1:]),
    "sized": lambda _it, span, parts: tree.Sized(span, *parts),
    "type_name": _type_name,
    "class_type": lambda _it, span, _: tree.ClassType(span),
    "labels": lambda _it, span, parts: tree.LabelsType(span, tuple(parts)),
    "list_type": lambda _it, span, parts: tree.ListType(span, parts[0]),
    "record_type": lambda _it, span, parts: tree.RecordType(span, parts[0][1]),
    "slo": lambda _it, span, parts: tree.Slo(span, tuple(parts)),
    "objective": _objective,
    "load": lambda _it, span, parts: tree.Load(span, tuple(parts)),
    "rate": lambda _it, span, parts: tree.Rate(span, *parts),
    "bind": lambda it, span, parts: tree.Bind(span, it.declared(parts[0]), parts[1]),
    "return": lambda _it, span, parts: tree.Return(span, parts[0] is not None, parts[1]),
    "if": _branch,
    "repeat": _repeat,
    "test": lambda _it, _, parts: tuple(parts),
    "block": lambda _it, span, parts: (span, tuple(parts)),
    "late": lambda _it, span, parts: tree.Guarded(span, *parts),
    "fallback": lambda _it, span, parts: tree.Guarded(span, parts[0], None, parts[1]),
    "each": _each,
    "or": lambda _it, span, parts: tree.Disjunction(span, tuple(parts)),
    "and": lambda _it, span, parts: tree.Conjunction(span, tuple(parts)),
    "not": lambda _it, span, parts: tree.Negation(span, parts[0]),
    "compare": lambda _it, span, parts: tree.Comparison(span, parts[1].text, parts[0], parts[2]),
    "joined": lambda _it, span, parts: tree.Joined(span, tuple(parts)),
    "access": lambda _it, span, parts: tree.Access(span, parts[0], tuple(parts[1:])),
    "name": _reference,
    "call": lambda _it, span, parts: tree.Call(span, parts[0], parts[1]),
    "true": lambda _it, span, _: tree.Truth(span, value=True),
    "false": lambda _it, span, _: tree.Truth(span, value=False),
    "list": lambda _it, span, parts: tree.ListValue(span, tuple(parts)),
    "group": lambda _it, span, parts: tree.Group(span, parts[0]),
    "record": lambda _it, span, parts: tree.RecordValue(span, tuple(parts)),
    "arguments": lambda _it, _, parts: tuple(parts),
    "unnamed": lambda _it, span, parts: tree.Argument(span, None, parts[0]),
    "named": lambda _it, span, parts: tree.Argument(span, *parts),
    "text": lambda it, span, parts: tree.Broken(span) if span.start in it.misread else parts[0],
    "amount": _amount,
}


@cache
def by_rule() -> Sequence[Reduction]:
    """What the parser does for each rule, in their order, with the builder of the text that it reads."""
    return reductions(_RULES)
