"""Random pipelines full of branches, as text: composed conditions, loops, returns, names bound on several paths."""

from random import Random

from tests.emulate.random_pipelines import Writing

_RESULTS = {"truth": "bool", "label": '"full" | "part" | "none"', "number": "number", "text": "text"}
_LABELS = ("full", "part", "none")
_BOUNDS = (0.2, 0.5, 0.8)
#: Names that are bound at the beginning, and may be bound once more on some paths.
_REBOUND = {"verdict": "label", "fine": "truth", "sure": "number"}
_DEEPEST = 3

#: What a condition may ask about: its text, what it is, and whether `draft` is a part of it.
_Asked = tuple[str, str, bool]


def random_source(seed: int) -> str:
    """The program that the seed stands for; what a round of a loop asks differs from round to round."""
    return _Writing(Random(seed)).source()


class _Writing(Writing):
    results = _RESULTS

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        self._known: list[_Asked] = []
        self._drafts = 0
        self._in_loop = False

    def source(self) -> str:
        for name, kind in _REBOUND.items():
            self._lines.append(f"    {name} = {self._call(kind, 'q')}")
        self._lines.append("    draft = q")
        self._block(1, binds=False)
        self._lines.append(f"    return {self._call('text', 'draft')}")
        return self._program()

    def _atom(self) -> str:
        """One question, about a name or a call that was asked before, or about another call."""
        chance = self._chance
        if chance.random() < 0.4 and not self._in_loop:
            asked, kind = chance.choice([*_REBOUND.items()])
        elif chance.random() < 0.5 and self._known:
            asked, kind, _ = chance.choice(self._known)
        else:
            kind, of = (
                chance.choice(("truth", "label", "number")),
                "draft" if self._in_loop else chance.choice(("q", "draft")),
            )
            asked = self._call(kind, of)
            self._known.append((asked, kind, of == "draft"))
        match kind:
            case "truth":
                return asked if chance.random() < 0.7 else f"not {asked}"
            case "label":
                return f'{asked} {chance.choice(("==", "==", "!="))} "{chance.choice(_LABELS)}"'
        return f"{asked} {chance.choice(('<', '<=', '>', '>='))} {chance.choice(_BOUNDS)}"

    def _condition(self, depth: int = 0) -> str:
        if self._in_loop or depth == _DEEPEST or self._chance.random() < 0.5:
            return self._atom()
        both = f"({self._condition(depth + 1)} {self._chance.choice(('and', 'or'))} {self._condition(depth + 1)})"
        return both if self._chance.random() < 0.85 else f"not {both}"

    def _share(self) -> float:
        return self._chance.choice((0.05, 0.1, 0.2, 0.3, 0.4, 0.5))

    def _block(self, depth: int, *, binds: bool, loop: bool = False) -> None:
        """Some statements; a block binds each name once, of those around it only if it `binds`."""
        chance, pad = self._chance, "    " * depth
        free = {**_REBOUND} if binds and not self._in_loop else {}
        may_draft = binds and not loop
        for _ in range(chance.choice((1, 1, 2))):
            what = chance.random()
            if what < 0.2 and free:
                name = chance.choice(sorted(free))
                self._lines.append(f"{pad}{name} = {self._call(free.pop(name), chance.choice(('q', 'draft')))}")
            elif what < 0.35 or depth > _DEEPEST:
                if may_draft:
                    self._draft(pad)
                    may_draft = False
            elif what < 0.8 or self._in_loop:
                self._branch(depth)
            else:
                self._loop(depth)

    def _draft(self, pad: str) -> None:
        self._lines.append(f"{pad}draft = {self._call('text', 'draft')}")
        self._drafts += 1
        self._known = [asked for asked in self._known if not asked[2]]

    def _branch(self, depth: int) -> None:
        pad, known, drafts = "    " * depth, [*self._known], self._drafts
        heads = [f"if {self._condition()} ~ {self._share()}"]
        heads += [f"elif {self._condition()} ~ {self._share()}" for _ in range(self._chance.choice((0, 0, 1)))]
        heads += ["else"] if self._chance.random() < 0.3 else []
        for number, head in enumerate(heads):
            self._lines.append(f"{pad}{head} {{" if number == 0 else f"{pad}}} {head} {{")
            self._known = [*known]
            self._block(depth + 1, binds=True)
            if head != "else" and self._chance.random() < 0.45:
                self._lines.append(f"{pad}    return {self._call('text', 'draft')}")
        self._lines.append(f"{pad}}}")
        self._known = [asked for asked in known if self._drafts == drafts or not asked[2]]

    def _loop(self, depth: int) -> None:
        pad, known = "    " * depth, self._known
        self._lines.append(f"{pad}repeat up to {self._chance.choice((2, 3))} {{")
        self._known, self._in_loop = [], True
        self._draft(f"{pad}    ")
        self._block(depth + 1, binds=True, loop=True)
        self._lines.append(f"{pad}}} until {self._condition()} ~ {self._share()}")
        self._known, self._in_loop = [asked for asked in known if not asked[2]], False
