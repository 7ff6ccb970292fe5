"""How numbers are said to people: by all their digits, without an exponent."""

from decimal import Decimal

#: Digits beyond which a float says nothing: sums of it end in 15.999999999999998.
CERTAIN_DIGITS = 12


def plain(value: float) -> str:
    """A number as it is written by hand: whole ones with all their digits, the others with as many as are certain."""
    return str(int(value)) if value == int(value) else f"{Decimal(f'{value:.{CERTAIN_DIGITS}g}'):f}"


def about(value: float) -> str:
    """About a number: three digits of it, of large ones the whole units."""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{Decimal(f'{value:.3g}'):f}"
