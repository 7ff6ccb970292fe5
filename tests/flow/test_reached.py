"""A share is of the requests that reach its branch in the source, whatever equal tests stand elsewhere."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.asked import Asked
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.reached import Either, Fact, merged, possible

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component good(q: text) -> bool = small("Good? {q}")
component sort(q: text) -> "a" | "b" | "c" = small("Sort {q}")
component level(q: text) -> number = small("Level {q}")
component w1(q: text) -> text = small("1 {q}")
component w2(q: text) -> text = small("2 {q}")
component w3(q: text) -> text = small("3 {q}")
component w4(q: text) -> text = small("4 {q}")
"""
BEGINNING = """
    load 1 rps
    t = good(q)
    l = sort(q)
    n = level(q)
    y = q
"""

#: Bodies behind a beginning, and how often `w1` and so on are called.
REACHED = {
    "behind an arm whose test stood before": (
        """if l == "a" ~ 0.2 { y = w1(y) } elif l == "b" ~ 0.4 { y = w2(y) }
        if l == "c" ~ 0.4 { y = w3(y) } elif l == "b" ~ 0.4 { y = w4(y) }
        return y""",
        (0.2, 0.4, 0.4, 0.4),
    ),
    "in an arm, by a test that stood before": (
        """if n < 5 ~ 0.5 { if n < 2 ~ 0.4 { y = w1(y) } }
        if n < 3 ~ 0.25 { if n < 2 ~ 0.8 { y = w4(y) } }
        return y""",
        (0.2, 0.0, 0.0, 0.2),
    ),
    "before a return in its arm": (
        """if l != "a" ~ 0.1 {
            if l == "b" ~ 0.9 { y = w1(y) }
            if t ~ 0.5 { return w3(y) }
        }
        return w4(y)""",
        (0.09, 0.0, 0.05, 0.95),
    ),
    "before a return in its arm, of a number": (
        """if n < 3 ~ 0.2 {
            if n < 2 ~ 0.5 { y = w1(y) } else { y = w2(y) }
            if t ~ 0.5 { return w3(y) }
        }
        return w4(y)""",
        (0.1, 0.1, 0.1, 0.9),
    ),
    "before a return in its arm, of two tests together": (
        """if n < 3 ~ 0.2 {
            if n < 2 and t ~ 0.25 { y = w1(y) }
            if l == "a" ~ 0.5 { return w3(y) }
        }
        return w4(y)""",
        (0.05, 0.0, 0.1, 0.9),
    ),
    "behind a later arm that returns": (
        """if l == "a" ~ 0.2 { y = w1(y) } elif l == "c" ~ 0.4 { return w2(y) }
        if l == "b" ~ 0.666666667 { y = w3(y) }
        return w4(y)""",
        (0.2, 0.4, 0.4, 0.6),
    ),
    "behind an arm in which some return": (
        """if n < 3 ~ 0.5 { if n < 1 ~ 0.4 { return w1(y) } }
        if n < 2 ~ 0.25 { y = w2(y) }
        return w4(y)""",
        (0.2, 0.2, 0.0, 0.8),
    ),
    "behind an arm in which some return, by another value": (
        """if l == "a" ~ 0.5 { if t ~ 0.6 { return w1(y) } }
        if t ~ 0.4285714285714286 { y = w2(y) }
        return w4(y)""",
        (0.3, 0.3, 0.0, 0.7),
    ),
    "behind an arm that returns, where two ways lead to one call": (
        """if t ~ 0.8 { if n < 1 ~ 0.2 { return w1(y) } elif n != 4 ~ 0.5 { y = w2(y) } else { y = w3(y) } }
        return w4(y)""",
        (0.16, 0.4, 0.24, 0.84),
    ),
    "before an arm of its branch that returns": (
        """if l == "b" ~ 0.5 { y = w1(y) } elif n == 1.5 ~ 0.1 { y = w2(y) } elif n == 0 ~ 0.05 { return w3(y) }
        if l == "a" ~ 0.2 { if n >= 1.5 ~ 0.5 { y = w4(y) } }
        return y""",
        (0.5, 0.1, 0.05, 0.095),
    ),
    "behind a return, before what says of its test how often that holds": (
        """if n == 1 ~ 0.1 { y = w1(y) }
        elif n < 3 ~ 0.3 { if n < 2 ~ 0.3333333333333333 { y = w2(y) } else { return w3(y) } }
        if n < 2 ~ 0.25 { if n < 1 ~ 0.5 { y = w4(y) } }
        return y""",
        (0.1, 0.1, 0.2, 0.1),
    ),
    "in a round, behind an arm of its branch that returns": (
        """repeat up to 2 {
            v = sort(y)
            if v == "a" ~ 0.5 { return w1(y) } elif v == "b" ~ 0.3 { y = w2(y) } elif v == "c" ~ 0.2 { y = w3(y) }
        } until good(y) ~ 0.5
        return w4(y)""",
        (0.625, 0.375, 0.25, 0.375),
    ),
    "in a round, behind a branch in which some return": (
        """repeat up to 2 {
            v = sort(y)
            if good(y) ~ 0.5 { if v == "a" ~ 0.5 { return w1(y) } }
            if v == "b" ~ 0.3 { y = w2(y) } elif v == "a" ~ 0.2 { y = w3(y) }
        } until level(y) < 1 ~ 0.5
        return w4(y)""",
        (0.34375, 0.309375, 0.20625, 0.65625),
    ),
    "in a round, behind the return of two tests together": (
        """repeat up to 3 {
            v = sort(y)
            if v == "a" and level(y) > 3 ~ 0.3 { return w1(y) }
            if v == "b" ~ 0.5 { y = w2(y) } else { y = w3(y) }
        }
        return w4(y)""",
        (0.657, 0.7665, 0.7665, 0.343),
    ),
    "in a round, behind an arm that returns beside one that binds a truth": (
        """repeat up to 2 {
            v = sort(y)
            b = false
            if v == "a" ~ 0.5 { return w1(y) } elif v == "b" ~ 0.3 { b = true }
            if v == "c" ~ 0.4 { y = w2(y) }
            if b { y = w3(y) }
        } until level(y) < 1 ~ 0.5
        return w4(y)""",
        (0.625, 0.25, 0.375, 0.375),
    ),
    "in a round, between two branches that return": (
        """repeat up to 3 {
            v = sort(y)
            if v == "a" ~ 0.5 { return w1(y) }
            z = y
            if v == "b" ~ 0.5 { z = w2(y) }
            if good(z) ~ 0.6 { return w4(z) }
            y = w3(z)
        }
        return y""",
        (0.62, 0.31, 0.248, 0.372),
    ),
    "behind arms that nobody reaches": (
        """if t ~ 0 {
            if n > 4 ~ 0.3 { return w1(y) }
            if n > 2 ~ 0.5 { return w2(y) }
        }
        if n > 2 ~ 0.5 { return w3(y) }
        return w4(y)""",
        (0.0, 0.0, 0.5, 0.5),
    ),
    "in a round, behind a truth that is bound and no return": (
        """repeat up to 2 {
            v = sort(y)
            b = false
            if v == "a" ~ 0.5 { b = true }
            if good(y) ~ 0.5 { if v == "a" ~ 0.5 { return w1(y) } }
            if v == "a" ~ 0.3333333333333333 { y = w2(y) }
            if b { y = w3(y) }
        } until level(y) < 1 ~ 0.5
        return w4(y)""",
        (0.34375, 0.34375, 0.34375, 0.65625),
    ),
    "in rounds whose last one does what only a next one would need": (
        """repeat up to 2 {
            f = w1(y)
            v = sort(f)
            if v == "a" ~ 0.5 { y = w2(y) } elif v == "b" ~ 0.2 { y = w3(y) }
        } until good(f) ~ 0.5
        return w4(f)""",
        (1.5, 0.25, 0.1, 1.0),
    ),
    "in a round, in an arm beside that which goes round again": (
        """repeat up to 3 {
            v = sort(y)
            if v == "a" ~ 0.4 { y = w1(y) } else {
                if v == "b" ~ 0.25 { y = w2(y) }
                return w3(y)
            }
        }
        return w4(y)""",
        (0.624, 0.234, 0.936, 0.064),
    ),
    "in a round, in arms of an arm that returns": (
        """repeat up to 2 {
            v = sort(y)
            m = level(y)
            if v == "a" ~ 0.4 { y = w1(y) } elif v == "b" ~ 0.5 {
                if m < 3 ~ 0.5 { if m < 1 ~ 0.2 { y = w2(y) } } else { if m > 5 ~ 0.4 { y = w3(y) } }
                return w4(y)
            }
        }
        return y""",
        (0.6, 0.075, 0.15, 0.75),
    ),
    "at the end of a round that may return, by a test of which something is said elsewhere": (
        """if t ~ 0.02 { y = w1(y) }
        repeat up to 3 {
            y = w2(y)
            if t { return w3(y) }
        } until good(y) ~ 0.5
        return w4(y)""",
        (0.02, 1.735, 0.02, 0.98),
    ),
    "at the end of a round, by the value that says whether it returns": (
        """repeat up to 3 {
            v = sort(y)
            if v == "a" ~ 0.4 { return w1(y) }
            y = w2(y)
        } until v == "b" ~ 0.25
        return w4(y)""",
        (0.661, 0.9915, 0.0, 0.339),
    ),
    "in a round, by a test that another branch of it has asked": (
        """repeat up to 2 {
            v = sort(y)
            z = y
            if v == "a" ~ 0.4 { z = w1(y) }
            if v == "a" ~ 0.4 { return w2(z) } elif v == "b" ~ 0.3 { z = w3(y) }
            y = z
        }
        return w4(y)""",
        (0.64, 0.64, 0.48, 0.36),
    ),
    "in a round, behind a silent test of what is asked before the loop": (
        """if l == "a" ~ 0.7 { y = w1(y) } elif l == "b" ~ 0.1 { y = w1(y) }
        repeat up to 2 {
            v = good(y)
            z = y
            if l == "c" { z = w2(y) } elif v ~ 0.4 { return w3(y) }
            y = z
        }
        return w4(y)""",
        (0.8, 0.4, 0.6, 0.4),
    ),
    "in a round, by what is the same in all rounds": (
        """repeat up to 3 {
            v = good(y)
            z = y
            if t ~ 0.5 { z = w1(y) } elif v ~ 0.25 { return w2(y) }
            y = z
        } until v ~ 0.3333333333333333
        return w3(y)""",
        (0.875, 0.4375, 0.5625, 0.0),
    ),
    "in a round, behind two arms of its branch that return": (
        """repeat up to 2 {
            v = sort(y)
            z = y
            if v == "a" ~ 0.2 { return w1(z) } elif v == "b" ~ 0.2 { return w2(z) } elif v == "c" ~ 0.6 { z = w3(z) }
            y = z
        }
        return w4(y)""",
        (0.32, 0.32, 0.96, 0.36),
    ),
    "of a round, behind two branches of it that return": (
        """repeat up to 2 {
            v = sort(y)
            z = y
            if v == "a" ~ 0.6 { z = w1(y) } elif v == "b" ~ 0.3 { z = w2(y) }
            if t ~ 0.2 { z = w1(z) } elif v == "b" { return w3(z) }
            if v == "b" { return w4(z) }
            y = z
        } until v == "c" ~ 0.14285714285714285
        return w4(y)""",
        (1.28, 0.48, 0.384, 0.616),
    ),
    "in the next round, of what has not ended the one before": (
        """v = sort(y)
        repeat up to 2 {
            z = y
            if v == "c" ~ 0.5 { z = w1(y) }
            x = w2(z)
            v = sort(x)
            y = x
        } until v == "a" ~ 0.4
        return w3(y)""",
        (0.8, 1.6, 1.0, 0.0),
    ),
    "in a round, behind a return in the same arm": (
        """repeat up to 2 {
            m = level(y)
            z = y
            if m < 8 ~ 0.4 { z = w2(y) }
            if sort(y) != "c" ~ 0.5 {
                if good(y) ~ 0.5 { return w1(z) }
                if m < 8 ~ 0.8 { z = w3(z) }
            }
            y = z
        }
        return w4(y)""",
        (0.4375, 0.7, 0.35, 0.5625),
    ),
    "behind a silent arm of its branch that returns": (
        """if l == "b" ~ 0.5 { y = w1(y) }
        if l == "b" { return w2(y) } elif l == "a" ~ 0.25 { y = w3(y) } elif t ~ 0.125 { y = w4(y) }
        return y""",
        (0.5, 0.5, 0.25, 0.125),
    ),
    "of fewer, before one of all that says how many there are": (
        """if l == "c" { y = w3(y) } else { if l == "b" ~ 0.6666666667 { y = w4(y) } }
        if l == "a" ~ 0.25 { y = w1(y) } elif l == "b" ~ 0.5 { y = w2(y) }
        return y""",
        (0.25, 0.5, 0.25, 0.5),
    ),
    "at the end of a round that may return by values from before the loop": (
        """repeat up to 2 {
            v = good(y)
            z = y
            if not v ~ 0.5 { z = w1(z) }
            if v { z = w2(z) } elif t ~ 0.25 { z = w3(z) } elif l == "a" ~ 0.125 { return w4(z) }
            y = z
        } until not v ~ 0.42857142857142855
        return y""",
        (0.75, 0.75, 0.375, 0.1875),
    ),
    "in a round, in the arm for the last label": (
        """repeat up to 2 {
            m = level(y)
            v = sort(y)
            if m < 8 ~ 0.4 { y = w4(y) }
            if v != "c" ~ 0.5 { return w1(y) } elif v == "c" { if m < 8 ~ 0.8 { y = w3(y) } }
        }
        return y""",
        (0.75, 0.0, 0.6, 0.6),
    ),
    "in a round, in the one arm of its branch that goes on": (
        """repeat up to 2 {
            m = level(y)
            v = sort(y)
            if m < 8 ~ 0.4 { y = w4(y) }
            if v == "a" ~ 0.2 { return w1(y) }
            elif v == "b" ~ 0.5 { if m < 8 ~ 0.8 { y = w3(y) } } else { return w2(y) }
        }
        return y""",
        (0.3, 0.45, 0.6, 0.6),
    ),
    "in a loop in a loop, by a value of the outer one's round": (
        """repeat up to 2 {
            v = level(y)
            z = y
            if v < 1 ~ 0.2 { return w1(y) } elif v < 2 ~ 0.2 { z = w2(z) }
            repeat up to 2 {
                u = sort(z)
                if u == "a" ~ 0.5 { return z } elif u == "b" ~ 0.25 { z = w3(z) }
                if v < 2 ~ 0.25 { z = w4(z) }
            }
            y = z
        }
        return y""",
        (0.24, 0.24, 0.36, 0.18),
    ),
    "by a named test, of those in an arm": (
        """c = n < 3
        if n < 5 ~ 0.5 { if c ~ 0.4 { y = w1(y) } }
        if c { y = w2(y) }
        return w4(y)""",
        (0.2, 0.2, 0.0, 1.0),
    ),
}


