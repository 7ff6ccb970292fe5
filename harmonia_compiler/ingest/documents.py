"""Files to documents: bytes to text with its structure, whatever the format.

Each format becomes a text whose headings the chunker finds. Sizes are bounded; what cannot be read
is reported with its reason and never ends the run.
"""

import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from harmonia_compiler.ingest.apart import HTML, PDF, Apart, Format

#: The largest file that is read, and the most characters that a document may come to.
MAX_BYTES = 64 * 2**20
MAX_CHARACTERS = 16 * 2**20

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ufeff\ud800-\udfff]")
_EMBEDDED = re.compile(r"(data:[a-z0-9/+.-]{0,60};base64,)[A-Za-z0-9+/=_-]{64,}")
_FRONT_MATTER = re.compile(r"---\n(.*?\n)(?:---|\.\.\.)[ \t]*\n", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """A document's text. `title` leads every path of headings; `markdown` says how to find these."""

    title: str
    text: str
    markdown: bool


class Unreadable(Exception):
    """Why a file gives no document, as a phrase."""


def load(name: str, content: bytes, apart: Apart) -> Document:
    """The document in a file of that name; raises `Unreadable`."""
    loader = _LOADERS.get(PurePath(name).suffix.lower(), _plain)
    return loader(PurePath(name).stem, content, apart)


def _markdown(stem: str, content: bytes, _apart: Apart) -> Document:
    text = _bounded(_clean(_decode(content)))
    title = stem
    if front := _FRONT_MATTER.match(text):
        named = _FRONT_TITLE.search(front[1])
        title = named[1] if named and named[1] else stem
        text = text[front.end() :]
    return Document(title, text, markdown=True)


def _plain(stem: str, content: bytes, _apart: Apart) -> Document:
    return Document(stem, _bounded(_clean(_decode(content))), markdown=False)


def _html(stem: str, content: bytes, apart: Apart) -> Document:
    declared = _META_CHARSET.search(content[:4096])
    source = _decode(content, declared[1].decode("ascii") if declared else None)
    title, text = _read(HTML, source.encode(errors="replace"), apart)
    return Document(title or stem, text, markdown=True)


def _pdf(stem: str, content: bytes, apart: Apart) -> Document:
    title, text = _read(PDF, content, apart)
    return Document(title or stem, text, markdown=False)


_LOADERS: dict[str, Callable[[str, bytes, Apart], Document]] = {
    ".htm": _html,
    ".html": _html,
    ".markdown": _markdown,
    ".md": _markdown,
    ".pdf": _pdf,
    ".rst": _plain,
    ".text": _plain,
    ".txt": _plain,
    ".xhtml": _html,
}

#: The endings of the files that are taken from folders; a file that is given by name is always read.
SUFFIXES = frozenset(_LOADERS)


def _read(form: Format, content: bytes, apart: Apart) -> tuple[str, str]:
    try:
        title, text = apart.read(form, content, MAX_CHARACTERS)
    except ValueError as unfit:
        raise Unreadable(str(unfit)) from unfit
    # Bounded first: of a text that was cut off, no shorter one shall be made.
    return title, _clean(_bounded(text))


def _bounded(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"its text has more than {MAX_CHARACTERS:,} characters")
    return text


def _decode(content: bytes, declared: str | None = None) -> str:
    """By byte order mark, as UTF-8, as declared, and lastly as Windows Western, which decodes nearly all."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, errors="replace")
    if b"\x00" in content:
        raise Unreadable("it is binary, not text")
    for encoding in ("utf-8", declared or "utf-8", "cp1252"):
        try:
            return content.decode(encoding)
        except (ValueError, LookupError):
            continue
    return content.decode("latin-1")


def _clean(text: str) -> str:
    """Newlines alone end lines; no character that a store or a terminal would trip over; no embedded files."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    return _EMBEDDED.sub(r"\1", _UNPRINTABLE.sub(" ", lines))
