"""How far a share that is written may be from the one that is meant."""

from decimal import Decimal, InvalidOperation

from harmonia_compiler.diagnostics.source import Span


def half_a_digit(place: Span) -> float:
    """Half a unit of the last digit of what is written: of two digits behind the point at least."""
    try:
        exponent = Decimal(place.source.text[place.start : place.end]).as_tuple().exponent
    except InvalidOperation:
        exponent = -2
    return 0.5 * 10.0 ** min(-2, exponent if isinstance(exponent, int) else -2)
