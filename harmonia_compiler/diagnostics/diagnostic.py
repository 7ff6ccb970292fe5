"""One finding, and the bag that collects them; nothing here prints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from harmonia_compiler.diagnostics.source import Span

#: Of further places of one mistake, those that are shown.
_MOST_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that explains the first, such as where a name was bound before."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A finding about what the user wrote.

    `code` is `E` or `W` and four digits and has a page of its own under `pages/`; `message` is one
    sentence without a full stop; `help` is the one next step. A finding about no file has no span. Findings of one
    code `about` one thing, such as a name that is unknown wherever it stands, are one mistake and shown as one finding.
    """

    code: str
    message: str
    span: Span | None = None
    help: str = ""
    notes: tuple[Note, ...] = ()
    about: str = ""

    @property
    def is_error(self) -> bool:
        """Whether it stops the compilation; a warning (`W…`) does not."""
        return self.code.startswith("E")


def in_order(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By file, place, then code, without repeats: the order in which they are shown.

    Of those about one thing the first is kept; the places of the next ones become notes of it.
    """

    def key(item: Diagnostic) -> tuple[str, int, int, str, str]:
        if item.span is None:
            return ("", 0, 0, item.code, item.message)
        return (item.span.source.name, item.span.start, item.span.end, item.code, item.message)

    kept: list[Diagnostic] = []
    repeats: dict[tuple[str, str], list[Span]] = {}
    for item in sorted(dict.fromkeys(found), key=key):
        if item.about and (item.code, item.about) in repeats:
            repeats[item.code, item.about] += [] if item.span is None else [item.span]
            continue
        if item.about:
            repeats[item.code, item.about] = []
        kept.append(item)
    return [_with_repeats(item, repeats.get((item.code, item.about), ())) for item in kept]


def _with_repeats(item: Diagnostic, spans: Sequence[Span]) -> Diagnostic:
    further = (Note(span, "and here") for span in spans[:_MOST_REPEATS])
    return replace(item, notes=(*item.notes, *further)) if spans else item


@dataclass(slots=True)
class Findings:
    """Where the stages of one run put what they find; a stage goes on after an error."""

    items: list[Diagnostic] = field(default_factory=list)

    def add(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        help: str = "",
        notes: tuple[Note, ...] = (),
        about: str = "",
    ) -> None:
        """Record one finding."""
        self.items.append(Diagnostic(code, message, span, help, notes, about))

    @property
    def failed(self) -> bool:
        """Whether any error was found."""
        return any(item.is_error for item in self.items)


class Rejected(Exception):
    """A document that the user gave cannot be used; carries the findings that say why."""

    def __init__(self, found: Iterable[Diagnostic]) -> None:
        self.found = in_order(found)
        super().__init__("; ".join(f"{item.code}: {item.message}" for item in self.found))
