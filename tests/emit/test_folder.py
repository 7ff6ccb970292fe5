"""A bundle's folder: where one file has no place, none is written."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread, current_thread

import pytest

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.emit.folder import write_files
from harmonia_compiler.runtime.bundle import is_cut_off, read_local_bundle

from .conftest import Planned, planned


@pytest.mark.parametrize("in_the_way", ["a link", "a file", "a folder"])
def test_a_file_that_has_no_place_leaves_the_others_as_they_were(
    quickstart: Planned, project: Path, tmp_path: Path, in_the_way: str
) -> None:
    out, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    before = quickstart.write(out)
    elsewhere.mkdir()
    (out / "service.json").unlink()
    (out / "service.json").mkdir()
    if in_the_way != "a folder":
        (out / "service.json").rmdir()
        (out / "local/processes.json").unlink()
        (out / "local").rmdir()
        (out / "local").symlink_to(elsewhere) if in_the_way == "a link" else (out / "local").write_text("")
    with pytest.raises(Rejected, match="E0901"):
        planned(project / "app.rag", root=project).write(out)
    assert {name: (out / name).read_text() for name in ("README.md", "bundle.json", "plan.json")} == {
        name: before[name] for name in ("README.md", "bundle.json", "plan.json")
    }
    assert not (out / "code").exists()


@pytest.mark.parametrize("leads_to", ["itself", "nowhere"])
def test_a_link_that_leads_nowhere_is_no_place_for_a_bundle(quickstart: Planned, tmp_path: Path, leads_to: str) -> None:
    (tmp_path / "link").symlink_to("link" if leads_to == "itself" else "absent")
    assert refused(quickstart, tmp_path / "link/bundle") == f"`{tmp_path}/link` cannot be written"


def test_a_link_to_a_folder_is_said_to_be_one(quickstart: Planned, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").write_text("")
    assert refused(quickstart, tmp_path / "link") == f"`{tmp_path}/link` is a link"
    assert refused(quickstart, tmp_path / "file") == f"`{tmp_path}/file` is no folder"


def files_in(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def refused(quickstart: Planned, out: Path, target: str = "local") -> str:
    """What is said; nothing in the folder, and nothing beside it, is another one then."""
    before = files_in(out.parent)
    with pytest.raises(Rejected) as rejected:
        quickstart.write(out, target)
    assert files_in(out.parent) == before
    (found,) = rejected.value.found
    assert found.code == "E0901"
    assert "--out" in found.help
    return found.message


@pytest.mark.parametrize(
    "listing",
    [
        '{"name": "a bundle of another tool"}',
        "no JSON",
        "",
        '{"target": "web", "files": ["README.md"]}',
        '{"target": "local", "files": [], "format_version": 2}',
    ],
)
def test_a_listing_that_is_none_of_ours_is_somebody_elses(quickstart: Planned, tmp_path: Path, listing: str) -> None:
    out = tmp_path / "site"
    out.mkdir()
    (out / "bundle.json").write_text(listing)
    (out / "README.md").write_text("mine")
    assert refused(quickstart, out).startswith(f"`{out}/bundle.json` does not say what a bundle holds: ")


@pytest.mark.parametrize(("target", "name"), [("compose", "compose.yaml"), ("slurm", "slurm/job.sbatch")])
def test_a_file_that_somebody_put_into_a_bundle_stays(
    quickstart: Planned, tmp_path: Path, target: str, name: str
) -> None:
    out = tmp_path / "bundle"
    quickstart.write(out)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    assert refused(quickstart, out, target) == f"`{out / name}` is not of the bundle"
    (out / name).unlink()
    (out / name).symlink_to(tmp_path / "elsewhere")
    assert refused(quickstart, out, target) == f"`{out / name}` is not of the bundle"


def test_what_a_compilation_that_was_cut_off_put_there_is_in_nobodys_way(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    write_files(out, {"one": b"1"}, "local")
    (out / "two").write_bytes(b"2")
    write_files(out, {"one": b"1", "two": b"2"}, "local")
    assert files_in(out) | {"bundle.json": ""} == {"bundle.json": "", "one": "1", "two": "2"}


#: Writes a bundle's files and is killed as soon as it has written or moved one to such a path.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from harmonia_compiler.emit.folder import write_files

given = json.load(sys.stdin)

def dying(does, ends):
    def done(path, other):
        found = does(path, other)
        if str(path if ends else other).endswith(given["at"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return done

if given["does"] == "writes":
    Path.write_bytes = dying(Path.write_bytes, True)
else:
    Path.replace = dying(Path.replace, False)
write_files(Path(given["out"]), {name: text.encode() for name, text in given["files"].items()}, "local")
"""


