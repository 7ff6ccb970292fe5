"""A pipeline's picture as SVG, for a page that asks nothing of the network: boxes in rows, each below what it reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from harmonia_compiler.flow.picture import Box, Picture, Shape

#: Sizes in the drawing's units, which are about those of a pixel; a character of the font takes `_CHARACTER` at most.
_CHARACTER, _LINE, _MARGIN = 7.2, 16.0, 10.0
_BETWEEN, _BELOW = 28.0, 46.0

_ROUND: dict[Shape, float] = {"input": 16.0, "call": 2.0, "branch": 2.0, "data": 8.0, "answer": 16.0}

STYLE = """
.box { fill: var(--paper); stroke: var(--ink); } .box.call { stroke: var(--c0); stroke-width: 2; }
.box.branch { stroke: var(--c1); } .arrow { fill: none; stroke: var(--c4); } .arrow.dashed { stroke-dasharray: 4 4; }
svg .said { fill: var(--c4); font-size: 11px; }
"""


@dataclass(frozen=True, slots=True)
class _Placed:
    """A box with its middle and its size."""

    box: Box
    x: float
    y: float
    width: float
    height: float


def drawn(picture: Picture) -> str:
    """The picture as an `svg` element; its styles are in `STYLE`."""
    placed = _placed(picture)
    width = max(one.x + one.width / 2 for one in placed.values()) + _MARGIN
    height = max(one.y + one.height / 2 for one in placed.values()) + _MARGIN
    named = escape(picture.title, quote=True)
    parts = [_arrow(placed[one.source], placed[one.target], one.label, one.is_dashed) for one in picture.arrows]
    parts += [_box(one) for one in placed.values()]
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="max-width: {width:.0f}px" role="img" aria-label="{named}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="var(--c4)"/></marker></defs>{"".join(parts)}</svg>'
    )


def _placed(picture: Picture) -> Mapping[str, _Placed]:
    rows: dict[int, list[Box]] = {}
    for box, row in zip(picture.boxes, _rows(picture), strict=True):
        rows.setdefault(row, []).append(box)
    sizes = {box.name: _size(box) for box in picture.boxes}
    lengths = {
        row: sum(sizes[box.name][0] for box in boxes) + _BETWEEN * (len(boxes) - 1) for row, boxes in rows.items()
    }
    widest = max(lengths.values())
    found: dict[str, _Placed] = {}
    top = _MARGIN
    for row, boxes in sorted(rows.items()):
        left = _MARGIN + (widest - lengths[row]) / 2
        tallest = max(sizes[box.name][1] for box in boxes)
        for box in boxes:
            width, height = sizes[box.name]
            found[box.name] = _Placed(box, left + width / 2, top + tallest / 2, width, height)
            left += width + _BETWEEN
        top += tallest + _BELOW
    return found


def _rows(picture: Picture) -> list[int]:
    """The row of each box: one below the lowest of those that it reads, as far as these stand before it."""
    rows: dict[str, int] = {}
    reads: dict[str, list[str]] = {}
    for arrow in picture.arrows:
        reads.setdefault(arrow.target, []).append(arrow.source)
    for box in picture.boxes:
        rows[box.name] = max((rows[source] + 1 for source in reads.get(box.name, []) if source in rows), default=0)
    return [rows[box.name] for box in picture.boxes]


def _size(box: Box) -> tuple[float, float]:
    return max(map(len, box.lines)) * _CHARACTER + 2 * _MARGIN, len(box.lines) * _LINE + _MARGIN


def _box(placed: _Placed) -> str:
    left, top = placed.x - placed.width / 2, placed.y - placed.height / 2
    first = placed.y - (len(placed.box.lines) - 1) * _LINE / 2 + 4
    lines = "".join(
        f'<text x="{placed.x:.1f}" y="{first + number * _LINE:.1f}" class="middle">{escape(line)}</text>'
        for number, line in enumerate(placed.box.lines)
    )
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{placed.width:.1f}" height="{placed.height:.1f}" '
        f'rx="{_ROUND[placed.box.shape]:g}" class="box {placed.box.shape}"/>{lines}'
    )


def _arrow(source: _Placed, target: _Placed, label: str, is_dashed: bool) -> str:  # noqa: FBT001
    down = 1 if target.y >= source.y else -1
    begin, end = source.y + down * source.height / 2, target.y - down * target.height / 2
    bend = (end - begin) / 2
    path = f"M{source.x:.1f} {begin:.1f}C{source.x:.1f} {begin + bend:.1f} {target.x:.1f} {end - bend:.1f} "
    drawn_as = "arrow dashed" if is_dashed else "arrow"
    line = f'<path d="{path}{target.x:.1f} {end:.1f}" class="{drawn_as}" marker-end="url(#tip)"/>'
    if not label:
        return line
    across, up = (source.x + target.x) / 2, (begin + end) / 2
    return f'{line}<text x="{across:.1f}" y="{up:.1f}" class="middle said">{escape(label)}</text>'
