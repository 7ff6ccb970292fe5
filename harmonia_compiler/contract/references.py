"""Whether what a Program names by position, by index or by name is there: a document that was edited may name more."""

from collections.abc import Iterator, Sequence

from harmonia_compiler.contract.program import (
    MOST_ROUNDS,
    Attempt,
    Call,
    Each,
    MakeRecord,
    Operation,
    Output,
    Program,
    Repeat,
    block_of,
    inputs,
)


def dangling(program: Program) -> Iterator[str]:
    """A phrase for each place of the Program that names what is not there; nothing for one that was lowered."""
    yield from _dangling(program, "operations", program.operations, (program.result,))
    for index, block in enumerate(program.blocks):
        yield from _dangling(program, f"blocks[{index}]", block.operations, block.results)


def _dangling(program: Program, where: str, operations: Sequence[Operation], results: Sequence[int]) -> Iterator[str]:
    if any(not 0 <= at < len(operations) for at in results):
        yield f"a result of {where} is no operation"
    for position, operation in enumerate(operations):
        here = f"{where}, operation {position},"
        awaited = operation.awaits if isinstance(operation, Attempt) else ()
        if any(not 0 <= at < position for at in (*inputs(operation), *awaited)):
            yield f"{here} reads what is not before it"
        block = block_of(operation)
        if block is not None and not 0 <= block < len(program.blocks):
            yield f"{here} runs a block that is not there"
        elif wrong := _wrong(program, operations, operation):
            yield f"{here} {wrong}"


def _wrong(program: Program, operations: Sequence[Operation], operation: Operation) -> str | None:
    """What is wrong with an operation that reads earlier ones and runs blocks that are there."""
    match operation:
        case Call(component=component) if component not in program.components:
            return f"calls `{component}`, which is no component"
        case Call(ports=names, inputs=given) | MakeRecord(names=names, inputs=given) if len(names) != len(given):
            return "has not as many names as values"
        case Repeat(limit=limit) if not 1 <= limit <= MOST_ROUNDS:
            return f"runs {limit} rounds"
        case Output(repeat=at) if at < len(operations) and not isinstance(operations[at], Repeat):
            return "reads the rounds of what has none"
        case Each(block=block) | Attempt(block=block) if len(program.blocks[block].results) != 1:
            return "runs a block of several results"
    return None
