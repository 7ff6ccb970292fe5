"""Tree to document: every construct in its one form, with the places where a long one may be broken.

A line is broken only where the language reads on: inside brackets, and before a sign or a word that continues a value.
"""

from collections.abc import Sequence

from harmonia_compiler.syntax import tree
from harmonia_compiler.syntax.layout import Comma, Document, Ending, Following, Group, Leaf, Line, Nest


def declaration(node: tree.Declaration) -> Document:
    """The document of one declaration; its tokens are those that it was read from, but for commas at an end."""
    match node:
        case tree.Import():
            names = _separated([_imported(name) for name in node.names], " ")
            return (Leaf("import"), " ", names, " ", Leaf("from"), " ", Leaf(node.path.raw))
        case tree.Alias():
            return (Leaf("type"), " ", _name(node.name), " ", Leaf("="), " ", _type(node.type))
        case tree.Class():
            return (Leaf("class"), " ", _name(node.name), _arguments(node.settings))
        case tree.Component():
            made = (Leaf("="), " ", _name(node.base), _arguments(node.settings))
            return (Leaf("component"), " ", _name(node.name), _signature(node.ports, node.result), " ", made)
        case tree.Pipeline():
            signature = _signature(node.ports, node.result)
            return (
                Leaf("pipeline"),
                " ",
                _name(node.name),
                signature,
                " ",
                _block([_item(each) for each in node.body]),
            )


def _imported(node: tree.Imported) -> Document:
    alias = () if node.alias is None else (" ", Leaf("as"), " ", _name(node.alias))
    return (_name(node.name), alias)


def _signature(ports: Sequence[tree.Port] | None, result: tree.Sized | None) -> Document:
    if ports is None or result is None:
        return ()
    return (_ports(ports), " ", Leaf("->"), " ", _sized(result))


# --- ports and types ---------------------------------------------------------------------------------------------


def _ports(ports: Sequence[tree.Port]) -> Document:
    return _bracketed("(", [_port(port) for port in ports], ")")


def _port(node: tree.Port) -> Document:
    default = () if node.default is None else (" ", Leaf("="), " ", _value(node.default))
    return (_name(node.name), Leaf(":"), " ", _sized(node.sized), default)


def _sized(node: tree.Sized) -> Document:
    return (_type(node.type), _expected(node.size))


def _type(node: tree.TypeTree) -> Document:
    match node:
        case tree.NamedType():
            return _name(node.name)
        case tree.ClassType():
            return Leaf("class")
        case tree.LabelsType():
            return _joined([Leaf(label.raw) for label in node.labels], "|")
        case tree.ListType():
            return _bracketed("[", [_sized(node.item)], "]", comma=False)
        case tree.RecordType():
            return _ports(node.ports)


# --- clauses and statements --------------------------------------------------------------------------------------


def _item(node: tree.Clause | tree.Statement) -> Document:
    match node:
        case tree.Slo():
            return (_first("slo"), " ", _separated([_objective(each) for each in node.objectives], " "))
        case tree.Load():
            return (_first("load"), " ", _separated([_rate(each) for each in node.rates], " "))
        case tree.Bind():
            return (_first(node.name.text), " ", Leaf("="), " ", _value(node.value))
        case tree.Return():
            stream = (Leaf("stream"), " ") if node.stream else ()
            return (_first("return"), " ", stream, _value(node.value))
        case tree.If():
            return _if(node)
        case tree.Repeat():
            head = (_first("repeat"), " ", Leaf("up"), " ", Leaf("to"), " ", _amount(node.limit), " ")
            until = () if node.until is None else (" ", Leaf("until"), " ", _test(node.until, node.share))
            return (head, _block([_item(each) for each in node.body]), until)


def _objective(node: tree.Objective) -> Document:
    words = [part for word in node.words for part in (_name(word), " ")]
    return (*words, Leaf(node.sign), " ", _amount(node.bound))


def _rate(node: tree.Rate) -> Document:
    of = () if node.of is None else (_name(node.of), " ")
    peak = () if node.peak is None else (" ", Leaf("peak"), " ", _amount(node.peak))
    return (of, _amount(node.rate), peak)


def _if(node: tree.If) -> Document:
    parts: list[Document] = []
    for arm in node.arms:
        word = (Following(), Leaf("elif", hangs=False)) if parts else _first("if")
        body = _block([_item(each) for each in arm.body])
        parts.append((word, " ", _test(arm.test, arm.share), " ", body))
    if node.otherwise is not None:
        body = _block([_item(each) for each in node.otherwise])
        parts.append((Following(), Leaf("else", hangs=False), " ", body))
    return tuple(parts)


def _block(items: list[Document]) -> Document:
    """`{ … }`: on one line where a single statement stood so and fits, else a statement a line."""
    space = Line() if items else Line("")
    body = [part for item in items for part in (Line(hard=True), item)][1:]
    return Group((Leaf("{", hangs=False), Nest((space, *body, Ending())), space, Leaf("}", hangs=False)), kept=True)


