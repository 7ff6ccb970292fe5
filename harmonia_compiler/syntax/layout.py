"""Laying out: a document of tokens and of places where a line may be broken, to lines of at most so many columns.

A group stays on its line where it fits and breaks at each of its places otherwise, outer groups first. Comments are no
part of a document. They belong to the gap before a token, wherever that token comes to stand: so none is lost, none
changes its order, and none comes to stand behind another token than before. A group with a comment inside breaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Union

from harmonia_compiler.syntax import literals

INDENT = 4
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Leaf:
    """A token. `hangs`: indented deeper where a comment forces it to a line of its own; `starts`: keeps a blank line."""

    text: str
    hangs: bool = True
    starts: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A place for a newline; `flat` stands there where the group is not broken."""

    flat: str = " "
    hard: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """What is broken at all of its lines or at none; `open` says that it always is."""

    parts: "Document"
    open: bool = False


@dataclass(frozen=True, slots=True)
class Nest:
    """What is indented by one more step."""

    parts: "Document"


@dataclass(frozen=True, slots=True)
class Comma:
    """The comma behind the last item, only where the group is broken."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Where comments before a closing bracket stand: as deep as what the bracket closes."""


@dataclass(frozen=True, slots=True)
class Following:
    """Between `}` and `else`: a space where the brace stands alone on its line, and a newline otherwise."""


#: A plain text is spacing, not a token.
Document = Union[str, Leaf, Line, Group, Nest, Comma, Ending, Following, tuple["Document", ...]]


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment on a line of its own, and whether a blank line stands before it."""

    text: str
    blank: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands before a token: a comment behind the token before, comments, and whether a blank line comes last."""

    behind: str | None = None
    remarks: tuple[Remark, ...] = ()
    blank: bool = False

    @property
    def speaks(self) -> bool:
        """Whether there is any comment."""
        return self.behind is not None or bool(self.remarks)


def leaves(document: Document) -> list[str]:
    """The texts of a document's tokens, in order."""
    found: list[str] = []
    pending: list[Document] = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, Leaf):
            found.append(item.text)
        elif isinstance(item, tuple):
            pending += reversed(item)
        elif isinstance(item, Group | Nest):
            pending.append(item.parts)
    return found


def laid_out(document: Document, gaps: Sequence[Gap]) -> list[str]:
    """The lines of a document. `gaps` are those before each token; what stands in the first is left to the caller."""
    layout = _Layout([Gap(), *gaps[1:], Gap()])
    layout.find_open(document)
    layout.write(document)
    return layout.finished()


