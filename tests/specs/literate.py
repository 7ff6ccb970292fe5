"""Specs as prose: Markdown whose ```` ```rag ```` blocks are programs that say themselves what is wrong with them.

A document has a head and, below `##`, sections. A block with a name is a file; one without is a program of its own,
which sees the files of its section and those of the head. `text` and `python` blocks are files that programs read.
A `flow` block is the canonical text of the last pipeline of the block before it.

What is to be found stands in comments: `# error: [E0201] "message"` or `# warning: …` for the line on which it
stands, `# error at 3: …` for another line, `# error in FILE at 3: …` for another file, `# error elsewhere: …` for
what is about no file. `# set: name=value` gives the value of a setting.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harmonia_compiler.check.files import Checked, check_files
from harmonia_compiler.diagnostics.diagnostic import Diagnostic

#: What a block without a name is called.
UNNAMED = "program.rag"

_FENCE = re.compile(r"^```(?P<language>[a-z]+)(?: (?P<name>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
_EXPECTED = re.compile(
    r"# (?P<severity>error|warning)(?: in (?P<file>\S+))?(?: at (?P<line>\d+)|(?P<elsewhere> elsewhere))?: "
    r'\[(?P<code>[EW]\d{4})\] "(?P<message>.*?)"(?=\s*$|\s+# (?:error|warning))',
)
_SETTING = re.compile(r"^# set: (?P<name>\w+)=(?P<value>.*)$", re.MULTILINE)

#: File and line; neither where a finding is about no file.
Place = tuple[str, int]
#: Place, severity, code and message of a finding.
Finding = tuple[Place, str, str, str]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its name where it is a file, and the place of its text in the document."""

    language: str
    name: str
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Program:
    """What is checked at once: files by name, and those that are given. `flow` is the text of the last pipeline."""

    files: Mapping[str, str]
    given: tuple[str, ...]
    flow: Block | None

    def expected(self) -> Counter[Finding]:
        """What its given files announce."""
        found: Counter[Finding] = Counter()
        for name in self.given:
            found += announced(name, self.files[name])
        return found

    def checked(self, folder: Path) -> Checked:
        """Check it in an empty folder, which is the working directory."""
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        settings = given_settings("\n".join(self.files[name] for name in self.given))
        return check_files([Path(name) for name in self.given], settings)


@dataclass(frozen=True, slots=True)
class Section:
    """What stands below one heading."""

    title: str
    programs: tuple[Program, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole document; `text` is as it stands, `prose` without its blocks."""

    name: str
    text: str
    prose: str
    sections: tuple[Section, ...]


def given_settings(text: str) -> dict[str, str]:
    """The values of settings that a text says it is to be checked with."""
    return {found["name"]: found["value"] for found in _SETTING.finditer(text)}


def announced(name: str, text: str) -> Counter[Finding]:
    """What a file says is to be found."""
    found: Counter[Finding] = Counter()
    for number, line in enumerate(text.split("\n"), 1):
        for each in _EXPECTED.finditer(line):
            place = ("", 0) if each["elsewhere"] else (each["file"] or name, int(each["line"] or number))
            found[place, each["severity"], each["code"], each["message"]] += 1
    return found


def described(items: Iterable[Diagnostic]) -> Counter[Finding]:
    """Findings in the form of expectations."""
    return Counter((_place(item), "error" if item.is_error else "warning", item.code, item.message) for item in items)


def _place(item: Diagnostic) -> Place:
    if item.span is None or item.span.source.name.startswith("--set"):
        return ("", 0)
    return (item.span.source.name, item.span.source.position(item.span.start)[0])


def read(path: Path) -> Document:
    """Read a document."""
    text = path.read_text(encoding="utf-8")
    fences = [*_FENCE.finditer(text)]
    headings = [found for found in _HEADING.finditer(text) if not any(_inside(found.start(), one) for one in fences)]
    bounds = [0, *(found.start() for found in headings), len(text)]
    parts = [
        [
            Block(one["language"], one["name"] or "", one["text"], one.start("text"))
            for one in fences
            if start <= one.start() < end
        ]
        for start, end in pairwise(bounds)
    ]
    head = {block.name: block.text for block in parts[0] if block.name}
    titles = ["", *(found[1] for found in headings)]
    sections = [Section(title, _programs(head, part)) for title, part in zip(titles, parts, strict=True)]
    return Document(path.stem, text, _FENCE.sub("", text), tuple(sections))


def _inside(offset: int, fence: re.Match[str]) -> bool:
    return fence.start() <= offset < fence.end()


def _programs(head: Mapping[str, str], blocks: list[Block]) -> tuple[Program, ...]:
    """The named programs of a section together, and each of its unnamed ones."""
    named = {block.name: block.text for block in blocks if block.name}
    assert len(named) == sum(bool(block.name) for block in blocks), "two files of one section have one name"
    files = {**head, **named}
    programs = []
    flows = {before.start: block for before, block in pairwise(blocks) if block.language == "flow"}
    given = [block for block in blocks if block.language == "rag" and block.name]
    if given:
        programs.append(Program(files, tuple(block.name for block in given), flows.get(given[-1].start)))
    programs += [
        Program({**files, UNNAMED: block.text}, (UNNAMED,), flows.get(block.start))
        for block in blocks
        if block.language == "rag" and not block.name
    ]
    assert sum(program.flow is not None for program in programs) == sum(block.language == "flow" for block in blocks)
    return tuple(programs)


def documents() -> list[Document]:
    """Every document of this folder."""
    return [read(path) for path in sorted(Path(__file__).parent.glob("*.md"))]
