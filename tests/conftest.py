"""Goldens: what the code gives, compared with a text file that `make bless` writes anew."""

from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the goldens anew instead of comparing with them")


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
