"""Tokens to the nodes of the tree: one function for each rule of the grammar, called as the parser reduces by it."""

import re
from collections.abc import Callable
from typing import Any

from lark import Token

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax import literals, tree
from harmonia_compiler.syntax.lexer import BROKEN_NAME
from harmonia_compiler.syntax.reductions import reductions

_PROPER_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

Built = Any


def is_proper(name: tree.Name) -> bool:
    """Whether a name is one that may be given."""
    return _PROPER_NAME.fullmatch(name.text) is not None


class Builder:
    """The rules. Each takes its place and its children, already built; absent optional ones are None.

    `by_rule` is what the parser calls. `findings` are the faults inside literals and names, `misread` the places of
    texts that do not say what they mean, `strays` those of broken texts where none can stand: what is a name there
    is none that anybody has given.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.findings = Findings()
        self.misread: set[int] = set()
        self.strays: set[int] = set()
        rules: dict[str, Callable[[Span, list[Built]], Built]] = {
            "file": lambda _, parts: parts,
            "import": lambda span, parts: tree.Import(span, tuple(parts[:-1]), parts[-1]),
            "imported": lambda span, parts: tree.Imported(span, parts[0], parts[1] and self._declared(parts[1])),
            "alias": lambda span, parts: tree.Alias(span, self._declared(parts[0]), parts[1]),
            "class": lambda span, parts: tree.Class(span, self._declared(parts[0]), parts[1]),
            "component": self._component,
            "pipeline": self._pipeline,
            "ports": lambda span, parts: (span, tuple(parts)),
            "port": lambda span, parts: tree.Port(span, self._declared(parts[0]), *parts[1:]),
            "sized": lambda span, parts: tree.Sized(span, *parts),
            "type_name": self._type_name,
            "class_type": lambda span, _: tree.ClassType(span),
            "labels": lambda span, parts: tree.LabelsType(span, tuple(parts)),
            "list_type": lambda span, parts: tree.ListType(span, parts[0]),
            "record_type": lambda span, parts: tree.RecordType(span, parts[0][1]),
            "slo": lambda span, parts: tree.Slo(span, tuple(parts)),
            "objective": self._objective,
            "load": lambda span, parts: tree.Load(span, tuple(parts)),
            "rate": lambda span, parts: tree.Rate(span, *parts),
            "bind": lambda span, parts: tree.Bind(span, self._declared(parts[0]), parts[1]),
            "return": lambda span, parts: tree.Return(span, parts[0] is not None, parts[1]),
            "if": self._branch,
            "repeat": self._repeat,
            "test": lambda _, parts: tuple(parts),
            "block": lambda span, parts: (span, tuple(parts)),
            "late": lambda span, parts: tree.Guarded(span, *parts),
            "fallback": lambda span, parts: tree.Guarded(span, parts[0], None, parts[1]),
            "each": self._each,
            "or": lambda span, parts: tree.Disjunction(span, tuple(parts)),
            "and": lambda span, parts: tree.Conjunction(span, tuple(parts)),
            "not": lambda span, parts: tree.Negation(span, parts[0]),
            "compare": lambda span, parts: tree.Comparison(span, str(parts[1]), parts[0], parts[2]),
            "joined": lambda span, parts: tree.Joined(span, tuple(parts)),
            "access": lambda span, parts: tree.Access(span, parts[0], tuple(parts[1:])),
            "name": self._reference,
            "call": lambda span, parts: tree.Call(span, parts[0], parts[1]),
            "true": lambda span, _: tree.Truth(span, value=True),
            "false": lambda span, _: tree.Truth(span, value=False),
            "list": lambda span, parts: tree.ListValue(span, tuple(parts)),
            "group": lambda span, parts: tree.Group(span, parts[0]),
            "record": lambda span, parts: tree.RecordValue(span, tuple(parts)),
            "arguments": lambda _, parts: tuple(parts),
            "unnamed": lambda span, parts: tree.Argument(span, None, parts[0]),
            "named": lambda span, parts: tree.Argument(span, *parts),
            "text": lambda span, parts: tree.Broken(span) if span.start in self.misread else parts[0],
            "amount": self._amount,
        }
        self.by_rule = reductions(source, rules, self.leaf)

    def leaf(self, token: Token) -> Built:
        """What a token means."""
        assert token.start_pos is not None
        assert token.end_pos is not None
        span = Span(self.source, token.start_pos, token.end_pos)
        if token.type in ("NAME", "UNIT"):
            self.strays |= {span.start} if token == BROKEN_NAME else set()
            return tree.Name(span, str(token))
        if token.type == "TEXT":
            value, unknown = literals.short_text(token)
            self.misread |= {span.start} if unknown else set()
            for offset in unknown:
                place = Span(self.source, span.start + offset, span.start + offset + 2)
                escape = token[offset : offset + 2]
                self.findings.add(
                    "E0113", f"`{escape}` is not an escape", place, help=r"there are `\n`, `\t`, `\"`, `\\`"
                )
            return tree.Text(span, value, str(token))
        if token.type == "LONG_TEXT":
            return tree.Text(span, literals.long_text(token), str(token))
        return token

    def _declared(self, name: tree.Name) -> tree.Name:
        """A name that is given here, and so must be one."""
        if not is_proper(name) and name.text != BROKEN_NAME:
            help = "names are lower-case letters, digits and `_`, begin with a letter, and have at most 64 characters"
            self.findings.add("E0106", f"`{name.text[:40]}` is not a name", name.span, help=help)
        return name

    def _pipeline(self, span: Span, parts: list[Built]) -> Built:
        name, ports, result, *body = parts
        return tree.Pipeline(span, self._declared(name), ports[1], result, tuple(body))

    def _component(self, span: Span, parts: list[Built]) -> Built:
        name, ports, result, base, settings = parts
        return tree.Component(span, self._declared(name), None if ports is None else ports[1], result, base, settings)

    def _objective(self, span: Span, parts: list[Built]) -> Built:
        return tree.Objective(span, tuple(parts[:-2]), str(parts[-2]), parts[-1])

    def _branch(self, span: Span, parts: list[Built]) -> Built:
        *pairs, otherwise = parts
        arms = [
            tree.Arm(test[0].span.to(body[0]), test[0], test[1], body[1])
            for test, body in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        return tree.If(span, tuple(arms), otherwise and otherwise[1], otherwise and otherwise[0])

    def _repeat(self, span: Span, parts: list[Built]) -> Built:
        limit, body, test = parts
        return tree.Repeat(span, limit, body[1], body[0], test and test[0], test and test[1])

    def _each(self, span: Span, parts: list[Built]) -> Built:
        name, items, test, value = parts
        return tree.Each(span, self._declared(name), items, test and test[0], test and test[1], value)

    def _reference(self, span: Span, parts: list[Built]) -> Built:
        if parts[0].text != BROKEN_NAME:
            return tree.Reference(span, parts[0])
        self.strays.discard(span.start)
        return tree.Broken(span)

    def _type_name(self, span: Span, parts: list[Built]) -> Built:
        self.strays.discard(parts[0].span.start)
        return tree.NamedType(span, parts[0])

    def _amount(self, span: Span, parts: list[Built]) -> Built:
        token, unit = parts
        value = literals.number(token)
        if value is None:
            self.findings.add("E0110", "this number is beyond 2⁵³", span, help="no amount here needs one so large")
        if unit is not None and unit.text == BROKEN_NAME:
            self.strays.discard(unit.span.start)
            return tree.Amount(span, None, None, str(token))
        return tree.Amount(span, value, unit, str(token))
