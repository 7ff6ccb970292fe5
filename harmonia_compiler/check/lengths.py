"""Expected lengths that nobody has said: what a plan rests on should not be a guess without the user knowing."""

from harmonia_compiler.check.components import Components
from harmonia_compiler.check.program import Context
from harmonia_compiler.contract.types import ListOf, Text
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.syntax import tree


def warn_of_guesses(context: Context, components: Components, application: Application) -> None:
    """Name the called components of language models of whose answers nobody says how long they are.

    A limit on the tokens tells that of a text; only `~` tells how many items a list has.

    Once for each declaration: what is only made from another, with its ports, has said nothing of its own.
    """
    for name in application.components:
        made = components.by_id(name)
        assert made is not None
        node = made.declared.node
        if not isinstance(node, tree.Component) or node.result is None or not made.kind.has_prompt:
            continue
        result = made.result
        if result is None or result.size is not None:
            continue
        if isinstance(result.type, ListOf):
            what, help = "items its answers have", "say it behind the type, such as `~ 4`"
        elif isinstance(result.type, Text) and "max_tokens" not in made.places:
            what, help = (
                "tokens its answers have",
                "say it behind the type, such as `~ 60 tokens`, or give `max_tokens`",
            )
        else:
            continue
        message = f"nobody says how many {what}, so it is guessed"
        context.findings.add("W0502", message, node.result.span, help=f"{help}; a plan rests on it")
