"""Random trees of whole files, and what two trees are compared by: everything but places."""

from typing import Any

from hypothesis import strategies as st

from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.syntax import literals, tree
from harmonia_compiler.syntax.lexer import KEYWORDS

NOWHERE = Span(Source("nowhere", ""), 0, 0)
#: The longest chains and blocks; they nest, so that files get long enough all the same.
MOST = 3


def plain(node: Any) -> Any:
    """A tree as nested tuples, without places, documentation, and how a long text is indented."""
    if isinstance(node, tree.Text):
        return ("Text", node.value)
    if isinstance(node, tree.Node):
        skipped = ("span", "block", "else_span", "doc")
        fields = [name for name in node.__struct_fields__ if name not in skipped]
        return (type(node).__name__, *((name, plain(getattr(node, name))) for name in fields))
    return tuple(map(plain, node)) if isinstance(node, tuple) else node


def _name(text: str) -> tree.Name:
    return tree.Name(NOWHERE, text)


def _short(value: str) -> tree.Text:
    written = {meaning: f"\\{sign}" for sign, meaning in literals.ESCAPES.items()}
    return tree.Text(NOWHERE, value, '"' + "".join(written.get(sign, sign) for sign in value) + '"')


def _long(lines: list[str]) -> tree.Text:
    raw = '"""' + "\n".join(lines) + '"""'
    return tree.Text(NOWHERE, literals.long_text(raw), raw)


def _amount(raw: str, unit: str | None) -> tree.Amount:
    return tree.Amount(NOWHERE, literals.number(raw), None if unit is None else _name(unit), raw)


def _each(name: tree.Name, items: Any, test: Any, value: Any) -> tree.Each:
    where, share = test or (None, None)
    return tree.Each(NOWHERE, name, items, where, share, value)


def _arm(test: tuple[Any, Any], body: tuple[Any, ...]) -> tree.Arm:
    return tree.Arm(NOWHERE, test[0], test[1], body)


def _repeat(limit: tree.Amount, body: tuple[Any, ...], test: Any) -> tree.Repeat:
    until, share = test or (None, None)
    return tree.Repeat(NOWHERE, limit, body, NOWHERE, until, share)


def _component(name: tree.Name, signature: Any, base: tree.Name, settings: tuple[Any, ...]) -> tree.Component:
    ports, result = signature or (None, None)
    return tree.Component(NOWHERE, name, ports, result, base, settings)


WORDS = sorted(word.lower() for word in KEYWORDS)
names = st.sampled_from(["a", "b2", "query", "passages", "a_rather_long_name", "x" * 64]).map(_name)
fields = st.one_of(names, st.sampled_from(WORDS).map(_name))
signs = st.characters(codec="utf-8", exclude_characters="\r\n")
short_texts = (
    st.one_of(st.sampled_from(["", "yes", "{a} and {{b}}", "# no comment"]), st.text(signs, max_size=30))
    .map(lambda value: value.replace("\n", ""))
    .map(_short)
)
lines = st.one_of(
    st.sampled_from(["", "  ", "    a", "\tb", "        {c}", "# d", "\r", "  \r\r", "e\r", "  f\r\r", "\rg\rh"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40),
)
long_texts = st.lists(lines.map(lambda line: line.replace('"', "'")), min_size=1, max_size=4).map(_long)
texts = st.one_of(short_texts, long_texts)
numbers = st.sampled_from(["0", "1", "-1", "0.5", "40", "1e3", "2.50"])
units = st.sampled_from([None, "ms", "s", "min", "rps", "GiB", "tokens", "unknown"])
amounts = st.builds(_amount, numbers, units)
plain_numbers = st.builds(_amount, numbers, st.none())
expected = st.none() | amounts
labels = st.lists(short_texts, min_size=1, max_size=MOST).map(lambda found: tree.LabelsType(NOWHERE, tuple(found)))


def several(items: st.SearchStrategy[Any], least: int = 0, most: int = MOST) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, min_size=least, max_size=most).map(tuple)


def _of(kind: type[tree.Node], *parts: Any, **named: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, st.just(NOWHERE), *parts, **named)


values: st.SearchStrategy[Any] = st.deferred(lambda: every_value)
types: st.SearchStrategy[Any] = st.deferred(lambda: every_type)
statements: st.SearchStrategy[Any] = st.deferred(lambda: every_statement)

# Values, each level of what those of the next one are made of.
named = _of(tree.Argument, fields, values)
arguments = several(_of(tree.Argument, st.none(), values) | named)
simple = st.one_of(
    _of(tree.Reference, names), texts, amounts, st.booleans().map(lambda value: tree.Truth(NOWHERE, value=value))
)
atoms = st.one_of(
    simple,
    simple,
    _of(tree.Call, names, arguments),
    _of(tree.ListValue, several(values)),
    _of(tree.RecordValue, several(named, 1)),
    _of(tree.Group, values),
)
accesses = atoms | _of(tree.Access, atoms, several(fields, 1))
sums = accesses | _of(tree.Joined, several(accesses, 2))
comparisons = sums | _of(tree.Comparison, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), sums, sums)
negations = comparisons | _of(tree.Negation, comparisons)
conjunctions = negations | _of(tree.Conjunction, several(negations, 2))
expressions = conjunctions | _of(tree.Disjunction, several(conjunctions, 2))
shared = st.tuples(expressions, expected)
every_value: st.SearchStrategy[Any] = st.one_of(
    expressions,
    _of(tree.Guarded, expressions, amounts, st.none() | values),
    _of(tree.Guarded, expressions, st.none(), values),
    st.builds(_each, names, expressions, st.none() | shared, values),
)

sized = _of(tree.Sized, types, expected)
ports = several(_of(tree.Port, fields, sized, st.none() | values))
every_type: st.SearchStrategy[Any] = st.one_of(
    _of(tree.NamedType, names),
    _of(tree.NamedType, names),
    st.just(tree.ClassType(NOWHERE)),
    labels,
    _of(tree.ListType, sized),
    _of(tree.RecordType, ports),
)

bodies = several(statements)
arms = st.builds(_arm, shared, bodies)
bindings = _of(tree.Bind, names, values)
returns = _of(tree.Return, st.booleans(), values)
every_statement: st.SearchStrategy[Any] = st.one_of(
    bindings,
    bindings,
    returns,
    _of(tree.If, several(arms, 1), st.none() | bodies, st.none()),
    st.builds(_repeat, amounts, bodies, st.none() | shared),
)
objectives = _of(tree.Objective, several(names, 1), st.sampled_from(["<=", "<", ">"]), amounts)
clauses = st.one_of(
    _of(tree.Slo, several(objectives, 1)),
    _of(tree.Load, several(_of(tree.Rate, st.none() | names, amounts, expected), 1)),
)

declarations = st.one_of(
    _of(tree.Import, several(_of(tree.Imported, names, st.none() | names), 1), short_texts),
    _of(tree.Alias, names, types),
    _of(tree.Class, names, arguments),
    st.builds(_component, names, st.none() | st.tuples(ports, sized), names, arguments),
    _of(tree.Pipeline, names, ports, sized, several(clauses | statements)),
)
files = several(declarations, most=4)
