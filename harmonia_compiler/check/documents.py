"""Components as later stages see them, and the engines that they stand on."""

import msgspec

from harmonia_compiler.check.made import OWN_REPLICAS, Made
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.kinds.kind import COMMON_SETTINGS


def document(made: Made, engine: str) -> Component:
    """A component that can be called, as later stages see it; `engine` is the id of what it stands on."""
    assert made.ports is not None
    assert made.result is not None
    prompts = {name: template.parts for name, template in made.prompts.items()}
    return Component(
        made.declared.id,
        made.kind.name,
        engine,
        made.ports,
        made.result.type,
        made.result.size,
        made.result.item_size,
        prompts.get("prompt"),
        prompts.get("system"),
        made.settings,
        made.result.inner,
    )


def engine_key(made: Made) -> tuple[str, bytes]:
    """Equal for components that share replicas: the kind and its engine settings, defaults filled in.

    Who shares them with nobody is equal only to what is made from it.
    """
    settings = {setting.name: setting.default for setting in made.kind.settings if setting.scope == "engine"}
    settings |= {setting.name: setting.default for setting in COMMON_SETTINGS if setting.scope == "engine"}
    own = made.root.id if made.settings.get(OWN_REPLICAS) == "never" else ""
    return made.kind.name, msgspec.json.encode([own, {**settings, **made.engine_settings}], order="sorted")


def engine(made: Made) -> Engine:
    """The engine that a component stands on, named after the component that was made from the kind."""
    return Engine(made.root.id, made.kind.name, made.engine_settings)
