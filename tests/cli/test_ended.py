"""Commands that are ended from outside: by Ctrl-C, other signals, a terminal that closes, a reader that leaves."""

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmonia_compiler.runtime.actuators.actuator import Status
from tests.ingest.bundles import write_bundle
from tests.local.conftest import Hand, launch, until
from tests.local.test_replacing import write

HARMONIAC = str(Path(sys.executable).parent / "harmoniac")
ROOT = Path(__file__).parents[2]
PLAN = ["plan", "samples/quickstart.rag", "--inventory", "samples/inventories/laptop.toml"]

#: The script, with Ctrl-C pressed when a module is about to be imported.
PRESSED_AT = """
import os, signal, sys
module = sys.argv.pop(1)
def press(event, given):
    if event == "import" and given[0] == module:
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(press)
from harmonia_compiler.cli.entry import main
main()
"""


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hand]:
    made = Hand(tmp_path.resolve() / "bundle")
    made.path.mkdir()
    yield made
    made.down()


@pytest.mark.parametrize("module", ["harmonia_compiler.cli.main", "click", "harmonia_compiler.cli.planning", "highspy"])
def test_ctrl_c_while_modules_are_imported_ends_it_without_a_word(module: str) -> None:
    command = [sys.executable, "-c", PRESSED_AT, module, *PLAN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("after_s", [0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_ctrl_c_at_any_time_shows_nothing_of_our_insides(after_s: float) -> None:
    started = subprocess.Popen([HARMONIAC, *PLAN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after_s)
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    # Until Python itself is there, which imports this script's first line last, it says so in its own way.
    assert started.returncode in {-signal.SIGINT, 128 + signal.SIGINT, 1, 0}
    assert "harmonia_compiler/" not in said.replace("harmonia_compiler/cli/hushed.py", "")
    assert "click" not in said


def test_ctrl_c_is_ignored_where_it_was() -> None:
    command = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", PRESSED_AT, "click", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def started_up(hand: Hand, *options: str, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    """`up` of a bundle, as soon as something of it runs."""
    command = [HARMONIAC, "up", str(hand.path), *options]
    started = subprocess.Popen(command, stdout=stderr, stderr=stderr, text=True)
    until(lambda: any(process.pid for process in seen(hand).processes))
    return started


def seen(hand: Hand) -> Status:
    """How it is, remembered for what is to be left of it."""
    hand.seen.append(hand.status())
    return hand.seen[-1]


@pytest.mark.parametrize(
    "told",
    [
        [signal.SIGINT],
        # A terminal that closes says so to the shell's jobs and to whoever is in front.
        [signal.SIGHUP, signal.SIGHUP, signal.SIGTERM],
        pytest.param([signal.SIGTERM, signal.SIGTERM, signal.SIGHUP], marks=pytest.mark.slow),
        # As CI services end a job.
        [signal.SIGINT, signal.SIGTERM],
    ],
)
def test_what_up_was_starting_is_stopped_with_it(hand: Hand, told: list[signal.Signals]) -> None:
    # It ends only when it is killed, so that stopping it takes its time.
    hand.write(one=launch("--slow-s", "60", "--child"))
    started = started_up(hand)
    for number in told:
        started.send_signal(number)
        time.sleep(0.02)  # while it stops: the interpreter's own end hears no signal any more
    out, err = started.communicate(timeout=60)
    assert started.returncode == 128 + told[0]
    assert out == ""
    assert err.rstrip().endswith("interrupted: what had been started is stopped again")
    hand.assert_nothing_left()


@pytest.mark.parametrize("waiting", [1, 2])
def test_an_up_whose_service_another_command_stops_says_so(hand: Hand, waiting: int) -> None:
    """Also to who waits for what somebody else started."""
    hand.write(one=launch("--slow-s", "60"))
    ups = [started_up(hand) for _ in range(waiting)]
    for up in ups:
        # The second one waits by now, and starts nothing of its own.
        assert up.stderr is not None
        assert up.stderr.readline().startswith("up: one ")
    assert hand.down()
    for up in ups:
        out, err = up.communicate(timeout=60)
        assert (up.returncode, out) == (1, "")
        assert f"error[E0927]: `{hand.path}` was stopped before it was ready" in err
        assert f"`harmoniac up {hand.path}` starts it again" in err
        assert "E0909" not in err
    hand.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_replacement_that_is_under_way_is_withdrawn(hand: Hand, number: signal.Signals) -> None:
    write(hand, "old").up()
    new = write(Hand(hand.path.parent / "new"), "new", "--slow-s", "60")
    command = [HARMONIAC, "up", str(new.path), "--over", str(hand.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        until(lambda: len(hand.status().generations) == 2)
        started.send_signal(number)
        _, said = started.communicate(timeout=60)
    assert started.returncode == 128 + number
    assert f"interrupted; `harmoniac status {hand.path}` says how the service is" in said
    until(lambda: len(hand.status().generations) == 1)
    assert hand.status().ready


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_what_has_been_told_to_end_is_not_told_again(first: signal.Signals) -> None:
    program = (
        "import os, signal; from harmonia_compiler.cli.stopping import stopped_as_by_hand, code_of\n"
        "try:\n"
        "    with stopped_as_by_hand():\n"
        f"        os.kill(os.getpid(), {int(first)})\n"
        "except KeyboardInterrupt as told:\n"
        "    code = code_of(told)\n"
        "for number in (signal.SIGTERM, signal.SIGHUP):\n"
        "    os.kill(os.getpid(), number)\n"
        "raise SystemExit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (128 + first, "")


def test_a_signal_that_was_ignored_stays_so(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "1"))
    command = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", HARMONIAC, "up", str(hand.path)]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: any(process.pid for process in seen(hand).processes))
    started.send_signal(signal.SIGHUP)
    assert started.wait(60) == 0
    assert hand.status().ready


def test_what_up_was_starting_is_stopped_where_its_terminal_closes(hand: Hand) -> None:
    hand.write(one=launch("--slow-s", "60"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(HARMONIAC, [HARMONIAC, "up", str(hand.path)])
    until(lambda: any(process.pid for process in seen(hand).processes))
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + signal.SIGHUP
    hand.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGHUP])
def test_a_service_in_the_foreground_is_stopped_also_where_nobody_reads(hand: Hand, number: signal.Signals) -> None:
    hand.write(one=launch())
    reader, writer = os.pipe()
    started = started_up(hand, "--foreground", stderr=writer)
    os.close(writer)
    until(lambda: seen(hand).ready)
    while b"next: " not in os.read(reader, 65536):
        pass
    # As `up --foreground 2>&1 | tee` has it, where Ctrl-C reaches both.
    os.close(reader)
    started.send_signal(number)
    assert started.wait(60) == 0
    hand.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_up_goes_on_until_the_service_is_ready_also_where_nobody_reads(hand: Hand, reader: str) -> None:
    hand.write(one=launch("--slow-s", "1"))
    assert shell(f"{HARMONIAC} up {hand.path} 2>&1 | {reader}") == 0
    assert hand.status().ready


@pytest.mark.slow
def test_an_up_that_fails_says_so_by_its_code_also_where_nobody_reads(hand: Hand) -> None:
    hand.write(one=launch("--exits", "3"))
    assert shell(f"{HARMONIAC} up {hand.path} 2>&1 | true") == 1
    seen(hand)
    hand.assert_nothing_left()


def test_a_log_that_is_followed_ends_with_its_reader(hand: Hand) -> None:
    hand.write(one=launch("--says", "one line"))
    hand.up()
    log = hand.path / "run" / "logs" / "one.log"
    command = ["bash", "-c", f"set -o pipefail; {HARMONIAC} logs {hand.path} one --follow | head -1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as following, log.open("a") as file:
        assert following.stdout is not None
        assert following.stdout.readline() == b"one line\n"

        def has_ended() -> bool:
            file.write("more\n")
            file.flush()
            return following.poll() is not None

        until(has_ended)
    assert following.returncode == 128 + signal.SIGPIPE


def shell(line: str) -> int:
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], cwd=ROOT, timeout=60, check=False).returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_ingestion_says_what_is_kept_whoever_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "a.md").write_text("# A document\n\nOf one sentence.")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bundle = write_bundle(tmp_path / "bundle", milvus=silent.getsockname()[1])
        command = [HARMONIAC, "ingest", "a.md", "--component", "search", "--service", str(bundle)]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as started:
            client, _ = silent.accept()
            with client:
                started.send_signal(number)
                _, said = started.communicate(timeout=60)
    assert started.returncode == 128 + number
    kept = "interrupted: `handbook` keeps what was embedded; the same command goes on where this one stopped\n"
    assert said.lstrip("\n").startswith(kept)
