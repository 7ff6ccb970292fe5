"""PDF to text, page by page."""

import logging
import re
from io import BytesIO

from pypdf import PdfReader

# Malformed files are the rule among PDFs; what matters of them is raised, the rest is chatter.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)

_HYPHENATED = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
_MAX_PAGES = 20_000


def pdf_to_text(content: bytes, max_characters: int) -> tuple[str, str]:
    """The title in the file's metadata and its text, words rejoined over line ends.

    Raises `ValueError` that says why the file cannot be read. Stops where the text is longer than
    `max_characters`, which the caller refuses.
    """
    try:
        return _read(content, max_characters)
    except MemoryError:
        raise
    except Exception as malformed:  # a parser of hostile input: what it raises is beyond enumeration
        reason = " ".join(str(malformed).split()) or type(malformed).__name__
        raise ValueError(f"it is not a PDF that can be read: {reason[:200]}") from malformed


def _read(content: bytes, max_characters: int) -> tuple[str, str]:
    reader = PdfReader(BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("it is encrypted")
    if len(reader.pages) > _MAX_PAGES:
        raise ValueError(f"it has more than {_MAX_PAGES:,} pages")
    pages: list[str] = []
    length = 0
    for page in reader.pages:
        text = page.extract_text()
        pages.append(_HYPHENATED.sub("", text))
        length += len(text)
        if length > max_characters:
            break
    title = reader.metadata.title if reader.metadata else None
    return " ".join((title or "").split()), "\n\n".join(pages)