def _visits(text: str, folder: Path, without: tuple[str, ...] = ()) -> Mapping[str, float]:
    path = folder / "ask.rag"
    path.write_text(text)
    checked = check_files([path])
    assert checked.application is not None, checked.found
    application = optimise(checked.application, without=without)
    asked = next(flow for flow in application.flows if flow.load is not None)
    return demand(application, asked).visits


@pytest.mark.parametrize("without", [(), ("common_subexpressions",)], ids=["merged", "apart"])
@pytest.mark.parametrize("case", REACHED)
def test_a_share_is_of_those_that_reach_its_branch(case: str, without: tuple[str, ...], tmp_path: Path) -> None:
    body, calls = REACHED[case]
    visits = _visits(f"{HEAD}pipeline ask(q: text ~ 10 tokens) -> text {{{BEGINNING}{body}\n}}\n", tmp_path, without)
    assert [visits.get(f"w{number}", 0.0) for number in range(1, 5)] == pytest.approx(calls)


@pytest.mark.parametrize("first", ["inner", "outer"])
def test_what_a_called_pipeline_says_is_of_those_that_reach_the_call(first: str, tmp_path: Path) -> None:
    """Wherever it stands in the file."""
    inner = """pipeline inner(q: text ~ 10 tokens, n: number) -> text {
        if n < 2 ~ 0.8 { return w1(q) }
        return w2(q)
    }
    """
    outer = f"""pipeline outer(q: text ~ 10 tokens) -> text {{{BEGINNING}
        if n < 3 ~ 0.25 {{ y = inner(y, n) }}
        return y
    }}
    """
    visits = _visits(HEAD + (inner + outer if first == "inner" else outer + inner), tmp_path)
    assert (visits["w1"], visits["w2"]) == pytest.approx((0.2, 0.05))


