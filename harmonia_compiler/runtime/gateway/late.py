"""Fills in the settings that wait for the start: `env("NAME")` and `secret("NAME")`.

A document that was read back holds them as `{"late": "env", "name": "NAME"}`.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.component import Component, Engine, Late
from harmonia_compiler.kinds.kind import Kind, Setting


class UnusableVariables(Exception):
    """Environment variables that the service names and that are not set, and those that no such setting can be."""

    def __init__(self, missing: set[str], wrong: Mapping[str, Setting]) -> None:
        said = [f"not set in the environment: {', '.join(sorted(missing))}"] if missing else []
        said += [f"the environment's {name} cannot be a `{setting.name}`" for name, setting in sorted(wrong.items())]
        super().__init__("; ".join(said))
        self.missing = missing
        self.wrong = wrong


def resolve_late(service: Service, kinds: Mapping[str, Kind], environment: Mapping[str, str]) -> Service:
    """The service with every late setting that the gateway reads replaced by its value.

    Those are the settings of calls, and of engines that are somebody else's: what a launched
    replica needs, its own process is given. Raises UnusableVariables with all that are not set, or that checking would
    have refused if they stood in the file.
    """
    missing: set[str] = set()
    wrong: dict[str, Setting] = {}

    def filled(settings: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
        return {name: value_of(value, kind.setting(name)) for name, value in settings.items()}

    def value_of(value: Any, setting: Setting | None) -> Any:
        name = late_name(value)
        if name is None:
            return value
        given = environment.get(name)
        if given is None:
            missing.add(name)
        elif setting is not None and setting.pattern and not re.fullmatch(setting.pattern, given):
            wrong[name] = setting
        return given

    def of_component(component: Component) -> Component:
        return msgspec.structs.replace(component, settings=filled(component.settings, kinds[component.kind]))

    def of_engine(engine: Engine) -> Engine:
        if not kinds[engine.kind].external:
            return engine
        return msgspec.structs.replace(engine, settings=filled(engine.settings, kinds[engine.kind]))

    programs = {
        name: msgspec.structs.replace(
            program, components={key: of_component(component) for key, component in program.components.items()}
        )
        for name, program in service.programs.items()
    }
    engines = {name: of_engine(engine) for name, engine in service.engines.items()}
    if missing or wrong:
        raise UnusableVariables(missing, wrong)
    return msgspec.structs.replace(service, programs=programs, engines=engines)


def late_name(value: object) -> str | None:
    """The environment variable that a setting waits for; None where it waits for none."""
    if isinstance(value, Late):
        return value.name
    if isinstance(value, dict) and value.keys() == {"late", "name"}:
        return str(value["name"])
    return None
