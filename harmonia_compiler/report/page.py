"""A report as one HTML page that asks nothing of the network: the tables, and charts beside them."""

from html import escape

from harmonia_compiler.report.chart import STYLE, Line, bars, lines
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.tables import Table, remarks, tables

#: How pages look that are made of tables and charts.
PAGE_STYLE = (
    STYLE
    + """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2, figcaption { font-size: 1rem; font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; border-bottom: 1px solid var(--grid); }
th.figure, td.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.5rem 0; } svg { width: 100%; max-width: 48rem; height: auto; display: block; }
.key { margin-right: 1rem; } .key::before { content: "\\2014 "; font-weight: 700; }
"""
    + "".join(f".key.c{number}::before {{ color: var(--c{number}); }}\n" for number in range(5))
)


def as_page(report: Report) -> str:
    """The whole page."""
    title = escape(f"{report.kind.capitalize()} of {report.of}")
    settings = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in report.settings.items()
    )
    said = "".join(f"<li>{escape(line)}</li>" for line in remarks(report))
    drawn = [_curve(report), _over_time(report), _late_over_time(report), _busy(report)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{PAGE_STYLE}</style></head><body>\n"
        f"<h1>{title}</h1>\n<ul>{said}</ul>\n"
        + "\n".join([*map(_table, tables(report)), *filter(None, drawn)])
        + f'\n<h2>How it was run</h2><div class="wide"><table>{settings}</table></div>\n</body></html>\n'
    )


def _table(table: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        shown = (
            f"<{tag}{' class=figure' if number >= table.figures_from else ''}>{escape(cell)}</{tag}>"
            for number, cell in enumerate(cells)
        )
        return f"<tr>{''.join(shown)}</tr>"

    rows = "".join(row(cells, "td") for cells in table.rows)
    return (
        f'<h2>{escape(table.title)}</h2><div class="wide"><table><thead>{row(table.columns, "th")}</thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _curve(report: Report) -> str:
    drawn = [
        Line(group.name, [(ms, part * 100) for ms, part in zip(group.curve, report.curve_parts, strict=True)])
        for group in report.groups
        if group.curve
    ]
    return lines("Latency of answered requests", "milliseconds", "% answered within", drawn, logarithmic=True)


def _over_time(report: Report) -> str:
    names = ("arrived", "answered", "good", "refused", "failed")
    seconds = report.tick_ms / 1000.0
    drawn = [
        Line(
            "in time" if name == "good" else name,
            [(tick.at_ms / 1000.0, getattr(tick, name) / seconds) for tick in report.ticks],
        )
        for name in names
    ]
    return lines("Requests over time", "seconds", "requests a second", drawn)


def _late_over_time(report: Report) -> str:
    points = [(tick.at_ms / 1000.0, tick.p95_ms) for tick in report.ticks if tick.p95_ms is not None]
    return lines("Latency over time, by arrival", "seconds", "p95, milliseconds", [Line("p95", points)])


def _busy(report: Report) -> str:
    drawn = [
        (f"{one.engine} × {one.replicas}", one.utilisation) for one in report.engines if one.utilisation is not None
    ]
    return bars("How busy the engines were", drawn)
