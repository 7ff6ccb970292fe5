"""The order of findings, and what becomes of several that are about one thing."""

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Note, in_order
from harmonia_compiler.diagnostics.render import count
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


def test_no_more_are_kept_than_said_and_the_rest_is_counted() -> None:
    findings = Findings(most=2)
    findings.extend([at(0, about=""), at(2, about=""), at(4, about=""), at(6, "W0203", ""), at(8, "E0210", "")])
    assert [item.span and item.span.start for item in findings.items] == [0, 2, 6]
    assert (findings.left_out, findings.failed) == (2, True)
    assert count(findings.items, findings.left_out) == "2 errors and 1 warning, and 2 more that are not shown"


def test_more_places_of_one_mistake_are_no_more_findings() -> None:
    findings = Findings(most=1)
    findings.extend(at(place) for place in range(9))
    findings.extend(at(place, about="a.rag:y") for place in range(9))
    assert (len(findings.items), findings.left_out) == (4, 1)


def test_what_is_taken_back_makes_room_and_is_not_counted() -> None:
    findings = Findings(most=2)
    findings.extend([at(0, about="")])
    mark = findings.mark()
    findings.extend([at(2, about=""), at(4, about=""), at(6, "W0403", "")])
    assert findings.failed_since(mark)
    findings.forget(mark, {"W0403"})
    assert (len(findings.items), findings.left_out) == (2, 1)
    findings.forget(mark)
    assert not findings.failed_since(mark)
    assert (findings.items, findings.left_out) == ([at(0, about="")], 0)
    findings.extend([at(8, about="")])
    assert len(findings.items) == 2
