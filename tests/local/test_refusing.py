"""What is said of a start that was given up."""

from pathlib import Path

from harmonia_compiler.runtime.actuators.supervision.refusing import not_started
from harmonia_compiler.runtime.actuators.supervision.store import UNFIT


def test_a_collection_that_was_built_otherwise_is_built_anew_in_the_folder_that_was_named() -> None:
    why = f"the collection `docs` {UNFIT}: revision is 'r1' there and 'r2' here"
    (found,) = not_started(Path("my bundle"), "search-0", why, []).found
    assert found.message == f"`search-0` did not become ready: {why}"
    assert found.help == "`harmoniac up 'my bundle' --reembed` starts without it, so that it can be built anew"
