"""`harmoniac up`: what it says is to be done next."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from harmonia_compiler.cli.main import run
from harmonia_compiler.cli.progress import Lines, _table
from harmonia_compiler.cli.up import _left, _print_next, _stay, _tell
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, ProcessStatus, Status
from harmonia_compiler.runtime.actuators.local import Local

from .one_host import on_one_host

SOURCE = """component minilm = embedder("all-MiniLM-L6-v2")
component docs = milvus("docs", embedder: minilm)
component few = docs(top_k: 2)
component news = milvus("news", embedder: minilm)
component small = llm("SmolLM2-135M-Instruct")
component answer(question: text, passages: [passage], more: [passage], latest: [passage]) -> text ~ 30 tokens = small(
    "{passages} {more} {latest} {question}"
)
pipeline ask(question: text ~ 15 tokens) -> text {
    load 1 rps
    return answer(question, docs(question), few(question), news(question))
}
"""


@pytest.mark.parametrize(("absent", "named"), [(set(), []), ({"news"}, ["news"]), ({"docs", "news"}, ["docs", "news"])])
def test_every_empty_collection_is_named(
    absent: set[str], named: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert run(["compile", *on_one_host(tmp_path, SOURCE), "--out", str(out)]) == 0
    capsys.readouterr()
    _print_next(out, frozenset(absent), reembed=False)
    ingest = "harmoniac ingest PATH... --component"
    steps = [f"`{name}` has nothing to search yet; next: {ingest} {name} --service {out}" for name in named]
    assert capsys.readouterr().out.splitlines() == (steps or [f'next: harmoniac ask "..." --service {out}'])


class Filled(Local):
    """A service whose store had nothing when it started, and was filled while other processes still started."""

    def status(self, bundle: Path) -> Status:
        store = ProcessStatus("milvus-0", "milvus", "ready", 0.0, absent=("docs", "news"))
        return Status("running", (store,), url="http://127.0.0.1:1")

    def absent(self, bundle: Path) -> frozenset[str]:
        return frozenset({"news"})


@pytest.mark.parametrize("started", [True, False])
def test_what_was_ingested_during_the_start_is_there(
    *, started: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert run(["compile", *on_one_host(tmp_path, SOURCE), "--out", str(out)]) == 0
    capsys.readouterr()
    _tell(Filled(), out, 1.0, started=started, reembed=False)
    said = capsys.readouterr().out
    assert "`news` has nothing to search yet" in said
    assert "`docs`" not in said


class Left(Local):
    """What is as it is after a start was interrupted."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def status(self, bundle: Path) -> Status:
        return self._status


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (NOTHING_LEFT, "interrupted: what had been started is stopped again"),
        (Status("stopping"), "interrupted, and not all is stopped: `harmoniac status some` says how it is, "),
        (Status("starting"), "interrupted, and not all is stopped: `harmoniac status some` says how it is, "),
        (Status("down", notes=("its \x1b ended",)), "interrupted, and not all is stopped (its ␛ ended): "),
    ],
)
def test_an_interrupted_start_says_what_is_left(status: Status, said: str) -> None:
    assert _left(Left(status), Path("some")).startswith(said)


@pytest.mark.parametrize("options", [["--timeout", "\u0665s"], ["--over", "old", "--canary", "\u0665%"]])
def test_digits_of_other_scripts_make_no_duration_and_no_share(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["up", "bundle", *options]) == 2
    assert "write" in capsys.readouterr().err


def test_what_a_service_notes_of_itself_is_said_once_while_it_is_waited_for_and_leaves_the_terminal_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines, waiting = Lines(), ProcessStatus("milvus-0", "milvus", "starting", 0.0, waiting_for="a\x1b[31m")
    for notes in ((), ("moved from \x1b[31m\nx",), ("moved from \x1b[31m\nx",), ()):
        lines(Status("starting", (waiting,), notes=notes))
    said = ["moved from ␛[31m␊x", "milvus-0 starting, waits for a␛[31m"]
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(f"up: {one}" for one in said)
    console = Console(width=80)
    with console.capture() as shown:
        console.print(_table((waiting,), ("moved from \x1b[31m\nx",)))
    assert shown.get().splitlines()[-1].strip() == said[0]
    assert "a␛[31m" in shown.get()


def test_what_a_service_notes_of_itself_when_it_is_there_leaves_the_terminal_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _tell(Left(Status("running", notes=("moved from \x1b[31m",))), tmp_path, 1.0, started=False, reembed=False)
    assert "moved from ␛[31m" in capsys.readouterr().out


class Followed(Local):
    """A service whose folder something becomes of while somebody stays with it, who presses Ctrl-C then."""

    def __init__(self, becomes: Callable[[], object]) -> None:
        self._becomes, self.seen, self.stopped = becomes, list[Path](), list[Path]()

    def status(self, bundle: Path) -> Status:
        self.seen.append(bundle)
        if len(self.seen) > 1:
            raise KeyboardInterrupt
        self._becomes()
        return Status("running")

    def stop(self, bundle: Path) -> bool:
        self.stopped.append(bundle)
        return True


def test_whoever_stays_with_a_service_follows_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here, moved = Path("bundle"), tmp_path / "moved"
    here.mkdir()
    followed = Followed(partial(here.absolute().rename, moved))
    _stay(followed, here)
    assert (followed.seen, followed.stopped) == ([tmp_path / "bundle", moved], [moved])
    # Where that is removed, so is the service.
    removed = Followed(moved.rmdir)
    _stay(removed, moved)
    assert (removed.seen, removed.stopped) == ([moved], [])
    assert Path.cwd() == tmp_path
