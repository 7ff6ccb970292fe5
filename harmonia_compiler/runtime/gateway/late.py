"""Fills in the settings that wait for the start: `env("NAME")` and `secret("NAME")`.

A document that was read back holds them as `{"late": "env", "name": "NAME"}`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.component import Component, Engine, Late
from harmonia_compiler.kinds.kind import Kind


class MissingVariables(Exception):
    """Environment variables that the service names and that are not set."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


def resolve_late(service: Service, kinds: Mapping[str, Kind], environment: Mapping[str, str]) -> Service:
    """The service with every late setting that the gateway reads replaced by its value.

    Those are the settings of calls, and of engines that are somebody else's: what a launched
    replica needs, its own process is given. Raises MissingVariables with all that are not set.
    """
    missing: set[str] = set()

    def filled(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value_of(value) for name, value in settings.items()}

    def value_of(value: Any) -> Any:
        name = late_name(value)
        if name is None:
            return value
        if name not in environment:
            missing.add(name)
        return environment.get(name, "")

    def of_component(component: Component) -> Component:
        return msgspec.structs.replace(component, settings=filled(component.settings))

    def of_engine(engine: Engine) -> Engine:
        if not kinds[engine.kind].external:
            return engine
        return msgspec.structs.replace(engine, settings=filled(engine.settings))

    programs = {
        name: msgspec.structs.replace(
            program, components={key: of_component(component) for key, component in program.components.items()}
        )
        for name, program in service.programs.items()
    }
    engines = {name: of_engine(engine) for name, engine in service.engines.items()}
    if missing:
        raise MissingVariables(sorted(missing))
    return msgspec.structs.replace(service, programs=programs, engines=engines)


def late_name(value: object) -> str | None:
    """The environment variable that a setting waits for; None where it waits for none."""
    if isinstance(value, Late):
        return value.name
    if isinstance(value, dict) and value.keys() == {"late", "name"}:
        return str(value["name"])
    return None
