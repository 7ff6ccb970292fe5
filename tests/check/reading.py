"""What pipelines mean, said as plainly as can be: the reference for how they are lowered.

It goes through the tree statement by statement with one dictionary of names, and knows no graph, no block and no
demand. Where a value fails, the name stands for the failure until somebody reads it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from harmonia_compiler.contract.types import Value
from harmonia_compiler.functions.registry import functions
from harmonia_compiler.syntax import tree
from tests.check.programs import Failure, reply
from tests.policy.programs import COMPARED


class Returned(Exception):
    """A pipeline has given its answer."""

    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value


Names = dict[str, Any]


class Skipped(Exception):
    """A test has failed, and so these names stand for its failure."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.names = names


class Reference:
    """Runs pipelines of a tree. `calls` are the calls that were made, in order, as `component(inputs)`.

    Where several values fail of which a fallback catches only some, what comes of it hangs on which is first: then
    nothing is `sure`. `within` are the fallbacks that are being tried at this point, `tried` is how many ever were.
    """

    def __init__(self, file: tree.File, *, fails: bool) -> None:
        self.pipelines = {node.name.text: node for node in file.declarations if isinstance(node, tree.Pipeline)}
        self.fails = fails
        self.calls: list[str] = []
        self.sure = True
        self.within: tuple[int, ...] = ()
        self.tried = 0

    def answer(self, pipeline: str, argument: Any) -> Value:
        """Its answer to a value, or to the failure of one. Raises Failure."""
        node = self.pipelines[pipeline]
        try:
            self.block(node.body, {node.ports[0].name.text: argument})
        except Returned as returned:
            return returned.value
        raise AssertionError("no answer")

    def block(self, statements: tuple[Any, ...], names: Names) -> None:
        for statement in statements:
            match statement:
                case tree.Bind(name=name, value=value):
                    names[name.text] = self.kept(partial(self.value, value, names))
                case tree.Return(value=value):
                    raise Returned(self.value(value, names))
                case tree.If():
                    self.branch(statement, names)
                case tree.Repeat():
                    self.loop(statement, names)

    def holds(self, test: Any, names: Names, depending: tuple[Any, ...]) -> bool:
        """A test; where it fails, so does every name that the statements bind which depend on it.

        Where one of those returns, the answer hangs on the test, and nothing else matters.
        """
        try:
            return bool(self.value(test, names))
        except Failure as failure:
            parts = [node for statement in depending for node, _ in tree.walk(statement)]
            if any(isinstance(node, tree.Return) for node in parts):
                raise
            raise Skipped({node.name.text: failure for node in parts if isinstance(node, tree.Bind)}) from None

    def branch(self, statement: tree.If, names: Names) -> None:
        try:
            for at, arm in enumerate(statement.arms):
                left = tuple(part for later in statement.arms[at:] for part in later.body)
                if self.holds(arm.test, names, left + (statement.otherwise or ())):
                    return self.block(arm.body, names)
        except Skipped as skipped:
            names |= skipped.names
            return None
        return self.block(statement.otherwise or (), names)

    def loop(self, statement: tree.Repeat, names: Names) -> None:
        assert isinstance(statement.limit.value, int)
        for left in reversed(range(statement.limit.value)):
            self.block(statement.body, names)
            # After the last round nobody asks the test, unless it makes calls that are not pure.
            if statement.until is not None and (left or not self.fails):
                try:
                    if self.holds(statement.until, names, statement.body):
                        break
                except Skipped as skipped:
                    names |= skipped.names
                    break

    def kept(self, value: Callable[[], Value]) -> Any:
        try:
            return value()
        except Failure as failure:
            return failure

    def all(self, given: tuple[Any, ...], names: Names) -> list[Value]:
        """Values that are wanted together: each is computed, whether or not another fails."""
        return self.whole([self.kept(partial(self.value, one, names)) for one in given])

    def whole(self, found: list[Any]) -> list[Value]:
        failures = [value for value in found if isinstance(value, Failure)]
        self.sure = self.sure and len({failure.inside for failure in failures}) < 2
        if failures:
            raise failures[0]
        return found

    def value(self, given: Any, names: Names) -> Value:
        read: dict[type, Callable[[Any, Names], Value]] = {
            tree.Group: lambda one, names: self.value(one.value, names),
            tree.Text: lambda one, _: one.value,
            tree.Amount: lambda one, _: one.value,
            tree.Truth: lambda one, _: one.value,
            tree.Reference: self.named,
            tree.Call: self.call,
            tree.Access: self.access,
            tree.ListValue: lambda one, names: self.all(one.items, names),
            tree.Joined: lambda one, names: [item for part in self.all(one.operands, names) for item in part],
            tree.Comparison: self.compared,
            tree.Negation: lambda one, names: not self.value(one.operand, names),
            tree.Conjunction: lambda one, names: all(self.value(part, names) for part in one.operands),
            tree.Disjunction: lambda one, names: any(self.value(part, names) for part in one.operands),
            tree.Guarded: self.guarded,
            tree.Each: self.each,
        }
        return read[type(given)](given, names)

    def named(self, given: tree.Reference, names: Names) -> Value:
        found = names[given.name.text]
        if isinstance(found, Failure):
            raise found
        return found

    def access(self, given: tree.Access, names: Names) -> Value:
        found = self.value(given.value, names)
        for name in given.fields:
            found = found[name.text]
        return found

    def compared(self, given: tree.Comparison, names: Names) -> Value:
        one, other = self.all((given.left, given.right), names)
        return COMPARED[given.operator](one, other)

    def guarded(self, given: tree.Guarded, names: Names) -> Value:
        """A fallback catches the calls that are made inside of it, and no value that a name stands for already."""
        self.tried += 1
        this, around = self.tried, self.within
        self.within = (*around, this)
        try:
            return self.value(given.value, names)
        except Failure as failure:
            if this not in failure.inside:
                raise
        finally:
            self.within = around
        return self.value(given.otherwise, names)

    def each(self, given: tree.Each, names: Names) -> Value:
        def item(value: Value) -> list[Value]:
            inside = {**names, given.name.text: value}
            if given.where is not None and not self.value(given.where, inside):
                return []
            return [self.value(given.value, inside)]

        found = self.whole([self.kept(partial(item, one)) for one in self.value(given.items, names)])
        return [value for some in found for value in some]

    def call(self, given: tree.Call, names: Names) -> Value:
        name = given.name.text
        arguments = tuple(argument.value for argument in given.arguments)
        if name in functions():
            values = self.all(arguments, names)
            settings = {"count": values.pop()} if name == "take" else {}
            return functions()[name].evaluate(values, settings)
        if name in self.pipelines:
            return self.answer(name, self.kept(lambda: self.value(arguments[0], names)))
        values = self.all(arguments, names)
        inputs: dict[str, Value] = {"r": "r"} if name == "g" else {}
        inputs |= dict(zip(("q", "r"), values, strict=False))
        self.calls.append(made(name, inputs))
        try:
            return reply(name, inputs, fails=self.fails)
        except Failure:
            raise Failure(self.within) from None


def made(component: str, inputs: dict[str, Value]) -> str:
    """A call in a list of calls."""
    return f"{component}({', '.join(str(value) for _, value in sorted(inputs.items()))})"
