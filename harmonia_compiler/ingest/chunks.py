"""A document to chunks: pieces that an embedder reads whole and a reader understands alone.

Sections are cut at their headings, and each chunk opens with the path of headings that it stands
under. Within a section whole blocks are packed up to the limit; a block is split only where it is
too long by itself, prose between sentences, code and tables between lines. Small neighbouring
sections go together. A chunk that continues prose repeats the end of what came before.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harmonia_compiler.ingest.blocks import Block, parse_blocks
from harmonia_compiler.ingest.documents import Document
from harmonia_compiler.ingest.tokens import count_tokens

_SENTENCE_END = re.compile(r"(?<=[.!?:;])[\"')\]]*\s+|\n(?=\s*(?:[-*+]|\d{1,3}[.)])\s)|(?<=[。！？])")
_NOT_A_WORD = re.compile(r"[\W_]+")
_WORD_END = re.compile(r"\s+")

#: Up to which share of the limit neighbouring sections go together.
MERGE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Shape:
    """How large chunks are, in estimated tokens; `limit` includes the path of headings."""

    limit: int
    overlap: int

    @staticmethod
    def of(chunker: str) -> "Shape":
        """What a chunker's identifier, such as `markdown-v1:180:30`, says."""
        _, limit, overlap = chunker.split(":")
        return Shape(int(limit), int(overlap))


@dataclass(frozen=True, slots=True)
class Chunk:
    """The characters [start, end) of a document's text; `text` is what is embedded and given back."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span that is not cut; `prose` may lend its end to the next chunk."""

    start: int
    end: int
    tokens: int
    prose: bool


@dataclass(frozen=True, slots=True)
class _Section:
    """Blocks under one path of headings; `start` is where its own heading begins."""

    path: tuple[str, ...]
    start: int
    blocks: tuple[Block, ...]
    tokens: int


def cut(document: Document, shape: Shape) -> list[Chunk]:
    """The chunks of a document in order. Everything but blanks and headings is in at least one body.

    A heading stands in the path of what is below it; one with nothing below is left out.
    """
    sections = _sections(document)
    return [chunk for section in _merged(sections, shape) for chunk in _cut_section(document, section, shape)]


def _sections(document: Document) -> list[_Section]:
    text = document.text
    found: list[_Section] = []
    path: list[tuple[int, str]] = []
    blocks: list[Block] = []
    start = 0

    def close() -> None:
        if blocks:
            titles = tuple(title for _, title in path if title)
            lead = () if titles and _words(document.title) in _words(titles[0]) else (document.title,)
            tokens = sum(count_tokens(text[block.start : block.end]) for block in blocks)
            found.append(_Section(lead + titles, start, tuple(blocks), tokens))

    for block in parse_blocks(text, markdown=document.markdown):
        if block.kind != "heading":
            if not blocks and not path:
                start = block.start
            blocks.append(block)
            continue
        close()
        blocks = []
        start = block.start
        path = [(level, title) for level, title in path if level < block.level]
        path.append((block.level, block.title))
    close()
    return found


def _words(title: str) -> str:
    """A title as it is compared with another: a file named `first-steps` with the heading "First steps"."""
    return " ".join(_NOT_A_WORD.split(title.casefold())).strip()


def _merged(sections: Iterable[_Section], shape: Shape) -> list[_Section]:
    """Neighbours that are small together become one under the path that they share.

    The headings between them stay in the body, as prose.
    """
    merged: list[_Section] = []
    for section in sections:
        last = merged[-1] if merged else None
        shared = _shared(last.path, section.path) if last else ()
        if last and shared and last.tokens + section.tokens <= shape.limit * MERGE_SHARE:
            headings = (Block("prose", section.start, section.blocks[0].start),)
            own = () if last.path == shared else (Block("prose", last.start, last.blocks[0].start),)
            merged[-1] = _Section(
                shared, last.start, own + last.blocks + headings + section.blocks, last.tokens + section.tokens
            )
        else:
            merged.append(section)
    return merged


