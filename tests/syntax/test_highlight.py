"""The highlighters know the words of the grammar, and see in a text what the reader sees."""

import json
import re
import tomllib
from importlib.metadata import EntryPoint
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from pygments.token import Comment, Error, Keyword, Number, Operator, String, Token

from harmonia_compiler.check.amounts import UNITS
from harmonia_compiler.contract.types import NAMED
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax import lexer, words
from harmonia_compiler.syntax.highlight import ROLES, RULES, Enclosed, RagLexer, textmate
from harmonia_compiler.syntax.parser import parse
from harmonia_compiler.syntax.scanner import lex
from harmonia_compiler.syntax.tables import grammar_folder
from harmonia_compiler.syntax.tokens import read_tokens

ROOT = Path(__file__).parent.parent.parent
GRAMMAR = (grammar_folder() / "rag.lark").read_text(encoding="utf-8")
TEXTMATE = ROOT / "grammar/rag.tmLanguage.json"
EXAMPLES = re.findall(
    r"^```rag.*?\n(.*?)^```$", (grammar_folder() / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)
SAMPLES = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("samples/*.rag"))]


def shortened(text: str) -> str:
    return text.strip().partition("\n")[0][:40]


def highlighted(text: str) -> list[tuple[int, object, str]]:
    return list(RagLexer().get_tokens_unprocessed(text))


#: Names that are keywords elsewhere, at the beginning of a line and behind a comment.
NAMED_LIKE_KEYWORDS = '''
component a(
    # what it is given
    from: text,
    load: number = 3,  # no clause
    in: text, class: text
) -> (until: text, if: bool) = python("m:f")

pipeline p(q: text) -> text {
    slo p95 latency <= 4 s
    return a(
        from: "# {q}", load: 3,
        in: """a { b
            in: "c" """, class : q).until
}
'''


#: The same, with a comment between the name and what makes it one, which an editor does not see.
NAMED_FROM_AFAR = """
component a(
    from  # what it is given
    # and nobody knows: why
    : text, in # c
    : text, q: text) -> (until: text, if: bool) = python("m:f")
pipeline p(q: text) -> text { return a(from: q, in: q, q).until }
"""


def scopes(text: str) -> dict[int, str]:
    """What an editor makes of the word at each place: the patterns of the grammar, line by line, the leftmost first."""
    found: dict[int, str] = {}
    around: dict[str, Any] | None = None
    begins = 0
    for line in text.splitlines(keepends=True):
        at = 0
        while True:
            rules = textmate()["patterns"] if around is None else [{"match": around["end"]}, *around["patterns"]]
            tried = ((re.compile(rule.get("match") or rule["begin"]).search(line, at), rule) for rule in rules)
            matches = [(match.start(), match, rule) for match, rule in tried if match is not None]
            if not matches:
                break
            start, match, rule = min(matches, key=itemgetter(0))
            at = match.end()
            if "begin" in rule:
                around = rule
            elif "captures" in rule:
                found |= {begins + match.start(int(n)): each["name"] for n, each in rule["captures"].items()}
            elif "name" in rule:
                found[begins + start] = rule["name"]
            else:
                around = None
        begins += len(line)
    return found


def test_the_words_are_those_of_the_grammar() -> None:
    keywords = re.findall(r'^([A-Z]+): "([a-z]+)"$', GRAMMAR, re.MULTILINE)
    assert {(word.upper(), word) for word in words.KEYWORDS} == set(keywords)
    assert {name for name, _ in keywords} == lexer.KEYWORDS
    assert len(words.KEYWORDS) == len(set(words.KEYWORDS))


def test_the_names_are_those_of_the_checker() -> None:
    assert set(words.TYPES) == set(NAMED)
    assert set(words.UNITS) == UNITS


@pytest.mark.parametrize("text", [*EXAMPLES, *SAMPLES, NAMED_LIKE_KEYWORDS, NAMED_FROM_AFAR], ids=shortened)
def test_keywords_are_those_that_the_reader_sees(text: str) -> None:
    tokens = read_tokens(Source("a.rag", text), Findings())
    assert tokens is not None
    read = {token.start: token.text for token in tokens.tokens if token.kind in lexer.KEYWORDS}
    found = highlighted(text)
    assert "".join(part for _, _, part in found) == text
    assert [part for _, kind, part in found if kind in Error] == []
    shown = {
        at: part for at, kind, part in found if kind == Operator.Word or (kind in Keyword and kind not in Keyword.Type)
    }
    assert shown == read


