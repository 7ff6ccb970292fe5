"""The values of operations that call nobody and run nothing, all that they read being there."""

from collections.abc import Mapping

from harmonia_compiler.contract.comparison import COMPARISONS
from harmonia_compiler.contract.program import (
    After,
    Apply,
    Argument,
    Compare,
    Concat,
    Constant,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Operation,
    Output,
    Parameter,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import Value
from harmonia_compiler.functions.registry import functions
from harmonia_compiler.policy.frames import Frame
from harmonia_compiler.policy.runs import handed


def evaluate(operation: Operation, frame: Frame, arguments: Mapping[str, Value]) -> Value:
    """The value of an operation in a frame; `arguments` are those of the request. Raises Unequal."""
    values = frame.values
    match operation:
        case Constant(value):
            return value
        case Parameter(name):
            return arguments[name]
        case Select(condition, then, otherwise):
            return values[then if values[condition] else otherwise]
        case Compare(sign, left, right):
            return COMPARISONS[sign](values[left], values[right])
        case GetField(record, name):
            return values[record][name]
        case Concat(left, right):
            return values[left] + values[right]
        case MakeList(items):
            return [values[at] for at in items]
        case MakeRecord(names, parts):
            return {name: values[at] for name, at in zip(names, parts, strict=True)}
        case _:
            return _rarer(operation, frame)


def _rarer(operation: Operation, frame: Frame) -> Value:
    match operation:
        case Argument(index):
            return handed(frame, index)
        case Output(repeat, index):
            last: Frame = frame.values[repeat]
            return last.values[last.results[1 + index]]
        case Not(operand):
            return not frame.values[operand]
        case After(_, then) | Whole(then):
            return frame.values[then]
        case Apply(name, read, settings):
            return functions()[name].evaluate([frame.values[at] for at in read], settings)
        case _:
            raise TypeError(f"a {type(operation).__name__} has no value of its own")
