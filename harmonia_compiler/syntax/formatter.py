"""Formatting: a file's text in its one form, which reads as the same tree, with every comment where it stood.

The printer gives each declaration as a document, the text gives what stands between its tokens. Both have the same
tokens, but for commas behind a last item: those come and go with the lines.
"""

from collections.abc import Iterable, Sequence

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax import printer, tree
from harmonia_compiler.syntax.layout import Gap, Remark, laid_out, leaves
from harmonia_compiler.syntax.lexer import Lexer


def printed(declarations: Iterable[tree.Declaration]) -> str:
    """The text of trees that no text need have been read for: no comments, blocks on one line where they fit."""
    found = []
    for declared in declarations:
        document = printer.declaration(declared)
        found.append((declared, laid_out(document, [Gap()] * len(leaves(document))), Gap()))
    return _together(found, Gap())


def formatted(file: tree.File) -> str:
    """The canonical text of a file, which must have been read whole."""
    gaps = _gaps(file.source)
    found, at = [], 0
    for declared in file.declarations:
        document = printer.declaration(declared)
        texts = leaves(document)
        own, at = _own(gaps, at, texts)
        found.append((declared, laid_out(document, own), own[0]))
    return _together(found, gaps[-1][1])


def _gaps(source: Source) -> list[tuple[str, Gap]]:
    """Each token's text with the gap before it; the end of the file is a last one, without text."""
    found, end = [], 0
    for token in Lexer(source, Findings()).tokens():
        found.append((token.text, _gap(source.text[end : token.start], first=end == 0)))
        end = token.end
    return [*found, ("", _gap(source.text[end:] + "\n", first=end == 0))]


def _gap(text: str, *, first: bool) -> Gap:
    """What a text of spaces, newlines and comments says. Before the first token none stands behind another."""
    behind, *lines = ["", *text.split("\n")] if first else text.split("\n")
    remarks: list[Remark] = []
    blank = False
    for line in lines[:-1]:
        comment = line.strip()
        if comment:
            remarks.append(Remark(comment, blank))
        blank = not comment
    return Gap(behind.strip(), tuple(remarks), blank, newline=lines != [])


def _own(gaps: Sequence[tuple[str, Gap]], at: int, texts: Sequence[str]) -> tuple[list[Gap], int]:
    """The gaps before a declaration's tokens, those around a comma that the printer leaves out as one."""
    own: list[Gap] = []
    for text in texts:
        found, gap = gaps[at]
        if found != text:
            assert found == ",", f"{found!r} is printed as {text!r}"
            at += 1
            gap = _merged(gap, gaps[at][1])
        own.append(gap)
        at += 1
    return own, at


def _merged(one: Gap, other: Gap) -> Gap:
    behind = () if not other.behind else (Remark(other.behind),)
    if not one.speaks:
        return other
    return Gap(one.behind, (*one.remarks, *behind, *other.remarks), other.blank, newline=True)


def _together(found: Sequence[tuple[tree.Declaration, list[str], Gap]], end: Gap) -> str:
    """The file: blank lines around what has several lines, and between declarations of different kind."""
    lines: list[str] = []
    before: tree.Declaration | None = None
    several = False
    for declared, own, gap in found:
        apart = type(declared) is not type(before) or several or len(own) > 1
        _put_gap(lines, gap, apart=before is not None and apart)
        lines += own
        before, several = declared, len(own) > 1
    _put_gap(lines, Gap(end.behind, end.remarks), apart=False)
    return "".join(f"{line}\n" for line in lines)


def _put_gap(lines: list[str], gap: Gap, *, apart: bool) -> None:
    """The comments between two declarations; a blank line that is wanted stands before them, if there is none yet."""
    if gap.behind:
        lines[-1] += f"  {gap.behind}"
    wanted = apart and not gap.blank and not any(remark.blank for remark in gap.remarks)
    for remark in gap.remarks:
        if lines and (remark.blank or wanted):
            lines.append("")
        wanted = False
        lines.append(remark.text)
    if lines and (gap.blank or wanted):
        lines.append("")
