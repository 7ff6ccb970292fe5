"""Simulating calls of every kind, in every form that its settings give them."""

import re
from pathlib import Path

import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.types import show
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.workload.arrivals import constant, until
from tests.emulate.planned import planned_for

#: What settings are given that are neither true nor false, each of which gives calls another form.
TRIED = {"filter": "\"source like 'docs/%'\"", "top_k": "2"}
#: The ports and the result of a declaration that says them.
DECLARED = re.compile(r"component (\w+)(?:\((.*)\) -> (.*?))? = ")


def _forms() -> list[object]:
    found: list[object] = []
    for kind in kinds().values():
        flags = {each.name: "true" for each in kind.settings if each.type == "bool"}
        given = {**flags, **{name: value for name, value in TRIED.items() if kind.setting(name)}}
        forms = {"": "", **{name: f", {name}: {value}" for name, value in given.items()}}
        forms["all"] = "".join(forms.values())
        found += [pytest.param(kind, form, id=f"{kind.name} {name}") for name, form in forms.items()]
    return found


@pytest.mark.parametrize("called", ["once", "for each"])
@pytest.mark.parametrize(("kind", "form"), _forms())
def test_a_call_is_simulated(tmp_path: Path, kind: Kind, form: str, called: str) -> None:
    example = re.sub(r", top_k: \d+", "", kind.example) if "top_k" in form else kind.example
    declared = DECLARED.findall(example)[-1]
    name, ports, result = declared
    if kind.signature is not None:
        ports = ", ".join(f"{port.name}: {show(port.type)}" for port in kind.signature.ports)
        result = show(kind.signature.result)
    is_of_many = called == "for each"
    # A port of a component may be named by a keyword, and that of a pipeline may not.
    ports = re.sub(r"(\w+):", r"its_\1:", ports)
    names = re.findall(r"(\w+):", ports)
    arguments = ", ".join(["one", *names[1:]] if is_of_many else names)
    call = f"each one in [{names[0]}, {names[0]}]: {name}({arguments})" if is_of_many else f"{name}({arguments})"
    source = f"""
{example.removesuffix(")")}{form})
pipeline p({ports}) -> {f"[{result}]" if is_of_many else result} {{
    load 1 rps
    return {call}
}}
"""
    window = Window(0.0, 3000.0)
    seen = simulate(planned_for(tmp_path, source), [*until(constant(1.0), window.to_ms)], window, load_cards(), {})
    assert {one.outcome for one in seen.observed} == {Outcome.OK}
