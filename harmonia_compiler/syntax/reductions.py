"""The parser's reductions: the parts of each rule go, with their place, to the function that builds its node.

Tokens without a name are left out, what is absent is None, parts of helper rules are taken apart. What to do for a rule
hangs on the grammar alone and is made once; the maker is that of the text which is read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax.tables import Rule, helps, is_terminal, tables
from harmonia_compiler.syntax.token import Token

#: A token, or what was made for a rule.
Value = Any


class Maker(Protocol):
    """What makes the parts of one text."""

    source: Source

    def leaf(self, token: Token) -> Value:
        """What a token means."""
        ...


#: A maker's function for one rule, given the place and the parts that stay.
Build = Callable[[Any, Span, list[Value]], Value]
#: What is made of the parts of a rule, given where they begin and end.
Make = Callable[[Maker, list[Value], int, int], Value]
#: How many parts a rule takes, of which kind the one is that they become, and what is made of them: None where the
#: one part stays as it is.
Reduction = tuple[int, str, Make | None]


def reductions(functions: Mapping[str, Build]) -> Sequence[Reduction]:
    """What to do for each rule, in their order, given a function for each name."""
    return [
        (len(rule.parts), rule.name, None if rule.stays else _make(rule, functions.get(rule.builds)))
        for rule in tables().rules
    ]


def _make(rule: Rule, build: Build | None) -> Make:
    kept = [(at, before, is_terminal(rule.parts[at]), helps(rule.parts[at])) for at, before in rule.kept]
    absent, is_helper, inline = rule.absent, helps(rule.name), rule.inline

    def make(maker: Maker, children: list[Value], start: int, end: int) -> Value:
        values: list[Value] = []
        for position, absent_before, is_token, is_list in kept:
            child = children[position]
            if absent_before:
                values += [None] * absent_before
            if is_token:
                values.append(maker.leaf(child))
            elif not is_list:
                values.append(child)
            elif values:
                values += child
            else:
                # Nobody else has that list: a copy for each of many items would be work by their square.
                values = child
        if absent:
            values += [None] * absent
        if is_helper:
            return values
        if inline and len(values) == 1:
            return values[0]
        assert build is not None, f"nothing builds {rule.builds}"
        return build(maker, Span(maker.source, start, end), values)

    return make
