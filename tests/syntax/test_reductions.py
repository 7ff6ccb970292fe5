"""What is made of each rule's parts."""

from typing import Any

from lark import Token

from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.build import by_rule
from harmonia_compiler.syntax.tables import parser


class Plain:
    """Makes of each token its text."""

    source = Source("a.rag", "")

    def leaf(self, token: Token) -> str:
        return str(token)


def test_one_more_of_many_is_put_behind_the_others_and_copies_none_of_them() -> None:
    continuing = 0
    for rule, reduction in zip(parser().rules, by_rule(), strict=True):
        if not rule.origin.name.startswith("_") or rule.origin not in rule.expansion[:1]:
            continue
        before = ["before"]
        children: list[Any] = [(before, 0, 1)]
        for part in rule.expansion[1:]:
            value: Any = ["more"] if part.name.startswith("_") else "more"
            children.append(Token(part.name, "more", start_pos=1, end_pos=2) if part.is_term else (value, 1, 2))
        values, start, end = reduction(Plain(), children)
        assert values is before, rule
        assert values[0] == "before"
        assert len(values) > 1
        assert (start, end) == (0, 2)
        continuing += 1
    # Items, labels, ports, fields, imports, clauses, arguments, statements and more.
    assert continuing > 9
