"""Highlighting: one table of patterns, read by Pygments as a lexer and written for editors as a TextMate grammar.

A highlighter sees no more than a line or a few tokens. It follows the reader in what matters: before `:` in brackets
and after `.` every word is a name, and a unit stands behind a number.
"""

from dataclasses import dataclass
from typing import Any

from pygments.lexer import RegexLexer, bygroups
from pygments.token import (
    Comment,
    Error,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Whitespace,
)

from harmonia_compiler.syntax import words


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern with the roles of its groups; one role for a pattern without groups."""

    pattern: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enclosed:
    """What lies between two patterns, with the patterns for what is special inside of it."""

    begin: str
    end: str
    role: str
    inside: tuple[Rule, ...]


def _any(of: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(of)})"


_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_COLON = r"(?:\s|#[^\n]*\n)*:"
_PORT = Rule(r"\{\{[a-z_][a-z0-9_]*\}\}|\{[a-z_][a-z0-9_]*\}", ("port",))

#: What each role is for Pygments and for TextMate.
ROLES: dict[str, tuple[Any, str]] = {
    "space": (Whitespace, ""),
    "comment": (Comment.Single, "comment.line.number-sign.rag"),
    "text": (String.Double, "string.quoted.double.rag"),
    "long text": (String.Heredoc, "string.quoted.triple.rag"),
    "escape": (String.Escape, "constant.character.escape.rag"),
    "no escape": (Error, "invalid.illegal.escape.rag"),
    "port": (String.Interpol, "variable.other.placeholder.rag"),
    "field": (Name.Attribute, "variable.other.member.rag"),
    "named": (Name.Attribute, "variable.parameter.rag"),
    "declaring": (Keyword.Declaration, "keyword.declaration.rag"),
    "declared": (Name.Class, "entity.name.type.rag"),
    "clause": (Keyword.Reserved, "keyword.other.rag"),
    "flow": (Keyword, "keyword.control.rag"),
    "logic": (Operator.Word, "keyword.operator.logical.rag"),
    "constant": (Keyword.Constant, "constant.language.rag"),
    "type": (Keyword.Type, "support.type.rag"),
    "call": (Name.Function, "entity.name.function.rag"),
    "name": (Name, "variable.other.rag"),
    "number": (Number, "constant.numeric.rag"),
    "unit": (Number, "keyword.other.unit.rag"),
    "operator": (Operator, "keyword.operator.rag"),
    "sign": (Punctuation, "punctuation.rag"),
}

#: In the order in which they are tried.
RULES: tuple[Rule | Enclosed, ...] = (
    Rule(r"#[^\n]*", ("comment",)),
    Enclosed('"""', '"""', "long text", (_PORT,)),
    Enclosed('"', '"|(?=\\n)', "text", (Rule(r'\\[nt"\\]', ("escape",)), Rule(r"\\.", ("no escape",)), _PORT)),
    Rule(rf"(\.)(\s*)({_NAME})", ("sign", "space", "field")),
    Rule(rf"([(,])(\s*)({_NAME})(?={_COLON})", ("sign", "space", "named")),
    # Editors read line by line, and a comment may stand between; no statement begins with a name and a colon.
    Rule(rf"^([ \t]*)({_NAME})(?={_COLON})", ("space", "named")),
    Rule(
        rf"\b({_any(('type', 'class', 'component', 'pipeline'))})([ \t]+)({_NAME})", ("declaring", "space", "declared")
    ),
    Rule(rf"\b{_any(words.DECLARING)}\b", ("declaring",)),
    Rule(rf"\b{_any(words.CLAUSES)}\b", ("clause",)),
    Rule(rf"\b{_any(words.FLOW)}\b", ("flow",)),
    Rule(rf"\b{_any(words.LOGIC)}\b", ("logic",)),
    Rule(rf"\b{_any(words.CONSTANTS)}\b", ("constant",)),
    Rule(rf"(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)([ \t]*)({_any(words.UNITS)})\b", ("number", "space", "unit")),
    Rule(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", ("number",)),
    Rule(rf"{_NAME}(?=\s*\()", ("call",)),
    Rule(rf"\b{_any(words.TYPES)}\b", ("type",)),
    Rule(_NAME, ("name",)),
    Rule(r"->|==|!=|<=|>=|[<>=~|+]", ("operator",)),
    Rule(r"[()\[\]{},:.]", ("sign",)),
    # Never beyond a line, so that the next one is seen to begin.
    Rule(r"\n|[^\S\n]+", ("space",)),
)


def textmate() -> dict[str, Any]:
    """The TextMate grammar, which many editors read, as a JSON document."""
    return {
        "name": "rag",
        "scopeName": "source.rag",
        "fileTypes": ["rag"],
        "patterns": [
            _enclosed(rule) if isinstance(rule, Enclosed) else _match(rule)
            for rule in RULES
            if isinstance(rule, Enclosed) or rule.roles != ("space",)
        ],
    }


def _match(rule: Rule) -> dict[str, Any]:
    if len(rule.roles) == 1:
        return {"name": ROLES[rule.roles[0]][1], "match": rule.pattern}
    named = {str(number): {"name": ROLES[role][1]} for number, role in enumerate(rule.roles, 1) if ROLES[role][1]}
    return {"match": rule.pattern, "captures": named}


def _enclosed(rule: Enclosed) -> dict[str, Any]:
    inside = [_match(each) for each in rule.inside]
    return {"name": ROLES[rule.role][1], "begin": rule.begin, "end": rule.end, "patterns": inside}


def _states() -> dict[str, list[tuple[Any, ...]]]:
    """The rules as the states of a Pygments lexer: one for the file, and one inside of each kind of text."""
    states: dict[str, list[tuple[Any, ...]]] = {"root": []}
    for rule in RULES:
        if isinstance(rule, Rule):
            states["root"].append((rule.pattern, _kinds(rule)))
            continue
        kind = ROLES[rule.role][0]
        states["root"].append((rule.begin, kind, rule.role))
        states[rule.role] = [(rule.end, kind, "#pop"), *((each.pattern, _kinds(each)) for each in rule.inside)]
        states[rule.role] += [(r'[^"\\{\n]+', kind), (r"[\s\S]", kind)]
    return states


def _kinds(rule: Rule) -> Any:
    kinds = [ROLES[role][0] for role in rule.roles]
    return kinds[0] if len(kinds) == 1 else bygroups(*kinds)


class RagLexer(RegexLexer):  # type: ignore[misc]
    """Highlights `.rag` files wherever Pygments is used."""

    name = "Harmonia RAG"
    aliases = ("rag",)
    filenames = ("*.rag",)
    mimetypes = ("text/x-rag",)
    url = ""
    tokens = _states()
