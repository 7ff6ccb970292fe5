"""Keys and passwords in what is shown: nobody's log has them, and what is marked stays marked."""

import json

import pytest

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Note
from harmonia_compiler.diagnostics.keys import leak, masked
from harmonia_compiler.diagnostics.render import as_object, render
from harmonia_compiler.diagnostics.source import Source, Span

#: Like keys, and none: no file may hold one, this one included.
KEY, OTHER = "sk-proj-" + "a1" * 10, "AKIA" + "B2" * 8
URL = "https://me:" + "hunter2" + "@host/x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"there is no file `{KEY}.rag`", "there is no file `sk-pro….rag`"),
        (f"{KEY} and {OTHER}, {KEY}", "sk-pro… and AKIAB2…, sk-pro…"),
        (f"`{URL}` is no name", "`https://me:…@host/x` is no name"),
        (rf'"\n{KEY}\t"', r'"\nsk-pro…\t"'),
        (f'"{KEY[:20]}..." is no name', '"sk-pro…" is no name'),
        (f'"{KEY[:12]}…" is no name', '"sk-pro……" is no name'),
        ("sk-pro…, sk-a..., AKIAB2…", "sk-pro…, sk-a..., AKIAB2…"),
        (f"`/home/{KEY}/p.rag` is not there", None),
        (f"start it with `harmoniac up {KEY}`", None),
        (f"`{KEY}` is no name; start it with `harmoniac up b`", "`sk-pro…` is no name; start it with `harmoniac up b`"),
        ("https://me:p@ss@host/x", "https://me:…@host/x"),
        (f"`https://host/v1?x=1&access_token={'0a' * 16}&y`", "`https://host/v1?x=1&access_token=0a0a0a…&y`"),
        (f"https://host?apiKey={'0a' * 16}", "https://host?apiKey=0a0a0a…"),
        ("https://host?api_key=of-words-and-no-digit&token=abc, https://host?page=0123456789abcdef0123", None),
        ("`https://me:hun/ter@2@host:80/x` is no name", "`https://me:…@host:80/x` is no name"),
        ("postgres://u:pa@ss/w?d#@h/db, or http://a:b@c", "postgres://u:…@h/db, or http://a:…@c"),
        ('"http://a:b/c@d", "e@f"', '"http://a:…@d", "e@f"'),
        (f"https://me:{'p' * 600}@host/x, https://me:pa`ss@host", "https://me:…@host/x, https://me:…@host"),
        (
            "https://me@corp.com:hunter2@host/x, https://me@corp.com:80/x@y",
            "https://me@corp.com:…@host/x, https://me@corp.com:80/x@y",
        ),
        ("https://host:80/p@q, https://[::1]:80/p@q, https://host/x?mail=a:b@c", None),
        ("sk-learn-docs-2024-and-more, rk-live-release-notes-2024-01, hf_hub-of-v2-things-2024", None),
        ("risk-of-a-thing-2024-01-01, sk-of-words-and-no-digit, http://host:80/x", None),
    ],
)
def test_of_a_key_its_first_letters_are_shown_and_of_a_password_none(text: str, shown: str | None) -> None:
    assert masked(text) == (text if shown is None else shown)


def test_what_is_refused_is_what_is_hidden() -> None:
    slashes = "https://me:" + "hun/ter@2" + "@host/x"
    long = "https://me:" + "h" * 600 + "@host/x"
    for text in (
        KEY,
        OTHER,
        f"use {KEY} now",
        URL,
        f"https://h/?a=b&key={'0a' * 16}",
        slashes,
        long,
        "https://me:" + "pa`ss" + "@host",
    ):
        assert leak(text) is not None
        assert masked(text) != text
        assert masked(masked(text)) == masked(text)


def test_a_frame_marks_what_it_marked_where_keys_are_hidden() -> None:
    source = Source("a.rag", f'use("{KEY}", "{URL}", last)\n')

    def marked(part: str) -> str:
        """What is marked of the line that is shown, where a part of the source is."""
        start = source.text.index(part)
        line, marks = render(Diagnostic("E0606", "here", Span(source, start, start + len(part)))).split("\n")[3:5]
        assert line == '1 | use("sk-pro…", "https://me:…@host/x", last)'
        return line[marks.index("^") : marks.rindex("^") + 1]

    assert [marked(part) for part in ("use", f'"{KEY}"', KEY[3:], "a1", "hunter", URL, "last")] == [
        "use",
        '"sk-pro…"',
        "pro…",
        "…",
        "…",
        "https://me:…@host/x",
        "last",
    ]


def test_a_key_is_not_shown_where_a_long_line_is_cut() -> None:
    source = Source("a.rag", f"{'x' * 1000} {KEY}{' ' * 50}HERE {' ' * 70}{KEY} {'y' * 100}")
    start = source.text.index("HERE")
    frame = render(Diagnostic("E0606", "here", Span(source, start, start + 4)))
    assert "a1a1" not in frame
    assert frame.split("\n")[3].index("HERE") == frame.split("\n")[4].index("^^^^")


def test_no_part_of_a_finding_but_its_place_shows_a_key() -> None:
    source, other = Source(f"{KEY}.rag", f'"{KEY}"'), Source("b.rag", f"{KEY}")
    notes = (Note(Span(source, 0, 1), f"as `{KEY}`"), Note(Span(other, 0, 4), f"and `{KEY}`"))
    item = Diagnostic("E0114", f"no `{KEY}`", Span(source, 0, 3), f"take `{KEY}`", notes)
    assert render(item) == (
        "error[E0114]: no `sk-pro…`\n"
        f" --> {KEY}.rag:1:1\n"
        "  |\n"
        '1 | "sk-pro…"\n'
        "  | ^^^\n"
        "  | - as `sk-pro…`\n"
        " ::: b.rag:1:1\n"
        "  |\n"
        "1 | sk-pro…\n"
        "  | ---- and `sk-pro…`\n"
        "  = help: take `sk-pro…`\n"
    )
    document = as_object(item)
    assert "a1a1" not in json.dumps({**document, "file": ""}).replace(f"{KEY}.rag", "")
    assert [document["message"], document["help"], document["file"], document["end_column"]] == [
        "no `sk-pro…`",
        "take `sk-pro…`",
        f"{KEY}.rag",
        4,
    ]
