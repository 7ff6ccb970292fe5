"""A function of the language in words, from its declaration alone."""

from harmonia_compiler.functions.function import Function, Taken
from harmonia_compiler.kinds.describe import number


def describe(function: Function) -> str:
    """A function with all that it takes, as Markdown."""
    call = ", ".join(_argument(parameter) for parameter in function.parameters)
    taken = "".join(f"- `{one.name}`: {one.doc}. {_facts(one)}\n" for one in function.parameters)
    return f"# `{function.name}`\n\n{function.doc}\n\n    {function.name}({call})\n\n{taken}"


def _argument(parameter: Taken) -> str:
    return parameter.name if parameter.default is None else f"{parameter.name}: {parameter.default}"


def _facts(parameter: Taken) -> str:
    if not parameter.constant:
        noun = f"`{parameter.type}`" if parameter.type.startswith("[") else parameter.type
        return f"It takes {noun}."
    bounds = f"from {number(parameter.minimum)} to {number(parameter.maximum)}"
    otherwise = "" if parameter.default is None else f"; {number(parameter.default)} where it is not said"
    return f"It takes {parameter.type} {bounds} that stands in the source{otherwise}."
