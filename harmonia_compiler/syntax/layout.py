"""Laying out: a document of tokens and of places where a line may be broken, to lines of at most so many columns.

A group stays on its line where it fits and breaks at each of its places otherwise, outer groups first. Comments are no
part of a document. They belong to the gap before a token, wherever that token comes to stand: so none is lost, none
changes its order, and none comes to stand behind another token than before. A group with a comment inside breaks.
Nothing here is recursive, and a line's end is the farthest that is looked ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from harmonia_compiler.syntax.literals import reindented

INDENT = 4
WIDTH = 120
_OPENING = ("{", "(", "[")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A token. `hangs`: indented deeper on a line that a comment pushes it to; `starts`: keeps a blank line above."""

    text: str
    hangs: bool = True
    starts: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A place for a newline; `flat` stands there where the group is not broken, which a `hard` one never lets be."""

    flat: str = " "
    hard: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """What is broken at all of its lines or at none. `open`: always; `kept`: where its first token ended a line."""

    parts: "Document"
    open: bool = False
    kept: bool = False


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
Document = str | Leaf | Line | Group | Nest | Comma | Ending | Following | tuple["Document", ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment on a line of its own, and whether a blank line stands before it."""

    text: str
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands before a token: a comment behind the token before, others, a blank line, at least a newline."""

    behind: str = ""
    remarks: tuple[Remark, ...] = ()
    blank: bool = False
    newline: bool = False

    @property
    def speaks(self) -> bool:
        """Whether there is any comment."""
        return self.behind != "" or self.remarks != ()


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
    inner = [Gap(), *gaps[1:], Gap(), Gap()]
    writer = _Writer(inner, _open_groups(document, inner))
    writer.write(document)
    return writer.lines


@dataclass(frozen=True, slots=True)
class _Entered:
    """A group whose first token is the one at `begin`, and whose end is still to come."""

    group: Group
    begin: int


def _open_groups(document: Document, gaps: list[Gap]) -> set[int]:
    """The groups that must break, by identity: those with a comment or with a line that must be broken inside."""
    breaks = [int(gap.speaks) for gap in gaps]
    covered: list[tuple[Group, int, int]] = []
    pending: list[Document | _Entered] = [document]
    at = 0
    while pending:
        item = pending.pop()
        match item:
            case _Entered(group, begin):
                covered.append((group, begin, at))
            case Leaf():
                at += 1
            case tuple():
                pending += reversed(item)
            case Group():
                pending += [_Entered(item, at), item.parts]
            case Nest():
                pending.append(item.parts)
            case Line(hard=True) | Following():
                breaks[at] += 1
    upto = [0, *accumulate(breaks)]
    return {
        id(group)
        for group, begin, end in covered
        if group.open or upto[end] > upto[begin + 1] or (group.kept and gaps[begin + 1].newline)
    }


@dataclass(slots=True)
class _Writer:
    """The state of one layout: `line` is being written, or begins at `indent`, and the token at `at` comes next.

    `behind` and `remarks` are the comments before that token which are still to be put out.
    """

    gaps: list[Gap]
    opened: set[int]
    lines: list[str] = field(default_factory=list)
    line: str = ""
    indent: int = 0
    at: int = 0
    before: str = ""
    behind: str = ""
    remarks: tuple[Remark, ...] = ()

    def write(self, document: Document) -> None:
        stack: list[tuple[int, bool, Document]] = [(0, False, document)]
        while stack:
            indent, flat, item = stack.pop()
            match item:
                case str():
                    self.line += item if self.line else ""
                case Leaf():
                    self.put(item, indent)
                case tuple():
                    stack += [(indent, flat, part) for part in reversed(item)]
                case Nest():
                    stack.append((indent + INDENT, flat, item.parts))
                case Group():
                    stays = flat or (id(item) not in self.opened and self.fits(item.parts, stack))
                    stack.append((indent, stays, item.parts))
                case Line():
                    self.go_on(indent, item.flat if flat else None)
                case Comma():
                    self.line += "" if flat else ","
                case Ending():
                    self.put_remarks(indent, blanks=True)
                case Following():
                    alone = self.line.strip() == "}" and not self.behind
                    self.go_on(indent, " " if alone else None)
        if self.line:
            self.end_line(0)

    def fits(self, document: Document, rest: list[tuple[int, bool, Document]]) -> bool:
        """Whether a document fits unbroken, with what follows up to the first place where that may be broken."""
        column = len(self.line) or self.indent
        pending: list[tuple[bool, Document]] = [(True, document)]
        following = len(rest)
        while column <= WIDTH and (pending or following):
            if not pending:
                following -= 1
                pending.append((rest[following][1], rest[following][2]))
            flat, item = pending.pop()
            match item:
                case str():
                    column += len(item)
                case Leaf() if "\n" in item.text:
                    fresh = not self.line and column == self.indent
                    first, *_, last = reindented(item.text, self.indent + (0 if fresh else INDENT)).split("\n")
                    column = len(last) if column + len(first) <= WIDTH else column + len(first)
                case Leaf():
                    column += len(item.text)
                case tuple():
                    pending += [(flat, part) for part in reversed(item)]
                case Group() | Nest():
                    pending.append((flat, item.parts))
                case Line() if flat:
                    column += len(item.flat)
                case Comma() if not flat:
                    column += 1
                case Line() | Following():
                    return True
        return column <= WIDTH

    def put(self, leaf: Leaf, indent: int) -> None:
        """A token, with the comments before it."""
        gap = self.gaps[self.at]
        pushed = self.indent if not self.line else indent + (INDENT if leaf.hangs else 0)
        self.put_remarks(pushed, blanks=leaf.starts)
        if self.line and self.behind:
            self.end_line(pushed)
        if gap.blank and leaf.starts and not self.line and (gap.remarks or self.before not in _OPENING):
            self.lines.append("")
        text, fresh = leaf.text, not self.line
        if "\n" in text:
            text = reindented(text, self.indent + (0 if fresh else INDENT))
        self.line += " " * self.indent + text if fresh else text
        self.before = leaf.text
        self.at += 1
        self.behind, self.remarks = self.gaps[self.at].behind, self.gaps[self.at].remarks

    def put_remarks(self, indent: int, *, blanks: bool) -> None:
        """The comments before the next token that stand on lines of their own."""
        for number, remark in enumerate(self.remarks):
            if self.line:
                self.end_line(indent)
            if remark.blank and blanks and (number or self.before not in _OPENING):
                self.lines.append("")
            self.lines.append(" " * self.indent + remark.text)
        self.remarks = ()

    def go_on(self, indent: int, spacing: str | None) -> None:
        """Go on with the line behind spacing, or with the next line where there is none."""
        if spacing is None:
            self.end_line(indent)
        else:
            self.line += spacing

    def end_line(self, indent: int) -> None:
        """End the line, with the comment that stands behind its last token."""
        if self.line:
            self.lines.append(self.line.rstrip(" ") + (f"  {self.behind}" if self.behind else ""))
            self.behind = ""
        self.line, self.indent = "", indent