@pytest.mark.parametrize("first", ["inner", "outer"])
def test_what_a_called_pipeline_says_is_of_those_that_no_return_before_took(first: str, tmp_path: Path) -> None:
    inner = """pipeline inner(q: text ~ 10 tokens, n: number) -> text {
        if n <= 0 ~ 0.1 { return w1(q) }
        return q
    }
    """
    outer = f"""pipeline outer(q: text ~ 10 tokens) -> text {{{BEGINNING}
        if n == 3 ~ 0.4 {{ if t ~ 0.5 {{ return w2(y) }} }}
        return inner(y, n)
    }}
    """
    visits = _visits(HEAD + (inner + outer if first == "inner" else outer + inner), tmp_path)
    assert (visits["w1"], visits["w2"]) == pytest.approx((0.08, 0.2))


def test_what_a_pipeline_says_that_is_called_in_a_round_is_of_those_that_reach_the_call(tmp_path: Path) -> None:
    text = f"""{HEAD}
    pipeline inner(q: text ~ 10 tokens, n: number) -> text {{
        if n < 2 ~ 0.8 {{ return w1(q) }}
        return w2(q)
    }}
    pipeline outer(q: text ~ 10 tokens) -> text {{
        load 1 rps
        y = q
        repeat up to 2 {{
            n = level(y)
            if n < 3 ~ 0.25 {{ y = inner(y, n) }} elif sort(y) == "a" ~ 0.5 {{ return w3(y) }}
        }}
        return w4(y)
    }}
    """
    visits = _visits(text, tmp_path)
    assert [visits[f"w{number}"] for number in range(1, 5)] == pytest.approx((0.3, 0.075, 0.75, 0.25))


