"""Which calls may stand for each other: those that are pure and give the same whenever they are given the same."""

from typing import Any

from harmonia_compiler.contract.program import Call
from harmonia_compiler.flow.passes.definition import Context


def said(call: Call, name: str, context: Context) -> Any:
    """What a call is given for a setting: by itself, by its component, or as its kind's default."""
    component = context.application.components[call.component]
    setting = context.kinds[component.kind].setting(name)
    return None if setting is None else {**component.settings, **call.settings}.get(name, setting.default)


def is_pure(call: Call, context: Context) -> bool:
    """Whether a call may be repeated, merged, moved or left out."""
    return said(call, "pure", context) is not False


def may_merge(call: Call, context: Context) -> bool:
    """Whether equal calls are one: pure, and of no model that samples."""
    return is_pure(call, context) and not said(call, "temperature", context)
