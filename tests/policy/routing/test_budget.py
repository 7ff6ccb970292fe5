"""How often calls may be sent again."""

from harmonia_compiler.policy.routing.budget import EARNED, KEPT, RetryBudget


def test_a_stage_that_is_down_is_sent_little_more_than_it_is_asked() -> None:
    budget, again = RetryBudget(), 0
    for _ in range(1000):
        budget.sent()
        again += budget.spend()
    assert again <= EARNED * 1000 + KEPT


def test_a_bad_moment_after_quiet_is_made_up_for() -> None:
    budget = RetryBudget()
    assert [budget.spend() for _ in range(12)] == [True] * 10 + [False] * 2