@pytest.mark.parametrize("does", ["writes", "moves"])
@pytest.mark.parametrize("at", ["/README.md", "/bundle.json", "/local/processes.json", "/service.json"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_compilation_that_is_killed_leaves_the_old_bundle_or_one_that_is_not_whole_and_the_next_completes_it(
    quickstart: Planned, project: Path, tmp_path: Path, *, does: str, at: str, is_first: bool
) -> None:
    out, other = tmp_path / "bundles/one", planned(project / "app.rag", root=project)
    before = {} if is_first else other.write(out)
    files = {name: text for name, text in quickstart.write(tmp_path / "new").items() if name != "bundle.json"}
    given = json.dumps({"out": str(out), "files": files, "at": at, "does": does})
    done = subprocess.run([sys.executable, "-c", KILLED], input=given, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len([*out.parent.glob(".one.*")]) == 1
    if does == "writes":
        assert (files_in(out) if out.exists() else {}) == before
    else:
        with pytest.raises(Rejected, match="E0905"):
            read_local_bundle(out)
        (out / "mine").write_text("mine")
    quickstart.write(out)
    assert files_in(out) == files_in(tmp_path / "new") | ({"mine": "mine"} if does == "moves" else {})
    read_local_bundle(out)
    assert [*out.parent.iterdir()] == [out]


@pytest.mark.parametrize(("inside", "named"), [("", "."), ("", "../link/one"), ("run", "..")])
@pytest.mark.parametrize("at", ["/README.md", "/.begun", "/bundle.json"])
def test_a_compilation_that_is_killed_is_completed_by_the_next_also_where_it_is_run_in_the_bundles_folder(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str, named: str, at: str
) -> None:
    out = tmp_path / "bundles/one"
    if inside:
        quickstart.write(out)
    (out / inside).mkdir(parents=True)
    (out.parent / "link").symlink_to(".")
    files = {name: text for name, text in quickstart.write(tmp_path / "new").items() if name != "bundle.json"}
    given = json.dumps({"out": named, "files": files, "at": at, "does": "writes"})
    monkeypatch.chdir(out / inside)
    done = subprocess.run([sys.executable, "-c", KILLED], input=given, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert [*out.parent.glob(".one.*")]
    quickstart.write(Path(named))
    assert files_in(out) == files_in(tmp_path / "new")
    assert {path.name for path in out.parent.iterdir()} == {"link", "one"}


@pytest.mark.parametrize(("does", "at"), [("replace", "two"), ("unlink", "old")])
def test_what_fails_as_files_take_their_places_leaves_no_whole_bundle_and_the_next_one_leaves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, at: str
) -> None:
    out = tmp_path / "bundle"
    write_files(out, {"one": b"1", "old": b"0"}, "local")

    def fails(path: Path, *others: Path, **options: bool) -> None:
        if at in (path.name, *(other.name for other in others)):
            if does == "replace":
                path.rename(*others)
            raise OSError(errno.ENOSPC, "No space left on device")
        works(path, *others, **options)

    works = getattr(Path, does)
    with monkeypatch.context() as full:
        full.setattr(Path, does, fails)
        with pytest.raises(Rejected) as rejected:
            write_files(out, {"one": b"2", "two": b"2"}, "local")
    (found,) = rejected.value.found
    said = f"`{out}` is no whole bundle, since the rest cannot be written: No space left on device"
    assert (found.code, found.message) == ("E0901", said)
    assert "compile it again" in found.help
    assert is_cut_off(out)
    write_files(out, {"one": b"3"}, "local")
    assert files_in(out) | {"bundle.json": ""} == {"bundle.json": "", "one": "3"}
    assert [*tmp_path.iterdir()] == [out]


def test_of_two_that_write_one_bundle_at_once_one_waits_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file name may have 255 bytes.
    out, replaces = tmp_path / ("n" * 250), Path.replace
    other = Thread(target=write_files, args=(out, {"one": b"2", "two": b"2"}, "compose"))

    def meanwhile(path: Path, to: Path) -> Path:
        if to == out / "two" and not other.ident:
            other.start()
            other.join(0.3)
            assert other.is_alive()
        return replaces(path, to)

    monkeypatch.setattr(Path, "replace", meanwhile)
    write_files(out, {"one": b"1", "three": b"1", "two": b"1"}, "local")
    other.join()
    assert files_in(out) == {"bundle.json": (out / "bundle.json").read_text(), "one": "2", "two": "2"}
    assert json.loads((out / "bundle.json").read_text())["target"] == "compose"
    assert not is_cut_off(out)
    assert [*tmp_path.iterdir()] == [out]


def test_a_folder_that_whoever_was_waited_for_has_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, writes, locks, waits = tmp_path / "new" / "bundle", Path.write_bytes, fcntl.flock, Event()
    other = Thread(target=write_files, args=(out, {"one": b"2"}, "local"))

    def full(path: Path, content: bytes) -> int:
        if current_thread() is other:
            return writes(path, content)
        other.start()
        assert waits.wait(30.0)
        raise OSError(errno.ENOSPC, "No space left on device")

    def lock(descriptor: int, how: int) -> None:
        if current_thread() is other:
            waits.set()
        locks(descriptor, how)

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(fcntl, "flock", lock)
    with pytest.raises(Rejected, match="No space left"):
        write_files(out, {"one": b"1"}, "local")
    other.join()
    assert files_in(out) == {"bundle.json": (out / "bundle.json").read_text(), "one": "2"}
    assert [*out.parent.iterdir()] == [out]


def test_whether_a_folder_may_be_written_is_seen_once_nobody_else_writes_it(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    write_files(out, {"one": b"1"}, "local")

    def check() -> None:
        descriptor = os.open(out, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
        raise Rejected([Diagnostic("E0914", "it runs")])

    with pytest.raises(Rejected, match="E0914"):
        write_files(out, {"one": b"2"}, "local", check)
    assert files_in(out) | {"bundle.json": ""} == {"bundle.json": "", "one": "1"}
    assert [*tmp_path.iterdir()] == [out]


def test_where_nothing_can_be_written_no_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Rejected, match="No space left"):
        write_files(tmp_path / "new" / "bundle", {"one": b"1"}, "local")
    assert [*tmp_path.iterdir()] == []


def test_what_another_writes_beside_a_bundle_stays(quickstart: Planned, tmp_path: Path) -> None:
    theirs = [tmp_path / ".one.harmoniac-new", tmp_path / ".one.harmoniac-x", tmp_path / ".one.old"]
    for folder in theirs:
        folder.mkdir()
    with (theirs[1] / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        quickstart.write(tmp_path / "one")
        assert all(folder.exists() for folder in theirs)
    quickstart.write(tmp_path / "one")
    assert [folder.exists() for folder in theirs] == [True, False, True]
