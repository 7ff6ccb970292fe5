"""What engines are planned by: a language model by the best source of its steps, the rest by data sheet and card."""

from dataclasses import replace

from harmonia_compiler.contract.card import Cards, load_cards
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile import cores, encoder, llm
from harmonia_compiler.profile.profiles import Asked, Offer
from harmonia_compiler.profile.sources import Sources, sources_here


class BestProfiles:
    """`Profiles` of an inventory. `cards` are those that are known; all that are installed, if not given.

    `sources` say how long a language model's steps take; those of this machine, if not given.
    """

    def __init__(self, cards: Cards | None = None, sources: Sources | None = None) -> None:
        self._cards = load_cards() if cards is None else cards
        self._sources = sources_here() if sources is None else sources

    def offer(self, asked: Asked, inventory: Inventory) -> Offer:
        """The configurations of an engine. Raises Rejected where no card names its model."""
        kind = kinds()[asked.engine.kind]
        model = kind.model_of(asked.engine)
        if model is None:
            offered = cores.offer(asked, kind, inventory)
        else:
            card = self._cards.of(model)
            if card.role == "llm":
                offered = llm.offer(asked, card, inventory, self._sources)
            else:
                offered = encoder.offer(asked, card, inventory)
        on = asked.engine.settings.get("on")
        allowed = [
            option
            for option in offered.options
            if ("gpu" if option.configuration.gpu else "cpu") in kind.runs_on
            and on in (None, option.configuration.gpu or "cpu")
        ]
        return replace(offered, options=tuple(allowed))
