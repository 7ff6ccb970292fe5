"""What there is to explain beside codes: kinds, functions of the language, and passes, each as a page of Markdown."""

from collections.abc import Iterable

from harmonia_compiler.flow.passes.definition import Pass
from harmonia_compiler.flow.passes.registry import PASSES
from harmonia_compiler.functions import describe as functions_in_words
from harmonia_compiler.functions.registry import function_names, functions
from harmonia_compiler.kinds import describe as kinds_in_words
from harmonia_compiler.kinds.registry import kinds

_PREFACE = """\
# Kinds and functions

What components are made from, and what needs none. `make bless` writes this from the declarations themselves, and
`harmoniac explain NAME` prints the same, also of the kinds that other installed distributions bring.
"""


def names() -> dict[str, tuple[str, ...]]:
    """The names that have a page, by what they are names of."""
    return {
        "kinds": tuple(kinds()),
        "functions": function_names(),
        "passes": tuple(each.name for each in PASSES),
    }


def page(name: str) -> str | None:
    """The page of a kind, a function or a pass; None where none has that name. Raises Rejected for a broken kind."""
    if kind := kinds().get(name):
        common = kinds_in_words.describe_common()
        return f"{kinds_in_words.describe(kind)}\nEvery kind also takes these:\n\n{common}"
    if name in function_names():
        return functions_in_words.describe(functions()[name])
    number, found = next(((at, each) for at, each in enumerate(PASSES, 1) if each.name == name), (0, None))
    return None if found is None else _of_pass(found, number)


def reference(kind_names: Iterable[str]) -> str:
    """These kinds and all functions as one document."""
    parts = [_PREFACE]
    parts += [kinds_in_words.describe(kinds()[name]) for name in kind_names]
    parts += [f"# What every kind takes\n\n{kinds_in_words.describe_common()}"]
    parts += [functions_in_words.describe(function) for function in functions().values()]
    # Below the document's own title, every other is one level deeper.
    return "\n".join([parts[0], *(f"#{part}" for part in parts[1:])])


def _of_pass(found: Pass, number: int) -> str:
    needs = f"It needs {_listed(found.needs)}, which an earlier pass gives. " if found.needs else ""
    gives = f"It gives {_listed(found.gives)}, which later passes may need. " if found.gives else ""
    machines = " --inventory FILE" if found.timed else ""
    return (
        f"# `{found.name}`\n\nThe pass number {number} of {len(PASSES)}: it {found.doc}. {needs}{gives}Where "
        "calls answer as they would have answered, it changes no answer that comes without a failure.\n\n"
        f"`harmoniac graph --after {found.name}{machines}` shows a flow after it, "
        f"`--without {found.name}` leaves it out.\n"
    )


def _listed(properties: Iterable[str]) -> str:
    return " and ".join(f'"{each}"' for each in sorted(properties))
