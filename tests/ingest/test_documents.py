"""Each format to text with its structure, and each way in which a file is no document."""

import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter

from harmonia_compiler.contract.collection import chunker_name
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.ingest import documents
from harmonia_compiler.ingest.apart import HTML, PDF, Apart
from harmonia_compiler.ingest.discover import Found
from harmonia_compiler.ingest.documents import SUFFIXES, Unreadable, load
from harmonia_compiler.ingest.reading import Reader
from tests.ingest.pdfs import pdf, repeating_pdf


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    with closing(Apart()) as process:
        yield process


def test_markdown_keeps_its_text_and_takes_its_title_from_front_matter(apart: Apart) -> None:
    document = load("a/guide.md", b'---\ntitle: "The Guide"\ntags: [x]\n---\n# One\n\ntext\n', apart)
    assert (document.title, document.text, document.markdown) == ("The Guide", "# One\n\ntext", True)


def test_title_is_the_file_name_where_nothing_else_is_said(apart: Apart) -> None:
    assert load("a/first-steps.md", b"text", apart).title == "first-steps"
    assert load("notes.txt", b"text", apart).title == "notes"


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
def test_encodings_and_line_ends(content: bytes, text: str, apart: Apart) -> None:
    assert load("a.txt", content, apart).text == text


def test_html_becomes_markdown(apart: Apart) -> None:
    page = b"""<!doctype html><html><head><title> The  page </title><style>p {}</style></head><body>
      <nav>menu</nav><main><h1>Top <a class="headerlink" href="#">\xc2\xb6</a></h1>
      <p>One <b>two</b>
         three.<br>Four</p><ul><li>a</li><li>b <code>c</code></li></ul>
      <pre>x = 1
  y = "```"</pre><table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>
      <script>alert(1)</script></main><footer>footer</footer></body></html>"""
    document = load("page.html", page, apart)
    assert document.title == "The page"
    assert document.markdown
    assert document.text == (
        '# Top\n\nOne two three.\nFour\n\n- a\n- b c\n\n````\nx = 1\n  y = "```"\n````\n\nk | v |\n1 | 2 |'
    )


def test_html_in_its_declared_encoding(apart: Apart) -> None:
    page = '<meta charset="iso-8859-2"><p>Łódź</p>'.encode("iso-8859-2")
    assert load("page.htm", page, apart).text == "Łódź"
    assert load("page.htm", b'<meta charset="no-such"><p>gr\xfcn</p>', apart).text == "grün"


def test_html_that_takes_too_long_is_given_up(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "HTML", replace(HTML, seconds=1, seconds_per_mib=0))
    with pytest.raises(Unreadable, match="its HTML takes more than 1 s to parse; its elements may nest too deeply"):
        load("page.html", b"<div>" * 100_000, apart)
    assert load("page.html", b"<p>next", apart).text == "next"


@pytest.mark.slow
def test_a_pdf_that_takes_too_long_is_given_up(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    content = repeating_pdf(5_000, 20_000)
    assert len(content) < 2**17
    monkeypatch.setattr(documents, "PDF", replace(PDF, seconds=1, seconds_per_mib=0))
    with pytest.raises(Unreadable, match="its PDF takes more than 1 s to parse; a part of it may take less"):
        load("a.pdf", content, apart)
    assert load("a.pdf", pdf("next"), apart).text == "next"


@pytest.mark.slow
def test_each_file_has_its_own_time(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_s = 2
    monkeypatch.setattr(documents, "PDF", replace(PDF, seconds=limit_s, seconds_per_mib=0))
    content = repeating_pdf(1, 20_000)
    taken_s = 0.0
    while taken_s < limit_s + 1:
        load("a.pdf", content, apart)
        assert apart._process is not None
        taken_s = psutil.Process(apart._process.pid).cpu_times().user


@pytest.mark.slow
def test_what_takes_too_much_memory_is_given_up() -> None:
    with closing(Apart(memory_mib=192)) as small:
        with pytest.raises(Unreadable, match="its PDF takes more than 192 MiB of memory to parse"):
            load("a.pdf", repeating_pdf(1, 300_000), small)
        assert load("a.pdf", pdf("next"), small).text == "next"


def test_one_process_reads_all_files_of_a_run_and_ends_with_it(tmp_path: Path) -> None:
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(pdf(f"text of {name}"))
    (tmp_path / "c.txt").write_text("text")
    found = [Found(path, str(path), path.name) for path in sorted(tmp_path.iterdir())]
    with closing(Reader(chunker_name(64, 8), Findings())) as reader:
        reader.hashes(found)
        assert reader.chunks(found[2], "c.txt")
        assert reader._apart._process is None
        processes: list[subprocess.Popen[bytes] | None] = []
        for file in found[:2]:
            assert reader.chunks(file, file.name)
            processes.append(reader._apart._process)
    assert processes[0] is processes[1]
    assert processes[0] is not None
    assert processes[0].returncode is not None


def test_pdf_has_its_pages_and_words_that_lines_broke(apart: Apart) -> None:
    document = load("paper.pdf", pdf("first hyphen-\nated line", "second page", title="A Paper"), apart)
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
def test_unreadable(name: str, content: bytes, reason: str, apart: Apart) -> None:
    with pytest.raises(Unreadable, match=reason):
        load(name, content, apart)


def test_text_is_bounded(monkeypatch: pytest.MonkeyPatch, apart: Apart) -> None:
    monkeypatch.setattr(documents, "MAX_CHARACTERS", 10)
    with pytest.raises(Unreadable, match="more than 10 characters"):
        load("a.txt", b"x" * 11, apart)
    with pytest.raises(Unreadable, match="more than 10 characters"):
        load("a.pdf", pdf("a long first page", "a second"), apart)


def test_pdf_for_passwords_that_are_empty(apart: Apart) -> None:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf("open text"))))
    writer.encrypt("", "owner", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    assert "open text" in load("a.pdf", out.getvalue(), apart).text


@settings(deadline=None)
@given(st.sampled_from(sorted(SUFFIXES)), st.binary(max_size=400))
def test_any_bytes_are_a_document_or_unreadable(apart: Apart, suffix: str, content: bytes) -> None:
    try:
        document = load(f"a{suffix}", content, apart)
    except Unreadable:
        return
    document.text.encode()
    assert "\r" not in document.text


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("<>/ab \n&;\"'=-!`h1pretdul"), max_size=200))
def test_any_markup_is_html(apart: Apart, source: str) -> None:
    assert load("a.html", source.encode(), apart) == load("a.html", source.encode(), apart)
