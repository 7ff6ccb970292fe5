"""What a component declaration has become."""

from typing import Any

import msgspec

from harmonia_compiler.check.program import Declared, Unit
from harmonia_compiler.check.prompts import Template
from harmonia_compiler.check.types import Shape
from harmonia_compiler.contract.component import Port
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.kinds.kind import Kind

#: A call holds all ports of what it calls; more of them nobody means.
MOST_PORTS = 100
#: The setting by which a component, whatever it is made from, says whether its replicas serve others, too.
OWN_REPLICAS = "share"


class Made(msgspec.Struct, frozen=True):
    """A component as declared, with what it takes over from what it is made from.

    `root` is the component that was made from the kind: it lends the engine its name. Without
    ports it is only a base. `places` says where each setting was given.
    """

    declared: Declared
    root: Declared
    kind: Kind
    engine_settings: dict[str, Any]
    settings: dict[str, Any]
    prompts: dict[str, Template]
    places: dict[str, Span]
    ports: tuple[Port, ...] | None
    result: Shape | None

    @property
    def given(self) -> dict[str, Any]:
        """All settings that were given, but for prompts."""
        return {**self.engine_settings, **self.settings}

    @property
    def function(self) -> tuple[str, Unit, Span] | None:
        """The Python function that it is made from, the file that names it, and where; None where there is none."""
        setting = self.kind.function_setting
        given = None if setting is None else self.given.get(setting)
        if setting is None or not isinstance(given, str):
            return None
        return given, self.root.unit, self.places[setting]

    @property
    def named(self) -> list[str]:
        """The ids of the components that its settings name."""
        given = self.given
        return [
            given[setting.name]
            for setting in self.kind.settings
            if setting.type == "component" and setting.name in given
        ]

    @property
    def streams(self) -> bool:
        """Whether its kind can hand out text while it is generated."""
        return self.kind.decode_piece is not None
