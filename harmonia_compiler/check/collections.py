"""Whether components that search one collection agree how it is made: there is one, and it is made in one way."""

from collections.abc import Iterator, Mapping
from typing import Any

from harmonia_compiler.contract.card import Cards
from harmonia_compiler.contract.component import Component
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Note
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.kinds.kind import Kind, value_of

#: The settings of a `milvus` that say how its collection is made, beside the embedder.
_MAKING = ("metric", "chunk_tokens", "chunk_overlap", "hybrid")


def contradicting(application: Application, kinds: Mapping[str, Kind], cards: Cards) -> Iterator[Diagnostic]:
    """Components that would have a collection made otherwise than one that is declared before."""
    searching = [one for one in application.components.values() if one.kind == "milvus"]
    first: dict[str, tuple[Component, Mapping[str, Any]]] = {}
    for component in searching:
        name = str(component.settings["collection"])
        made = _made(application, component, kinds, cards)
        other, before = first.setdefault(name, (component, made))
        if differing := [setting for setting in made if made[setting] != before[setting]]:
            places = [
                (application.place(one.name, setting), setting) for setting in differing for one in (component, other)
            ]
            given = [(place, setting) for place, setting in places if place is not None]
            settings = " and ".join(f"`{setting}`" for setting in differing)
            yield Diagnostic(
                "E0912",
                f"`{other.name}` and `{component.name}` search `{name}` and differ in {settings}",
                given[0][0],
                help=f"give {settings} the same value in both, or one of them a collection of its own",
                notes=tuple(Note(place, f"`{setting}` stands here") for place, setting in given[1:]),
            )


def _made(application: Application, component: Component, kinds: Mapping[str, Kind], cards: Cards) -> dict[str, Any]:
    """How a component's collection is made, by setting; embedders are the same where their vectors are."""
    embedder = application.engines[application.components[str(component.settings["embedder"])].engine]
    model = kinds[embedder.kind].model_of(embedder)
    assert model is not None, "what a search goes through makes vectors by a model"
    card = cards.get(model)
    called = [card] if card else cards.named(model.name)
    declared = kinds[component.kind].settings
    return {
        "embedder": (called[-1].name if called else model.name, card.revision if card else model.revision),
        **{setting: value_of(setting, component.settings, declared) for setting in _MAKING},
    }
