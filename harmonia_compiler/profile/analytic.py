"""Profiles worked out from data sheets and model cards: for whatever nobody has measured."""

from collections.abc import Mapping
from dataclasses import replace

from harmonia_compiler.contract.card import Card, card_for, load_cards
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile import cores, encoder, llm
from harmonia_compiler.profile.profiles import Asked, Offer


class AnalyticProfiles:
    """`Profiles` by roofline. `cards` are those known by name or alias; all that are installed, if not given."""

    def __init__(self, cards: Mapping[str, Card] | None = None) -> None:
        self._cards = dict(load_cards() if cards is None else cards)

    def offer(self, asked: Asked, inventory: Inventory) -> Offer:
        """The configurations of an engine. Raises Rejected where no card names its model."""
        kind = kinds()[asked.engine.kind]
        if kind.model_setting is None:
            offered = cores.offer(asked, kind, inventory)
        else:
            card = card_for(str(asked.engine.settings[kind.model_setting]), self._cards)
            by_role = llm.offer if card.role == "llm" else encoder.offer
            offered = by_role(asked, card, inventory)
        on = asked.engine.settings.get("on")
        allowed = [
            option
            for option in offered.options
            if ("gpu" if option.configuration.gpu else "cpu") in kind.runs_on
            and on in (None, option.configuration.gpu or "cpu")
        ]
        return replace(offered, options=tuple(allowed))
