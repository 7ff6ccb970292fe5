"""The order of findings, and what becomes of several that are about one thing."""

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Note, in_order
from harmonia_compiler.diagnostics.source import Source, Span

SOURCE = Source("a.rag", "x x x x x x\n")


def at(place: int, code: str = "E0203", about: str = "a.rag:x") -> Diagnostic:
    return Diagnostic(code, "unknown name `x`", Span(SOURCE, place, place + 1), about=about)


def test_of_findings_about_one_thing_the_first_names_the_places_of_the_next() -> None:
    (found,) = in_order([at(6), at(2), at(0), at(4), at(8)])
    assert found.span == Span(SOURCE, 0, 1)
    assert found.notes == tuple(Note(Span(SOURCE, place, place + 1), "and here") for place in (2, 4, 6))


def test_what_is_about_nothing_or_about_other_things_stays() -> None:
    several = [at(0, about=""), at(2, about=""), at(4, about="a.rag:y"), at(6), at(8, "E0210")]
    assert in_order([several[2], several[4], several[3], several[0], several[1], several[0]]) == several
