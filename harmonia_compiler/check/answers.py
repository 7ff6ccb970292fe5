"""The answer of a pipeline with early returns: a select over the answers of its paths."""

from collections.abc import Sequence

import msgspec

from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.contract.types import Bool, Labels, Type
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.asked import Asked, implied, type_of
from harmonia_compiler.flow.graph import Node


class Taken(msgspec.Struct, frozen=True):
    """One arm of a branch: its condition, its share of those that reach the condition, its answer."""

    condition: int
    share: float
    answer: "Answer"


class Choice(msgspec.Struct, frozen=True):
    """The answers of the arms of one branch, in the order in which their conditions are asked."""

    arms: tuple[Taken, ...]
    otherwise: "Answer"
    span: Span


class Steps(msgspec.Struct, frozen=True):
    """Branches one after another of which each may answer, then what answers if none of them did."""

    choices: tuple[Choice, ...]
    last: "Answer"


#: The position of a value, a choice among answers, or None where the path goes on without one.
Answer = int | Choice | Steps | None


def settle(nodes: Nodes, answer: Answer, rest: int, of: Type) -> int:
    """The position of the answer's value, where `rest` answers on every path that goes on."""
    match answer:
        case None:
            return rest
        case int():
            return answer
        case Choice(arms, otherwise, span):
            result = settle(nodes, otherwise, rest, of)
            for arm in reversed(arms):
                then = settle(nodes, arm.answer, rest, of)
                result = nodes.select(arm.condition, then, result, of, arm.share, span)
            return result
        case Steps(choices, last):
            result = settle(nodes, last, rest, of)
            for choice in reversed(choices):
                result = settle(nodes, choice, result, of)
            return result


def answered(nodes: Nodes, answer: Answer, span: Span) -> int:
    """The position of whether a path has answered: true at every answer, false where the path goes on."""
    yes, no = nodes.constant(value=True, of=Bool(), span=span), nodes.constant(value=False, of=Bool(), span=span)
    return settle(nodes, _each_as(answer, yes), no, Bool())


def first_answer(answer: Answer) -> int:
    """Some answer among those of the paths, to stand where none is ever asked for."""
    match answer:
        case int():
            return answer
        case Choice(arms, otherwise):
            return first_answer(next((arm.answer for arm in arms if arm.answer is not None), otherwise))
        case Steps(choices, last):
            return first_answer(choices[0] if choices else last)
        case None:
            raise ValueError("no path answers")


def chance(answer: Answer) -> float:
    """How likely a path answers, by the shares of the branches."""
    match answer:
        case None:
            return 0.0
        case int():
            return 1.0
        case Choice(arms, otherwise):
            found, left = 0.0, 1.0
            for arm in arms:
                found += left * arm.share * chance(arm.answer)
                left *= 1.0 - arm.share
            return found + left * chance(otherwise)
        case Steps(choices, last):
            left = 1.0
            for choice in choices:
                left *= 1.0 - chance(choice)
            return 1.0 - left * (1.0 - chance(last))


def takes_all(nodes: Sequence[Node], answer: Answer) -> bool:
    """Whether the tests of the branch that a path goes on behind ask one value for every label that it can have.

    Of a name this is known where the branch is read, and no path goes on.
    """
    choice = answer.choices[-1] if isinstance(answer, Steps) and answer.last is None else answer
    denied: dict[Asked, set[str]] = {}
    for arm in choice.arms if isinstance(choice, Choice) and choice.otherwise is None else ():
        for asked, holds in implied(nodes, Asked(arm.condition), holds=False) if arm.condition >= 0 else ():
            if isinstance(asked.test, str) and not holds:
                denied.setdefault(msgspec.structs.replace(asked, test=None), set()).add(asked.test)
    kinds = ((type_of(nodes, value), labels) for value, labels in denied.items())
    return any(isinstance(of, Labels) and labels.issuperset(of.labels) for of, labels in kinds)


def _each_as(answer: Answer, position: int) -> Answer:
    """The same choices with one position for every answer."""
    match answer:
        case Choice(arms, otherwise, span):
            taken = tuple(Taken(arm.condition, arm.share, _each_as(arm.answer, position)) for arm in arms)
            return Choice(taken, _each_as(otherwise, position), span)
        case Steps(choices, last):
            again = tuple(_each_as(choice, position) for choice in choices)
            return Steps(tuple(one for one in again if isinstance(one, Choice)), _each_as(last, position))
        case int():
            return position
        case None:
            return None
