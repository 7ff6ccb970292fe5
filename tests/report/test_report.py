"""The report as a document, as text and as a page: the same figures, and nothing that a service says does harm."""

from xml.etree import ElementTree as ET

import msgspec
import pytest
from selectolax.lexbor import LexborHTMLParser

from harmonia_compiler.report.building import measured
from harmonia_compiler.report.chart import Line, bars, lines
from harmonia_compiler.report.document import Decision, EngineUse, Machine, Report, encode_report
from harmonia_compiler.report.measures import Window, distribution
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.report.page import as_page
from harmonia_compiler.report.text import as_text
from tests.report.made import seen, small_report


def full_report() -> Report:
    """With what a rehearsal adds."""
    return msgspec.structs.replace(
        small_report(),
        engines=(EngineUse("llm", 2, 0.63), EngineUse("<script>alert(1)</script>", 1, 1.7)),
        cost_per_hour=4.5,
        decisions=(Decision(3000.0, "llm: 2 replicas", "a queue of 14"),),
        machine=Machine(3.0, distribution([0.1, 0.2, 9.0]), 0.95, 0.71, is_limit=True),
    )


def test_text() -> None:
    assert as_text(small_report()) == TEXT


def test_text_of_what_a_rehearsal_adds() -> None:
    text = as_text(full_report())
    assert "3 s  llm: 2 replicas  a queue of 14" in " ".join(text.split("\n")).replace("   ", "  ")
    assert "The hosts cost 4.5 an hour." in text
    assert "All times were stretched by 3 for this machine's sake" in text
    assert "This machine: 0.95 cores measuring, 71.0% busy in all, late by 0.2 ms at p50 and 8.82 ms at p99." in text
    assert "This machine was the limit" in text


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


def test_ticks_add_up_to_the_whole() -> None:
    report = small_report()
    of_pipelines = [group.figures for group in report.groups if group.request_class is None]
    assert sum(tick.arrived for tick in report.ticks) == sum(found.requests for found in of_pipelines)
    answered = sum(found.throughput_rps for found in of_pipelines) * 10.0
    assert sum(tick.answered for tick in report.ticks) == round(answered)
    assert len(report.ticks) * report.tick_ms == 10_000.0


@pytest.mark.parametrize("seconds", [0.05, 1.0, 119.9, 7200.0, 700_000.0])
def test_any_length_of_run_has_a_readable_number_of_ticks(seconds: float) -> None:
    report = measured("simulation", "x", [seen(0.0, 5.0)], Window(0.0, seconds * 1000.0), {}, {})
    assert 1 <= len(report.ticks) <= 120


def test_figures_that_mislead_say_so() -> None:
    lost = [seen(10.0 * at, 5.0, Outcome.FAILED if at % 2 else Outcome.CANCELLED) for at in range(20)]
    notes = measured("simulation", "x", lost, Window(0.0, 1000.0), {}, {}).notes
    assert [note.split(": ")[1].split(";")[0] for note in notes] == [
        "10 of 20 requests had no answer yet when the run was ended",
        "50% of the requests had no answer",
        "20 requests are too few for high percentiles.",
    ]


def test_an_empty_run_is_a_report() -> None:
    report = measured("simulation", "x", [], Window(0.0, 1000.0), {}, {})
    assert "Figures are of 1 s" in as_text(report)
    assert "<html" in as_page(report)


def test_the_page_shows_the_tables_and_charts_and_loads_nothing() -> None:
    page = as_page(full_report())
    tree = LexborHTMLParser(page)
    assert [node.text() for node in tree.css("h2")] == [
        "What came of the requests",
        "How long they took",
        "What was promised",
        "Why there was no answer",
        "Where the time went",
        "How busy the engines were",
        "What the controller did",
        "How it was run",
    ]
    assert [node.text() for node in tree.css("figcaption")] == [
        "Latency of answered requests",
        "Requests over time",
        "Latency over time, by arrival",
        "How busy the engines were",
    ]
    assert tree.css("script, link, img, iframe") == []
    assert "url(" not in page
    assert "http" not in page.replace("http://there", "")
    assert "&lt;script&gt;alert(1)" in page
    assert "502 &lt;b&gt;odd&lt;/b&gt;" in page


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


TEXT = """\
                                 What came of the requests

  pipeline   requests   offered   answered   in time   attained   refused   failed   late
 ─────────────────────────────────────────────────────────────────────────────────────────
  p                18     1.8/s        2/s       2/s      88.9%         1        1      0
  q                 3     0.3/s      0.3/s     0.2/s      66.7%         0        0      0
  q/-               2     0.2/s      0.2/s     0.1/s      50.0%         0        0      0
  q/urgent          1     0.1/s      0.1/s     0.1/s       100%         0        0      0

                                  How long they took

  pipeline   time           mean      p50      p90      p95      p99      max   p95 ±
 ─────────────────────────────────────────────────────────────────────────────────────
  p          latency      215 ms   215 ms   275 ms   282 ms   288 ms   290 ms
  q          latency      500 ms   400 ms   720 ms   760 ms   792 ms   800 ms
  q          first text   150 ms   150 ms   190 ms   195 ms   199 ms   200 ms
  q          each token   100 ms   100 ms   100 ms   100 ms   100 ms   100 ms
  q/-        latency      600 ms   600 ms   760 ms   780 ms   796 ms   800 ms
  q/-        first text   150 ms   150 ms   190 ms   195 ms   199 ms   200 ms
  q/-        each token   100 ms   100 ms   100 ms   100 ms   100 ms   100 ms
  q/urgent   latency      300 ms   300 ms   300 ms   300 ms   300 ms   300 ms

                   What was promised

  pipeline   objective               within   verdict
 ─────────────────────────────────────────────────────
  p          p95 latency <= 250 ms    66.7%    missed
  q          p50 ttft <= 150 ms       33.3%    missed

                Why there was no answer

  pipeline   outcome   reason                requests
 ─────────────────────────────────────────────────────
  p          failed    502 <b>odd</b> [31m          1
  p          refused   503 queue_full               1

                                    Where the time went

  pipeline   component   calls per request   waits p50   waits p95   takes p50   takes p95
 ──────────────────────────────────────────────────────────────────────────────────────────
  q          grade                   0.667        2 ms      2.9 ms       30 ms       39 ms

Figures are of 10 s, from 2 s on.
p: 11% of the requests had no answer; percentiles are of answered requests alone. Attainment counts all.
p: 18 requests are too few for high percentiles.
q: 3 requests are too few for high percentiles.
"""
