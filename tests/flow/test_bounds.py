"""Conditions that are made of too many others: what is found is said to be an estimate, and keeps to what is said."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow import guards
from harmonia_compiler.flow.demand import Demand, demand

HEAD = """
component cl(q: text, r: text = "r") -> "a" | "b" | "c" = python("m:cl")
component ok(q: text) -> bool = python("m:ok")
component g(q: text) -> text ~ 9 tokens = python("m:g")
component of(k: "a" | "b" | "c") -> text ~ 9 tokens = python("m:of")
component last(q: text) -> text ~ 9 tokens = python("m:last")
pipeline p(q: text ~ 9 tokens) -> text {
    k = cl(q)
    b = ok(q)
    y = q
"""

#: Each round asks what the one before has found.
DEEP = """
    repeat up to 45 {
        if b { c = ok(y) } else { c = ok(g(y)) }
        b = c
        y = g(y)
    }
    if b ~ 0.1 { return last(q) }
    return y
}
"""

#: What is found of the rounds before holds for one place alone, since some requests never come there.
MANY = """
    repeat up to ROUNDS {
        repeat up to 2 {
            if k == "a" SAID_OF_K { j = "b" } else { j = cl(q, y) }
        } until j == "b" SAID_OF_J
        k = j
        y = of(k)
    }
    if ok(y) and k == "b" ~ 0.1 { return last(q) }
    return y
}
"""


def _demand(body: str, folder: Path) -> Demand:
    (path := folder / "a.rag").write_text(HEAD + body, encoding="utf-8")
    application = check_files([path]).application
    assert application is not None
    return demand(application, application.flows[0])


def _many(rounds: int, of_k: str = "", of_j: str = "") -> str:
    return MANY.replace("ROUNDS", str(rounds)).replace("SAID_OF_K", of_k).replace("SAID_OF_J", of_j)


@pytest.mark.parametrize("body", [DEEP, _many(8), _many(20)], ids=["deep", "8 rounds", "20 rounds"])
def test_a_share_holds_that_is_said_of_a_condition_that_is_made_of_too_many(body: str, tmp_path: Path) -> None:
    found = _demand(body, tmp_path)
    assert not found.exact
    assert found.visits["last"] == pytest.approx(0.1)
    assert found.missed == ()


def test_shares_hold_in_each_round_of_those_who_come_to_ask(tmp_path: Path) -> None:
    rounds = 9
    found = _demand(_many(rounds, "~ 0.2", "~ 0.7"), tmp_path)
    assert not found.exact
    assert found.missed == ()
    # At first, and in each round once for all and again for those who have not come to "b".
    assert found.visits["cl"] == pytest.approx(1.0 + rounds * 0.8 * 1.3, rel=0.05)
    assert found.visits["last"] == pytest.approx(0.1)


def test_so_they_do_where_each_condition_is_taken_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "_MOST_STEPS", (0, 0, 100_000))
    found = _demand(_many(8), tmp_path)
    assert not found.exact
    assert found.visits["last"] == pytest.approx(0.1)


def test_no_steps_at_all_leave_what_is_written_at_branches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "_MOST_STEPS", (0, 0, 0))
    found = _demand(_many(3), tmp_path)
    assert not found.exact
    assert found.visits["last"] == pytest.approx(0.1)


def test_few_rounds_are_exact(tmp_path: Path) -> None:
    assert _demand(_many(3), tmp_path).exact


def test_an_arm_behind_one_that_returns_is_taken_as_often_in_more_rounds_than_are_told_apart(tmp_path: Path) -> None:
    found = _demand(
        "repeat up to 100 { if ok(y) { return g(y) } elif ok(y) ~ 0.1 { y = last(y) } }\nreturn y\n}", tmp_path
    )
    # Of those who come to a round 0.5 return, and 0.1 of all are to go on by that arm.
    assert found.visits["last"] == pytest.approx(0.2, abs=0.03)


def test_what_is_found_where_some_requests_never_come_holds_for_those_alone(tmp_path: Path) -> None:
    """Where `b` holds `c` is what a call says, and no more is asked there; but `c` holds wherever `b` does not."""
    body = """
    if b { c = ok(y) } else { c = true }
    if b ~ 0.3 { if c { return g(q) } }
    if c { return last(q) }
    return y
}
"""
    found = _demand(body, tmp_path)
    assert found.exact
    assert found.visits == pytest.approx({"g": 0.15, "last": 0.7, "ok": 1.3})


#: Ways within ways: what leads to a test of an inner round goes through those of all rounds before.
WITHIN = """
    b1 = ok(cl1(q))
    b2 = ok(cl2(q))
    z = q
    if ok(cl3(q)) ~ 0.9 {
        if ok(cl4(q)) or (ok(cl5(q)) or ok(cl6(q)) or b2) {
        } else {
            if ok(cl7(q)) {
            } else {
                return last(q)
            }
        }
        repeat up to 5 {
            repeat up to 5 {
                if ok(cl8(q)) ~ 0.2 {
                    z = g(q)
                } elif b1 and b2 and ok(cl9(q)) ~ 0.3 {
                } elif ok(cl10(q)) {
                    return of("a")
                }
            } until (ok(cl11(q)) or ok(g(z))) or b2 ~ 0.2
        }
    }
    return z
}
"""


@pytest.mark.slow
def test_ways_within_ways_are_looked_through_as_far_as_there_are_steps(tmp_path: Path) -> None:
    more = "".join(f'component cl{at}(q: text) -> text ~ 9 tokens = python("m:cl{at}")\n' for at in range(1, 12))
    (path := tmp_path / "a.rag").write_text(more + HEAD + WITHIN, encoding="utf-8")
    application = check_files([path]).application
    assert application is not None
    found = demand(application, application.flows[0])
    assert 0 < found.visits["last"] < 0.9 * 0.5


#: Each round asks one value of its own by two tests, of which one asks another value, too.
COMBINED = """
    repeat up to ROUNDS {
        j = cl(y)
        y = g(y)
        if j == "b" or ok(y) ~ 0.6 { y = g(y) } elif j == "c" { return last(y) }
    } until j == "a" ~ 0.2
    return y
}
"""


@pytest.mark.parametrize("rounds", [7, 15, 40])
def test_combined_tests_leave_as_many_rounds_as_are_said(rounds: int, tmp_path: Path) -> None:
    two, found = (_demand(COMBINED.replace("ROUNDS", str(each)), tmp_path) for each in (2, rounds))
    # By the first two rounds, in each of which a value is asked about, and at the end of which 0.2 of the others go.
    returns = two.visits["last"] / two.visits["cl"]
    assert found.exact
    goes_on = (1.0 - returns) * 0.8
    assert found.visits["cl"] == pytest.approx(sum(goes_on**before for before in range(rounds)), rel=2e-3)
    assert found.visits["last"] == pytest.approx(found.visits["cl"] * returns)


def test_rounds_that_branch_too_much_are_left_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told_apart = _demand(COMBINED.replace("ROUNDS", "15"), tmp_path)
    monkeypatch.setattr(guards, "_MOST_STEPS", (8_000, 0, 0))
    found = _demand(COMBINED.replace("ROUNDS", "15"), tmp_path)
    assert found.exact
    assert found.visits == pytest.approx(told_apart.visits, rel=2e-3)
    assert len(found.expanded.flow.nodes) < len(told_apart.expanded.flow.nodes)


#: So many calls that it is too much to see which are sent together.
NESTED = """
    repeat up to 12 {
        repeat up to 20 {
            y = g(y)
            if ok(y) ~ 0.3 { y = of("b") }
        } until cl(y) == "a" ~ 0.1
    } until cl(y, "s") == "a" ~ 0.05
    return y
}
"""


def test_which_calls_are_sent_together_may_be_too_much_where_how_many_are_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "_MOST_STEPS", (50_000, 0, 0))
    found = _demand(NESTED, tmp_path)
    assert found.exact
    assert len(found.expanded.flow.nodes) > 1_000
    rounds = (1.0 - 0.95**12) / 0.05 * (1.0 - 0.9**20) / 0.1
    assert found.visits["g"] == pytest.approx(rounds)
    assert found.visits["of"] == pytest.approx(0.3 * rounds)
    assert sum(path.likely for path in found.paths) == pytest.approx(1.0)
