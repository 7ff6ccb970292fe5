"""A share that the source says of a test holds wherever the same value is tested, whichever test is reached first."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.kinds.registry import kinds

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 1000)
component good(q: text) -> bool = small("{q}")
component sort(q: text) -> "a" | "b" = small("{q}")
component verdict(q: text) -> "a" | "b" | "c" = small("{q}")
component level(q: text) -> number = small("{q}")
component items(q: text) -> [(v: "a" | "b", ok: bool, n: number, t: text)] ~ 4 = small("{q}")
component grades(q: text) -> [(v: "a" | "b" | "c", ok: bool, n: number, t: text)] ~ 8 = small("{q}")
component w(t: text) -> text = small("Once: {t}")
component v(t: text) -> text = small("Again: {t}")
component merge(t: [text]) -> text = small("{t}")
pipeline ask(q: text ~ 10 tokens) -> text {
    load 1 rps
"""


def _branches(made: str, one: str, other: str) -> str:
    """Two branches of which each calls something."""
    return f"""x = {made}(q)
    y = q
    if {one} {{ y = w(q) }}
    z = q
    if {other} {{ z = v(q) }}
    return merge([y, z])"""


def _lists(one: str, other: str) -> str:
    """Two lists of which each calls something for the items that it keeps."""
    return f"""x = items(q)
    return merge((each i in x where {one}: w(i.t)) + (each i in x where {other}: v(i.t)))"""


def _kept(first: str, one: str, other: str) -> str:
    """Two lists of what a first test has kept."""
    return f"""x = each g in grades(q) where {first}: g
    return merge((each g in x where {one}: w(g.t)) + (each g in x where {other}: v(g.t)))"""


def _loop(made: str, most: int, until: str, after: str) -> str:
    """A loop until a test of what it has bound, and a test of it behind."""
    return f"""t = q
    repeat up to {most} {{
        t = merge([t])
        x = {made}(t)
    }} until {until}
    if {after} {{ return w(t) }}
    return v(t)"""


def _derived(other: str) -> str:
    """A share said of the items of a list, which another one is made of."""
    return f"""x = items(q)
    y = {other}
    return merge((each i in x where i.ok ~ 0.1: w(i.t)) + (each i in y where i.ok: v(i.t)))"""


