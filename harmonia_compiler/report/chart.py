"""Charts as SVG, drawn from plain numbers: lines over an axis, and bars; in a page, or as a picture of their own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from harmonia_compiler.diagnostics.numbers import about

_WIDTH, _HEIGHT = 720.0, 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 16.0, 12.0, 40.0
_BAR, _BAR_LEFT = 24.0, 220.0
#: Distinct in hue and in lightness; the page has them as variables, so that dark and light pages have their own.
_COLOURS = 5
_TICKS = 5
#: What a picture of its own has above the chart, for its title.
_HEAD = 28.0
#: The height of a line's name below a picture's chart.
_KEY = 18.0

#: How charts look; the page that they are in has it among its own.
STYLE = """
:root { color-scheme: light dark; --ink: #1d1f24; --paper: #fff; --grid: #d9dce1;
  --c0: #0b62c4; --c1: #b3470b; --c2: #13795b; --c3: #8a2d8f; --c4: #6b6f78; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --paper: #16181d; --grid: #3a3e47;
  --c0: #6fb1ff; --c1: #ff9d5c; --c2: #5fd0a8; --c3: #e08be5; --c4: #a9adb6; } }
svg text { font-size: 12px; fill: var(--ink); } .middle { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: var(--grid); } polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.bar { fill: var(--c0); }
""" + "".join(
    f"polyline.c{number} {{ stroke: var(--c{number}); }} "
    f"circle.c{number}, svg text.c{number} {{ fill: var(--c{number}); }}\n"
    for number in range(_COLOURS)
)


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points."""

    name: str
    points: Sequence[tuple[float, float]]


def lines(title: str, x: str, y: str, drawn: Sequence[Line], *, logarithmic: bool = False) -> str:
    """Lines with both axes named. A logarithmic x-axis leaves out what is not above 0."""
    kept = [Line(one.name, [at for at in one.points if at[0] > 0 or not logarithmic]) for one in drawn]
    parts = _plotted(x, y, kept, logarithmic=logarithmic)
    return _figure(title, _HEIGHT, parts, [one.name for one in kept]) if parts else ""


def picture(title: str, x: str, y: str, *drawn: Line) -> str:
    """Lines with their points as an SVG document, which asks nothing of its surroundings; several are named."""
    named = escape(title)
    keys = [f"— {one.name}" for one in drawn] if len(drawn) > 1 else []
    height = _HEIGHT + _KEY * len(keys)
    box = f"0 {-_HEAD:.0f} {_WIDTH:.0f} {height + _HEAD:.0f}"
    rows = [(_HEIGHT + _KEY * (number + 0.75), number % _COLOURS, escape(key)) for number, key in enumerate(keys)]
    legend = "".join(f'<text class="c{colour}" x="{_LEFT:.0f}" y="{at:.0f}">{key}</text>' for at, colour, key in rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img">'
        f"<title>{named}</title><style>{STYLE}svg {{ font-family: system-ui, sans-serif; background: var(--paper); }}"
        f'</style><text x="{_LEFT:.0f}" y="{-_HEAD / 2:.0f}">{named}</text>'
        f"{''.join(_plotted(x, y, drawn, marked=True))}{legend}</svg>\n"
    )


def _plotted(x: str, y: str, kept: Sequence[Line], *, logarithmic: bool = False, marked: bool = False) -> list[str]:
    """Axes and lines, with a mark for each point if asked for; nothing where there are no points."""
    xs = [at[0] for one in kept for at in one.points]
    if not xs:
        return []
    most_y = _round_up(max(at[1] for one in kept for at in one.points))
    low, high = (min(xs), max(xs)) if logarithmic else (0.0, max(xs))
    high = high if high > low else low + 1.0

    def place(at: tuple[float, float]) -> tuple[float, float]:
        part = math.log(at[0] / low) / math.log(high / low) if logarithmic else (at[0] - low) / (high - low)
        across = _LEFT + part * (_WIDTH - _LEFT - _RIGHT)
        return across, _HEIGHT - _BOTTOM - at[1] / most_y * (_HEIGHT - _TOP - _BOTTOM)

    parts = [_axes(x, y)]
    for step in range(_TICKS):
        part = step / (_TICKS - 1)
        value = low * (high / low) ** part if logarithmic else low + (high - low) * part
        across = _LEFT + part * (_WIDTH - _LEFT - _RIGHT)
        up = _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)
        parts.append(f'<text x="{across:.1f}" y="{_HEIGHT - 22:.0f}" class="middle">{about(value)}</text>')
        parts.append(f'<text x="{_LEFT - 6:.0f}" y="{up + 4:.1f}" class="end">{about(most_y * part)}</text>')
        parts.append(f'<line x1="{_LEFT:.0f}" x2="{_WIDTH - _RIGHT:.0f}" y1="{up:.1f}" y2="{up:.1f}" class="grid"/>')
    for number, one in enumerate(kept):
        points = " ".join(f"{across:.1f},{up:.1f}" for across, up in map(place, one.points))
        parts.append(
            f'<polyline class="c{number % _COLOURS}" points="{points}"><title>{escape(one.name)}</title></polyline>'
        )
        for at in one.points if marked else ():
            across, up = place(at)
            said = f"<title>{at[0]:.4g}, {at[1]:.4g}</title>"
            parts.append(f'<circle class="c{number % _COLOURS}" cx="{across:.1f}" cy="{up:.1f}" r="4">{said}</circle>')
    return parts


def bars(title: str, named: Sequence[tuple[str, float]]) -> str:
    """A bar for each named part of a whole."""
    parts = []
    for number, (name, part) in enumerate(named):
        top = number * _BAR
        length = max(0.0, min(part, 1.0)) * (_WIDTH - _BAR_LEFT - 60.0)
        parts.append(f'<text x="{_BAR_LEFT - 8:.0f}" y="{top + 16:.0f}" class="end">{escape(name)}</text>')
        parts.append(f'<rect x="{_BAR_LEFT:.0f}" y="{top + 4:.0f}" width="{length:.1f}" height="16" class="bar"/>')
        parts.append(f'<text x="{_BAR_LEFT + length + 6:.1f}" y="{top + 16:.0f}">{part:.0%}</text>')
    return _figure(title, len(named) * _BAR + 4.0, parts, []) if named else ""


def _axes(x: str, y: str) -> str:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    return (
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 4:.0f}" class="middle">{escape(x)}</text>'
        f'<text x="14" y="{middle:.0f}" class="middle" transform="rotate(-90 14 {middle:.0f})">{escape(y)}</text>'
    )


def _figure(title: str, height: float, parts: Sequence[str], legend: Sequence[str]) -> str:
    keys = " ".join(
        f'<span class="key c{number % _COLOURS}">{escape(name)}</span>' for number, name in enumerate(legend)
    )
    named = escape(title, quote=True)
    return (
        f"<figure><figcaption>{named}</figcaption>{keys}"
        f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="{named}">{"".join(parts)}</svg></figure>'
    )


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if value <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next((step * power for step in (1.0, 2.0, 5.0) if step * power >= value), 10.0 * power)
