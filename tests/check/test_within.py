"""What `within` and `else` wait for: when VALUE is begun, what its time counts, and which failure comes first."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.lower import lower
from tests.policy.driven import Request

COMPONENTS = """
component ok(q: text) -> bool = python("m:ok")
component f(q: text) -> text = python("m:f")
component join(one: text, other: text) -> text = python("m:join")
component slow(q: text) -> text = python("m:slow")
component parts(q: text) -> [text] = python("m:parts")
pipeline chosen(q: text, s: text) -> text {
    if ok(q) { return f(s) }
    return q
}
"""


def asked(value: str, tmp_path: Path, result: str = "text") -> Request:
    """A request of a pipeline that gives the value, in which `s` is bound before."""
    path = tmp_path / "a.rag"
    path.write_text(f"{COMPONENTS}pipeline p(q: text) -> {result} {{\n    s = slow(q)\n    return {value}\n}}\n")
    application = check_files([path]).application
    assert application is not None
    return Request(lower(application.flows[-1], application), {"q": "why?"})


def test_names_that_are_needed_on_every_path_are_there_before_the_time_counts(tmp_path: Path) -> None:
    request = asked('join(f(q), s) within 1 s else "other"', tmp_path)
    assert request.start() == ["slow"]
    assert sorted(request.finish("slow", "there")) == ["f", "wait 1000"]
    assert request.elapse() == ["cancel f", "answer other"]


def test_their_failure_ends_the_request(tmp_path: Path) -> None:
    request = asked('join(f(q), s) within 1 s else "other"', tmp_path)
    request.start()
    assert request.fail("slow") == ["fail slow: it broke"]


def test_names_that_are_needed_on_some_paths_are_asked_for_in_the_time(tmp_path: Path) -> None:
    request = asked('chosen(q, s) within 1 s else "other"', tmp_path)
    assert sorted(request.start()) == ["ok", "wait 1000"]
    assert request.finish("ok", value=True) == ["slow"]
    assert request.elapse() == ["cancel slow", "answer other"]


def test_and_so_are_those_that_items_read(tmp_path: Path) -> None:
    request = asked('(each part in parts(q): join(part, s)) within 1 s else ["other"]', tmp_path, "[text]")
    assert sorted(request.start()) == ["parts", "wait 1000"]
    assert request.finish("parts", ["a", "b"]) == ["slow"]
    assert request.elapse() == ["cancel slow", "answer ['other']"]


def test_without_a_time_each_call_begins_once_what_it_reads_is_there(tmp_path: Path) -> None:
    request = asked('join(f(q), s) else "other"', tmp_path)
    assert sorted(request.start()) == ["f", "slow"]


@pytest.mark.parametrize(("first", "told"), [("slow", ["fail slow: it broke"]), ("f", ["answer other", "cancel slow"])])
def test_what_fails_first_decides_where_a_name_and_the_value_fail(first: str, told: list[str], tmp_path: Path) -> None:
    request = asked('join(f(q), s) else "other"', tmp_path)
    request.start()
    assert sorted(one for one in request.fail(first) if one != "cancel f") == told
