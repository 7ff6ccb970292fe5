"""Each format to text with its structure, and each way in which a file is no document."""

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from harmonia_compiler.ingest import apart, documents
from harmonia_compiler.ingest.documents import SUFFIXES, Unreadable, load


def pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(612, 792)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        content = DecodedStreamObject()
        lines = "".join(f"({line}) Tj 0 -14 Td " for line in text.splitlines())
        content.set_data(f"BT /F1 12 Tf 72 720 Td {lines}ET".encode("latin-1"))
        page[NameObject("/Contents")] = writer._add_object(content)
    if title:
        writer.add_metadata({"/Title": title})
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def test_markdown_keeps_its_text_and_takes_its_title_from_front_matter() -> None:
    document = load("a/guide.md", b'---\ntitle: "The Guide"\ntags: [x]\n---\n# One\n\ntext\n')
    assert (document.title, document.text, document.markdown) == ("The Guide", "# One\n\ntext", True)


def test_title_is_the_file_name_where_nothing_else_is_said() -> None:
    assert load("a/first-steps.md", b"text").title == "first-steps"
    assert load("notes.txt", b"text").title == "notes"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("grün".encode(), "grün"),
        ("grün".encode("utf-8-sig"), "grün"),
        ("grün".encode("utf-16"), "grün"),
        ("grün".encode("utf-32"), "grün"),
        ("grün – “x”".encode("cp1252"), "grün – “x”"),
        (b"\x81\x8d", "\x81\x8d"),
        (b"one\r\ntwo\rthree", "one\ntwo\nthree"),
        (b"bell\x07 and \x1b[31mred", "bell  and  [31mred"),
        ("line\u2028end".encode(), "line end"),
        (b"![](data:image/png;base64," + b"Ab1+" * 40 + b") after", "![](data:image/png;base64,) after"),
    ],
)
def test_encodings_and_line_ends(content: bytes, text: str) -> None:
    assert load("a.txt", content).text == text


def test_html_becomes_markdown() -> None:
    page = b"""<!doctype html><html><head><title> The  page </title><style>p {}</style></head><body>
      <nav>menu</nav><main><h1>Top <a class="headerlink" href="#">\xc2\xb6</a></h1>
      <p>One <b>two</b>
         three.<br>Four</p><ul><li>a</li><li>b <code>c</code></li></ul>
      <pre>x = 1
  y = "```"</pre><table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>
      <script>alert(1)</script></main><footer>footer</footer></body></html>"""
    document = load("page.html", page)
    assert document.title == "The page"
    assert document.markdown
    assert document.text == (
        '# Top\n\nOne two three.\nFour\n\n- a\n- b c\n\n````\nx = 1\n  y = "```"\n````\n\nk | v |\n1 | 2 |'
    )


def test_html_in_its_declared_encoding() -> None:
    page = '<meta charset="iso-8859-2"><p>Łódź</p>'.encode("iso-8859-2")
    assert load("page.htm", page).text == "Łódź"
    assert load("page.htm", b'<meta charset="no-such"><p>gr\xfcn</p>').text == "grün"


def test_large_html_is_read_as_small_html_is(monkeypatch: pytest.MonkeyPatch) -> None:
    page = "<title>Łódź</title>" + "<p>Some <b>text</b>.</p>" * 100
    in_place = load("page.html", page.encode())
    monkeypatch.setattr(apart, "_TAGS_IN_PLACE", 100)
    assert load("page.html", page.encode()) == in_place


def test_html_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_SECONDS", 1)
    with pytest.raises(Unreadable, match="takes more than 1 s to parse; its elements may nest too deeply"):
        load("page.html", b"<div>" * 100_000)


def test_pdf_has_its_pages_and_words_that_lines_broke() -> None:
    document = load("paper.pdf", pdf("first hyphen-\nated line", "second page", title="A Paper"))
    assert document.title == "A Paper"
    assert "hyphenated" in document.text
    assert "second page" in document.text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.md", b"\x89PNG\x00", "binary"),
        ("a.pdf", b"no pdf at all", "not a PDF"),
        ("a.pdf", pdf("text")[:200], "not a PDF"),
        ("a.pdf", pdf("text", password="secret"), "encrypted"),
    ],
)
def test_unreadable(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        load(name, content)


def test_text_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_CHARACTERS", 10)
    with pytest.raises(Unreadable, match="more than 10 characters"):
        load("a.txt", b"x" * 11)
    with pytest.raises(Unreadable, match="more than 10 characters"):
        load("a.pdf", pdf("a long first page", "a second"))


def test_pdf_for_passwords_that_are_empty() -> None:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf("open text"))))
    writer.encrypt("", "owner", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    assert "open text" in load("a.pdf", out.getvalue()).text


@settings(deadline=None)
@given(st.sampled_from(sorted(SUFFIXES)), st.binary(max_size=400))
def test_any_bytes_are_a_document_or_unreadable(suffix: str, content: bytes) -> None:
    try:
        document = load(f"a{suffix}", content)
    except Unreadable:
        return
    document.text.encode()
    assert "\r" not in document.text


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("<>/ab \n&;\"'=-!`h1pretdul"), max_size=200))
def test_any_markup_is_html(source: str) -> None:
    assert load("a.html", source.encode()) == load("a.html", source.encode())
