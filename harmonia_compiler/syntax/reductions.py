"""The parser's reductions: the children of each rule go, with their place, to the function that builds its node.

lark would make trees of its own first, and finding their places takes longer than parsing does. What becomes of the
children is the same as there: tokens without a name are left out, what is absent is None, helper rules are taken apart.
What to do for a rule hangs on the grammar alone and is made once; the maker is that of the text which is read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from lark import Token
from lark.grammar import Rule

from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax.tables import parser

#: What stands on the parser's stack for a rule: its value, and where it begins and ends.
Part = tuple[Any, int, int]


class Maker(Protocol):
    """What makes the parts of one text."""

    source: Source

    def leaf(self, token: Token) -> Any:
        """What a token means."""
        ...


#: A maker's function for one rule, given the place and the children.
Build = Callable[[Any, Span, list[Any]], Any]
Reduction = Callable[[Maker, list[Any]], Part]


def reductions(functions: Mapping[str, Build]) -> Sequence[Reduction]:
    """What to do for each rule, in their order, given a function for each name."""
    return [_reduction(rule, functions) for rule in parser().rules]


def stays(rule: Rule) -> bool:
    """Whether a rule makes of its one part the same, so that nothing need be done for it."""
    if not rule.options.expand1 or rule.alias or len(rule.expansion) != 1:
        return False
    [part] = rule.expansion
    return not part.is_term and not part.name.startswith("_")


def _reduction(rule: Rule, functions: Mapping[str, Build]) -> Reduction:
    name = rule.alias or rule.origin.name
    kept, absent = _kept(rule)
    helps = name.startswith("_")
    passes = rule.options.expand1 and not rule.alias
    build = functions.get(name)

    def reduce(maker: Maker, children: list[Any]) -> Part:
        start = end = 0
        if children:
            first, last = children[0], children[-1]
            start = first[1] if type(first) is tuple else first.start_pos
            end = last[2] if type(last) is tuple else last.end_pos
        values: list[Any] = []
        for position, absent_before, is_helper in kept:
            child = children[position]
            values += [None] * absent_before
            if type(child) is not tuple:
                values.append(maker.leaf(child))
            elif is_helper and values:
                values += child[0]
            elif is_helper:
                # Nobody else has that list: a copy for each of many items would be work by their square.
                values = child[0]
            else:
                values.append(child[0])
        values += [None] * absent
        if helps:
            return values, start, end
        if passes and len(values) == 1:
            return values[0], start, end
        assert build is not None, f"nothing builds {name}"
        return build(maker, Span(maker.source, start, end), values), start, end

    return reduce


def _kept(rule: Rule) -> tuple[list[tuple[int, int, bool]], int]:
    """The children that stay, by position, with how many absent ones before each and whether it is a helper.

    The second are the absent ones behind the last.
    """
    kept: list[tuple[int, int, bool]] = []
    position = absent = 0
    for is_absent in rule.options.empty_indices or [False] * len(rule.expansion):
        if is_absent:
            absent += 1
            continue
        symbol = rule.expansion[position]
        if not (symbol.is_term and symbol.filter_out):  # type: ignore[attr-defined]
            kept.append((position, absent, not symbol.is_term and symbol.name.startswith("_")))
            absent = 0
        position += 1
    return kept, absent
