"""Figures as they are said: a need never below what it is, a supply never above."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.diagnostics.numbers import about
from harmonia_compiler.plan.figures import amounts, down, plain, time, time_up, up

FIGURES = st.floats(1e-9, 1e12)


@given(FIGURES, st.integers(2, 6))
def test_a_need_is_rounded_up_and_a_supply_down(figure: float, digits: int) -> None:
    least, most = down(figure, digits), up(figure, digits)
    assert least * (1 - 1e-11) <= figure <= most * (1 + 1e-11)
    assert most - least <= figure * 10.0 ** (1 - digits) * (1 + 1e-9)


@given(FIGURES, FIGURES)
def test_what_is_more_is_never_said_to_be_as_much(one: float, other: float) -> None:
    least, most = sorted((one, other))
    if most > least * (1 + 1e-9):
        assert float(plain(up(most))) > float(plain(down(least)))


@given(FIGURES)
def test_a_rounded_figure_stays_as_it_is(figure: float) -> None:
    assert up(up(figure)) == up(figure)
    assert down(down(figure)) == down(figure)


@pytest.mark.parametrize(
    ("figure", "least", "most"),
    [
        (0.19655, "0.196", "0.197"),
        (4.05, "4.05", "4.05"),
        (15.999999999999998, "16", "16"),
        (10239.5, "10239", "10240"),
        (1e6, "1000000", "1000000"),
        (0.0, "0", "0"),
        (2.5e-9, "2.5e-09", "2.5e-09"),
    ],
)
def test_how_figures_are_written(figure: float, least: str, most: str) -> None:
    assert (plain(down(figure)), plain(up(figure))) == (least, most)


@given(FIGURES)
def test_a_time_that_is_said_is_no_less(ms: float) -> None:
    value, unit = time(time_up(ms)).split()
    assert float(value) * {"ms": 1.0, "s": 1000.0}[unit] >= ms * (1 - 1e-11)


def test_units() -> None:
    assert amounts({"a100_sxm": 2, "cores": 1, "memory_gib": 0.5}) == "2 a100_sxm and 1 core and 0.5 GiB of memory"
    assert time(time_up(12345.6)) == "12.4 s"
    assert time(time_up(999.9)) == "1 s"


@pytest.mark.parametrize(
    ("figure", "said"),
    [(0.0, "0"), (0.00001234, "0.0000123"), (20.46, "20.5"), (999.4, "999"), (999.5, "1000"), (12_345.6, "12346")],
)
def test_about_a_figure_has_no_exponent(figure: float, said: str) -> None:
    assert about(figure) == said