# --- values ------------------------------------------------------------------------------------------------------


def _value(node: tree.Expression) -> Document:
    match node:
        case tree.Broken():
            raise ValueError("a tree with a part that could not be read has no text")
        case tree.Text():
            return Leaf(node.raw)
        case tree.Amount():
            return _amount(node)
        case tree.Truth():
            return Leaf("true" if node.value else "false")
        case tree.Reference():
            return _name(node.name)
        case tree.Call():
            return (_name(node.name), _arguments(node.arguments))
        case tree.ListValue():
            return _bracketed("[", [_value(item) for item in node.items], "]")
        case tree.RecordValue():
            return _arguments(node.parts)
        case tree.Group():
            return _bracketed("(", [_value(node.value)], ")", comma=False)
        case _:
            return _compound(node)


def _compound(
    node: tree.Access
    | tree.Comparison
    | tree.Negation
    | tree.Conjunction
    | tree.Disjunction
    | tree.Joined
    | tree.Each
    | tree.Guarded,
) -> Document:
    match node:
        case tree.Access():
            return (_value(node.value), *(part for name in node.fields for part in (Leaf("."), _name(name))))
        case tree.Comparison():
            return _joined([_value(node.left), _value(node.right)], node.operator)
        case tree.Negation():
            return (Leaf("not"), " ", _value(node.operand))
        case tree.Conjunction():
            return _joined([_value(operand) for operand in node.operands], "and")
        case tree.Disjunction():
            return _joined([_value(operand) for operand in node.operands], "or")
        case tree.Joined():
            return _joined([_value(operand) for operand in node.operands], "+")
        case tree.Each():
            head = (Leaf("each"), " ", _name(node.name), " ", Leaf("in"), " ", _value(node.items))
            where = () if node.where is None else Nest((Line(), Leaf("where"), " ", _test(node.where, node.share)))
            return (Group((head, where, Leaf(":"))), " ", _value(node.value))
        case tree.Guarded():
            return _guarded(node)


def _guarded(node: tree.Guarded) -> Document:
    """A value with all that stands in for it, one after the other: what a chain of `else` is."""
    first, rest = _value(node.value), list[Document]()
    while True:
        if node.within is not None:
            rest.append((Line(), Leaf("within"), " ", _amount(node.within)))
        if not isinstance(node.otherwise, tree.Guarded):
            break
        node = node.otherwise
        rest.append((Line(), Leaf("else"), " ", _value(node.value)))
    if node.otherwise is not None:
        rest.append((Line(), Leaf("else"), " ", _value(node.otherwise)))
    return Group((first, Nest(tuple(rest))))


def _arguments(arguments: Sequence[tree.Argument]) -> Document:
    return _bracketed("(", [_argument(argument) for argument in arguments], ")")


def _argument(node: tree.Argument) -> Document:
    name = () if node.name is None else (_name(node.name), Leaf(":"), " ")
    return (name, _value(node.value))


def _test(test: tree.Expression, share: tree.Amount | None) -> Document:
    return (_value(test), _expected(share))


def _expected(amount: tree.Amount | None) -> Document:
    return () if amount is None else (" ", Leaf("~"), " ", _amount(amount))


def _amount(node: tree.Amount) -> Document:
    return Leaf(node.raw) if node.unit is None else (Leaf(node.raw), " ", Leaf(node.unit.text))


# --- parts -------------------------------------------------------------------------------------------------------


def _name(node: tree.Name) -> Leaf:
    return Leaf(node.text)


def _first(word: str) -> Leaf:
    """The first token of a statement: a blank line before it stays."""
    return Leaf(word, starts=True)


def _separated(items: list[Document], space: Document) -> Document:
    return tuple(part for item in items for part in (Leaf(","), space, item))[2:]


def _joined(operands: list[Document], sign: str) -> Document:
    """Operands around one sign; where they break, each line but the first begins with the sign."""
    first, *rest = operands
    return Group((first, Nest(tuple((Line(), Leaf(sign), " ", operand) for operand in rest)))) if rest else first


def _bracketed(opener: str, items: list[Document], closer: str, *, comma: bool = True) -> Document:
    """Brackets around items, all on one line or one a line. Two texts of several lines never stand on one."""
    texts = sum("\n" in part.text for item in items for part in _direct(item))
    inner = (Line(""), _separated(items, Line()), Comma() if comma else ()) if items else ()
    parts = (Leaf(opener), Nest((inner, Ending())), Line(""), Leaf(closer, hangs=False))
    return Group(parts, open=texts > 1)


def _direct(item: Document) -> list[Leaf]:
    """The tokens of an item that stand in no further bracket."""
    found: list[Leaf] = []
    pending = [item]
    while pending:
        part = pending.pop()
        if isinstance(part, Leaf):
            found.append(part)
        elif isinstance(part, tuple):
            pending += part
    return found
