"""Expected lengths that nobody has said: what a plan rests on should not be a guess without the user knowing."""

from harmonia_compiler.check.components import Components
from harmonia_compiler.check.program import Context
from harmonia_compiler.contract.types import ListOf, Text
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.syntax import tree


def warn_of_guesses(context: Context, components: Components, application: Application) -> None:
    """Name the called components of language models whose answers' length neither `~` nor `max_tokens` tells.

    Once for each declaration: what is only made from another, with its ports, has said nothing of its own.
    """
    for name in application.components:
        made = components.by_id(name)
        assert made is not None
        node = made.declared.node
        if (
            not isinstance(node, tree.Component)
            or node.result is None
            or made.result is None
            or not made.kind.has_prompt
        ):
            continue
        is_text = isinstance(made.result.type, Text)
        is_list = isinstance(made.result.type, ListOf)
        if made.result.size is not None or not (is_text or is_list) or "max_tokens" in made.places:
            continue
        what, size = ("tokens its answers have", "~ 60 tokens") if is_text else ("items its answers have", "~ 4")
        help = f"say it behind the type, such as `{size}`, or bound it by `max_tokens`; a plan rests on it"
        context.findings.add("W0502", f"nobody says how many {what}, so it is guessed", node.result.span, help=help)
