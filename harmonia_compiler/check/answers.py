"""The answer of a pipeline with early returns: a select over the answers of its paths."""

from dataclasses import dataclass

from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.contract.types import Type
from harmonia_compiler.diagnostics.source import Span


@dataclass(frozen=True, slots=True)
class Taken:
    """One arm of a branch: its condition, its share of those that reach the condition, its answer."""

    condition: int
    share: float
    answer: "Answer"


@dataclass(frozen=True, slots=True)
class Choice:
    """The answers of the arms of one branch, in the order in which their conditions are asked."""

    arms: tuple[Taken, ...]
    otherwise: "Answer"
    span: Span


@dataclass(frozen=True, slots=True)
class Steps:
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
