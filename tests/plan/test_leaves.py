"""No figure and no name of a saved plan can be another without the verifier's notice, but for those named here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import Plan, decode_plan, encode_plan
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.plan.verify import faults
from harmonia_compiler.profile.best import BestProfiles

from .test_edited_plans import edited, places

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
#: Six GPUs and four hosts without one; with more cores, planning takes twice as long.
MIXED = Inventory(
    (
        Host("a", 8, 256.0, (Gpu("l4", 2),), 2.0),
        Host("b", 16, 512.0, (Gpu("a100_sxm", 4),), 9.0),
        *(Host(f"c{number}", 8, 64.0, (), 0.5) for number in range(4)),
    )
)

#: Nobody says how long its texts are, and its answer hardly ever comes in time.
LATE = """component small = llm("SmolLM2-135M-Instruct")
component answer(question: text) -> text = small("{question}")
pipeline ask(question: text) -> text {
    load 0.01 rps
    return answer(question) within 400 ms else "too late"
}
"""

_CHECKED = "what the checker made of the files: the plan hands it on, the planner decides nothing of it"
#: What may be another, by how its place begins, and why. `*` is any name.
MAY_DIFFER = {
    "components.*.ports.*.name": _CHECKED,
    "components.*.prompt": _CHECKED,
    "components.*.result.labels": _CHECKED,
    "components.*.settings": _CHECKED,
    "components.*.size": _CHECKED,
    "components.*.item_size": _CHECKED,
    "components.*.system": _CHECKED,
    "engines.*.settings": _CHECKED,
    "sources": "by these a later plan knows whether files are others; the problem has no files",
    "guessed": "of whose sizes nobody said anything: a remark on the files",
    "late": "how often a `within` is too short follows from the flow, before anything is planned",
    "replicas.*.devices": "another device of its type that nobody has is as good",
    "solver.gap": "how far the best may be away: nothing but a solver knows",
}
#: By its model, the memory of an engine is recounted.
RECOUNTED = frozenset({"model"})


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, its document, and what it was made for."""

    plan: Plan
    problem: Problem
    document: Any

    def accepts(self, at: tuple[Any, ...], value: Any) -> bool:
        """Whether the plan with another value there is read, says something else, and has no fault."""
        try:
            found = decode_plan(json.dumps(edited(self.document, at, value)).encode())
        except msgspec.MsgspecError:
            return False
        return found != self.plan and not faults(found, self.problem)


NAMES = ("quickstart", "corrective", "shared", "late")


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    late = tmp_path_factory.mktemp("late") / "late.rag"
    late.write_text(LATE, encoding="utf-8")
    return {name: made(late if name == "late" else SAMPLES / f"{name}.rag") for name in NAMES}


def made(path: Path) -> Made:
    checked = check_files([path])
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    plan = make_plan(application, MIXED)
    problem = build_problem(application, MIXED, "throughput", BestProfiles()).problem
    assert faults(plan, problem) == []
    return Made(plan, problem, json.loads(encode_plan(plan)))


def leaves(document: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for at in places(document):
        value = document
        for key in at:
            value = value[key]
        if not isinstance(value, (dict, list)):
            yield at, value


def others(value: Any) -> list[Any]:
    """What stands in place of a value: a little more, another name."""
    if isinstance(value, bool) or value is None:
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [value * 1.01 if value else 1.0]
    return ["other", f"{value}x"]


def place_of(at: tuple[Any, ...], place: str) -> bool:
    """Whether a leaf is at a place that is named as above, or within."""
    wanted = place.split(".")
    return len(at) >= len(wanted) and all(one in ("*", str(key)) for one, key in zip(wanted, at, strict=False))


def may_differ(at: tuple[Any, ...]) -> bool:
    return at[-1] not in RECOUNTED and any(place_of(at, place) for place in MAY_DIFFER)


@pytest.mark.parametrize("name", NAMES)
def test_no_leaf_is_another_unnoticed(plans: dict[str, Made], name: str) -> None:
    one = plans[name]
    found = [
        ".".join(map(str, at))
        for at, value in leaves(one.document)
        if not may_differ(at) and any(one.accepts(at, other) for other in others(value))
    ]
    assert not found, f"the verifier accepts another value of {listed(found)}"


@pytest.mark.parametrize("place", MAY_DIFFER)
def test_what_is_named_may_differ(plans: dict[str, Made], place: str) -> None:
    """So that nothing is named that is checked by now, or that no plan has."""
    assert any(
        one.accepts(at, other)
        for one in plans.values()
        for at, value in leaves(one.document)
        if place_of(at, place)
        for other in others(value)
    )
