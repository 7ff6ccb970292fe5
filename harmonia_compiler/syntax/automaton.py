"""The parser: lark's tables of states, gone through with tokens.

lark goes through them as well, but looks up each rule by its whole contents, and calls one function or another for
each token.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from lark import Token
from lark.parsers.lalr_analysis import Shift

from harmonia_compiler.syntax.reductions import Maker, Part, Reduction, stays
from harmonia_compiler.syntax.tables import parser

#: What a kind of token, or of part, does in a state: the next state, or a rule's number with how many parts become one
#: of which kind. The number is `_SAME` where the one part stays as it is, as most do most of the time.
_Action = int | tuple[int, int, str]
_SAME = -1


@dataclass(frozen=True, slots=True)
class Slip:
    """The first token, by position, that does not fit, and the kinds that would have."""

    position: int
    token: Token
    accepted: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Tables:
    """The actions of each state, and the states at the beginning and at the end of a file.

    A value is a conjunction, a negation, a comparison and so on of that one part, which takes a state for each. Where
    such a chain leads is kept in `chains`, by the state below, the first state and the kind of the next token.
    """

    actions: dict[int, dict[str, _Action]]
    start: int
    end: int
    chains: dict[tuple[int, int, str], int]


def read(tokens: Iterable[Token], by_rule: Sequence[Reduction], maker: Maker) -> Part | Slip:
    """What the tokens of a whole file become, of which the last is `$END`, by what the maker does for each rule."""
    tables = _tables()
    actions, states, parts = tables.actions, [tables.start], list[Part | Token]()
    row = actions[tables.start]
    for position, token in enumerate(tokens):
        kind = token.type
        while isinstance(action := row.get(kind), tuple):
            rule, size, name = action
            if rule == _SAME:
                chain = states[-2], states[-1], kind
                state = tables.chains.get(chain) or tables.chains.setdefault(chain, _chained(actions, *chain))
                states[-1] = state
                row = actions[state]
                continue
            del states[len(states) - size :]
            following = actions[states[-1]][name]
            assert isinstance(following, int), "after a part comes a state"
            states.append(following)
            row = actions[following]
            children = parts[len(parts) - size :]
            del parts[len(parts) - size :]
            part = by_rule[rule](maker, children)
            if following == tables.end:
                return part
            parts.append(part)
        if action is None:
            kinds = (kind for kind in row if kind.isupper())
            return Slip(position, token, frozenset(kind for kind in kinds if _fits(tables, states, kind)))
        parts.append(token)
        states.append(action)
        row = actions[action]
    raise AssertionError("the last token ends a file")


def _chained(actions: dict[int, dict[str, _Action]], below: int, state: int, kind: str) -> int:
    """The state after all that one part becomes before a token of this kind without being changed."""
    while isinstance(action := actions[state].get(kind), tuple) and action[0] == _SAME:
        following = actions[below][action[2]]
        assert isinstance(following, int), "after a part comes a state"
        state = following
    return state


def _fits(tables: _Tables, states: Sequence[int], kind: str) -> bool:
    """Whether a token of this kind can come: what is reduced because of it may end where it has no place."""
    states = list(states)
    while isinstance(action := tables.actions[states[-1]].get(kind), tuple):
        _, size, name = action
        del states[len(states) - size :]
        state = tables.actions[states[-1]][name]
        assert isinstance(state, int), "after a part comes a state"
        if state == tables.end:
            return True
        states.append(state)
    return action is not None


@cache
def _tables() -> _Tables:
    found = parser().parse_interactive("").parser_state.parse_conf
    numbers = {rule: _SAME if stays(rule) else number for number, rule in enumerate(parser().rules)}
    actions: dict[int, dict[str, _Action]] = {
        state: {
            name: argument if action is Shift else (numbers[argument], len(argument.expansion), argument.origin.name)
            for name, (action, argument) in row.items()
        }
        for state, row in found.states.items()
    }
    return _Tables(actions, found.start_state, found.end_state, {})
