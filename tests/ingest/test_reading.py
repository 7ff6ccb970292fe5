"""What is said of files that cannot become passages."""

from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from pypdf import PdfWriter

from harmonia_compiler.contract.collection import chunker_name
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.ingest.discover import Found
from harmonia_compiler.ingest.documents import MAX_BYTES
from harmonia_compiler.ingest.reading import Reader


def test_a_file_that_is_too_large_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as opened:
        opened.truncate(MAX_BYTES + 1)
    findings = Findings()
    assert Reader(chunker_name(64, 8), findings).hashes([Found(path, str(path), "large.txt")]) == {}
    assert [item.code for item in findings.items] == ["E1004"]


def test_a_scan_is_kept_without_passages(tmp_path: Path) -> None:
    written = BytesIO()
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.write(written)
    path = tmp_path / "scan.pdf"
    path.write_bytes(written.getvalue())
    findings = Findings()
    scan = Found(path, str(path), "scan.pdf")
    with closing(Reader(chunker_name(64, 8), findings)) as reader:
        assert list(reader.hashes([scan])) == [str(path)]
        assert reader.chunks(scan, "scan.pdf") == []
    assert [item.code for item in findings.items] == ["W1002"]


def test_what_is_damaged_has_a_next_step(tmp_path: Path) -> None:
    path = tmp_path / "junk.txt"
    path.write_bytes(b"\x00\x01")
    findings = Findings()
    reader = Reader(chunker_name(64, 8), findings)
    junk = Found(path, str(path), "junk.txt")
    reader.hashes([junk])
    assert reader.chunks(junk, "junk.txt") is None
    assert [(item.code, item.help) for item in findings.items] == [
        ("E1003", "replace the file by one that can be read, or remove it")
    ]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, []),
        (1, ["`0.txt` has no text"]),
        (2, ["2 files have no text: `0.txt`, `1.txt`"]),
        (13, ["13 files have no text: " + ", ".join(f"`{number}.txt`" for number in range(10)) + " and 3 more"]),
    ],
)
def test_files_without_text_are_named_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, said: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    findings = Findings()
    reader = Reader(chunker_name(64, 8), findings)
    files = [Found(Path(f"{number}.txt"), str(tmp_path / f"{number}.txt"), f"{number}.txt") for number in range(count)]
    for file in files:
        file.path.write_text(" \n\t" if file.name == "0.txt" else "")
    reader.hashes(files)
    assert [reader.chunks(file, file.name) for file in files] == [[]] * count
    reader.report_empty()
    assert [(item.code, item.message) for item in findings.items] == [("W1002", message) for message in said]
