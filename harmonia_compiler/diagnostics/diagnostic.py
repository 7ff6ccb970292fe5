"""One finding, and the bag that collects them; nothing here prints."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from harmonia_compiler.diagnostics.source import Span


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that explains the first, such as where a name was bound before."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A finding about what the user wrote.

    `code` is `E` or `W` and four digits and has a page of its own under `pages/`; `message` is one
    sentence without a full stop; `help` is the one next step. A finding about no file has no span.
    """

    code: str
    message: str
    span: Span | None = None
    help: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether it stops the compilation; a warning (`W…`) does not."""
        return self.code.startswith("E")


def in_order(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By file, place, then code, without repeats: the order in which they are shown."""

    def key(item: Diagnostic) -> tuple[str, int, int, str, str]:
        if item.span is None:
            return ("", 0, 0, item.code, item.message)
        return (item.span.source.name, item.span.start, item.span.end, item.code, item.message)

    return sorted(dict.fromkeys(found), key=key)


@dataclass(slots=True)
class Findings:
    """Where the stages of one run put what they find; a stage goes on after an error."""

    items: list[Diagnostic] = field(default_factory=list)

    def add(
        self, code: str, message: str, span: Span | None = None, *, help: str = "", notes: tuple[Note, ...] = ()
    ) -> None:
        """Record one finding."""
        self.items.append(Diagnostic(code, message, span, help, notes))

    @property
    def failed(self) -> bool:
        """Whether any error was found."""
        return any(item.is_error for item in self.items)


class Rejected(Exception):
    """A document that the user gave cannot be used; carries the findings that say why."""

    def __init__(self, found: Iterable[Diagnostic]) -> None:
        self.found = in_order(found)
        super().__init__("; ".join(f"{item.code}: {item.message}" for item in self.found))
