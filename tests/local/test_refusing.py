"""What is said of a start that was given up."""

from pathlib import Path

from harmonia_compiler.runtime.actuators.supervision.refusing import not_replaced, not_started
from harmonia_compiler.runtime.actuators.supervision.store import UNFIT


def test_a_collection_that_was_built_otherwise_is_built_anew_in_the_folder_that_was_named() -> None:
    why = f"the collection `docs` {UNFIT}: revision is 'r1' there and 'r2' here"
    (found,) = not_started(Path("my bundle"), "search-0", why, []).found
    assert found.message == f"`search-0` did not become ready: {why}"
    assert found.help == "`harmoniac up 'my bundle' --reembed` starts without it, so that it can be built anew"


def test_a_replacement_whose_collection_was_built_otherwise_is_told_how_it_is_built_anew() -> None:
    why = f"the collection `docs` {UNFIT}: revision is 'r1' there and 'r2' here"
    (found,) = not_replaced(Path("b"), "search-0", why, []).found
    assert found.help == (
        "the service goes on as it was; to build it anew, `harmoniac down b`, compile into `b`, "
        "`harmoniac up b --reembed`, and `harmoniac ingest … --service b --reembed`"
    )
    (found,) = not_replaced(Path("b"), "one-0", "it ended", []).found
    assert found.help == "the service goes on as it was; read all that it wrote with `harmoniac logs b one-0`"
