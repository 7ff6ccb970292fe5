"""What people and programs read of a report, whole: one with everything that a report may hold.

A golden that changes is read line by line before it is blessed; how its figures follow is said beside `full_report`.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from harmonia_compiler.contract.document import encode_document
from harmonia_compiler.report.chart import STYLE, Line, bars, lines, picture
from harmonia_compiler.report.document import Machine, encode_report
from harmonia_compiler.report.page import PAGE_STYLE, as_page
from harmonia_compiler.report.text import as_text
from tests.report.made import full_report

HERE = Path(__file__).parent / "shown"


def elements(page: str) -> str:
    """A page or a picture as a line for each element, without its styles, which are beside the point."""
    return page.replace(PAGE_STYLE, "").replace("><", ">\n<")


def test_report(golden: Callable[[Path, dict[str, str]], None]) -> None:
    drawn = [
        Line("falls & rises", [(0.0, 50.0), (10.0, 0.0), (20.0, 1234.0)]),
        Line("<flat>", [(5.0, 1000.0)]),
        *(Line(str(number), []) for number in range(2, 7)),
    ]
    logarithmic = [Line("l", [(0.0, 3.0), (10.0, 0.0), (100.0, 0.5), (10_000.0, 1.0)])]
    golden(
        HERE,
        {
            "report.txt": as_text(full_report()),
            "report.json": encode_report(full_report()).decode(),
            "report.html": elements(as_page(full_report())),
            "charts.txt": elements(
                picture("a & b", "x <s>", "y <s>", *drawn).replace(STYLE, "")
                + lines('t "q"', "ms", "%", logarithmic, logarithmic=True)
                + bars("busy", [("half", 0.5), ("<over>", 1.7), ("under", -0.5)])
            ),
        },
    )


def test_text_of_a_machine_that_is_no_limit() -> None:
    """Each word about the machine and the run that a report may be without."""
    plain = msgspec.structs.replace(
        full_report(), cost_per_hour=None, decisions=(), notes=(), machine=Machine(1.0, None, 0.1, 0.95, is_limit=False)
    )
    said = as_text(plain).split("the end   rank-1    dies\n\n")[1]
    how, _, said = said.partition("\n")
    assert how == "How it was run: " + "; ".join(f"{name} {value}" for name, value in plain.settings.items()) + "."
    assert said == (
        "Figures are of 400 ms, from 100 ms on.\n"
        "No time was stretched: the factor is 1.\n"
        "This machine: 0.10 cores measuring, 95.0% busy in all.\n"
        "Nearly all of this machine was busy. Where the service does not run here too, measure from another one.\n"
        "No controller acted: replicas and their settings stayed as planned.\n"
    )
    measurement = msgspec.structs.replace(plain, kind="measurement", machine=None)
    assert as_text(measurement).endswith(f"dies\n\n{how}\nFigures are of 400 ms, from 100 ms on.\n")
    assert encode_document(measurement).endswith(b"}\n")
