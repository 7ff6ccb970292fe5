"""What all tests share: goldens, and which tests run in one process when several run side by side.

A golden is what the code gives, compared with a text file that `make bless` writes anew.
"""

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the goldens anew instead of comparing with them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests stay together, since they share servers; all tests over the one service stay together too."""
    for item in items:
        folder = item.path.parent
        group = folder if folder.name == "engines" else item.path
        item.add_marker(pytest.mark.xdist_group(group.name))


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
