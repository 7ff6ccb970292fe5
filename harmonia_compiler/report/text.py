"""A report for a terminal or a log: its tables and remarks as text."""

from io import StringIO

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from harmonia_compiler.report.document import Report
from harmonia_compiler.report.tables import Table, remarks, tables


def as_text(report: Report, width: int = 120) -> str:
    """The report, at most so many columns wide."""
    console = Console(file=StringIO(), width=width, highlight=False, color_system=None)
    for table in tables(report):
        console.print(_rich(table))
    how = "; ".join(f"{name} {value}" for name, value in report.settings.items())
    for line in (f"How it was run: {how}.", *remarks(report)):
        console.print(Text(_plain(line)))
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=table.title, box=SIMPLE)
    for number, name in enumerate(table.columns):
        is_figure = number >= table.figures_from
        shown.add_column(name, justify="right" if is_figure else "left", no_wrap=is_figure)
    for row in table.rows:
        shown.add_row(*(Text(_plain(cell)) for cell in row))
    return shown


def _plain(text: str) -> str:
    """Reasons come from services: nothing in them may steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
