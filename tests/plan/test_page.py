"""A plan as a page: everything that is printed, a picture of each pipeline, and nothing that asks the network."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harmonia_compiler.cli.exits import FINE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.cli.plan_graph import drawn
from harmonia_compiler.flow.picture import Arrow, Box, Picture

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
LAPTOP = ["--inventory", str(SAMPLES / "inventories" / "laptop.toml")]


class Page(HTMLParser):
    """The texts of a page, and whether its elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.opened: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "rect", "line", "path", "circle", "polyline"):
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "rect", "line", "path", "circle", "polyline"):
            assert self.opened.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_says_what_is_printed_and_draws_the_pipeline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "plan.html"
    assert run(["plan", str(SAMPLES / "corrective.rag"), *LAPTOP, "--html", str(page)]) == FINE
    printed = capsys.readouterr().out
    text = page.read_text()
    read = Page(text)
    assert read.opened == []
    for title in ("What runs where", "What to expect", "Engines at those rates", "Memory of each replica"):
        assert title in printed
        assert title in read.texts
    for shown in ("rerank-0", "How busy each engine is", "What the plan takes of the inventory", "corrective"):
        assert shown in read.texts
    # A box for each call, by name and kind.
    assert any("rerank" in one for one in read.texts)
    assert not re.findall(r"https?://|<script|<link|@import|url\((?!#)", text)


def test_a_box_stands_below_those_that_it_reads() -> None:
    boxes = tuple(Box(name, "call", (name,)) for name in ("a", "b", "c"))
    shown = drawn(Picture("p", boxes, (Arrow("a", "b", "<yes>"), Arrow("b", "c"), Arrow("c", "a", is_dashed=True))))
    tops = [float(top) for top in re.findall(r'<rect x="[0-9.]+" y="([0-9.]+)"', shown)]
    assert tops == sorted(tops)
    assert len(set(tops)) == 3
    assert "&lt;yes&gt;" in shown
    assert shown.count("dashed") == 1


def test_a_page_is_of_one_plan() -> None:
    corrective = str(SAMPLES / "corrective.rag")
    assert run(["plan", corrective, *LAPTOP, "--frontier", "--html", "plan.html"]) == USAGE
