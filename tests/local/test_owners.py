"""What somebody is told of a service whose files another user alone may read."""

import json
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harmonia_compiler.cli.main import run
from tests.ingest.bundles import write_bundle

from .conftest import Hand, launch

#: What reads everything, whatever its mode says, first gives that up.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
NOBODY = 65534

pytestmark = pytest.mark.skipif(bool(UNPRIVILEGED) and shutil.which("setpriv") is None, reason="root reads everything")

COMMANDS = [
    "status DIR",
    "status DIR --format json",
    "up DIR",
    "up DIR --promote",
    "up DIR --over DIR",
    "rollback DIR",
    "logs DIR",
    "down DIR",
    "ask hello? --service DIR",
    "bench DIR --rate 20 --for 1s",
    "plan samples/quickstart.rag --inventory samples/inventories/laptop.toml --readings DIR",
]

#: Runs each line and says its code and whatever it printed: one process, since each takes long to start.
EACH = """
import contextlib, io, json, sys
from harmonia_compiler.cli.main import run
for line in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = run(line.split())
    print(json.dumps([code, out.getvalue()]))
"""


def told(bundle: Path, *lines: str) -> list[tuple[int, str]]:
    words = [line.replace("DIR", str(bundle)) for line in lines]
    command = [*UNPRIVILEGED, sys.executable, "-c", EACH, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [(code, said) for code, said in map(json.loads, done.stdout.splitlines())]


def closed(folder: Path) -> None:
    """Close a folder to whoever runs this test, by its owner where that can be, or else by its mode."""
    folder.chmod(0o700 if UNPRIVILEGED else 0)
    if UNPRIVILEGED:
        os.chown(folder, NOBODY, NOBODY)


def opened(folder: Path) -> None:
    folder.chmod(0o700)
    if UNPRIVILEGED:
        os.chown(folder, os.geteuid(), os.getegid())


def test_a_service_that_one_may_not_look_at_is_not_said_to_be_down(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    process = hand.process("one")
    closed(hand.path / "run")
    try:
        found = told(hand.path, *COMMANDS)
    finally:
        opened(hand.path / "run")
    for line, (code, said) in zip(COMMANDS, found, strict=True):
        assert (code, "E0925" in said, "sudo" in said or not UNPRIVILEGED) == (1, True, True), f"{line}: {said}"
    assert hand.process("one") == process


def test_a_folder_above_that_one_may_not_look_into_is_told_by_all_commands_alike(tmp_path: Path) -> None:
    above = tmp_path / "above"
    bundle = write_bundle(above / "bundle")
    closed(above)
    try:
        found = told(bundle, *COMMANDS, f"ingest {__file__} --component search --service DIR")
    finally:
        opened(above)
    whose = f"belongs to the user {pwd.getpwuid(NOBODY).pw_name}" if UNPRIVILEGED else "is closed to its owner"
    for line, (code, said) in zip([*COMMANDS, "ingest"], found, strict=True):
        assert (code, "E0925" in said, f"`{above}` {whose}" in said) == (1, True, True), f"{line}: {said}"


def test_files_that_are_closed_one_by_one_are_no_service_that_is_down_either(hand: Hand) -> None:
    hand.write(one=launch())
    hand.up()
    for name in ("lock", "state.json"):
        file = hand.path / "run" / name
        # Who looks after it would write its state anew.
        with hand.halted():
            file.chmod(0)
            [(code, said)] = told(hand.path, "status DIR")
            file.chmod(0o600)
        assert (code, "error[E0925]" in said, "chmod -R u+rwX" in said) == (1, True, True), (name, said)


@pytest.mark.skipif(not UNPRIVILEGED, reason="only root gives files away")
@pytest.mark.parametrize("name", ["lock", "state.json"])
def test_whose_file_it_is_tells_whose_the_service_is(hand: Hand, name: str) -> None:
    """Somebody else, as root, may have started it from one's own folder, which is open."""
    hand.write(one=launch())
    hand.up()
    file = hand.path / "run" / name
    with hand.halted():
        os.chown(file, NOBODY, NOBODY)
        try:
            [(code, said)] = told(hand.path, "status DIR")
        finally:
            os.chown(file, os.geteuid(), os.getegid())
    assert (code, "error[E0925]" in said, "chmod" in said) == (1, True, False), said
    assert f"`{file}` belongs to the user {pwd.getpwuid(NOBODY).pw_name}" in said


def test_ingest_does_not_take_a_closed_service_for_one_that_does_not_run(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    closed(bundle / "run")
    [(code, said)] = told(bundle, f"ingest {__file__} --component search --service DIR")
    opened(bundle / "run")
    assert (code, "error[E0925]" in said) == (1, True), said


def test_who_sees_the_service_of_another_user_leaves_it_to_its_owner_to_replace_it(
    hand: Hand, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hand.write(one=launch())
    hand.up()
    owner, somebody = pwd.getpwuid(os.geteuid()).pw_name, os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    assert run(["status", str(hand.path)]) == 0
    capfd.readouterr()
    assert run(["rollback", str(hand.path)]) == 1
    assert "error[E0925]" in (said := capfd.readouterr().err)
    assert f"sudo -u {owner} harmoniac" in said
