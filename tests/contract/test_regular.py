"""Files that people name are read where they are regular and small enough; nothing is waited for."""

import errno
import os
import stat
from pathlib import Path

import pytest

from harmonia_compiler.contract.regular import read_regular, read_text, write_whole, writing_whole


def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    assert read_regular(path, 1000) == b"x" * 1000
    with pytest.raises(OSError, match="it is larger than 999 bytes") as refused:
        read_regular(path, 999)
    assert refused.value.errno == errno.EFBIG
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(OSError, match="it is larger than 1 MiB"):
        read_regular(path, 1 << 20)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 10) == b"text"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for path, why in (
        (tmp_path / "pipe", "it is not a regular file"),
        (Path("/dev/zero"), "it is not a regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "none", "No such file"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
    ):
        with pytest.raises(OSError, match=why):
            read_regular(path, 10)


def test_a_text_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbfpl\xc3\xa4ne\r\n")
    assert read_text(path) == "pläne\r\n"
    path.write_bytes(b"pl\xe4ne")
    with pytest.raises(OSError, match="it is not UTF-8 text") as refused:
        read_text(path)
    assert refused.value.errno == errno.EILSEQ


def test_a_file_that_is_written_has_its_mode_and_nothing_that_takes_its_place_has(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch(mode=0o600)
    write_whole(tmp_path / "file", b"text", 0o640)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    with writing_whole(tmp_path / "file", 0o644):
        (beside,) = tmp_path.glob(".file.*")
        beside.unlink()
        beside.symlink_to(other)
    assert stat.S_IMODE(other.stat().st_mode) == 0o600