@dataclass(slots=True)
class _Layout:
    """The state of one layout. `at` counts the tokens that are written; `line` is the line being written."""

    gaps: list[Gap]
    opened: set[int] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    line: str = ""
    indent: int = 0
    at: int = 0
    before: str = ""
    behind: str | None = None
    remarked: bool = False
    ended: int = -1

    def find_open(self, document: Document, at: int = 0) -> tuple[int, bool]:
        """Note the groups that must break; gives how many tokens there are up to the end, and whether one must."""
        if isinstance(document, Leaf):
            return at + 1, False
        if isinstance(document, tuple):
            begin, broken = at, False
            for part in document:
                noted = at
                at, inside = self.find_open(part, at)
                speaks = at > noted > begin and self.gaps[noted].speaks
                broken |= inside or speaks
            return at, broken
        if isinstance(document, Nest):
            begin = at
            at, broken = self.find_open(document.parts, at)
            return at, broken
        if isinstance(document, Group):
            begin = at
            at, broken = self.find_open(document.parts, at)
            broken = broken or document.open or any(gap.speaks for gap in self.gaps[begin + 1 : at])
            if broken:
                self.opened.add(id(document))
            return at, broken
        return at, isinstance(document, Line) and document.hard

    def write(self, document: Document) -> None:
        stack: list[tuple[int, bool, Document]] = [(0, False, document)]
        while stack:
            indent, flat, item = stack.pop()
            match item:
                case str():
                    self.put(item)
                case Leaf():
                    self.put_leaf(item, indent)
                case tuple():
                    stack += [(indent, flat, part) for part in reversed(item)]
                case Nest():
                    stack.append((indent + INDENT, flat, item.parts))
                case Group():
                    stays = flat or (id(item) not in self.opened and self.fits(item.parts, stack))
                    stack.append((indent, stays, item.parts))
                case Line() if flat:
                    self.put(item.flat)
                case Line():
                    self.end_line(indent)
                case Comma() if not flat:
                    self.put(",")
                case Ending():
                    self.put_ending(indent)
                case Following():
                    alone = self.line.strip() == "}" and self.behind is None
                    self.put(" ") if alone else self.end_line(indent)

    def fits(self, document: Document, rest: list[tuple[int, bool, Document]]) -> bool:
        """Whether a document fits unbroken, with what follows up to the first place where that may be broken."""
        column = len(self.line) or self.indent
        pending: list[tuple[bool, Document]] = [(True, document)]
        following = len(rest)
        while pending or following:
            if not pending:
                following -= 1
                pending.append((rest[following][1], rest[following][2]))
            flat, item = pending.pop()
            match item:
                case str():
                    column += len(item)
                case Leaf():
                    first, newline, after = item.text.partition("\n")
                    column += len(first)
                    if newline and column <= WIDTH:
                        column = self.indent + INDENT + len(after.rpartition("\n")[2].lstrip())
                case tuple():
                    pending += [(flat, part) for part in reversed(item)]
                case Group() | Nest():
                    pending.append((flat, item.parts))
                case Line() if flat:
                    column += len(item.flat)
                case Line() | Following():
                    return True
                case Comma() if not flat:
                    column += 1
            if column > WIDTH:
                return False
        return True

    def put(self, text: str) -> None:
        if not self.line:
            text = text.lstrip(" ")
            self.line = " " * self.indent if text else ""
        self.line += text

    def put_leaf(self, leaf: Leaf, indent: int) -> None:
        gap = self.gaps[self.at]
        hanging = indent + (INDENT if leaf.hangs else 0)
        for remark in gap.remarks if self.ended != self.at else ():
            self.put_remark(remark, self.indent if not self.line else hanging, blank=leaf.starts)
        if self.line and (self.remarked or self.behind is not None):
            self.end_line(self.indent if self.remarked else hanging)
        if gap.blank and leaf.starts and not self.line and (self.before != "{" or gap.remarks):
            self.lines.append("")
        text = leaf.text
        if "\n" in text:
            text = reindented(text, self.indent + INDENT if self.line else self.indent)
        self.put(text)
        self.before = leaf.text
        self.at += 1
        self.behind = self.gaps[self.at].behind

    def put_ending(self, indent: int) -> None:
        for remark in self.gaps[self.at].remarks:
            self.put_remark(remark, indent, blank=self.before == "}" or self.line != "")
        self.ended = self.at

    def put_remark(self, remark: Remark, indent: int, *, blank: bool) -> None:
        if self.line:
            self.end_line(indent)
        first = self.before == "{" and self.lines[-1].rstrip().endswith("{")
        if remark.blank and blank and not first:
            self.lines.append("")
        self.put(remark.text)
        self.remarked = True

    def end_line(self, indent: int) -> None:
        comment = "" if self.behind is None else f"  {self.behind}"
        self.lines.append(self.line.rstrip(" ") + comment)
        self.line, self.indent, self.behind, self.remarked = "", indent, None, False

    def finished(self) -> list[str]:
        return [*self.lines, self.line.rstrip(" ")] if self.line else self.lines


def reindented(raw: str, indent: int) -> str:
    """A long text with its lines indented anew, where that leaves its meaning the same."""
    pad = " " * indent
    first, *rest = raw[3:-3].replace("\r\n", "\n").split("\n")
    meant = literals.long_text(raw)
    common = literals.common_indent(rest)
    lines = [pad + line[common:] if line.strip() else "" for line in rest]
    if rest and not rest[-1].strip():
        lines[-1] = pad
    moved = '"""' + "\n".join([first if first.strip() else "", *lines]) + '"""'
    return moved if literals.long_text(moved) == meant else raw
