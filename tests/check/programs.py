"""Random pipelines as text, each of which checks without an error, and what the components answer that they call."""

import zlib
from dataclasses import dataclass, field
from random import Random

from harmonia_compiler.contract.types import Value

COMPONENTS = """
component f(q: text) -> text = python("m:f")
component g(q: text, r: text = "r") -> text = python("m:g")
component ok(q: text) -> bool = python("m:ok")
component kind(q: text) -> "a" | "b" | "c" = python("m:kind")
component many(q: text) -> [text] = python("m:many")
component part(q: text) -> (one: text, two: bool) = python("m:part")
component all(q: [text]) -> text = python("m:all")
component note(q: text) -> text = python("m:note", pure: false)
"""


class Failure(Exception):
    """A call that gave an error; `inside` are the fallbacks that the call was made inside of."""

    def __init__(self, inside: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.inside = inside


def reply(component: str, given: dict[str, Value], *, fails: bool) -> Value:
    """What a component answers: always the same for the same input. Raises Failure, where calls may fail."""
    number = zlib.crc32(repr((component, sorted(given.items()))).encode())
    if fails and component != "note" and number % 4 == 0:
        raise Failure
    number //= 4
    match component:
        case "ok":
            return number % 2 == 0
        case "kind":
            return "abc"[number % 3]
        case "many":
            return [f"m{(number + at) % 50}" for at in range(number % 4)]
        case "part":
            return {"one": f"p{number % 50}", "two": number % 2 == 0}
        case _:
            return f"{component}{number % 50}"


@dataclass(slots=True)
class Writer:
    """Writes pipelines that check without an error. `effects` lets them call what is not pure.

    `said` is what was written already: its type, the names that it was written among, and its text.
    """

    random: Random
    effects: bool
    names: int = 0
    pipelines: list[str] = field(default_factory=list)
    said: list[tuple[str, frozenset[tuple[str, str]], str]] = field(default_factory=list)

    def program(self) -> str:
        """Components, a few pipelines that are called, and the last one, `p`, which is meant."""
        parts = [COMPONENTS]
        for name in [*["one", "two"][: self.random.randrange(3)], "p"]:
            body = "\n".join(self.body({"q": "text"}, depth=2 if name == "p" else 1))
            parts.append(f"pipeline {name}(q: text) -> text {{\n{body}\n}}\n")
            self.pipelines.append(name)
        return "\n".join(parts)

    def body(self, scope: dict[str, str], depth: int) -> list[str]:
        """A whole pipeline's statements, with a return at the end."""
        lines, goes_on = self.block(scope, depth, self.random.randrange(1, 5), top=True)
        return lines + ([f"return {self._text(scope, 1)}"] if goes_on else [])

    def block(self, scope: dict[str, str], depth: int, most: int, *, top: bool = False) -> tuple[list[str], bool]:
        """So many statements; `scope` afterwards has what they bind. Whether some path goes on behind them."""
        lines: list[str] = []
        own: set[str] = {*scope} if top else set()
        for _ in range(most):
            choice = self.random.random()
            goes_on = True
            if choice < 0.5 or depth == 0:
                lines.append(self.bind(scope, own))
            elif choice < 0.75:
                some, goes_on = self.branch(scope, depth)
                lines += some
            else:
                some, goes_on = self.loop(scope, own, depth)
                lines += some
            if not goes_on:
                return lines, False
        if not top and self.random.random() < 0.15:
            return [*lines, f"return {self._text(scope, 1)}"], False
        return lines, True

    def bind(self, scope: dict[str, str], own: set[str]) -> str:
        outer = [name for name in scope if name not in own]
        if outer and self.random.random() < 0.6:
            name = self.random.choice(outer)
        else:
            self.names += 1
            name = f"x{self.names}"
        of = scope.get(name) or self.random.choice(["text", "text", "bool", "list", "label"])
        # No bare name, nor after `return`: where both arms of a branch give the same, nothing hangs on its test.
        value = self.made(of, scope, 1)
        scope[name] = of
        own.add(name)
        return f"{name} = {value}"

    def branch(self, scope: dict[str, str], depth: int) -> tuple[list[str], bool]:
        arms = self.random.randrange(1, 3)
        lines: list[str] = []
        goes_on = False
        for at in range(arms):
            some, goes = self.block(dict(scope), depth - 1, self.random.randrange(1, 3))
            lines += [f"{'if' if at == 0 else '} elif'} {self.expression('bool', scope, 2)} {{", *some]
            goes_on = goes_on or goes
        if self.random.random() < 0.5:
            some, goes = self.block(dict(scope), depth - 1, self.random.randrange(1, 3))
            return [*lines, "} else {", *some, "}"], goes_on or goes
        return [*lines, "}"], True

    def loop(self, scope: dict[str, str], own: set[str], depth: int) -> tuple[list[str], bool]:
        inner = dict(scope)
        some, goes_on = self.block(inner, depth - 1, self.random.randrange(1, 4))
        until = f" until {self.expression('bool', inner, 2)}" if self.random.random() < 0.7 else ""
        own.update(inner.keys() - scope.keys())
        scope.update(inner)
        return [f"repeat up to {self.random.randrange(1, 4)} {{", *some, "}" + until], goes_on

    def expression(self, of: str, scope: dict[str, str], depth: int) -> str:
        """A value of a type, of the names in scope."""
        known = [name for name, has in scope.items() if has == of or (of, has) == ("text", "label")]
        if known and (depth <= 0 or self.random.random() < 0.35):
            return self.random.choice(known)
        deeper = depth - 1
        # What is said twice is what passes make one of, where they may.
        again = [text for typed, names, text in self.said if typed == of and names <= scope.items()]
        if again and self.random.random() < 0.3:
            return self.random.choice(again)
        if depth > 0 and self.random.random() < 0.15:
            value, other = self.expression(of, scope, deeper), self.expression(of, scope, deeper)
            return f"({value} else {other})"
        made = self.made(of, scope, deeper)
        self.said.append((of, frozenset(scope.items()), made))
        return made

    def made(self, of: str, scope: dict[str, str], depth: int) -> str:
        """A value of a type that is no bare name."""
        write = {"text": self._text, "bool": self._bool, "label": self._label, "list": self._list}
        return write[of](scope, depth)

    def _text(self, scope: dict[str, str], depth: int) -> str:
        if depth < 0:
            return '"t"'
        inner = self.expression("text", scope, depth)
        options = [f"f({inner})", f"f({inner})", f"g({inner}, r: {self.expression('text', scope, depth)})"]
        options += [
            f"part({inner}).one",
            f"all({self.expression('list', scope, depth)})",
            f"all({self._each(inner, scope, depth)})",
            *(f"{name}({inner})" for name in self.pipelines),
        ]
        return self.random.choice([*options, f"note({inner})", f"note({inner})"] if self.effects else options)

    def _bool(self, scope: dict[str, str], depth: int) -> str:
        if depth < 0:
            return self.random.choice(["(true)", "(false)"])
        one = self.expression("bool", scope, depth)
        other = self.expression("bool", scope, depth)
        text = self.expression("text", scope, depth)
        lists = self.expression("list", scope, depth)
        options = [f"ok({text})", f"(not {one})", f"({one} and {other})", f"({one} or {other})", f"part({text}).two"]
        is_a, many = self.random.choice(("==", "!=")), self.random.choice(("==", "!=", "<", "<=", ">", ">="))
        return self.random.choice([*options, f'(kind({text}) {is_a} "a")', f"(count({lists}) {many} 1)"])

    def _label(self, scope: dict[str, str], depth: int) -> str:
        return '"a"' if depth < 0 else f"kind({self.expression('text', scope, depth)})"

    def _list(self, scope: dict[str, str], depth: int) -> str:
        if depth < 0:
            return "[]"
        text, some = self.expression("text", scope, depth), self.expression("list", scope, depth)
        each = self._each(text, scope, depth)
        return self.random.choice(
            [f"many({text})", f"[{text}]", f"({some} + [{text}])", f"take({some}, 2)", each, each]
        )

    def _each(self, text: str, scope: dict[str, str], depth: int) -> str:
        """A list that is made of another, item by item; half of them by a call for each."""
        self.names += 1
        item = f"i{self.names}"
        inside = {**scope, item: "text"}
        value = self.expression("text", inside, depth) if self.random.random() < 0.5 else f"g({item}, r: {item})"
        where = f" where {self.expression('bool', inside, depth)}" if self.random.random() < 0.5 else ""
        return f"(each {item} in many({text}){where}: {value})"
