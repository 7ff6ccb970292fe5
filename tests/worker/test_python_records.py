"""A user's function is given records as the classes that it annotates, and may return any of them."""

import argparse
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.worker.python import PythonFunction
from harmonia_compiler.runtime.worker.server import application
from tests.worker.conftest import Running

STALL = """
from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypedDict

@dataclass(frozen=True)
class Offer:
    name: str
    price: float

    def __post_init__(self):
        if self.price < 0:
            raise LookupError("no such price")

class Row(NamedTuple):
    offer: Offer
    count: int

class Basket(TypedDict):
    rows: "list[Row]"

def priced(offer: Offer) -> float:
    return offer.price

def cheaper(row: Row) -> Row:
    return row._replace(offer=Offer(row.offer.name, row.offer.price / 2))

def sums(basket: Annotated[Basket, "all of it"], /, *, offers: list[Offer]) -> list[Row]:
    return [*basket["rows"], *(Row(offer, 1) for offer in offers)]

async def halves(basket: Basket) -> Basket:
    return {"rows": [cheaper(row) for row in basket["rows"]]}

def second(query: str, other: str = "none", /) -> str:
    return other

def shelves(row: Row, more: int) -> list[int]:
    return list(range(row.count + more))

def vague(offer: "Missing", **more: str) -> str:
    return offer["name"]
"""
TEA = {"name": "tea", "price": 2.0}
HALF = {"name": "tea", "price": 1.0}
OFFER = "(name: text, price: number)"
ROW = f"(offer: {OFFER}, count: number)"


@pytest.fixture(autouse=True)
def _stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of its own for each test, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "stall", raising=False)
    Path("stall.py").write_text(STALL, encoding="utf-8")


def made_from(name: str, inputs: dict[str, Any]) -> Component:
    """The component that checking makes from the function of that name, in a pipeline that calls it."""
    values = ", ".join(f"{port}: {port}" for port in inputs)
    types = {"offer": OFFER, "row": ROW, "basket": f"(rows: [{ROW}])", "offers": f"[{OFFER}]"}
    ports = ", ".join(f"{port}: {types.get(port, 'text')}" for port in inputs)
    gives = {"priced": "number", "cheaper": ROW, "sums": f"[{ROW}]", "halves": f"(rows: [{ROW}])"}.get(name, "text")
    Path("a.rag").write_text(
        f'component f = python("stall:{name}")\npipeline p({ports}) -> {gives} {{ return f({values}) }}\n'
    )
    checked = check_files([Path("a.rag")])
    assert checked.application is not None, checked.found
    return checked.application.components["f"]


async def called(running: Running, name: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to one call of the function of that name."""
    role = PythonFunction(argparse.Namespace(function=f"stall:{name}", code=Path(), cores=1))
    role.load()
    async with (
        running(application(role, ready=True)) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/call", data=body) as answer,
    ):
        return answer.status, await answer.read()


@pytest.mark.parametrize(
    ("name", "inputs", "result"),
    [
        ("priced", {"offer": TEA}, 2.0),
        ("cheaper", {"row": {"offer": TEA, "count": 3}}, {"offer": HALF, "count": 3}),
        (
            "sums",
            {"basket": {"rows": [{"offer": TEA, "count": 3}]}, "offers": [HALF]},
            [{"offer": TEA, "count": 3}, {"offer": HALF, "count": 1}],
        ),
        ("halves", {"basket": {"rows": [{"offer": TEA, "count": 3}]}}, {"rows": [{"offer": HALF, "count": 3}]}),
        ("second", {"other": "cake", "query": "tea"}, "cake"),
    ],
)
async def test_what_checking_reads_in_annotations_can_be_called(
    running: Running, name: str, inputs: dict[str, Any], result: object
) -> None:
    component, kind = made_from(name, inputs), kinds()["python"]
    wire = kind.encode(Engine("f", "python", {"function": f"stall:{name}"}), component, inputs, stream=False)
    status, body = await called(running, name, wire.body)
    assert status == 200, body
    assert kind.decode(component, body, inputs).value == result


@pytest.mark.parametrize(
    ("name", "inputs", "result"),
    [
        ("priced", {"offer": TEA | {"more": "left out"}}, 2.0),
        ("second", {"query": "tea"}, "none"),
        ("shelves", {"row": {"offer": TEA, "count": 1.0}, "more": 2.0}, [0, 1, 2]),
        ("vague", {"offer": TEA, "more": "what its annotation names is not there"}, "tea"),
    ],
)
async def test_what_fits_in_other_ways_can_be_called(
    running: Running, name: str, inputs: dict[str, Any], result: object
) -> None:
    status, body = await called(running, name, msgspec.json.encode({"inputs": inputs}))
    assert (status, msgspec.json.decode(body)) == (200, {"result": result})


@pytest.mark.parametrize(
    ("name", "inputs", "why"),
    [
        ("priced", {"offer": {"name": "tea"}}, "missing 1 required positional argument: 'price'"),
        ("priced", {"offer": "tea"}, "'tea' is not a record"),
        ("priced", {"offer": TEA | {"price": -1}}, "no such price"),
        ("sums", {"basket": {"rows": 3}, "offers": []}, "3 is not a list"),
        ("shelves", {"row": {"offer": TEA, "count": 1}, "more": 2.5}, "2.5 is not a whole number"),
        ("shelves", {"row": {"offer": TEA, "count": 0.5}, "more": 2}, "0.5 is not a whole number"),
        ("second", {"query": "tea", "more": 1}, "unexpected keyword argument 'more'"),
        ("second", {"other": "cake"}, "'query'"),
    ],
)
async def test_what_does_not_fit_is_refused(running: Running, name: str, inputs: dict[str, Any], why: str) -> None:
    status, body = await called(running, name, msgspec.json.encode({"inputs": inputs}))
    error = msgspec.json.decode(body)["error"]
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert why in error["message"]
