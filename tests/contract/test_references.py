"""What a Program names is there: nothing is said of one that was lowered, and something of one that was edited."""

from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.program import (
    Attempt,
    Block,
    Call,
    Constant,
    Each,
    MakeRecord,
    Not,
    Operation,
    Output,
    Program,
    Repeat,
)
from harmonia_compiler.contract.references import dangling
from harmonia_compiler.contract.types import Text

SERVICES = sorted((Path(__file__).parents[1] / "emit" / "golden").glob("*/*/service.json"))
ONE = Block((Constant(0),), (0,))


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.parent.name)
def test_a_program_that_was_lowered_names_nothing_that_is_not_there(path: Path) -> None:
    service = msgspec.json.decode(path.read_bytes(), type=Service)
    assert [wrong for program in service.programs.values() for wrong in dangling(program)] == []


def program(*operations: Operation, blocks: tuple[Block, ...] = (ONE,)) -> Program:
    known = {"f": Component("f", "python", "f", (), Text())}
    return Program("p", (), Text(), (Constant(0), *operations), len(operations), known, blocks)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (program(Not(1)), "operations, operation 1, reads what is not before it"),
        (program(Not(-1)), "operations, operation 1, reads what is not before it"),
        (program(Attempt(0, (), awaits=(9,))), "operations, operation 1, reads what is not before it"),
        (program(Each(1, (0,), ())), "operations, operation 1, runs a block that is not there"),
        (program(Call("g", (), ())), "operations, operation 1, calls `g`, which is no component"),
        (program(Call("f", ("a",), ())), "operations, operation 1, has not as many names as values"),
        (program(MakeRecord((), (0,))), "operations, operation 1, has not as many names as values"),
        (program(Repeat(0, (), 0, 101)), "operations, operation 1, runs 101 rounds"),
        (program(Output(0, 0)), "operations, operation 1, reads the rounds of what has none"),
        (
            program(Attempt(0, ()), blocks=(Block(ONE.operations, (0, 0)),)),
            "operations, operation 1, runs a block of several results",
        ),
        (program(blocks=(Block((), (0,)),)), "a result of blocks[0] is no operation"),
        (msgspec.structs.replace(program(), result=7), "a result of operations is no operation"),
    ],
)
def test_what_is_named_and_not_there_is_said(wrong: Program, said: str) -> None:
    assert list(dangling(wrong)) == [said]
