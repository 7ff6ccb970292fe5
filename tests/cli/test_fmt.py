"""`harmoniac fmt`: what it writes, what it leaves alone, and how it ends."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE, USAGE
from harmonia_compiler.cli.main import run

CROOKED = "# kept\ncomponent  a=llm( 'm' )\n".replace("'", '"')
STRAIGHT = '# kept\ncomponent a = llm("m")\n'
BROKEN = "component a = llm(\n"
HARMONIAC = Path(sys.executable).parent / "harmoniac"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("crooked.rag", CROOKED), ("straight.rag", STRAIGHT), ("broken.rag", BROKEN)):
        Path(name).write_text(text, encoding="utf-8")


def filtered(data: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([HARMONIAC, "fmt", "-", *options], input=data, capture_output=True, check=False)


def test_files_are_written_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", "crooked.rag", "straight.rag"]) == FINE
    assert capsys.readouterr() == ("crooked.rag: formatted\n", "")
    assert Path("crooked.rag").read_text(encoding="utf-8") == STRAIGHT
    assert run(["fmt", "crooked.rag", "straight.rag"]) == FINE
    assert capsys.readouterr() == ("", "")


def test_checking_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fmt", "--check", "straight.rag"]) == FINE
    assert run(["fmt", "--check", "crooked.rag", "straight.rag"]) == DIAGNOSTICS
    assert capsys.readouterr() == ("crooked.rag: would be formatted\n", "")
    assert Path("crooked.rag").read_text(encoding="utf-8") == CROOKED


def test_a_difference_can_be_applied(capsys: pytest.CaptureFixture[str]) -> None:
    for text in (CROOKED, CROOKED.rstrip("\n")):
        Path("crooked.rag").write_text(text, encoding="utf-8")
        assert run(["fmt", "--diff", "crooked.rag", "straight.rag"]) == DIAGNOSTICS
        difference = capsys.readouterr().out
        assert difference.startswith("--- crooked.rag\n+++ crooked.rag\n@@ -1,2 +1,2 @@\n # kept\n-component  a=llm(")
        assert Path("crooked.rag").read_text(encoding="utf-8") == text
        subprocess.run(["git", "apply", "-p0", "-"], input=difference.encode(), check=True)
        assert Path("crooked.rag").read_text(encoding="utf-8") == STRAIGHT
    assert run(["fmt", "--diff", "straight.rag"]) == FINE
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("end", ["\u2028", "\x0c", "\x85", "\r"], ids=ascii)
def test_a_difference_can_be_applied_where_other_ends_of_lines_stand(
    end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("crooked.rag").write_text(f"# a{end}b\n{CROOKED}", encoding="utf-8", newline="")
    run(["fmt", "--diff", "crooked.rag"])
    difference = capsys.readouterr().out
    subprocess.run(["git", "apply", "-p0", "-"], input=difference.encode(), check=True)
    patched = Path("crooked.rag").read_bytes()
    assert run(["fmt", "--check", "crooked.rag"]) == FINE
    assert f"# a{end}b\n".encode() in patched


def test_what_cannot_be_read_whole_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("latin.rag").write_bytes(b"# \xe9\n")
    assert run(["fmt", "broken.rag", "latin.rag", "missing.rag", "crooked.rag"]) == DIAGNOSTICS
    out, err = capsys.readouterr()
    assert out == "crooked.rag: formatted\n"
    assert [code for code in ("E0102", "E0109", "E0114") if f"error[{code}]" in err] == ["E0102", "E0109", "E0114"]
    assert Path("broken.rag").read_text(encoding="utf-8") == BROKEN
    assert Path("latin.rag").read_bytes() == b"# \xe9\n"


def test_standard_input_goes_to_standard_output() -> None:
    done = filtered(CROOKED.encode())
    assert (done.returncode, done.stdout, done.stderr) == (FINE, STRAIGHT.encode(), b"")
    done = filtered(STRAIGHT.encode(), "--check")
    assert (done.returncode, done.stdout) == (FINE, b"")
    done = filtered(CROOKED.encode(), "--check")
    assert (done.returncode, done.stdout) == (DIAGNOSTICS, b"<stdin>: would be formatted\n")
    done = filtered(CROOKED.encode(), "--diff")
    assert done.stdout.startswith(b"--- <stdin>\n")
    for data, code in ((BROKEN.encode(), b"E0102"), (b"\xff", b"E0109"), (b"#" * (2**20 + 1), b"E0108")):
        done = filtered(data)
        assert (done.returncode, done.stdout) == (DIAGNOSTICS, b"")
        assert code in done.stderr
    assert run(["fmt", "-", "crooked.rag"]) == USAGE
    assert run(["fmt"]) == USAGE


def test_mode_and_link_stay_and_nothing_is_left_behind() -> None:
    Path("crooked.rag").chmod(0o640)
    Path("link.rag").symlink_to("crooked.rag")
    assert run(["fmt", "link.rag"]) == FINE
    assert Path("link.rag").is_symlink()
    assert Path("crooked.rag").read_text(encoding="utf-8") == STRAIGHT
    assert stat.S_IMODE(Path("crooked.rag").stat().st_mode) == 0o640
    left = sorted(path.name for path in Path.cwd().iterdir())
    assert left == ["broken.rag", "crooked.rag", "link.rag", "straight.rag"]


def test_a_file_with_two_names_keeps_both() -> None:
    Path("other.rag").hardlink_to("crooked.rag")
    assert run(["fmt", "crooked.rag"]) == FINE
    assert Path("other.rag").samefile("crooked.rag")
    assert Path("other.rag").read_text(encoding="utf-8") == STRAIGHT


@pytest.mark.parametrize("text", [STRAIGHT, CROOKED])
def test_a_byte_order_mark_goes_and_is_a_change(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    marked = Path("marked.rag")
    marked.write_text("\ufeff" + text, encoding="utf-8")
    assert run(["fmt", "--check", "marked.rag"]) == DIAGNOSTICS
    assert run(["fmt", "--diff", "marked.rag"]) == DIAGNOSTICS
    difference = capsys.readouterr().out.split("\n", maxsplit=1)[1]
    subprocess.run(["git", "apply", "--check", "-p0", "-"], input=difference.encode(), check=True)
    assert run(["fmt", "marked.rag"]) == FINE
    assert capsys.readouterr().out == "marked.rag: formatted\n"
    assert marked.read_bytes() == STRAIGHT.encode()
    assert filtered(b"\xef\xbb\xbf" + text.encode()).stdout == STRAIGHT.encode()
    assert run(["fmt", "--check", "marked.rag"]) == FINE


@pytest.mark.skipif(os.geteuid() == 0, reason="no folder refuses root")
def test_a_folder_that_refuses_is_a_diagnostic(capsys: pytest.CaptureFixture[str]) -> None:
    Path("closed").mkdir()
    Path("closed/crooked.rag").write_text(CROOKED, encoding="utf-8")
    Path("closed").chmod(0o500)
    try:
        code = run(["fmt", "closed/crooked.rag"])
    finally:
        Path("closed").chmod(0o700)
    assert code == DIAGNOSTICS
    assert "E1133" in capsys.readouterr().err
    assert Path("closed/crooked.rag").read_text(encoding="utf-8") == CROOKED


def test_a_file_may_lie_anywhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "crooked.rag"
    elsewhere.write_text(CROOKED, encoding="utf-8")
    assert run(["fmt", str(elsewhere), "straight.rag"]) == FINE
    assert elsewhere.read_text(encoding="utf-8") == STRAIGHT
