"""What all tests share: goldens, and which tests run in one process when several run side by side.

A golden is what the code gives, compared with a text file that `make bless` writes anew.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# Plans are the same whatever was measured or installed here; tests of those sources hand them in.
os.environ["HARMONIA_PROFILES"] = "roofline"

# A shell that starts them beside it, or `nohup`, has these ignored, and what they start takes that over: then nothing
# ends by ^C, nor with its terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says how busy the machine is. A change is judged by the same examples every time it is
# run; new ones are looked for by `make fuzz`, where what is found is somebody's work and not somebody else's red build.
settings.register_profile("same", deadline=None, derandomize=True, max_examples=40)
settings.register_profile("fresh", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the goldens anew instead of comparing with them")


#: The tests over the one service of real engines.
ENGINES = "tests/engines/"
#: They take longest, and begin first.
LONGEST = (ENGINES, "tests/test_quality.py")


HERE = Path(__file__).parent
#: What lies in this folder, in the order in which its tests are run.
ENTRIES = sorted(path for path in HERE.iterdir() if path.match("test_*.py") or (path.is_dir() and path.name[0] != "_"))


def pytest_configure(config: pytest.Config) -> None:
    """Of several processes each begins to read somewhere else, so that not all of them compile every file."""
    number, many = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if number and [Path(each).resolve() for each in config.args] == [HERE]:
        first = len(ENTRIES) * int(number.removeprefix("gw")) // many
        config.args[:] = [str(path) for path in (*ENTRIES[first:], *ENTRIES[:first])]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first, so that the other process has something to do beside it."""
    places = {path: place for place, path in enumerate(ENTRIES)}

    def order(item: pytest.Item) -> tuple[bool, int]:
        return not item.nodeid.startswith(LONGEST), places[HERE / item.path.relative_to(HERE).parts[0]]

    items.sort(key=order)


class ByServers(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests stay in one process, since they share servers; all tests over the one service stay there too."""

    def _split_scope(self, nodeid: str) -> str:
        return ENGINES if nodeid.startswith(ENGINES) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByServers:
    """Who runs what where tests run side by side."""
    return ByServers(config, log)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, dict[str, str]], None]:
    """Compares texts, by their paths, with the files of a folder; one that is missing or too many fails as well."""
    bless = bool(request.config.getoption("--bless"))

    def compare(folder: Path, given: dict[str, str]) -> None:
        there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        if bless:
            for name in there.keys() - given.keys():
                there[name].unlink()
            for name, text in given.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text, encoding="utf-8")
            return
        assert {name: path.read_text(encoding="utf-8") for name, path in there.items()} == given

    return compare
