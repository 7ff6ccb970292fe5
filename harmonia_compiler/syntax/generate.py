"""Makes the parser's tables from the grammar, by lark: `python -m harmonia_compiler.syntax.generate` writes them."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import lark
import msgspec
from lark import grammar as larks
from lark.lexer import PatternStr, TerminalDef
from lark.parsers.lalr_analysis import Shift

from harmonia_compiler.syntax.tables import Rule, Tables, grammar_folder


def made(grammar: str) -> Tables:
    """The tables of a grammar in lark's notation. Raises lark's errors where it is none."""
    parser = from_grammar(grammar)
    found = parser.parse_interactive("").parser_state.parse_conf
    numbers = {rule: number for number, rule in enumerate(parser.rules)}
    ordered = _in_order(found.states, found.start_state)
    places = {state: place for place, state in enumerate(ordered)}
    states = tuple(
        {
            str(name): places[argument] if action is Shift else -1 - numbers[argument]
            for name, (action, argument) in found.states[state].items()
        }
        for state in ordered
    )
    terminals, keywords = _terminals(parser.terminals)
    rules = tuple(_rule(rule) for rule in parser.rules)
    return Tables(terminals, keywords, rules, states, places[found.start_state], places[found.end_state])


def _in_order(states: Mapping[int, Mapping[str, tuple[Any, Any]]], start: int) -> list[int]:
    """The states as they can be reached, by the names of what leads there: lark numbers them by chance."""
    ordered = [start]
    known = {start}
    for state in ordered:
        for _, (action, following) in sorted(states[state].items()):
            if action is Shift and following not in known:
                known.add(following)
                ordered.append(following)
    return ordered


def from_grammar(grammar: str, *, strict: bool = False) -> lark.Lark:
    """The parser of a file as lark makes it; strict refuses every conflict, and needs the optional `interegular`."""
    return lark.Lark(grammar, start="file", parser="lalr", lexer="basic", propagate_positions=True, strict=strict)


def _terminals(found: Collection[TerminalDef]) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    """The patterns of tokens in the order in which lark tries them, and the keywords, which a name's pattern finds."""
    ordered = sorted(
        found, key=lambda each: (-each.priority, -each.pattern.max_width, -len(each.pattern.value), each.name)
    )
    name = re.compile(next(each.pattern.to_regexp() for each in ordered if each.name == "NAME"))
    keywords = {
        str(each.pattern.value): str(each.name)
        for each in ordered
        if isinstance(each.pattern, PatternStr) and name.fullmatch(each.pattern.value)
    }
    others = [each for each in ordered if each.name not in keywords.values()]
    return tuple((str(each.name), str(each.pattern.to_regexp())) for each in others), keywords


def _rule(rule: larks.Rule) -> Rule:
    """What lark would make of a rule's parts: tokens without a name are left out, what is absent has its place."""
    kept: list[tuple[int, int]] = []
    position = absent = 0
    for is_absent in rule.options.empty_indices or [False] * len(rule.expansion):
        if is_absent:
            absent += 1
            continue
        symbol = rule.expansion[position]
        if not (symbol.is_term and symbol.filter_out):  # type: ignore[attr-defined]
            kept.append((position, absent))
            absent = 0
        position += 1
    parts = tuple(str(symbol.name) for symbol in rule.expansion)
    inline = rule.options.expand1 and not rule.alias
    return Rule(str(rule.origin.name), parts, str(rule.alias or rule.origin.name), tuple(kept), absent, inline)


def encode(tables: Tables) -> bytes:
    """The document that `tables.json` holds."""
    return msgspec.json.encode(tables, order="sorted") + b"\n"


if __name__ == "__main__":
    (grammar_folder() / "tables.json").write_bytes(
        encode(made((grammar_folder() / "rag.lark").read_text(encoding="utf-8")))
    )
