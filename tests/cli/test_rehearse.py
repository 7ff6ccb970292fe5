"""`harmoniac rehearse`: a short one with a fault and engines that load, and what is wrong with what was asked for."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from harmonia_compiler.cli.main import run
from tests.cli.one_host import on_one_host

SOURCE = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(question: text) -> text ~ 8 tokens = model("Answer: {question}", max_tokens: 12)

pipeline ask(question: text ~ 30 tokens) -> text {
    load 4 rps
    return stream answer(question)
}
"""


HARMONIAC = "import sys; from harmonia_compiler.cli.main import run; sys.exit(run(sys.argv[1:]))"


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return on_one_host(tmp_path, SOURCE)


def rehearsed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["rehearse", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.slow
def test_a_report_says_what_went_wrong_on_purpose_and_what_came_of_it(
    files: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    asked = ["--for", "4s", "--warmup", "1ms", "--factor", "1", "--fault", "answer fail at 2s for 1s"]
    code, out, _ = rehearsed(
        capsys, *files, *asked, "--start-delay", "model=500ms", "--format", "json", "--html", str(page)
    )
    assert code == 0
    report = json.loads(out)
    faults = {(one["at_ms"], one["until_ms"], one["what"]) for one in report["faults"]}
    assert faults == {(2000, 3000, "fails each call")}
    outcomes = report["groups"][0]["figures"]["outcomes"]
    assert outcomes["ok"] > 0
    assert outcomes["failed"] + outcomes["refused"] > 0
    assert "model 500 ms" in report["notes"][0]
    html = page.read_text()
    replicas = [one["replica"] for one in report["faults"]]
    for said in ("What went wrong on purpose", *replicas, "No controller acted", "This machine:"):
        assert said in html


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--fault", "answer burn"], "slow, hang, fail, die, lie"),
        (["--fault", "answer"], "write it like"),
        (["--start-delay", "soon"], "write it like"),
        (["--for", "\u0665s"], "write it like"),
        (["--rate", "\u0665"], "is not a number"),
    ],
)
def test_what_is_no_fault_or_delay_is_a_usage_mistake(
    files: list[str], capsys: pytest.CaptureFixture[str], asked: list[str], said: str
) -> None:
    code, out, err = rehearsed(capsys, *files, *asked)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


@pytest.mark.parametrize(
    "asked", [["--fault", "anwser die"], ["--fault", "answer die at 2m"], ["--start-delay", "anwser=3s"]]
)
def test_what_meets_nothing_in_the_plan_is_a_finding_before_anything_starts(
    files: list[str], capsys: pytest.CaptureFixture[str], asked: list[str]
) -> None:
    code, out, err = rehearsed(capsys, *files, *asked)
    assert (code, out) == (1, "")
    assert "E1342" in err
    assert "rehearsing" not in err


def test_a_trace_of_one_request_is_not_rehearsed_for_a_report_of_none(
    files: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "mooncake.jsonl"
    trace.write_text('{"timestamp": 0, "input_length": 9, "output_length": 9}\n')
    code, out, err = rehearsed(capsys, *files, "--trace", str(trace))
    assert (code, out) == (1, "")
    assert "error[E1307]: no request comes in the 900 ms that count" in err
    assert "--warmup 0s" in err
    assert "rehearsing" not in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_ended_from_outside_it_leaves_no_process(files: list[str], tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", HARMONIAC, "rehearse", *files, "--for", "60s", "--factor", "1"]
    place = tmp_path / "tmp"
    place.mkdir()
    started = subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(place)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    mine = psutil.Process(started.pid)
    assert holds_within(60.0, lambda: len(mine.children()) == 3)
    children = mine.children()
    started.send_signal(number)
    assert started.wait(20.0) == (-number if number == signal.SIGKILL else 128 + number)
    _, left = psutil.wait_procs(children, timeout=10.0)
    assert not left
    if number != signal.SIGKILL:
        assert not [*place.iterdir()]


#: The script, which signals reach while it reads the first answer; numbers of signals are its first argument.
TOLD_WHILE_READING = """
import os, sys
from aiohttp.client_proto import ResponseHandler
told, read = [int(number) for number in sys.argv.pop(1).split(",")], ResponseHandler.data_received
def reading(self, data):
    while told:
        os.kill(os.getpid(), told.pop(0))
    read(self, data)
ResponseHandler.data_received = reading
from harmonia_compiler.cli.entry import main
main()
"""


@pytest.mark.parametrize(
    "told",
    [
        # As a unit of systemd is told that ends with its terminal.
        (signal.SIGTERM, signal.SIGHUP),
        pytest.param((signal.SIGHUP, signal.SIGTERM), marks=pytest.mark.slow),
        pytest.param((signal.SIGINT, signal.SIGINT), marks=pytest.mark.slow),
        pytest.param((signal.SIGTERM, signal.SIGINT), marks=pytest.mark.slow),
    ],
)
def test_ended_while_it_reads_it_says_nothing_and_leaves_no_process(
    files: list[str], tmp_path: Path, told: tuple[signal.Signals, ...]
) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    numbers = ",".join(str(int(number)) for number in told)
    done = subprocess.run(
        [sys.executable, "-c", TOLD_WHILE_READING, numbers, "rehearse", *files, "--for", "50s", "--factor", "1"],
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=55.0,
        check=False,
    )
    assert (done.returncode, done.stdout) == (128 + told[0], "")
    assert "rehearsing for about" in done.stderr.strip().splitlines()[-1]
    assert not [*place.iterdir()]
    assert holds_within(10.0, lambda: not [one for one in psutil.process_iter(["cmdline"]) if _names(one, place)])


def _names(process: psutil.Process, place: Path) -> bool:
    """Whether a folder at that place is among the words with which it was started."""
    return any(str(place) in word for word in process.info["cmdline"] or ())


def holds_within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < until:
        time.sleep(0.05)
    return found
