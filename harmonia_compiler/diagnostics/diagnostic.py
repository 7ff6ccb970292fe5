"""One finding, and the bag that collects them; nothing here prints."""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from harmonia_compiler.diagnostics.source import Span

_Counted = TypeVar("_Counted")

#: Errors of one check beyond this say nothing new, and warnings neither.
MOST_OF_A_SORT = 100
#: Of further places of one mistake, those that are shown.
_MOST_REPEATS = 3


class Note(msgspec.Struct, frozen=True):
    """A second place that explains the first, such as where a name was bound before."""

    span: Span
    text: str


class Diagnostic(msgspec.Struct, frozen=True):
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


class Found(msgspec.Struct, frozen=True):
    """What had been found at some point: how many findings are kept; by code, how many there were and are left out."""

    kept: int
    seen: dict[str, int]
    beyond: dict[str, int]


class Findings(msgspec.Struct):
    """Where the stages of one run put what they find; a stage goes on after an error.

    Where `most` is given, no more errors than that are kept, and no more warnings: whoever has more mends the first
    ones first. By code, `seen` counts all that there were, and `beyond` those left out, what is about one thing once.
    """

    items: list[Diagnostic] = msgspec.field(default_factory=list)
    most: int | None = None
    seen: dict[str, int] = msgspec.field(default_factory=dict)
    beyond: dict[str, int] = msgspec.field(default_factory=dict)
    #: How many errors (True) and warnings are kept, and of how many more places of one mistake there is still room.
    _kept: dict[bool, int] = msgspec.field(default_factory=dict)
    _room: dict[tuple[str, str], int] = msgspec.field(default_factory=dict)

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
        self.extend([Diagnostic(code, message, span, help, notes, about)])

    def extend(self, found: Iterable[Diagnostic]) -> None:
        """Record what was found elsewhere."""
        for item in found:
            _count(self.seen, item.code)
            if self.most is None or self._has_room(item, self.most):
                self.items.append(item)

    def merge(self, other: "Findings", kept: Iterable[Diagnostic]) -> None:
        """Record those that are `kept` of other findings, and how many those left out."""
        self.extend(kept)
        for code, number in other.beyond.items():
            _count(self.seen, code, number)
            _count(self.beyond, code, number)

    def _has_room(self, item: Diagnostic, most: int) -> bool:
        thing = item.code, item.about
        if item.about and thing in self._room:
            self._room[thing] -= 1
            return self._room[thing] >= 0
        is_kept = self._kept.get(item.is_error, 0) < most
        if item.about:
            self._room[thing] = _MOST_REPEATS if is_kept else 0
        if is_kept:
            _count(self._kept, item.is_error)
        else:
            _count(self.beyond, item.code)
        return is_kept

    @property
    def is_full(self) -> bool:
        """Whether further errors are counted alone: nobody reads their messages."""
        return self.most is not None and self._kept.get(True, 0) >= self.most

    @property
    def left_out(self) -> int:
        """How many findings are not kept."""
        return sum(self.beyond.values())

    @property
    def failed(self) -> bool:
        """Whether any error was found."""
        return any(item.is_error for item in self.items)

    def mark(self) -> Found:
        """What is found so far."""
        return Found(len(self.items), self.seen.copy(), self.beyond.copy())

    def failed_since(self, mark: Found) -> bool:
        """Whether any error was found since then."""
        return any(code.startswith("E") and count > mark.seen.get(code, 0) for code, count in self.seen.items())

    def forget(self, mark: Found, codes: Collection[str] | None = None) -> None:
        """Take back what was found since then, or what has one of these codes of it."""
        for code in [*self.seen] if codes is None else codes:
            self.seen[code], self.beyond[code] = mark.seen.get(code, 0), mark.beyond.get(code, 0)
        later = self.items[mark.kept :]
        staying = [item for item in later if codes is not None and item.code not in codes]
        if len(staying) == len(later):
            return
        again = [*self.items[: mark.kept], *staying]
        self.items.clear()
        self._kept.clear()
        self._room.clear()
        self.items += [item for item in again if self.most is None or self._has_room(item, self.most)]


def _count(counts: dict[_Counted, int], what: _Counted, number: int = 1) -> None:
    """Add to a plain dictionary: each declaration finds for itself, and a `Counter` takes long to make."""
    counts[what] = counts.get(what, 0) + number


class Rejected(Exception):
    """A document that the user gave cannot be used; carries the findings that say why."""

    def __init__(self, found: Iterable[Diagnostic]) -> None:
        self.found = in_order(found)
        super().__init__("; ".join(f"{item.code}: {item.message}" for item in self.found))
