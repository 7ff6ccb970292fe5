"""The table of how often tests hold: what goes first, what is left to others, and what is known of those before."""

import pytest

from harmonia_compiler.flow.asked import Asked, Below, exactly
from harmonia_compiler.flow.outcomes import FALSE, Outcomes
from harmonia_compiler.flow.reached import Fact
from harmonia_compiler.flow.said import Saying
from harmonia_compiler.flow.shares import Part, Row, Shares

ONE, OTHER = Row("one", ("v",)), Row("other", ("v",))


def _shares() -> Shares:
    return Shares(lambda _: ("a", "b", "c"), lambda: Outcomes(1_000))


def _numbers() -> Shares:
    return Shares(lambda _: None, lambda: Outcomes(1_000))


def test_what_is_said_first_holds_and_a_guess_yields_to_it() -> None:
    shares = _shares()
    shares.say([([Part(ONE)], Saying("a", 0.2)), ([Part(ONE)], Saying("a", 0.7))])
    assert shares.of([Part(ONE)], "a", 0.5) == pytest.approx(0.2)
    shares.hear([Part(ONE)], "a", 0.5)
    shares.hear([Part(ONE)], "b", 0.9)
    assert shares.shares(Part(ONE)) == pytest.approx({"a": 0.2, "b": 0.8})


def test_what_is_said_of_several_leaves_to_the_others_what_one_does_not_make_up() -> None:
    shares = _shares()
    shares.say([([Part(ONE, weight=1.0), Part(OTHER, weight=3.0)], Saying("a", 0.3)), ([Part(ONE)], Saying("a", 0.6))])
    assert shares.of([Part(OTHER)], "a", 0.5) == pytest.approx(0.2)


def test_a_share_among_those_that_were_kept_counts_behind_the_test_that_kept_them() -> None:
    shares = _shares()
    kept = Part(ONE, (("c", False),))
    shares.say([([kept], Saying("a", 0.4)), ([Part(ONE)], Saying("c", 0.5))])
    assert shares.of([kept], "a", 0.5) == pytest.approx(0.4)
    assert shares.of([Part(ONE)], "a", 0.5) == pytest.approx(0.2)
    assert shares.of([kept], "c", 0.5) == 0.0


def test_what_is_said_of_a_test_goes_before_what_rests_on_it_however_many_others_it_rests_on() -> None:
    one, two, three = Below(1.0), Below(2.0), Below(3.0)
    shares, is_below = _numbers(), Fact(Asked(0, test=two), holds=True, share=0.9)
    among = (Fact(Asked(0, test=three), holds=True, share=0.9), Fact(Asked(0, test=one), holds=False, share=0.9))
    of = [Part(ONE)]
    shares.say(
        [
            (of, Saying(exactly(0.0), 0.75, (is_below,))),
            (of, Saying(three, 0.8)),
            (of, Saying(one, 0.5)),
            (of, Saying(two, 1 / 3, among)),
        ]
    )
    assert [shares.of(of, test, 0.5) for test in (one, two, three)] == pytest.approx([0.5, 0.6, 0.8])
    assert shares.of(of, exactly(0.0), 0.5) == pytest.approx(0.45)


def test_what_is_said_of_what_was_kept_goes_behind_what_is_said_of_the_test_that_kept_it() -> None:
    shares, is_no_b = _shares(), Fact(Asked(0, test="b"), holds=False, share=0.5)
    shares.say(
        [
            ([Part(ONE, (("c", False),))], Saying("a", 0.4)),
            ([Part(ONE)], Saying("c", 0.5, (is_no_b,))),
            ([Part(ONE)], Saying("b", 0.5)),
        ]
    )
    assert shares.of([Part(ONE)], "c", 0.5) == pytest.approx(0.25)


def test_what_rests_on_each_other_is_heard_all_the_same() -> None:
    one, two = (Fact(Asked(0, test=Below(bound)), holds=True, share=0.5) for bound in (1.0, 2.0))
    shares, of = _numbers(), [Part(ONE)]
    shares.say([(of, Saying(Below(2.0), 1.0, (one,))), (of, Saying(Below(1.0), 0.4, (two,)))])
    assert {Below(1.0), Below(2.0)} <= {*shares.known(of)}


def test_nothing_is_known_of_a_value_that_nothing_is_said_of_or_that_never_is() -> None:
    shares = _shares()
    never = Part(ONE, (("a", True), ("b", True)))
    shares.say(
        [([], Saying("a", 0.2)), ([never], Saying("c", 0.2, (Fact(Asked(0, test="a"), holds=True, share=0.5),)))]
    )
    assert shares.of([], "a", 0.5) is None
    assert shares.of([never], "c", 0.5) is None
    assert shares.of([Part(OTHER)], "a", 0.5) is None
    assert shares.known([Part(OTHER)]) == []


def test_what_was_kept_alike_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each list joins another one to what a test has kept of the list before."""
    asked = 0

    def both(outcomes: Outcomes, one: int, other: int) -> int:
        nonlocal asked
        asked += 1
        return outcomes.choose(one, other, FALSE)

    def work(lists: int) -> int:
        nonlocal asked
        asked, shares = 0, Shares(lambda _: None, lambda: Outcomes(100_000))
        for last in range(1, lists):
            kept = [tuple((Below(float(at)), False) for at in range(first, last)) for first in range(last)]
            shares.of([Part(ONE, each) for each in kept], Below(1_000.0), 0.5)
        return asked

    monkeypatch.setattr(Outcomes, "both", both)
    assert work(40) < 5 * work(20)
