"""The report as a document, as text and as a page: the same figures, and nothing that a service says does harm."""

from xml.etree import ElementTree as ET

import msgspec
import pytest
from selectolax.lexbor import LexborHTMLParser

from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.report.building import measured
from harmonia_compiler.report.chart import Line, bars, lines
from harmonia_compiler.report.document import Machine, Report, encode_report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.report.page import as_page
from harmonia_compiler.report.text import as_text
from tests.report.made import full_report, seen, small_report


@pytest.mark.parametrize(("busy", "said"), [(0.5, False), (0.95, True)])
def test_a_busy_machine_is_worth_a_word(busy: float, said: bool) -> None:  # noqa: FBT001
    report = msgspec.structs.replace(small_report(), machine=Machine(1.0, None, 0.1, busy, is_limit=False))
    assert ("Nearly all of this machine was busy" in as_text(report)) is said


def test_the_document_is_read_back_as_it_was() -> None:
    raw = encode_report(full_report())
    assert msgspec.json.decode(raw, type=Report) == full_report()
    assert msgspec.json.decode(raw)["format_version"] == 1
    assert raw == encode_report(full_report())


def test_classes_are_groups_of_their_own_where_there_are_several() -> None:
    assert [group.name for group in small_report().groups] == ["p", "q", "q/-", "q/urgent"]


@pytest.mark.parametrize("promised", [True, False])
def test_the_only_class_has_a_group_where_it_has_a_promise_of_its_own(*, promised: bool) -> None:
    observed = [seen(10.0, 5.0, request_class="urgent")]
    objectives = {"p/urgent": [Objective("latency", 0.95, 1000.0)]} if promised else {"p": []}
    groups = measured("simulation", "x", observed, Window(0.0, 1000.0), objectives, {}).groups
    assert [group.name for group in groups] == ["p", "p/urgent"][: 1 + promised]
    assert [kept.met for group in groups for kept in group.figures.kept] == [True] * promised


def test_ticks_add_up_to_the_whole() -> None:
    report = small_report()
    of_pipelines = [group.figures for group in report.groups if group.request_class is None]
    assert sum(tick.arrived for tick in report.ticks) == sum(found.requests for found in of_pipelines)
    answered = sum(found.throughput_rps for found in of_pipelines) * 10.0
    assert sum(tick.answered for tick in report.ticks) == round(answered)
    assert len(report.ticks) * report.tick_ms == 10_000.0


@pytest.mark.parametrize(
    ("seconds", "count", "each_s"),
    [(0.05, 1, 0.1), (12.0, 120, 0.1), (12.1, 61, 0.2), (119.9, 120, 1.0), (7200.0, 120, 60.0), (7e5, 9, 86_400.0)],
)
def test_any_length_of_run_has_a_readable_number_of_ticks(seconds: float, count: int, each_s: float) -> None:
    report = measured("simulation", "x", [seen(0.0, 5.0)], Window(0.0, seconds * 1000.0), {}, {})
    assert (len(report.ticks), report.tick_ms) == (count, each_s * 1000.0)


def test_figures_that_mislead_say_so() -> None:
    lost = [seen(10.0 * at, 5.0, Outcome.FAILED if at % 2 else Outcome.CANCELLED) for at in range(20)]
    notes = measured("simulation", "x", lost, Window(0.0, 1000.0), {}, {}).notes
    assert [note.split(": ")[1].split(";")[0] for note in notes] == [
        "10 of 20 requests had no answer yet when the run was ended",
        "50% of the requests had no answer",
        "20 requests are too few for high percentiles.",
    ]


@pytest.mark.parametrize(("more", "said"), [(1, True), (150, False)])
def test_few_requests_that_a_warm_up_makes_fewer_are_said(more: int, *, said: bool) -> None:
    observed = [seen(0.0, 1.0), *(seen(600.0 + number, 1.0) for number in range(more))]
    notes = measured("simulation", "x", observed, Window(100.0, 1000.0), {}, {}).notes
    note = "p: 1 more came within the warm-up of 100 ms and do not count; with `--warmup 0s` they do."
    assert (note in notes) == said


def test_an_empty_run_is_a_report() -> None:
    report = measured("simulation", "x", [], Window(0.0, 1000.0), {}, {})
    assert "Figures are of 1 s" in as_text(report)
    assert "<html" in as_page(report)


def test_the_page_loads_nothing() -> None:
    page = as_page(full_report())
    assert LexborHTMLParser(page).css("script, link, img, iframe") == []
    assert "url(" not in page
    assert "http" not in page


def test_charts_are_well_formed_and_within_their_frame() -> None:
    drawn = [Line('a<b>"', [(0.0, 0.0), (3.0, 7.0)]), Line("none", [])]
    for svg in (lines("t&t", "x", "y", drawn), lines("t", "x", "y", drawn, logarithmic=True), bars("b", [("n", 2.0)])):
        figure = ET.fromstring(svg)
        frame = [float(number) for number in figure.find("svg").attrib["viewBox"].split()]  # type: ignore[union-attr]
        for polyline in figure.iter("polyline"):
            points = [tuple(map(float, point.split(","))) for point in polyline.attrib["points"].split()]
            assert all(0 <= x <= frame[2] and 0 <= y <= frame[3] for x, y in points)
        assert all(float(bar.attrib["width"]) <= frame[2] for bar in figure.iter("rect"))
    assert lines("t", "x", "y", [Line("none", [])]) == bars("b", []) == ""
