"""Random programs of which rounds may return, run over all their worlds.

A program is a tree. It is run first, which gives the visits of each call and how often each test held each time that it
was asked; then it is written down, and a test says its share where that is the same each time. Where it is not, shares
have to follow from what is said of the values at the calls that bring them.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

TYPES: Mapping[str, str] = {"truth": "bool", "label": '"a" | "b" | "c"'}
MAY_BE: Mapping[str, Sequence[bool | str]] = {"truth": (True, False), "label": "abc"}

#: What all values are that are known at a place; and how many requests reach it with them.
World = frozenset[tuple[str, bool | str]]
Worlds = Mapping[World, float]


class Unsuited(Exception):
    """This program has a place that nothing reaches, or a share that nobody can say."""


class Certain(Exception):
    """A test asks what is certain each time, or some time; programs do not say that."""

    def __init__(self, said: "Said") -> None:
        super().__init__(str(said.test))
        self.said = said


class Style(NamedTuple):
    """How likely it is that values are told where they are brought, told tests stay silent, and so on."""

    told: float = 0.5
    silent: float = 0.5
    combined: float = 0.0
    returns: float = 0.3
    calls: float = 0.1


STYLES: Mapping[str, Style] = {
    "mixed": Style(),
    "told": Style(told=1.0, silent=1.0),
    "untold": Style(told=0.0),
    "combined": Style(told=1.0, combined=0.4),
    "returning": Style(returns=0.6),
}


@dataclass(frozen=True)
class Asked:
    """A value is so, or is this label; or it is not, where `negated`."""

    value: str
    label: str | None
    negated: bool

    @property
    def values(self) -> tuple[str, ...]:
        """What it asks of."""
        return (self.value,)

    def holds(self, world: Mapping[str, bool | str]) -> bool:
        """Does it, in this world?"""
        found = world[self.value]
        return (found if self.label is None else found == self.label) != self.negated

    def __str__(self) -> str:
        if self.label is None:
            return f"{'not ' if self.negated else ''}{self.value}"
        return f'{self.value} {"!=" if self.negated else "=="} "{self.label}"'


@dataclass(frozen=True)
class Combined:
    """Both of two tests, or one of them."""

    word: str
    first: Asked
    second: Asked

    @property
    def values(self) -> tuple[str, ...]:
        """What it asks of."""
        return (*self.first.values, *self.second.values)

    def holds(self, world: Mapping[str, bool | str]) -> bool:
        """Does it, in this world?"""
        return (all if self.word == "and" else any)([self.first.holds(world), self.second.holds(world)])

    def __str__(self) -> str:
        return f"{self.first} {self.word} {self.second}"


Test = Asked | Combined


@dataclass(frozen=True, eq=False)
class Said:
    """A test that stands somewhere. It may have to say its share."""

    test: Test
    must: bool = False


@dataclass
class Call:
    """A call of what nothing else calls; `ends` where its answer is returned."""

    component: str
    ends: bool = False


@dataclass
class Brought:
    """A value that a call brings."""

    value: str


@dataclass
class Named:
    """What a test has come to, under a name."""

    name: str
    test: Test


@dataclass
class Branch:
    """Arms, and what is done otherwise."""

    arms: list[tuple[Said, "Block"]]
    otherwise: "Block"


@dataclass
class Rounds:
    """At most so many, until a test holds."""

    most: int
    body: "Block"
    until: Said | None


@dataclass
class Sub:
    """A call of a pipeline, with these values."""

    pipeline: str
    values: list[str]


Statement = Call | Brought | Named | Branch | Rounds | Sub
Block = list[Statement]


class Program:
    """One random program. `visits` says of each component how often it is called, once the program is run."""

    def __init__(self, seed: int, style: Style) -> None:
        self.draw = Random(seed)
        self.style = style
        self.visits: dict[str, float] = {}
        #: What each value is, and how likely; names of tests have no entry.
        self.weights: dict[str, Mapping[bool | str, float]] = {}
        self.told: dict[str, bool] = {}
        #: By name: the values that it is handed, and what it does.
        self.pipelines: dict[str, tuple[list[str], Block]] = {}
        self.has_returning_rounds = False
        #: How often each test held, each time that it was asked; and those that are left out.
        self.shares = defaultdict[Said, list[float]](list)
        self.certain = set[Said]()
        self.names = 0
        self.pipeline("p", [], 3)
        while not self.runs():
            pass

    # What it is.

    def component(self) -> str:
        name = f"w{len(self.visits)}"
        self.visits[name] = 0.0
        return name

    def pipeline(self, name: str, handed: list[str], depth: int) -> None:
        """One that brings some values, does a block with them, and returns."""
        block: Block = []
        known = [*handed]
        for _ in range(self.draw.randint(1, 2) if name == "p" else self.draw.randint(0, 1)):
            block += self.bring(known)
        block += self.block(known, depth, 0)
        self.pipelines[name] = handed, [*block, Call(self.component(), ends=True)]

    def bring(self, known: list[str]) -> Block:
        """A call that brings a new value, which is known from here; and tests that tell all of it, in some cases."""
        kind = self.draw.choice(["truth", "truth", "label"])
        name = f"{kind[0]}{len(self.weights)}"
        odds = [self.draw.choice([1, 1, 2, 5, 9]) for _ in MAY_BE[kind]]
        self.weights[name] = {may: each / sum(odds) for may, each in zip(MAY_BE[kind], odds, strict=True)}
        self.told[name] = self.draw.random() < self.style.told
        known.append(name)
        if not self.told[name]:
            return [Brought(name)]
        tests = [Asked(name, None, self.draw.random() < 0.3)]
        if kind == "label":
            tests = [Asked(name, label, negated=False) for label in "ab"]
        return [Brought(name), Branch([(Said(test, must=True), [Call(self.component())]) for test in tests], [])]

    def block(self, known: Sequence[str], depth: int, around: int) -> Block:
        """Statements inside of so many rounds, which ask about these values and those that they bring."""
        block: Block = []
        known = [*known]
        for _ in range(self.draw.randint(1, 3)):
            what = self.draw.random()
            if depth > 0 and (what < 0.15 or not known):
                block += self.bring(known)
            elif depth > 0 and what < 0.55:
                arms = [(Said(self.test(known)), self.arm(known, depth, around)) for _ in range(self.arms())]
                block.append(Branch(arms, self.arm(known, depth, around) if self.draw.random() < 0.35 else []))
            elif depth > 0 and what < 0.62:
                block += self.named(known, depth, around)
            elif depth > 0 and what < 0.62 + self.style.calls:
                block += self.sub(known, depth)
            elif depth > 0 and what < 0.9 and around < 2:
                block.append(self.rounds(known, depth, around + 1))
            else:
                block.append(Call(self.component()))
        return block

    def arms(self) -> int:
        return self.draw.choice([1, 1, 1, 2, 3])

    def arm(self, known: Sequence[str], depth: int, around: int) -> Block:
        """What an arm does; it may return."""
        if self.draw.random() < self.style.returns:
            self.has_returning_rounds |= around > 0
            before = self.block(known, depth - 2, around) if self.draw.random() < 0.3 else []
            return [*before, Call(self.component(), ends=True)]
        before = [Call(self.component())] if self.draw.random() < 0.6 else []
        return [*before, *self.block(known, depth - 2, around)]

    def test(self, known: Sequence[str]) -> Test:
        one = self.asked(known)
        if self.draw.random() < self.style.combined:
            other = self.asked(known)
            if other.value != one.value:
                return Combined(self.draw.choice(["and", "or"]), one, other)
        return one

    def asked(self, known: Sequence[str]) -> Asked:
        value = self.draw.choice(known)
        label = self.draw.choice("abc") if "a" in self.weights[value] else None
        return Asked(value, label, self.draw.random() < 0.3)

    def named(self, known: Sequence[str], depth: int, around: int) -> Block:
        """A test under a name, and a branch on that."""
        test = self.test(known)
        self.names += 1
        name = f"is{self.names}"
        self.told[name] = all(self.told[value] for value in test.values)
        said = Said(Asked(name, None, self.draw.random() < 0.3))
        return [Named(name, test), Branch([(said, self.arm(known, depth, around))], [])]

    def sub(self, known: Sequence[str], depth: int) -> Block:
        """Calls of a pipeline of its own, with some of the values."""
        handed = [value for value in known if self.draw.random() < 0.6]
        self.names += 1
        name = f"sub{self.names}"
        self.pipeline(name, handed, depth - 1)
        return [Sub(name, handed)] * (2 if self.draw.random() < 0.2 else 1)

    def rounds(self, outer: Sequence[str], depth: int, around: int) -> Rounds:
        """Rounds that bring a value, and may end by it or by those from before."""
        known = [*outer]
        before: Block = [Call(self.component())] if self.draw.random() < 0.3 else []
        brought = self.bring(known)
        body = [*before, *brought, *self.block(known, depth - 1, around), Call(self.component())]
        until = None
        if self.draw.random() < 0.85:
            until = Said(self.test(known[-1:] if self.draw.random() < 0.8 else known))
        return Rounds(self.draw.randint(2, 3), body, until)

    # What it does.

    def runs(self) -> bool:
        """Run all of it. False where a test is certain, which is left out from here on."""
        self.visits = dict.fromkeys(self.visits, 0.0)
        self.shares.clear()
        try:
            on, _ = self.run(self.pipelines["p"][1], {World(): 1.0})
        except Certain as certain:
            self.certain.add(certain.said)
            return False
        assert not on
        return True

    def arms_of(self, branch: Branch) -> list[tuple[Said, Block]]:
        """Its arms that are not left out. A branch without any is left out as a whole."""
        return [arm for arm in branch.arms if arm[0] not in self.certain]

    def until(self, rounds: Rounds) -> Said | None:
        """What ends them, unless it is left out."""
        return None if rounds.until in self.certain else rounds.until

    def run(self, block: Block, worlds: Worlds) -> tuple[Worlds, Worlds]:
        """The worlds that go on behind a block, with what it has brought; and those that return in it."""
        returned: list[Worlds] = []
        for statement in block:
            if not worlds:
                raise Unsuited("nothing reaches it")
            known, reached = _known(worlds), sum(worlds.values())
            match statement:
                case Call(component, ends):
                    self.visits[component] += reached
                    if ends:
                        return {}, _sum([*returned, worlds])
                case Brought(value):
                    worlds = {
                        world | {(value, may)}: many * odds
                        for world, many in worlds.items()
                        for may, odds in self.weights[value].items()
                    }
                case Named(name, test):
                    worlds = {world | {(name, test.holds(dict(world)))}: many for world, many in worlds.items()}
                case Branch() if self.arms_of(statement):
                    on, back = self.run_branch(statement, worlds)
                    worlds, returned = _only(known, on), [*returned, back]
                case Sub(pipeline):
                    _, back = self.run(self.pipelines[pipeline][1], worlds)
                    worlds = _only(known, back)
                case Rounds():
                    on, back = self.run_rounds(statement, worlds)
                    worlds, returned = on, [*returned, back]
        return worlds, _sum(returned)

    def run_branch(self, branch: Branch, worlds: Worlds) -> tuple[Worlds, Worlds]:
        """As `run`."""
        reached = sum(worlds.values())
        on, returned = list[Worlds](), list[Worlds]()
        for said, block in self.arms_of(branch):
            taken, worlds = self.ask(said, worlds, reached)
            after, back = self.run(block, taken)
            on, returned = [*on, after], [*returned, back]
        after, back = self.run(branch.otherwise, worlds)
        return _sum([*on, after]), _sum([*returned, back])

    def run_rounds(self, rounds: Rounds, worlds: Worlds) -> tuple[Worlds, Worlds]:
        """As `run`. What the body itself has brought stays known behind the rounds."""
        known = _known(worlds)
        behind = known | {each.value for each in rounds.body if isinstance(each, Brought)}
        done, returned = list[Worlds](), list[Worlds]()
        for each in range(rounds.most):
            worlds, back = self.run(rounds.body, worlds)
            returned.append(back)
            if not worlds:
                raise Unsuited("no round ends")
            until = self.until(rounds)
            if until is not None:
                last, worlds = self.ask(until, worlds, sum(worlds.values()))
                done.append(_only(behind, last))
            if each == rounds.most - 1:
                done.append(_only(behind, worlds))
            worlds = _only(known, worlds)
        return _sum(done), _sum(returned)

    def ask(self, said: Said, worlds: Worlds, reached: float) -> tuple[Worlds, Worlds]:
        """The worlds in which a test holds, and the others; of all that have reached the branch it is a share."""
        held = {world: many for world, many in worlds.items() if said.test.holds(dict(world))}
        left = {world: many for world, many in worlds.items() if world not in held}
        if not held or not left or any(len({dict(world)[each] for world in worlds}) < 2 for each in said.test.values):
            raise Certain(said)
        self.shares[said].append(sum(held.values()) / reached)
        return held, left

    # How it is written.

    @property
    def text(self) -> str:
        """The program."""
        lines = ['component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)']
        types = dict.fromkeys(self.visits, "text ~ 8 tokens")
        types |= {f"of_{name}": self.type_of(name) for name in self.weights}
        lines += [f'component {name}(q: text) -> {type_of} = small("{name} {{q}}")' for name, type_of in types.items()]
        for name, (handed, block) in self.pipelines.items():
            ports = "".join(f", {value}: {self.type_of(value)}" for value in handed)
            lines.append(f"pipeline {name}(q: text ~ 8 tokens{ports}) -> text {{")
            lines += ["    load 1 rps"] if name == "p" else []
            lines += ["    y = q", *Written(self).block(block, "    ", "y"), "}"]
        return "\n".join([*lines, ""])

    def type_of(self, value: str) -> str:
        return TYPES["label" if "a" in self.weights[value] else "truth"]

    def share(self, said: Said) -> str:
        """What a test says of its share."""
        shares = self.shares[said]
        if not shares:
            raise Unsuited("it is never asked")
        differ = max(shares) - min(shares) > 1e-9
        told = all(self.told[value] for value in said.test.values)
        if differ and (said.must or not told):
            raise Unsuited("no share is true of it each time")
        if differ or (told and not said.must and self.draw.random() < self.style.silent):
            return ""
        return f" ~ {shares[0]!r}"


class Written:
    """The lines of a pipeline. Each call is given what the one before it has made."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.bound = 0

    def bind(self, indent: str, value: str) -> tuple[str, str]:
        """A line that binds a new name to this, and the name."""
        self.bound += 1
        return f"{indent}y{self.bound} = {value}", f"y{self.bound}"

    def block(self, block: Block, indent: str, at: str, outer: str | None = None) -> Iterator[str]:
        """Statements that go on with the name `at`; `outer` stands for what they have made, behind them."""
        for statement in block:
            match statement:
                case Call(component, ends=True):
                    yield f"{indent}return {component}({at})"
                    return
                case Call(component):
                    line, at = self.bind(indent, f"{component}({at})")
                    yield line
                case Brought(value):
                    yield f"{indent}{value} = of_{value}({at})"
                case Named(name, test):
                    yield f"{indent}{name} = {test}"
                case Sub(pipeline, values):
                    line, at = self.bind(indent, f"{pipeline}({', '.join([at, *values])})")
                    yield line
                case Branch(otherwise=otherwise) if arms := self.program.arms_of(statement):
                    line, at = self.bind(indent, at)
                    yield line
                    for begins, (said, inner) in zip(["if", *["} elif"] * len(arms)], arms, strict=False):
                        yield f"{indent}{begins} {said.test}{self.program.share(said)} {{"
                        yield from self.block(inner, f"{indent}    ", at, at)
                    if otherwise:
                        yield f"{indent}}} else {{"
                        yield from self.block(otherwise, f"{indent}    ", at, at)
                    yield f"{indent}}}"
                case Rounds(most, body):
                    until = self.program.until(statement)
                    line, at = self.bind(indent, at)
                    yield line
                    yield f"{indent}repeat up to {most} {{"
                    yield from self.block(body, f"{indent}    ", at, at)
                    yield f"{indent}}}" + (f" until {until.test}{self.program.share(until)}" if until else "")
        if outer is not None and at != outer:
            yield f"{indent}{outer} = {at}"


def _known(worlds: Worlds) -> set[str]:
    return {name for name, _ in next(iter(worlds))}


def _only(known: set[str], worlds: Worlds) -> Worlds:
    """The worlds by what is known of these names."""
    return _sum({World(each for each in world if each[0] in known): many} for world, many in worlds.items())


def _sum(all_worlds: Iterable[Worlds]) -> Worlds:
    found = defaultdict[World, float](float)
    for worlds in all_worlds:
        for world, many in worlds.items():
            found[world] += many
    return found
