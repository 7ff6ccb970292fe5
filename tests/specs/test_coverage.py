"""The specs leave nothing of the language out: no rule of its grammar, no form that can be written, no way to be wrong.

A document says in `Forms:` which forms it is about. Its sections begin with `Right:`, `Wrong:` or `Edge:`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import get_args

import pytest

from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax import parser as reading
from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.automaton import Slip, read
from harmonia_compiler.syntax.reductions import Make, Maker, Reduction, Value
from harmonia_compiler.syntax.tables import Rule, tables
from harmonia_compiler.syntax.token import Token
from tests.specs.literate import Document, Program, Section, documents

DOCUMENTS = documents()

#: What is no part of a right program, or only what others are made of.
NO_FORMS = {tree.Node, tree.Broken}
NODES = {one for one in vars(tree).values() if isinstance(one, type) and issubclass(one, tree.Node)} - NO_FORMS
#: What can be written as a declaration, a clause, a statement, a value or a type.
FORMS = {
    one.__name__
    for union in (tree.Declaration, tree.Clause, tree.Statement, tree.Expression, tree.TypeTree)
    for one in get_args(union)
    if one not in NO_FORMS
}
WAYS = ("Right", "Wrong", "Edge")
#: What is read for the sake of a better message, and refused by checking whatever stands around it.
NEVER_RIGHT = {
    "objective: __objective_plus_6 COMPARISON amount",
    "pipeline: PIPELINE NAME ports _ARROW sized LBRACE RBRACE",
}


def right_programs() -> Iterator[Program]:
    """Every program that announces no error."""
    for document in DOCUMENTS:
        for section in document.sections:
            yield from (program for program in section.programs if not wrong(program))


def wrong(program: Program) -> bool:
    return any(severity == "error" for _, severity, _, _ in program.expected())


def forms_of(document: Document) -> list[str]:
    """The forms that a document says it is about."""
    found = re.search(r"^Forms: (.+)\.$", document.prose, re.MULTILINE)
    return re.findall(r"`(\w+)`", found[1]) if found else []


@cache
def names_in(text: str) -> frozenset[str]:
    """The node classes in the tree of a text."""
    file = reading.parse(Source("a.rag", text), Findings())
    nodes = (node for declared in file.declarations for node, _ in tree.walk(declared))
    return frozenset({type(node).__name__ for node in nodes} | {type(comment).__name__ for comment in file.comments})


def has(section: Section, form: str) -> bool:
    return any(form in names_in(program.files[name]) for program in section.programs for name in program.given)


def test_every_node_of_the_tree_stands_in_a_right_program() -> None:
    found = {name for program in right_programs() for given in program.given for name in names_in(program.files[given])}
    assert not sorted(node.__name__ for node in NODES if node.__name__ not in found)


def spelled(rule: Rule) -> str:
    return f"{rule.name}: {' '.join(rule.parts)}"


def test_every_alternative_of_the_grammar_stands_in_a_right_program(monkeypatch: pytest.MonkeyPatch) -> None:
    used: Counter[str] = Counter()

    def counting(tokens: Iterable[Token], by_rule: Sequence[Reduction], maker: Maker) -> Value | Slip:
        def counted(rule: Rule, make: Make) -> Make:
            def made(maker: Maker, children: list[Value], start: int, end: int) -> Value:
                used[spelled(rule)] += 1
                return make(maker, children, start, end)

            return made

        rules = [
            (size, name, make and counted(rule, make))
            for rule, (size, name, make) in zip(tables().rules, by_rule, strict=True)
        ]
        return read(tokens, rules, maker)

    monkeypatch.setattr(reading, "read", counting)
    for program in right_programs():
        for name in program.given:
            reading.parse(Source(name, program.files[name]), Findings())
    # Declarations are read one by one, and so no file as a whole is.
    unused = {spelled(rule) for rule in tables().rules if not rule.stays and "file" not in rule.name} - set(used)
    assert sorted(unused) == sorted(NEVER_RIGHT)


def test_every_form_has_a_document_and_documents_are_about_forms() -> None:
    told = {form for document in DOCUMENTS for form in forms_of(document)}
    assert not sorted(FORMS - told)
    assert not sorted(told - {node.__name__ for node in NODES})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_form_is_shown_right_and_wrong_and_at_its_edges(form: str, way: str) -> None:
    sections = [
        section
        for document in DOCUMENTS
        if form in forms_of(document)
        for section in document.sections
        if section.title.startswith(f"{way}: ") and has(section, form)
    ]
    assert sections, f"no section `{way}: …` of a document about `{form}` has one"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_sections_are_what_they_are_called(document: Document) -> None:
    for section in document.sections[1:]:
        way = section.title.partition(": ")[0]
        assert way in WAYS, section.title
        found = [program.expected() for program in section.programs]
        assert found, f"{section.title}: there is nothing to check"
        if way == "Right":
            assert not any(found), f"{section.title}: a finding in what is right"
        elif way == "Wrong":
            assert any(found), f"{section.title}: nothing is wrong"
