"""The quickstart sample from source to answer, by the same commands that a user types: `make demo`.

Compiles samples/quickstart.rag for this machine, starts the service, fills it with this project's own documentation,
asks a question, and stops it. Every command is shown before it runs. Whatever happens after the start, a failure or
Ctrl-C included, the service is stopped at the end. Exits with the status of the first command that failed; a question
that a slow machine did not answer in time is asked a second time before that.

    python tools/demo.py [QUESTION]
"""

import contextlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
HARMONIAC = Path(sys.executable).parent / "harmoniac"
BUILD = Path(".demo")
INVENTORY = BUILD / "inventory.toml"
BUNDLE = BUILD / "quickstart"
SAMPLE = "samples/quickstart.rag"
#: Without the README, which shows what this script prints and would be found by its own answer.
DOCUMENTS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs")
QUESTION = "Where does the gateway listen?"
INTERRUPTED = 130  # what a shell reports for Ctrl-C
PATIENCE_S = 20
LATE = "error[E1106]"  # of `harmoniac ask`: the deadline passed


class CommandFailedError(Exception):
    """A command of the demo ended with a status other than 0; `said` is what it wrote of that, where it was heard."""

    def __init__(self, command: str, status: int, said: str = "") -> None:
        super().__init__(f"`harmoniac {command}` ended with status {status}")
        self.status = status
        self.said = said


def run(*arguments: str, output: Path | None = None, hears: bool = False) -> None:
    """Shows and runs one harmoniac command, its standard output going to `output` where given.

    Where it `hears`, what the command says of its failure is shown at its end and raised with it.
    """
    redirection = f" > {output}" if output else ""
    print(f"\n$ harmoniac {shlex.join(arguments)}{redirection}", flush=True)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        stdout = stack.enter_context((ROOT / output).open("w", encoding="utf-8")) if output else None
        stderr = (
            stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")) if hears else None
        )
        try:
            status = wait(subprocess.Popen([HARMONIAC, *arguments], stdout=stdout, stderr=stderr, cwd=ROOT))
        finally:
            said = heard(stderr) if stderr else ""
            print(said, end="", file=sys.stderr, flush=True)
    print(f"  ({time.monotonic() - started:.1f} s)", flush=True)
    if status != 0:
        raise CommandFailedError(arguments[0], status, said)


def heard(file: IO[str]) -> str:
    """All that a command wrote to a file."""
    file.seek(0)
    return file.read()


def ask(question: str) -> None:
    """Asks the service, and once more where the first answer was not there in time.

    Raises CommandFailedError where it fails otherwise, or again.
    """
    words = ("ask", question, "--service", str(BUNDLE))
    try:
        run(*words, hears=True)
    except CommandFailedError as failure:
        if LATE not in failure.said:
            raise
        print("\ndemo: the first answer took longer here than the sample promises; its engines are warm now: once more")
        run(*words, hears=True)


def wait(process: subprocess.Popen[bytes]) -> int:
    """Status that `process` ends with.

    On Ctrl-C, which the terminal sends to the command too, waits for the command to clean up after itself.
    """
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        raise


def stop() -> None:
    """Stops the service, unmoved by a second Ctrl-C: half a stop would leave processes behind.

    Raises CommandFailedError where it could not be stopped.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run("down", str(BUNDLE))


def demonstrate(question: str) -> None:
    """Runs the whole demo.

    Raises CommandFailedError where a command fails, KeyboardInterrupt on Ctrl-C. By then the service is stopped, or it
    is said that it may not be.
    """
    run("check", SAMPLE)
    run("inventory", "detect", output=INVENTORY)
    run("plan", SAMPLE, "--inventory", str(INVENTORY))
    run("compile", SAMPLE, "--inventory", str(INVENTORY), "--target", "local", "--out", str(BUNDLE))
    try:
        run("up", str(BUNDLE))
        run("ingest", *DOCUMENTS, "--component", "search", "--service", str(BUNDLE))
        ask(question)
    except BaseException:
        try:
            stop()
        except CommandFailedError as failure:  # the first failure is the one to end with
            print(f"\ndemo: {failure}; the service may still run: harmoniac down {BUNDLE}", file=sys.stderr)
        raise
    stop()


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Lets SIGTERM stop the demo the way Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Runs the demo and says how it ended; returns the exit status."""
    signal.signal(signal.SIGTERM, interrupt)
    (ROOT / BUILD).mkdir(exist_ok=True)
    started = time.monotonic()
    try:
        demonstrate(" ".join(sys.argv[1:]) or QUESTION)
    except CommandFailedError as failure:
        print(f"\ndemo: {failure}", file=sys.stderr)
        return failure.status
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return INTERRUPTED
    print(f"\ndemo: done in {time.monotonic() - started:.0f} s; what it built is in {BUILD}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
