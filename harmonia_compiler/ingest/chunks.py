"""A document to chunks: pieces that an embedder reads whole and a reader understands alone.

Sections are cut at their headings, and each chunk opens with the path of headings that it stands
under. Within a section whole blocks are packed up to the limit; a block is split only where it is
too long by itself, prose between sentences, code and tables between lines. Small neighbouring
sections go together. A chunk that continues prose repeats the end of what came before.

Too long is what exceeds the limit in tokens, or what a row of the store cannot hold: blanks are no
tokens, and a document may have tens of thousands of them between two words.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harmonia_compiler.ingest.blocks import MOST_TITLE, Block, parse_blocks
from harmonia_compiler.ingest.documents import Document
from harmonia_compiler.ingest.tokens import count_tokens
from harmonia_compiler.runtime.milvus import TEXT_BYTES

_SENTENCE_END = re.compile(r"(?<=[.!?:;])[\"')\]]*\s+|\s+|(?<=[。！？])")
_ENDED, _ENDED_WIDE = frozenset(".!?:;"), frozenset("。！？")
_ITEM = re.compile(r"(?:[-*+]|\d{1,3}[.)])\s")
_NOT_A_WORD = re.compile(r"[\W_]+")
_LINE_END, _WORD_END = re.compile(r"\n"), re.compile(r"\s+")

#: Gives the places within the characters [start, end) of a text after which it may be split.
_Ends = Callable[[str, int, int], Iterable[int]]

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
class _Room:
    """What the body of a chunk may hold beside the path of headings."""

    tokens: int
    size: int

    def holds(self, text: str, start: int, end: int) -> bool:
        """Whether the characters [start, end) are few enough bytes."""
        length = end - start
        return length * 4 <= self.size or (length <= self.size and _size(text, start, end) <= self.size)


@dataclass(frozen=True, slots=True)
class _Section:
    """Blocks under one path of headings; `start` is where its own heading begins."""

    path: tuple[str, ...]
    start: int
    blocks: tuple[Block, ...]
    tokens: int


def cut(document: Document, shape: Shape) -> list[Chunk]:
    """The chunks of a document in order, none of more than `TEXT_BYTES`.

    Everything but blanks and headings is in at least one body.

    A heading stands in the path of what is below it; one with nothing below is left out, unless the document is
    of such alone: then they are its text.
    """
    sections = _sections(document) or _headings_alone(document)
    return [chunk for section in _merged(sections, shape) for chunk in _cut_section(document, section, shape)]


def _sections(document: Document) -> list[_Section]:
    text = document.text
    found: list[_Section] = []
    path: list[tuple[int, str]] = []
    blocks: list[Block] = []
    start = 0
    named = document.title[:MOST_TITLE]
    words = _words(named)

    def close() -> None:
        if blocks:
            titles = tuple(title for _, title in path if title)
            lead = () if titles and words in _words(titles[0]) else (named,)
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


def _headings_alone(document: Document) -> list[_Section]:
    """The headings of a document that has nothing else, as prose; none of those without a word.

    Such documents once gave nothing. What no collection holds needs no other version of the chunker.
    """
    headings = [block for block in parse_blocks(document.text, markdown=document.markdown) if block.title]
    if not headings:
        return []
    named = document.title[:MOST_TITLE]
    path = () if _words(named) in _words(headings[0].title) else (named,)
    prose = tuple(Block("prose", block.start, block.end) for block in headings)
    tokens = sum(count_tokens(document.text[block.start : block.end]) for block in headings)
    return [_Section(path, headings[0].start, prose, tokens)]


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
    room = _Room(max(8, shape.limit - count_tokens(prefix)), TEXT_BYTES - len(f"{prefix}\n\n".encode()))
    pieces = [piece for block in section.blocks for piece in _pieces(text, block, room)]
    chunks: list[Chunk] = []
    start, end, used = -1, -1, 0
    previous: _Piece | None = None
    for piece in pieces:
        is_full = used + piece.tokens > room.tokens or not room.holds(text, start, piece.end)
        if previous is not None and is_full:
            chunks.append(_chunk(text, prefix, start, end))
            start, used = _lead_in(text, previous, piece, min(shape.overlap, room.tokens - piece.tokens), room)
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
    room = limit
    for at, word in enumerate(words):
        room -= count_tokens(word)
        if room < 0:
            return " ".join(words[:at])
    return " ".join(words)


def _lead_in(text: str, previous: _Piece, piece: _Piece, budget: int, room: _Room) -> tuple[int, int]:
    """Where a chunk starts that goes on after `previous`, and the tokens that this repeats."""
    start, used = piece.start, 0
    if previous.prose and piece.prose:
        size = _size(text, piece.start, piece.end)
        for a, b in reversed(_split(text, previous.start, previous.end, _sentence_ends)):
            tokens = count_tokens(text[a:b])
            size += _size(text, a, start)
            if used + tokens > budget or size > room.size:
                break
            start, used = a, used + tokens
    return start, used


def _chunk(text: str, prefix: str, start: int, end: int) -> Chunk:
    body = text[start:end].strip("\n")
    return Chunk(start, end, f"{prefix}\n\n{body}" if prefix else body)


def _pieces(text: str, block: Block, room: _Room) -> list[_Piece]:
    whole = _Piece(block.start, block.end, count_tokens(text[block.start : block.end]), block.kind == "prose")
    if _fits(text, whole, room):
        return [whole]
    ends = [_sentence_ends if whole.prose else _line_ends, _word_ends]
    return _fit(text, whole, ends, room)


def _fits(text: str, piece: _Piece, room: _Room) -> bool:
    return piece.tokens <= room.tokens and room.holds(text, piece.start, piece.end)


def _fit(text: str, piece: _Piece, ends: Sequence[_Ends], room: _Room) -> list[_Piece]:
    """Split at the first of `ends`, what is still too long at the next, and lastly between characters."""
    if _fits(text, piece, room):
        return [piece]
    if not ends:
        return _fit_word(text, piece, room)
    rest = ends[1:]
    parts = (
        _Piece(a, b, count_tokens(text[a:b]), piece.prose) for a, b in _split(text, piece.start, piece.end, ends[0])
    )
    return _packed(text, (small for part in parts for small in _fit(text, part, rest, room)), room)


def _fit_word(text: str, piece: _Piece, room: _Room) -> list[_Piece]:
    """A word without the blanks that follow it, in parts where it is too long itself; of blanks alone, nothing."""
    length = len(text[piece.start : piece.end].rstrip())
    word = _Piece(piece.start, piece.start + length, piece.tokens, piece.prose)
    if length == 0 or _fits(text, word, room):
        return [word] if length else []
    # A character is at most one token, and the parts of one long word may meet again in a chunk.
    step = min(room.tokens, room.size // 4)
    spans = [(at, min(at + step, word.end)) for at in range(word.start, word.end, step)]
    return [_Piece(a, b, b - a, word.prose) for a, b in spans]


def _packed(text: str, pieces: Iterable[_Piece], room: _Room) -> list[_Piece]:
    """Neighbours joined while they fit: words back to lines."""
    packed: list[_Piece] = []
    most, size = room.tokens // 4, 0  # of the last one, in bytes, which to count anew for each word takes far longer
    for piece in pieces:
        last = packed[-1] if packed else None
        grown = size + _size(text, last.end, piece.end) if last else 0
        if last and last.tokens + piece.tokens <= most and grown <= room.size:
            packed[-1], size = _Piece(last.start, piece.end, last.tokens + piece.tokens, last.prose), grown
        else:
            packed.append(piece)
            size = _size(text, piece.start, piece.end)
    return packed


def _size(text: str, start: int, end: int) -> int:
    """The bytes of the characters [start, end)."""
    return len(text[start:end].encode())


def _split(text: str, start: int, end: int, ends: _Ends) -> list[tuple[int, int]]:
    """The spans between the ends, which belong to what is before them."""
    cuts = [start, *(at for at in ends(text, start, end) if at < end), end]
    return [(a, b) for a, b in pairwise(cuts) if a < b]


def _word_ends(text: str, start: int, end: int) -> Iterator[int]:
    return (found.end() for found in _WORD_END.finditer(text, start, end))


def _line_ends(text: str, start: int, end: int) -> Iterator[int]:
    return (found.end() for found in _LINE_END.finditer(text, start, end))


def _sentence_ends(text: str, start: int, end: int) -> Iterator[int]:
    """After sentences, with the quotes and blanks that follow them, and after each newline before an item of a list.

    Blanks are taken a run at a time: whether an item follows is the same for each newline of one.
    """
    for found in _SENTENCE_END.finditer(text, start, end):
        first, last = found.span()
        before = text[first - 1] if first else ""
        if first == last or before in _ENDED:
            yield last
            continue
        newlines = []
        if "\n" in found[0] and _ITEM.match(text, last, end):
            newlines = [at + 1 for at in range(first, last) if text[at] == "\n"]
        if before in _ENDED_WIDE and newlines[:1] != [first + 1]:
            yield first
        yield from newlines
