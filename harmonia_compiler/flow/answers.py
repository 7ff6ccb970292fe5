"""Where the answer comes from: the calls whose text may be streamed and which the request's own settings reach."""

from harmonia_compiler.contract.program import After, Attempt, Call, MakeRecord, Output, Repeat, Select
from harmonia_compiler.flow.graph import Body, Flow


def answers_of(flow: Flow) -> tuple[frozenset[int], ...]:
    """For each body, the calls whose value is the answer, or a part of one that is a record, on whatever path."""
    bodies = flow.bodies
    asked: list[set[int]] = [set() for _ in bodies]
    asked[-1].add(flow.result)
    found: list[frozenset[int]] = [frozenset()] * len(bodies)
    for index in range(len(bodies) - 1, -1, -1):
        body = bodies[index]
        reached = _reached(body, asked[index])
        found[index] = frozenset(at for at in reached if isinstance(body.nodes[at].operation, Call))
        for position in reached:
            match body.nodes[position].operation:
                case Attempt(block):
                    asked[block].update(bodies[block].results)
                case Output(repeat, result):
                    run = body.nodes[repeat].operation
                    assert isinstance(run, Repeat)
                    asked[run.block].add(bodies[run.block].results[1 + result])
    return tuple(found)


def _reached(body: Body, from_positions: set[int]) -> set[int]:
    """The nodes that hand on the answer, calls among them."""
    seen = set(from_positions)
    pending = [*from_positions]
    while pending:
        operation = body.nodes[pending.pop()].operation
        parts: tuple[int, ...] = ()
        match operation:
            case Select(_, then, otherwise):
                parts = (then, otherwise)
            case MakeRecord():
                parts = operation.inputs
            case After(_, then):
                parts = (then,)
            case Attempt(_, _, _, otherwise) if otherwise is not None:
                parts = (otherwise,)
        pending += {*parts} - seen
        seen.update(parts)
    return seen
