"""HTML to Markdown: headings, paragraphs, lists, code and tables; what a page repeats is left out."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

_LEFT_OUT = "script, style, noscript, template, svg, iframe, nav, form, button, select, [hidden], [aria-hidden=true]"
_PERMALINK = "a.headerlink, a.anchor"
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_BLOCKS = {
    *(
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
    ),
    *("figure", "footer", "header", "hr", "main", "ol", "p", "section", "summary", "table", "ul"),
}
_LINES = {"br", "tr", "li"}
_CELLS = {"td", "th"}
_BLANK = re.compile(r"[ \t\n\r\f]+")
_TOO_MANY_LINES = re.compile(r"\n{3,}")


def html_to_markdown(source: str) -> tuple[str, str]:
    """The page's title and its main text; any text is HTML of some kind, so nothing is an error."""
    page = LexborHTMLParser(source)
    heading = page.css_first("title")
    title = _BLANK.sub(" ", heading.text()).strip() if heading else ""
    for node in [*page.css(_LEFT_OUT), *page.css(_PERMALINK)]:
        node.decompose()
    root = page.css_first("main, [role=main], article") or page.body
    return title, "" if root is None else _write(root)


def _write(root: LexborNode) -> str:
    out: list[str] = []
    for node, entering in _walk(root):
        tag = node.tag
        if tag == "-text":
            if entering:
                out.append(_BLANK.sub(" ", node.text_content or ""))
        elif tag == "pre" or tag in _HEADINGS:
            if entering:
                out.append(_code(node) if tag == "pre" else f"\n\n{'#' * _HEADINGS[tag]} {_flat(node)}\n\n")
        elif tag in _BLOCKS:
            out.append("\n\n")
        elif tag in _LINES and entering:
            out.append("\n- " if tag == "li" else "\n")
        elif tag in _CELLS:
            out.append(" " if entering else " |")
    lines = (
        _BLANK.sub(" ", line).strip() if not line.startswith("\0") else line[1:] for line in "".join(out).split("\n")
    )
    return _TOO_MANY_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Every node, entered and left, in the order of the text; without recursion, since pages nest deeply.

    What is inside a heading or a preformatted block is not visited: its writer reads it whole.
    """
    stack: list[tuple[LexborNode, bool]] = [(root, True)]
    while stack:
        node, entering = stack.pop()
        yield node, entering
        if entering and node.tag != "-text":
            stack.append((node, False))
            if node.tag != "pre" and node.tag not in _HEADINGS:
                children = list(node.iter(include_text=True))
                stack.extend((child, True) for child in reversed(children))


def _flat(node: LexborNode) -> str:
    return _BLANK.sub(" ", node.text()).strip()


def _code(node: LexborNode) -> str:
    """A fence longer than any in the code; each line is marked so that its blanks are kept."""
    code = node.text().strip("\n")
    fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", code)), default=0) + 1)
    return "\n\n" + "\n".join(f"\0{line}" for line in (fence, *code.split("\n"), fence)) + "\n\n"
