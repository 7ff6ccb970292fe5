"""What is made of each rule's parts."""

from typing import Any

from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.build import by_rule
from harmonia_compiler.syntax.tables import helps, is_terminal, tables
from harmonia_compiler.syntax.token import Token


class Plain:
    """Makes of each token its text."""

    source = Source("a.rag", "")

    def leaf(self, token: Token) -> str:
        return token.text


def test_one_more_of_many_is_put_behind_the_others_and_copies_none_of_them() -> None:
    continuing = 0
    for rule, (_, _, make) in zip(tables().rules, by_rule(), strict=True):
        if not helps(rule.name) or rule.name not in rule.parts[:1]:
            continue
        before = ["before"]
        children: list[Any] = [before]
        for part in rule.parts[1:]:
            value: Any = ["more"] if helps(part) else "more"
            children.append(Token(part, "more", 1, 2) if is_terminal(part) else value)
        assert make is not None
        values = make(Plain(), children, 0, 2)
        assert values is before, rule
        assert values[0] == "before"
        assert len(values) > 1
        continuing += 1
    # Items, labels, ports, fields, imports, clauses, arguments, statements and more.
    assert continuing > 9
