"""Code frames, as they are printed."""

import pytest

from harmonia_compiler.diagnostics import render as render_module
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Note
from harmonia_compiler.diagnostics.keys import Masked
from harmonia_compiler.diagnostics.render import as_object, count, render
from harmonia_compiler.diagnostics.source import Source, Span

TEXT = 'first = "x"\n\tsecond = 日本(first)\nthird = 3\nfourth = second\n'
SOURCE = Source("a.rag", TEXT)


def span(part: str, source: Source = SOURCE) -> Span:
    start = source.text.index(part)
    return Span(source, start, start + len(part))


def test_a_frame_has_the_message_the_place_the_line_and_one_help() -> None:
    item = Diagnostic("E0203", "unknown name `third`", span("third"), "did you mean `fourth`?")
    assert render(item) == (
        "error[E0203]: unknown name `third`\n"
        " --> a.rag:3:1\n"
        "  |\n"
        "3 | third = 3\n"
        "  | ^^^^^\n"
        "  = help: did you mean `fourth`?\n"
    )


def test_notes_of_the_same_file_share_the_frame() -> None:
    item = Diagnostic("W0202", "twice", span("fourth"), notes=(Note(span("first"), "here first"),))
    assert render(item) == (
        "warning[W0202]: twice\n"
        " --> a.rag:4:1\n"
        "  |\n"
        '1 | first = "x"\n'
        "  | ----- here first\n"
        "...\n"
        "4 | fourth = second\n"
        "  | ^^^^^^\n"
    )


def test_notes_of_another_file_have_a_frame_of_their_own() -> None:
    other = Source("b.rag", "\n" * 11 + "there")
    item = Diagnostic("E0204", "twice", span("first"), notes=(Note(span("there", other), "declared here"),))
    assert render(item) == (
        "error[E0204]: twice\n"
        "  --> a.rag:1:1\n"
        "   |\n"
        ' 1 | first = "x"\n'
        "   | ^^^^^\n"
        "  ::: b.rag:12:1\n"
        "   |\n"
        "12 | there\n"
        "   | ----- declared here\n"
    )


def test_marks_stand_under_what_they_mark_behind_tabs_and_wide_letters() -> None:
    marked = render(Diagnostic("E0101", "here", span("(first)"))).split("\n")
    assert marked[3] == "2 |     second = 日本(first)"
    assert marked[4] == "  |                  ^^^^^^^"


def test_an_end_of_line_can_be_marked() -> None:
    end = TEXT.index("\n")
    assert render(Diagnostic("E0101", "here", Span(SOURCE, end, end))).split("\n")[4] == "  |            ^"
    empty = Source("a.rag", "")
    assert " --> a.rag:1:1" in render(Diagnostic("E0101", "here", Span(empty, 0, 0)))


def test_a_span_over_lines_is_marked_to_the_end_of_its_first() -> None:
    assert render(Diagnostic("E0101", "here", Span(SOURCE, 8, 30))).split("\n")[4] == "  |         ^^^"


def test_a_long_line_is_cut_around_what_is_marked() -> None:
    long = Source("a.rag", "x" * 1000 + "HERE" + "y" * 1000)
    frame = render(Diagnostic("E0101", "here", span("HERE", long))).split("\n")
    assert max(map(len, frame)) < 160
    assert frame[3].index("HERE") == frame[4].index("^^^^")


def test_a_line_of_many_findings_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time takes as long as the line is, which may be all of a file."""
    looked: list[str] = []

    class Counted(Masked):
        def __init__(self, text: str) -> None:
            looked.append(text)
            super().__init__(text)

    monkeypatch.setattr(render_module, "Masked", Counted)
    source = Source("a.rag", "a first line\n" + "many " * 50)
    for at in range(50):
        render(Diagnostic("E0101", "wrong", Span(source, 13 + 5 * at, 17 + 5 * at)))
    assert looked == [source.line(2)]


def test_control_characters_never_reach_the_terminal() -> None:
    evil = Source("a\x1b[2J.rag", "a\x1b[31mb\x9b \u202e")
    shown = render(Diagnostic("E0105", "un\x1bexpected", span("b", evil), "he\x07lp"))
    assert not any(letter < " " and letter != "\n" for letter in shown)
    assert "\x9b" not in shown
    assert "\u202e" not in shown


def test_a_finding_without_a_place_is_message_and_help() -> None:
    assert (
        render(Diagnostic("E0609", "no such setting", help="check"))
        == "error[E0609]: no such setting\n  = help: check\n"
    )


def test_colour_adds_escapes_and_nothing_else() -> None:
    item = Diagnostic("E0203", "unknown", span("third"), "help", (Note(span("first"), "note"),))
    coloured = render(item, colour=True)
    assert "\x1b[31m" in coloured
    for code in (0, 1, 31, 33, 34, 36):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == render(item)


def test_the_object_counts_from_one_and_has_exclusive_ends() -> None:
    item = Diagnostic("E0203", "unknown", span("third"), "help", (Note(span("first"), "note"),))
    assert as_object(item) == {
        "code": "E0203",
        "severity": "error",
        "message": "unknown",
        "help": "help",
        "notes": [{"message": "note", "file": "a.rag", "line": 1, "column": 1, "end_line": 1, "end_column": 6}],
        "file": "a.rag",
        "line": 3,
        "column": 1,
        "end_line": 3,
        "end_column": 6,
    }


def test_counts() -> None:
    error, warning = Diagnostic("E0101", "x"), Diagnostic("W0202", "y")
    assert count([]) == "no errors"
    assert count([error]) == "1 error"
    assert count([error, error, warning]) == "2 errors and 1 warning"


def test_lines_of_windows_end_without_a_mark() -> None:
    source = Source("a.rag", "first = 1\r\nsecond = 2\r\n")
    assert render(Diagnostic("E0101", "here", span("= 2", source))) == (
        "error[E0101]: here\n --> a.rag:2:8\n  |\n2 | second = 2\n  |        ^^^\n"
    )
    end = Span(source, 9, 11)
    assert render(Diagnostic("E0101", "here", end)).endswith("1 | first = 1\n  |          ^\n")
