"""The calls that a Program makes for every request, whatever its branches, loops and fallbacks come to."""

from harmonia_compiler.contract.program import Argument, Attempt, Call, Each, Program, Repeat, Select, inputs


def certain_calls(program: Program) -> dict[str, str]:
    """The components, each with its engine. Those in blocks are left out: an item, or a fallback, may be none."""
    found: dict[str, str] = {}
    pending, seen = [program.result], {program.result}
    while pending:
        operation = program.operations[pending.pop()]
        if isinstance(operation, Call):
            component = program.components[operation.component]
            found[component.name] = component.engine
        read: tuple[int, ...]
        match operation:
            case Select():
                read = (operation.condition,)
            case Each():
                read = operation.lists[:1]
            case Attempt():
                read = operation.awaits
            case Repeat() | Argument():
                read = ()
            case _:
                read = inputs(operation)
        pending += [*({*read} - seen)]
        seen.update(read)
    return dict(sorted(found.items()))