#: The body, and how often what the first and the second test guard is called.
SAID = {
    "a label again": (_branches("sort", 'x == "a" ~ 0.2', 'x == "a"'), 0.2, 0.2),
    "the other label": (_branches("sort", 'x == "a" ~ 0.2', 'x == "b"'), 0.2, 0.8),
    "not that label": (_branches("sort", 'x == "a" ~ 0.2', 'x != "a"'), 0.2, 0.8),
    "said of the later test": (_branches("sort", 'x == "a"', 'x == "a" ~ 0.2'), 0.2, 0.2),
    "a bound again": (_branches("level", "x > 3 ~ 0.2", "x > 3"), 0.2, 0.2),
    "beyond that bound": (_branches("level", "x > 3 ~ 0.2", "x <= 3"), 0.2, 0.8),
    "a truth said later": (_branches("good", "x", "x ~ 0.2"), 0.2, 0.2),
    "two tests together": (_branches("level", "x > 3 and x < 5 ~ 0.2", "x > 3 and x < 5"), 0.2, 0.2),
    "a chain": (
        """x = sort(q)
    y = q
    if x == "a" { y = w(q) } elif good(q) ~ 0.4 { y = v(q) }
    if x == "a" ~ 0.2 { y = merge([y]) }
    return merge([y])""",
        0.2,
        0.4,
    ),
    "a chain of two silent arms": (
        """x = sort(q)
    n = level(q)
    y = q
    if x == "a" { y = merge([q]) } elif n > 3 { y = w(q) } elif good(q) ~ 0.4 { y = v(q) }
    if x == "a" ~ 0.3 { y = merge([y]) }
    return merge([y])""",
        (1.0 - 0.4 - 0.3) / 2,
        0.4,
    ),
    "a chain whose arms return": (
        """x = sort(q)
    y = q
    if x == "a" ~ 0.2 { y = merge([q]) }
    if x == "a" { return w(y) } elif good(q) ~ 0.4 { return v(y) }
    return merge([y])""",
        0.2,
        0.4,
    ),
    "a chain that stands there twice": (
        """x = sort(q)
    g = good(q)
    y = q
    z = q
    if x == "a" { y = w(q) } elif g { y = v(q) }
    if x == "a" { z = w(q) } elif g ~ 0.4 { z = v(q) }
    if x == "a" ~ 0.2 { y = merge([y]) }
    return merge([y, z])""",
        0.2,
        0.4,
    ),
    "an equal branch of which it is said that stands behind the first": (
        """x = level(q)
    y = q
    z = q
    u = q
    if x < 3 ~ 0.9 { u = merge([q]) }
    if x < 2 { y = w(q) }
    if x < 2 ~ 0.5 { z = w(q) }
    t = u
    if x < 3 { if x < 2 { t = v(u) } }
    return merge([y, z, t])""",
        0.5,
        0.5,
    ),
    "a chain in a loop": (
        """t = q
    repeat up to 2 {
        x = sort(t)
        s = q
        if x == "a" { s = w(t) } elif good(t) ~ 0.4 { s = v(t) }
        t = merge([s])
    } until x == "a" ~ 0.2
    return t""",
        0.2 * 1.8,
        0.4 * 1.8,
    ),
    "a chain with a test of two together": (
        """x = sort(q)
    both = x == "a" and good(q)
    y = q
    if both { y = w(q) } elif level(q) > 3 ~ 0.4 { y = v(q) }
    if x == "a" ~ 0.1 { y = merge([y]) }
    return merge([y])""",
        0.1,
        0.4,
    ),
    "what is bound again by the other label": (
        """x = sort(q)
    y = q
    if x == "a" ~ 0.2 { y = w(q) }
    if x == "b" { y = v(q) }
    return merge([y])""",
        0.2,
        0.8,
    ),
    "what is bound again by another label": (
        """x = verdict(q)
    y = q
    if x == "a" ~ 0.2 { y = w(q) }
    if x == "b" ~ 0.3 { y = v(q) }
    return merge([y])""",
        0.2,
        0.3,
    ),
    "two numbers compared, and then in turned words": (
        """a = level(q)
    b = level(merge([q]))
    y = q
    if a < b ~ 0.1 { y = merge([q]) } elif b < a ~ 0.3 { y = w(q) } else { y = v(q) }
    return y""",
        0.3,
        0.6,
    ),
    "two numbers compared in turned words, of those in an arm": (
        """a = level(q)
    b = level(merge([q]))
    y = q
    if b <= a ~ 0.9 {
        y = v(y)
        if a > b ~ 0.3 { y = w(y) }
    }
    return y""",
        0.27,
        0.9,
    ),
    "a bound, and no more than it": (_branches("level", "x < 3 ~ 0.2", "x <= 3 ~ 0.5"), 0.2, 0.5),
    "the first share of two": (_branches("level", "x > 3 ~ 0.2", "x > 3 ~ 0.4"), 0.2, 0.2),
    "a label of items again": (_lists('i.v == "a" ~ 0.1', 'i.v == "a"'), 0.4, 0.4),
    "the other label of items": (_lists('i.v == "a" ~ 0.2', 'i.v == "b"'), 0.8, 3.2),
    "a share too many of labels of items": (_lists('i.v == "a" ~ 0.2', 'i.v == "b" ~ 0.3'), 0.8, 3.2),
    "a truth of items again": (_lists("i.ok ~ 0.1", "i.ok"), 0.4, 0.4),
    "a bound of items again": (_lists("i.n > 3 ~ 0.1", "i.n > 3"), 0.4, 0.4),
    "said of later items": (_lists("i.n > 3", "i.n > 3 ~ 0.1"), 0.4, 0.4),
    "the first share of two of items": (_lists("i.n > 3 ~ 0.1", "i.n > 3 ~ 0.4"), 0.4, 0.4),
    "labels of what was kept": (
        _kept('g.v != "c" ~ 0.5', 'g.v == "a" ~ 0.4', 'g.v == "b" ~ 0.6'),
        1.6,
        2.4,
    ),
    "what was kept, again": (_kept('g.v == "a" ~ 0.5', 'g.v == "a" ~ 0.2', 'g.v == "b"'), 4.0, 0.0),
    "a bound of what was kept": (_kept("g.n >= 18 ~ 0.5", "g.n >= 65 ~ 0.2", "g.n < 18 ~ 0.3"), 0.8, 0.0),
    "what was not kept": (_kept("not g.ok ~ 0.25", "g.ok", "not g.ok"), 0.0, 2.0),
    "what one of two lists was kept of": (
        """x = each g in grades(q) where g.v == "a" ~ 0.5: g
    y = x + grades(w(q))
    return merge(each g in y where g.v == "a" ~ 0.5: v(g.t))""",
        1.0,
        6.0,
    ),
    "a test of another item": (
        """x = grades(q)
    y = each i in x: merge(each g in (each j in x where i.ok ~ 0.5: j) where g.ok: v(g.t))
    z = each i in x where i.ok: w(i.t)
    return merge(y + z)""",
        4.0,
        16.0,
    ),
    "a test within a loop and at its end": (
        """t = q
    repeat up to 2 {
        s = level(t)
        if s > 8 ~ 0.1 { t = v(t) }
        t = w(t)
    } until s > 8
    return merge([t])""",
        1.9,
        0.19,
    ),
    "the truth of `until` after the loop": (_loop("good", 2, "x ~ 0.6", "not x"), 0.16, 0.84),
    "the label of `until` after the loop": (_loop("verdict", 2, 'x == "a" ~ 0.7', 'x != "a"'), 0.09, 0.91),
    "the bound of `until` after the loop": (_loop("level", 3, "x >= 7 ~ 0.4", "x < 7"), 0.216, 0.784),
    "another label after the loop": (_loop("verdict", 3, 'x == "a" ~ 0.4', 'x == "b" ~ 0.1'), 0.1, 0.9),
    "a guess of `until` after the loop": (_loop("good", 2, "x", "not x"), 0.25, 0.75),
    "said of the first rounds, after the loop": (
        """t = q
    repeat up to 2 {
        x = good(t)
        if x ~ 0.1 { t = w(t) }
    }
    if x { return v(t) }
    return t""",
        0.2,
        0.1,
    ),
    "a test of two together in each round": (
        """t = q
    repeat up to 2 {
        x = good(t)
        both = x and level(t) > 3
        t = w(t)
    } until both ~ 0.3
    if both { return v(t) }
    return t""",
        1.7,
        0.51,
    ),
    "a guess of a name that is bound on two paths": (
        """x = good(q)
    t = q
    if x ~ 0.1 { t = w(q) }
    if level(q) > 5 ~ 0.3 { x = good(merge([t])) }
    if x { return v(t) }
    return t""",
        0.1,
        0.7 * 0.1 + 0.3 * 0.5,
    ),
    "the first items of a list": (_derived("take(x, 3)"), 0.4, 0.3),
    "a list and another": (_derived("x + items(merge([q]))"), 0.4, 0.4 + 2.0),
    "a list of records of the items": (_derived("each i in x: (ok: i.ok, t: i.t)"), 0.4, 0.4),
    "items that another test has kept": (_derived("each i in x where i.n > 5 ~ 0.5: i"), 0.4, 0.2),
    "items that two tests together have kept": (_derived("each i in x where i.ok and i.n > 5 ~ 0.05: i"), 0.4, 0.2),
    "one of two lists of which both together are said": (
        """x = items(q)
    y = items(merge([q]))
    a = each i in x where i.ok ~ 0.1: w(i.t)
    b = each i in x + y where i.ok ~ 0.2: merge([i.t])
    return merge(a + b + (each i in y where i.ok: v(i.t)))""",
        0.4,
        1.2,
    ),
    "what was kept, and all of which it was kept": (
        """x = grades(q)
    y = each g in x where g.v != "c" ~ 0.5: g
    a = each g in y where g.v == "a" ~ 0.4: w(g.t)
    return merge(a + (each g in x where g.v == "a": v(g.t)))""",
        1.6,
        1.6,
    ),
    "all, and what was kept of it": (
        """x = grades(q)
    y = each g in x where g.v != "c" ~ 0.5: g
    a = each g in x where g.v == "a" ~ 0.2: w(g.t)
    return merge(a + (each g in y where g.v == "a": v(g.t)))""",
        1.6,
        1.6,
    ),
}


def _visits(body: str, folder: Path) -> Mapping[str, float]:
    path = folder / "ask.rag"
    path.write_text(f"{HEAD}    {body}\n}}\n")
    checked = check_files([path], {})
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    found: dict[str, float] = {}
    for call in demand(application, application.flows[0], kinds=kinds()).calls:
        found[call.component] = found.get(call.component, 0.0) + call.visits
    return found


@pytest.mark.parametrize("case", SAID)
def test_what_is_said_of_a_test_holds_wherever_the_value_is_tested(case: str, tmp_path: Path) -> None:
    body, once, again = SAID[case]
    visits = _visits(body, tmp_path)
    assert (visits.get("w", 0.0), visits.get("v", 0.0)) == pytest.approx((once, again), rel=1e-6)