def _shared(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return tuple(one[:length])


def _cut_section(document: Document, section: _Section, shape: Shape) -> list[Chunk]:
    text = document.text
    prefix = _prefix(section.path, shape.limit // 3)
    room = max(8, shape.limit - count_tokens(prefix))
    pieces = [piece for block in section.blocks for piece in _pieces(text, block, room)]
    chunks: list[Chunk] = []
    start, end, used = -1, -1, 0
    previous: _Piece | None = None
    for piece in pieces:
        if previous is not None and used + piece.tokens > room:
            chunks.append(_chunk(text, prefix, start, end))
            start, used = _lead_in(text, previous, piece, min(shape.overlap, room - piece.tokens))
        elif previous is None:
            start = piece.start
        end, used, previous = piece.end, used + piece.tokens, piece
    chunks.append(_chunk(text, prefix, start, end))
    return chunks


def _prefix(path: Sequence[str], limit: int) -> str:
    """The path of headings; of a path too long the inner headings stay, and of a heading its beginning."""
    kept = list(path)
    while len(kept) > 1 and count_tokens(" > ".join(kept)) > limit:
        kept.pop(0)
    words = " > ".join(kept).split()
    while len(words) > 1 and count_tokens(" ".join(words)) > limit:
        words.pop()
    prefix = " ".join(words)
    return prefix if count_tokens(prefix) <= limit else ""


def _lead_in(text: str, previous: _Piece, piece: _Piece, budget: int) -> tuple[int, int]:
    """Where a chunk starts that goes on after `previous`, and the tokens that this repeats."""
    start, used = piece.start, 0
    if previous.prose and piece.prose:
        for sentence in reversed(_split(text, previous.start, previous.end, _SENTENCE_END)):
            tokens = count_tokens(text[sentence[0] : sentence[1]])
            if used + tokens > budget:
                break
            start, used = sentence[0], used + tokens
    return start, used


def _chunk(text: str, prefix: str, start: int, end: int) -> Chunk:
    body = text[start:end].strip("\n")
    return Chunk(start, end, f"{prefix}\n\n{body}" if prefix else body)


def _pieces(text: str, block: Block, room: int) -> list[_Piece]:
    whole = _Piece(block.start, block.end, count_tokens(text[block.start : block.end]), block.kind == "prose")
    if whole.tokens <= room:
        return [whole]
    ends = [_SENTENCE_END, _WORD_END] if whole.prose else [re.compile(r"\n"), _WORD_END]
    return _fit(text, whole, ends, room)


def _fit(text: str, piece: _Piece, ends: Sequence[re.Pattern[str]], room: int) -> list[_Piece]:
    """Split at the first of `ends`, what is still too long at the next, and lastly between characters."""
    if piece.tokens <= room:
        return [piece]
    if not ends:
        # A character is at most one token, and the parts of one long word may meet again in a chunk.
        spans = [(at, min(at + room, piece.end)) for at in range(piece.start, piece.end, room)]
        return [replace(piece, start=a, end=b, tokens=b - a) for a, b in spans]
    parts = [
        replace(piece, start=a, end=b, tokens=count_tokens(text[a:b]))
        for a, b in _split(text, piece.start, piece.end, ends[0])
    ]
    return _packed([small for part in parts for small in _fit(text, part, ends[1:], room)], room)


def _packed(pieces: Iterable[_Piece], room: int) -> list[_Piece]:
    """Neighbours joined while they fit: words back to lines."""
    packed: list[_Piece] = []
    for piece in pieces:
        if packed and packed[-1].tokens + piece.tokens <= room // 4:
            packed[-1] = replace(packed[-1], end=piece.end, tokens=packed[-1].tokens + piece.tokens)
        else:
            packed.append(piece)
    return packed


def _split(text: str, start: int, end: int, at: re.Pattern[str]) -> list[tuple[int, int]]:
    """The spans between the matches, which stay with what is before them."""
    cuts = [start, *(found.end() for found in at.finditer(text, start, end) if found.end() < end), end]
    return [(a, b) for a, b in pairwise(cuts) if a < b]
