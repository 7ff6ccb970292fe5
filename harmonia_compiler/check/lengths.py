"""Expected lengths that nobody has said: what a plan rests on should not be a guess without the user knowing."""

from collections.abc import Iterator

from harmonia_compiler.check.components import Components
from harmonia_compiler.check.made import Made
from harmonia_compiler.check.program import Context, Declared
from harmonia_compiler.check.saying import in_annotations
from harmonia_compiler.contract.component import UNSAID, Sizes
from harmonia_compiler.contract.types import ListOf, Message, Passage, Record, Text, Type, show
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.guesses import Results, Unsaid, unsaid
from harmonia_compiler.kinds.extents import is_fixed, typed_extent
from harmonia_compiler.syntax import tree

#: How many tokens an example says of a question, and of an answer.
_QUESTION, _ANSWER = 15, 60
#: And of the types whose values are longer.
_LONGER: dict[type[Type], int] = {Passage: 150, Message: 40}


def warn_of_guesses(context: Context, components: Components, application: Application) -> None:
    """Name whatever may be of any length and becomes part of a prompt, and the answers of models.

    What only passes it on is not to blame, so that each is reported where it is declared, and once.
    """
    if not any(context.kinds[one.kind].has_prompt for one in application.components.values()):
        return
    pipelines = {one.id: one.node for one in context.declared() if isinstance(one.node, tree.Pipeline)}
    named: dict[Declared, Made] = {}
    told = Results(application, context.kinds)
    for flow in application.flows:
        found = unsaid(flow, told, prompts_alone=True)
        for port, node in zip(flow.ports, pipelines[flow.name].ports, strict=True):
            if Unsaid(port.name, is_port=True) in found:
                message = _message(f"`{port.name}`", "has", port.type, port.sizes)
                help = f"{_example(port.type, _QUESTION)}; a plan rests on it"
                context.findings.add("W0502", message, node.sized.span, help=help)
        named |= {_declares(made): made for made in _made(found, components)}
    for one, made in named.items():
        _warn_of_results(context, one, made)


def _made(found: frozenset[Unsaid], components: Components) -> Iterator[Made]:
    for each in sorted(found):
        made = None if each.is_port else components.by_id(each.name)
        if made is not None:
            yield made


def _declares(made: Made) -> Declared:
    """The component that says of what type a component's results are: itself, or one that it is made from."""
    declared = made.declared
    while isinstance(declared.node, tree.Component) and declared.node.result is None:
        base = declared.unit.scope.get(declared.node.base.text)
        if base is None:
            break
        declared = base
    return declared


def _warn_of_results(context: Context, declared: Declared, made: Made) -> None:
    node, result = declared.node, made.result
    assert isinstance(node, tree.Component)
    assert result is not None
    message = _message("its answers" if made.kind.has_prompt else "its results", "have", result.type, result.sizes)
    if node.result is not None:
        limit = ", or give `max_tokens`" if made.kind.has_prompt and isinstance(result.type, Text) else ""
        help = f"{_example(result.type, _ANSWER)}{limit}; a plan rests on it"
        context.findings.add("W0502", message, node.result.span, help=help)
    elif made.kind.function_setting is not None:
        help = f"{in_annotations(result.type, result.sizes)}; a plan rests on it"
        context.findings.add("W0502", message, node.name.span, help=help)


def _message(whose: str, has: str, of: Type, sizes: Sizes) -> str:
    """The sentence; where something is said of a list or a record, it names what inside of it nobody has said."""
    match of:
        case ListOf(item) if item is not None and sizes.size is not None and not is_fixed(item):
            return _message(f"the items of {whose}", "have", item, sizes.item or UNSAID)
        case ListOf():
            return _sentence(f"items {whose} {has}")
        case Record(fields) if sizes.parts:
            guessed = (each for each in fields if typed_extent(each.type, sizes.parts.get(each.name, UNSAID)).guessed)
            if part := next(guessed, None):
                return _message(f"`{part.name}` of {whose}", "has", part.type, sizes.parts.get(part.name, UNSAID))
    return _sentence(f"tokens {whose} {has}")


def _sentence(what: str) -> str:
    return f"nobody says how many {what}, so it is guessed"


def _example(of: Type, tokens: int) -> str:
    """What to write of a value of a type, of which an example has so many tokens."""
    if isinstance(of, Record):
        return f"say it of the texts in it, such as `(thought: text ~ {tokens} tokens)`"
    if not isinstance(of, ListOf):
        return f"say it behind the type, such as `~ {_LONGER.get(type(of), tokens)} tokens`"
    if of.item is None or is_fixed(of.item):
        return "say it behind the type, such as `~ 4`"
    if isinstance(of.item, Record | ListOf):
        return f"say it of the texts in it and behind the type, such as `[(name: text ~ {_QUESTION} tokens)] ~ 4`"
    return f"say it in the type, such as `[{show(of.item)} ~ {_LONGER.get(type(of.item), _QUESTION)} tokens] ~ 4`"
