"""Random pipelines that ask about few values again and again, as text: after the loop that bound them, and of items of
lists that are made of other lists. Of about half of the tests nobody says how often they hold.
"""

from random import Random

from tests.emulate.random_pipelines import Writing

_LABELS = ("a", "b", "c")
_BOUNDS = (3, 5, 8)
_LABEL = " | ".join(f'"{label}"' for label in _LABELS)
_ITEM = f"[(v: {_LABEL}, n: number, ok: bool, t: text ~ 5 tokens)] ~ 4"
_RESULTS = {"truth": "bool", "label": _LABEL, "number": "number", "text": "text ~ 5 tokens", "list": _ITEM}
_FIELDS = {"v": "label", "n": "number", "ok": "truth"}


def random_values(seed: int) -> str:
    """The program that the seed stands for."""
    return _Writing(Random(seed)).source()


class _Writing(Writing):
    results = _RESULTS

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        self._values: list[tuple[str, str]] = []
        # Those that a call has given have four items; others are made of them.
        self._given: list[str] = []
        self._lists: list[str] = []
        self._texts: list[str] = []
        self._made: list[str] = []

    def source(self) -> str:
        chance = self._chance
        self._loop()
        self._list()
        for _ in range(chance.choice((5, 6, 7, 8))):
            chance.choice((self._loop, self._branch, self._branch, self._list, self._derive, self._each, self._each))()
        self._each()
        self._branch()
        ports = {f"t{at}": "text" for at in range(len(self._texts))} | {
            f"l{at}": "[text]" for at in range(len(self._made))
        }
        taken = ", ".join(f"{name}: {of}" for name, of in ports.items())
        prompt = " ".join(f"{{{name}}}" for name in ports)
        self._components.append(f'component last({taken}) -> text = small("{prompt}")\n')
        self._lines.append(f"    return last({', '.join(self._texts + self._made)})")
        return self._program()

    def _new(self) -> str:
        return f"x{len(self._lines)}"

    def _test(self, asked: str, kind: str) -> str:
        """A question about a value, with its share or without."""
        chance = self._chance
        said = f" ~ {chance.choice((0.1, 0.2, 0.4, 0.7))}" if chance.random() < 0.5 else ""
        match kind:
            case "truth":
                return f"{chance.choice(('', 'not '))}{asked}{said}"
            case "label":
                return f'{asked} {chance.choice(("==", "!="))} "{chance.choice(_LABELS)}"{said}'
        return f"{asked} {chance.choice(('<', '>='))} {chance.choice(_BOUNDS)}{said}"

    def _loop(self) -> None:
        draft, seen = f"d{len(self._lines)}", self._new()
        kind = self._chance.choice(("truth", "label", "number"))
        self._lines += [f"    {draft} = q", f"    repeat up to {self._chance.choice((2, 3))} {{"]
        self._lines.append(f"        {draft} = {self._call('text', draft)}")
        self._lines.append(f"        {seen} = {self._call(kind, draft)}")
        if self._chance.random() < 0.4:
            again = self._call("text", draft)
            self._lines.append(f"        if {self._test(seen, kind)} {{ {draft} = {again} }}")
        self._lines.append(f"    }} until {self._test(seen, kind)}")
        self._values.append((seen, kind))
        self._texts.append(draft)

    def _branch(self) -> None:
        asked, kind = self._chance.choice(self._values)
        test = self._test(asked, kind)
        if self._chance.random() < 0.2:
            self._lines.append(f"    if {test} {{ return {self._call('text', 'q')} }}")
            return
        name = self._new()
        self._lines += [f"    {name} = q", f"    if {test} {{ {name} = {self._call('text', 'q')} }}"]
        self._texts.append(name)

    def _list(self) -> None:
        name = self._new()
        self._lines.append(f"    {name} = {self._call('list', 'q')}")
        self._given.append(name)
        self._lists.append(name)

    def _derive(self) -> None:
        """A list that is made of one or two others."""
        name, chance = self._new(), self._chance
        given, other = chance.choice(self._given), chance.choice(self._lists)
        made = chance.choice(
            (
                f"take({given}, 3)",
                f"{given} + {chance.choice(self._given)}",
                f"each i in {other}: (v: i.v, n: i.n, ok: i.ok, t: i.t)",
                f"each i in {other} where {self._of_item()}: i",
            )
        )
        self._lines.append(f"    {name} = {made}")
        self._lists.append(name)

    def _each(self) -> None:
        name = self._new()
        of = self._chance.choice(self._lists)
        self._lines.append(f"    {name} = each i in {of} where {self._of_item()}: {self._call('text', 'i.t')}")
        self._made.append(name)

    def _of_item(self) -> str:
        field = self._chance.choice(sorted(_FIELDS))
        return self._test(f"i.{field}", _FIELDS[field])
