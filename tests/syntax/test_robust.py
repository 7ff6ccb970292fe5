"""No text, whatever it is, gives a traceback or takes long: it gives findings with places inside of it."""

import re
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia_compiler.check.files import check_files
from harmonia_compiler.check.sources import LARGEST_FILE, MOST_FILES
from harmonia_compiler.diagnostics.diagnostic import Findings, in_order
from harmonia_compiler.diagnostics.render import as_object, render
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.parser import MOST_FINDINGS, parse
from harmonia_compiler.syntax.scanner import lex
from harmonia_compiler.syntax.tables import grammar_folder
from tests.examples import examples

ROOT = Path(__file__).parent.parent.parent
SAMPLES = sorted(ROOT.glob("samples/*.rag"))
#: The examples of the language's reference, each by its name.
EXAMPLES = dict(
    re.findall(
        r"^```rag (\S+)\n(.*?)^```$",
        (grammar_folder() / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
TEXTS = [*SAMPLES, *sorted(ROOT.glob("tests/broken/*.rag"))]

#: Pieces that stand for every kind of token and of slip.
PIECES = (
    *("(", ")", "[", "]", "{", "}", '"', '"""', ",", ":", "=", "==", "~", "|", "->", ".", "+", "\n", "'", "\\", "#"),
    *("if ", "elif ", "else ", "return ", "stream ", "component ", "pipeline ", "type ", "import ", "from ", "not "),
    *(
        "and ",
        "or ",
        "slo ",
        "load ",
        "peak ",
        "each ",
        "in ",
        "where ",
        "repeat ",
        "up to ",
        "until ",
        "within ",
        "class ",
    ),
    *("x", "question", "text", "3", "3 s", "1e400", "-", "x = ", "true"),
    *('"a"', "{x}", "\x00", "é", "\u2028", "\ufeff"),
)


def sound(source: Source) -> None:
    """Read a text and show what is found; every place must lie in the text."""
    findings = Findings()
    parse(source, findings)
    assert len(findings.items) <= MOST_FINDINGS
    for item in findings.items:
        assert item.span is not None
        start, end = item.span.start, item.span.end
        assert 0 <= start <= end <= len(source.text)
        assert item.code != "E0112" or source.text[start:end] in {")", "]", "}"}
        assert render(item)
        assert as_object(item)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_any_text_is_read(text: str) -> None:
    sound(Source("a.rag", text))


@given(st.lists(st.sampled_from(PIECES), max_size=60))
@examples(300)
def test_any_pieces_are_read(pieces: list[str]) -> None:
    sound(Source("a.rag", " ".join(pieces)))


@given(st.binary(max_size=200))
@examples(50)
def test_any_bytes_are_checked(data: bytes) -> None:
    path = Path("fuzzed.rag")
    path.write_bytes(data)
    check_files([path])


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.mktemp("program")
    monkeypatch.chdir(path)
    return path


def mutations(text: str, step: int) -> list[str]:
    """The text with one token left out, doubled, swapped with the next, replaced or followed by a piece."""
    tokens = [token.text for token in lex(text)]
    found = []
    for number, at in enumerate(range(0, len(tokens), step)):
        before, token, after = tokens[:at], tokens[at], tokens[at + 1 :]
        piece = PIECES[number % len(PIECES)]
        variants = [[], [token, token], [piece], [token, " ", piece], [*after[:1], token]]
        swapped = number % len(variants) == 4
        found.append("".join([*before, *variants[number % len(variants)], *(after[1:] if swapped else after)]))
    return found


@pytest.mark.parametrize("sparse", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_mutated_programs_are_checked(path: Path, sparse: int, folder: Path) -> None:
    for sample in SAMPLES:
        shutil.copy(sample, folder)
    shutil.copytree(ROOT / "tests/broken/parts", folder / "parts")
    text = path.read_text(encoding="utf-8", errors="replace")
    target = Path("mutated.rag")
    for mutated in mutations(text, step=sparse * (5 if path in SAMPLES else 12)):
        target.write_text(mutated, encoding="utf-8")
        checked = check_files([target])
        assert checked.application is not None or checked.found
        for item in checked.found:
            assert render(item)


def one_token_slips(text: str) -> list[tuple[int, int, str]]:
    """Texts with one token left out, doubled, or swapped with the next, and the lines on which that was done."""
    tokens = lex(text)
    spelled = [token.text for token in tokens]
    matter = [at for at, token in enumerate(tokens) if token.kind not in ("WS", "COMMENT", "_NL")]
    found, line, counted = [], 1, 0
    for number, (at, after) in enumerate(pairwise(matter)):
        line, counted = line + "".join(spelled[counted:at]).count("\n"), at
        last = line + "".join(spelled[at : after + (number % 3 == 2)]).count("\n")
        changed = list(spelled)
        match number % 3:
            case 0:
                changed[at] = ""
            case 1:
                changed[at] = f"{spelled[at]} {spelled[at]}"
            case _:
                changed[at], changed[after] = spelled[after], spelled[at]
        found.append((line, last, "".join(changed)))
    return found


def test_nearly_every_slip_is_one_finding_on_its_line() -> None:
    """Of all that is wrong at all, 97 of 100 on their line and 94 of 100 by one finding alone."""
    texts = [*(path.read_text(encoding="utf-8") for path in SAMPLES), *EXAMPLES.values()]
    on_line, counts = 0, Counter[int]()
    # Each second one is enough to tell, and takes half of the time.
    for line, last, text in (slip for whole in texts for slip in one_token_slips(whole)[::2]):
        findings, source = Findings(), Source("a.rag", text)
        parse(source, findings)
        lines = [source.position(item.span.start)[0] for item in findings.items if item.span is not None]
        counts[len(lines)] += 1
        on_line += any(line <= found <= last for found in lines)
    wrong = counts.total() - counts[0]
    assert wrong > 1000
    assert on_line >= 0.97 * wrong
    assert counts[1] >= 0.94 * wrong


MANY = 10_000


@pytest.mark.parametrize(
    "text",
    [
        "pipeline p(q: bool) -> bool {\n" + "if q {\n" * MANY + "}\n" * MANY + "return q }",
        "pipeline p(q: bool) -> bool { return " + "(" * MANY + "q" + ")" * MANY + " }",
        "pipeline p(q: bool) -> bool { return " + "(" * MANY,
        "pipeline p(q: bool) -> bool {\n" + "repeat up to 3 {\n" * MANY + "}\n" * MANY + "return q }",
        "pipeline p(q: bool) -> bool {\n return " + "each x in q: " * MANY + "q }",
        "pipeline p(q: bool) -> bool {\n return q" + " else q" * MANY + " }",
        "component c(q: " + "[" * MANY + "text" + "]" * MANY + ') -> text = python("m:c")',
        "pipeline p(q: bool) -> bool { return " + "(q or q and not q == " * 60 + "q" + ")" * 60 + " }",
    ],
    ids=["blocks", "parentheses", "open", "loops", "each", "else", "types", "operators"],
)
def test_deep_nesting_is_a_finding(text: str) -> None:
    Path("deep.rag").write_text(text, encoding="utf-8")
    assert {item.code for item in check_files([Path("deep.rag")]).found if item.is_error} == {"E0107"}


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (
            "pipeline p(q: bool) -> bool {\nif q { x = q }"
            + " elif q { x = q }" * 1000
            + " else { x = q }\nreturn x }",
            set(),
        ),
        ("pipeline p(q: bool) -> bool {\n" + "if q { return q }\n" * 1000 + "return q }", set()),
        ("pipeline p(q: text) -> text { return q" + ".a" * MANY + " }", {"E0211"}),
        ("pipeline p(q: text) -> [text] { return [q]" + " + [q]" * 1000 + " }", set()),
        ("".join(f"component c{i} = c{i + 1}()\n" for i in range(2000)) + 'component c2000 = llm("m")', set()),
        ("".join(f"component c{i} = c{(i + 1) % 2000}()\n" for i in range(2000)), {"E0208"}),
        ("".join(f"type t{i} = [t{i + 1}]\n" for i in range(2000)) + "type t2000 = text", {"E0314"}),
        ("".join(f"type t{i} = (a: t{i + 1}, b: t{i + 1})\n" for i in range(40)) + "type t40 = text", {"E0314"}),
        (
            'component j(a: bool, b: bool) -> bool = python("m:j")\n'
            + "".join(f"pipeline p{i}(q: bool) -> bool {{ return j(p{i + 1}(q), p{i + 1}(q)) }}\n" for i in range(40))
            + "pipeline p40(q: bool) -> bool { return j(q, q) }",
            {"E0406"},
        ),
    ],
    ids=["elif", "returns", "fields", "sum", "bases", "base cycle", "types", "doubled types", "doubled pipelines"],
)
def test_long_chains_are_walked_without_recursion(text: str, codes: set[str]) -> None:
    Path("long.rag").write_text(text, encoding="utf-8")
    assert {item.code for item in check_files([Path("long.rag")]).found if item.is_error} == codes


@pytest.mark.parametrize(
    ("line", "count", "code", "declared"),
    [
        ("component c{} = f()", 0, "", MANY),
        ("component c{} f()", MOST_FINDINGS, "E0101", 0),
        ("component c{} = f(", MOST_FINDINGS, "E0102", 0),
        ("}}", MOST_FINDINGS, "E0112", 0),
    ],
    ids=["fine", "broken", "open", "closed"],
)
def test_many_declarations_are_read_one_by_one(line: str, count: int, code: str, declared: int) -> None:
    findings = Findings()
    file = parse(Source("a.rag", "".join(line.format(i) + "\n" for i in range(MANY))), findings)
    assert [item.code for item in findings.items] == [code] * count
    assert len(file.declarations) == declared


@pytest.mark.parametrize("line", ["x = f(", "x = [y,", "x = (a = 1,"])
def test_a_pipeline_of_lines_that_close_nothing_is_read_line_by_line(line: str) -> None:
    """Each looked at with all behind it, or mended in a copy of all, would take longer than a test may."""
    findings = Findings()
    file = parse(Source("a.rag", "pipeline p(q: text) -> text {\n" + f"{line}\n" * MANY + "}"), findings)
    assert {item.code for item in findings.items} == {"E0102"}
    assert len(findings.items) == MOST_FINDINGS
    assert file.unread == {"p"}


def test_more_components_than_a_file_may_hold_are_one_finding() -> None:
    Path("many.rag").write_text("".join(f"component c{i} = f()\n" for i in range(10 * MANY)), encoding="utf-8")
    assert [item.code for item in check_files([Path("many.rag")]).found] == ["E0108"]


def test_more_components_than_a_program_may_hold_are_one_finding_at_the_first_import_too_many() -> None:
    text = f"# {'x' * (LARGEST_FILE // 2)}\n"
    for at in range(10):
        Path(f"part{at}.rag").write_text(f'component c{at} = python("m:c")\n{text}', encoding="utf-8")
    imports = "".join(f'import c{at} from "part{at}.rag"\n' for at in range(10))
    Path("whole.rag").write_text(f"{imports}pipeline p(q: text) -> text {{ return c9(q) }}\n", encoding="utf-8")
    (found,) = in_order(item for item in check_files([Path("whole.rag")]).found if item.is_error)
    assert (found.code, found.message) == ("E0108", "with `part7.rag`, the files that are read have more than 4 MiB")
    assert found.span is not None
    assert found.span.source.position(found.span.start)[0] == 8
    assert len(found.notes) == 2


def test_more_files_than_a_program_may_have_are_one_finding_at_the_first_import_too_many() -> None:
    for at in range(MOST_FILES + 2):
        Path(f"part{at}.rag").write_text('component c = python("m:c")\n', encoding="utf-8")
    imports = "".join(f'import c as c{at} from "part{at}.rag"\n' for at in range(MOST_FILES + 2))
    Path("whole.rag").write_text(f"{imports}pipeline p(q: text) -> text {{ return q }}\n", encoding="utf-8")
    (found,) = in_order(item for item in check_files([Path("whole.rag")]).found if item.is_error)
    assert (found.code, found.message) == ("E0108", "with `part999.rag`, more than 1,000 files are read")
    assert found.span is not None
    assert found.span.source.position(found.span.start)[0] == MOST_FILES
    assert len(found.notes) == 2


def test_a_name_may_take_hundreds_of_labels_one_after_the_other() -> None:
    labels = [f'"l{number}"' for number in range(300)]
    arms = "\nelif ".join(f"state == {one} {{ state = {other} }}" for one, other in pairwise(labels))
    loop = f"state = {labels[0]}\nrepeat up to 3 {{\nif {arms}\n}}\nreturn state"
    Path("labels.rag").write_text(f"pipeline p() -> {' | '.join(labels)} {{\n{loop}\n}}\n", encoding="utf-8")
    assert check_files([Path("labels.rag")]).found == []
