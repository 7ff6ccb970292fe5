"""The parser: the tables' states, gone through with tokens."""

from collections.abc import Iterable, Sequence
from functools import cache

import msgspec

from harmonia_compiler.syntax.reductions import Maker, Reduction, Value
from harmonia_compiler.syntax.tables import is_terminal, tables
from harmonia_compiler.syntax.token import Token


class Slip(msgspec.Struct, frozen=True):
    """The first token, by position, that does not fit, and the kinds that would have."""

    position: int
    token: Token
    accepted: frozenset[str]


def read(tokens: Iterable[Token], by_rule: Sequence[Reduction], maker: Maker) -> Value | Slip:
    """What the tokens of a whole file become, of which the last is `$END`, by what the maker does for each rule."""
    rows, first, last, chains = tables().states, tables().start, tables().end, _chains()
    states, row = [first], rows[first]
    # Tokens and what was made of them, and where each of these begins and ends.
    parts, starts, ends = list[Value](), list[int](), list[int]()
    for position, token in enumerate(tokens):
        kind = token.kind
        while (action := row.get(kind)) is not None and action < 0:
            size, name, make = by_rule[-1 - action]
            if make is None:
                chain = states[-2], states[-1], kind
                state = chains.get(chain) or chains.setdefault(chain, _chained(*chain))
                states[-1] = state
                row = rows[state]
                continue
            if size > 1:
                children = parts[-size:]
                del states[-size:], parts[-size:], starts[1 - size :], ends[-size:-1]
            elif size:
                children = [parts.pop()]
                states.pop()
            else:
                children = []
                starts.append(token.start)
                ends.append(token.start)
            state = rows[states[-1]][name]
            part = make(maker, children, starts[-1], ends[-1])
            if state == last:
                return part
            parts.append(part)
            states.append(state)
            row = rows[state]
        if action is None:
            fitting = (kind for kind in row if is_terminal(kind) and _fits(states, kind))
            return Slip(position, token, frozenset(fitting))
        parts.append(token)
        starts.append(token.start)
        ends.append(token.end)
        states.append(action)
        row = rows[action]
    raise AssertionError("the last token ends a file")


@cache
def _chains() -> dict[tuple[int, int, str], int]:
    """Where chains of rules lead that change nothing, by the state below, the first state and the next token's kind.

    A value is a conjunction, a negation, a comparison and so on of that one part, which takes a state for each.
    """
    return {}


def _chained(below: int, state: int, kind: str) -> int:
    """The state after all that one part becomes before a token of this kind without being changed."""
    rows, rules = tables().states, tables().rules
    while (action := rows[state].get(kind, 0)) < 0 and rules[-1 - action].stays:
        state = rows[below][rules[-1 - action].name]
    return state


def _fits(states: Sequence[int], kind: str) -> bool:
    """Whether a token of this kind can come: what is reduced because of it may end where it has no place."""
    rows, rules, states = tables().states, tables().rules, list(states)
    while (action := rows[states[-1]].get(kind)) is not None and action < 0:
        rule = rules[-1 - action]
        del states[len(states) - len(rule.parts) :]
        state = rows[states[-1]][rule.name]
        if state == tables().end:
            return True
        states.append(state)
    return action is not None