def test_what_is_said_where_items_are_called_for_is_of_those_that_were_kept(tmp_path: Path) -> None:
    text = f"""{HEAD}
    component parts(q: text) -> [text ~ 3 tokens] ~ 3 = small("Parts of {{q}}")
    pipeline inner(q: text ~ 3 tokens) -> text {{
        if sort(q) == "a" ~ 0.3333333333 {{ return w1(q) }}
        return q
    }}
    pipeline outer(q: text ~ 10 tokens) -> [text] {{
        load 1 rps
        return each item in parts(q) where sort(item) != "b" ~ 0.6: inner(item)
    }}
    """
    assert _visits(text, tmp_path)["w1"] == pytest.approx(3 * 0.6 / 3)


def test_what_else_is_so_rules_out_ways() -> None:
    """Of `not a and b` or `c`, where a is so besides, c is left."""
    a, b, c = (Fact(Asked(number), holds=True, share=0.5) for number in range(3))
    not_a = replace(a, holds=False)
    assert possible([a, Either(((not_a, b), (c,)))]) == (a, c)
    assert possible([Either(((not_a, b), (c,))), a]) == (c, a)
    assert possible([a, Either(((not_a, b), (not_a, c)))]) is None


def test_ways_on_which_the_same_is_so_are_one_in_whatever_order() -> None:
    a, b, c = (Fact(Asked(number), holds=True, share=0.5) for number in range(3))
    assert merged([(a, b), (b, a)]) == (a, b)
    assert merged([(a, b), (c,), (b, a)]) == (Either(((c,), (a, b))),)
