"""Prompts: texts in which `{name}` stands for a port, and nothing else has a meaning."""

import re
from collections.abc import Callable, Mapping
from itertools import groupby

import msgspec

from harmonia_compiler.contract.component import Insert, Prompt
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.syntax.literals import places

#: `{{name}}` is a literal `{name}`; `{name}` inserts; anything dotted, indexed or called is an attempt at code. A word
#: that is no name inserts nothing.
_PLACE = re.compile(
    r"\{\{(?P<literal>[a-z][a-z0-9_]*)\}\}|\{(?P<port>[a-z][a-z0-9_]*)\}|(?<!\{)\{(?P<word>[A-Za-z][A-Za-z0-9_]*)\}"
    r"|(?P<code>\{[a-z][a-z0-9_]*[.\[(][^{}\n\"']*\})"
)
_WORD = re.compile(r"[a-z][a-z0-9_]*")


class Template(msgspec.Struct, frozen=True):
    """A prompt with the place of each insertion, and the names in these.

    `mentioned` are the names inside of what is no insertion; `misspelt` says, by each name, where it first stands in
    braces with capital letters, which inserts nothing.
    """

    parts: Prompt
    inserts: tuple[tuple[str, Span], ...]
    inserted: frozenset[str]
    mentioned: frozenset[str]
    misspelt: Mapping[str, tuple[str, Span]]


def template(value: str, raw: str, span: Span, findings: Findings) -> Template:
    """Read a prompt. `raw` is the text as it stands at `span`, in which places are found again."""
    parts: list[str | Insert] = []
    inserts: list[tuple[str, Span]] = []
    mentioned: set[str] = set()
    misspelt: dict[str, tuple[str, Span]] = {}
    done = written = 0
    # What holds escapes is written otherwise than it reads; of a long text, only around its lines.
    begins = None if raw.startswith('"""') or value in (raw, raw[1:-1]) else places(raw)
    for found in _PLACE.finditer(value):
        place = raw.find(found[0], written) if begins is None else begins[found.start()]
        written = place + len(found[0]) if begins is None else begins[found.end()]
        at = Span(span.source, span.start + place, span.start + written)
        before = value[done : found.start()]
        if found["port"]:
            parts += [before, Insert(found["port"])]
            inserts.append((found["port"], at))
        elif found["literal"]:
            parts.append(before + found[0][1:-1])
        elif word := found["word"]:
            parts.append(before + found[0])
            misspelt.setdefault(word.lower(), (word, at))
        else:
            help = "bind the part to a name in the pipeline, and give the component a port for it"
            findings.add("E0611", f"`{found[0]}`: a prompt takes names of ports only", at, help=help)
            parts.append(before)
            mentioned.update(_WORD.findall(found[0]))
        done = found.end()
    parts.append(value[done:])
    inserted = frozenset(name for name, _ in inserts)
    return Template(_merged(parts), tuple(inserts), inserted, frozenset(mentioned), misspelt)


def warn_of_inserted(
    text: str, is_known: Callable[[str], bool], span: Span, findings: Findings, *, is_value: bool = False
) -> None:
    """Warn of a text that is no prompt, and would insert a known name if it were one.

    Where it is a value of a pipeline, the name may stand in its place.
    """
    names = (found["port"] for found in _PLACE.finditer(text) if found["port"])
    name = next((name for name in names if is_known(name)), None)
    if name is None:
        return
    help = f"this text is the same for every call: leave `{{{name}}}` out, and give `{name}` to a port of a component"
    if is_value:
        is_all = text.strip() == f"{{{name}}}"
        help = f"write `{name}`" if is_all else "write it as the prompt of a component, and call that"
    message = f"`{{{name}}}` stays as it is written: only a prompt takes in what a name holds"
    findings.add("W0205", message, span, help=help)


def can_insert(name: str) -> bool:
    """Whether a prompt can insert a port of that name: one that is none is told so where it is declared."""
    return _WORD.fullmatch(name) is not None


def _merged(parts: list[str | Insert]) -> Prompt:
    """Neighbouring texts as one, without empty ones."""
    merged: list[str | Insert] = []
    for is_text, group in groupby(parts, lambda part: isinstance(part, str)):
        same = [*group]
        if not is_text:
            merged += same
        elif text := "".join(map(str, same)):
            merged.append(text)
    return tuple(merged)