@pytest.mark.parametrize("text", [*EXAMPLES, *SAMPLES, NAMED_LIKE_KEYWORDS], ids=shortened)
def test_an_editor_sees_what_pygments_sees(text: str) -> None:
    seen = scopes(text)
    words_ = [(at, kind, part) for at, kind, part in highlighted(text) if part.isidentifier() and kind not in String]
    assert words_
    for at, kind, part in words_:
        assert (kind, seen.get(at)) in {*ROLES.values()}, (part, text[at - 20 : at + 20])


def test_what_stands_where() -> None:
    text = 'type t = (if: text)\nx = a.in + f(to: 8GiB, "a\\n{q}\\d", not true)  # end\n'
    shown = [(part, kind) for _, kind, part in highlighted(text) if part.strip()]
    assert shown == [
        ("type", Token.Keyword.Declaration),
        ("t", Token.Name.Class),
        ("=", Token.Operator),
        ("(", Token.Punctuation),
        ("if", Token.Name.Attribute),
        (":", Token.Punctuation),
        ("text", Token.Keyword.Type),
        (")", Token.Punctuation),
        ("x", Token.Name),
        ("=", Token.Operator),
        ("a", Token.Name),
        (".", Token.Punctuation),
        ("in", Token.Name.Attribute),
        ("+", Token.Operator),
        ("f", Token.Name.Function),
        ("(", Token.Punctuation),
        ("to", Token.Name.Attribute),
        (":", Token.Punctuation),
        ("8", Token.Literal.Number),
        ("GiB", Token.Literal.Number),
        (",", Token.Punctuation),
        ('"', Token.Literal.String.Double),
        ("a", Token.Literal.String.Double),
        ("\\n", Token.Literal.String.Escape),
        ("{q}", Token.Literal.String.Interpol),
        ("\\d", Token.Error),
        ('"', Token.Literal.String.Double),
        (",", Token.Punctuation),
        ("not", Token.Operator.Word),
        ("true", Token.Keyword.Constant),
        (")", Token.Punctuation),
        ("# end", Token.Comment.Single),
    ]


def test_pygments_finds_the_lexer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, value),) = project["entry-points"]["pygments.lexers"].items()
    assert EntryPoint(name, value, "pygments.lexers").load() is RagLexer


def test_every_role_is_used() -> None:
    used = {role for rule in RULES for role in ((rule.role,) if isinstance(rule, Enclosed) else rule.roles)}
    used |= {role for rule in RULES if isinstance(rule, Enclosed) for inner in rule.inside for role in inner.roles}
    assert used == set(ROLES)


def test_the_kept_grammar_for_editors_is_current(request: pytest.FixtureRequest) -> None:
    written = json.dumps(textmate(), indent=2) + "\n"
    if request.config.getoption("--bless"):
        TEXTMATE.write_text(written, encoding="utf-8")
    assert TEXTMATE.read_text(encoding="utf-8") == written, "make bless"


#: What of the reader's tokens an editor shows in colours of its own, beside keywords and names.
SHOWN = {"NUMBER": Number, "UNIT": Number, "TEXT": String, "LONG_TEXT": String, "COMMENT": Comment}
EDGES = [
    "x = [0, -0.5, 1e3, 1E-3, 2.5e+10, 1e, 1.e3, .5, 1..2, 3s, 4 ms, 5GiB, 6\tKiB, 7 nothing, 8tokens]\n",
    'x = ["", "a", "a\\"b", "\\n\\t\\\\", "{a}", "{{a}}", "{ a }", "#", "é\u2028", "\'"]  # "no text" 1e3\n',
    'x = """a\n"b" \\n {c}\n# no comment\n"""  #\n#\n# x = 1\n',
    "a(1)b.c(2.d,-3)#4\n",
]


@pytest.mark.parametrize("text", [*EXAMPLES, *SAMPLES, *EDGES], ids=shortened)
def test_numbers_texts_and_comments_are_those_that_the_reader_sees(text: str) -> None:
    tokens = read_tokens(Source("a.rag", text), Findings())
    assert tokens is not None
    read: list[object] = [None] * len(text)
    for token in [*lex(text), *(one for one in tokens.tokens if one.kind == "UNIT" and one.text in UNITS)]:
        if token.kind in SHOWN:
            read[token.start : token.end] = [SHOWN[token.kind]] * (token.end - token.start)
    # An escape that is none is an error within a text.
    shown = [
        next((of for of in (Number, String, Comment) if kind in of), String if kind == Error else None)
        for _, kind, part in highlighted(text)
        for _ in part
    ]
    assert shown == read


def test_escapes_are_those_that_the_reader_takes() -> None:
    for character in map(chr, range(33, 127)):
        text = f'component c = llm("m", stop: "\\{character}")\n'
        findings = Findings()
        parse(Source("a.rag", text), findings)
        taken = not findings.failed
        shown = [part for _, kind, part in highlighted(text) if kind == String.Escape]
        assert (shown == [f"\\{character}"]) == taken, character
