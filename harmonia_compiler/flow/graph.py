"""The dataflow graph: the Program's operations with what planning and diagnostics need beside them.

A flow is in static single assignment form: each node reads earlier nodes only, so that the order of
the tuple is a topological order and there is no cycle by construction. Branches are `Select` nodes
(the merged value of a name, demanded lazily), an early return is a `Select` over results. What loops,
lists and fallbacks run stands in `Body`s beside the main one, each named by its index in the flow.

Places in sources count where flows or applications are compared. Passes end when a turn leaves a flow equal
(`passes/registry.py`): what they move or merge keeps a place that it had, so that they end in places too.
"""

from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.contract.program import Operation, RequestClass
from harmonia_compiler.contract.types import Type
from harmonia_compiler.diagnostics.source import Source, Span

#: What a branch's share is taken to be while nobody has said or measured it.
EVEN = 0.5


class Arm(msgspec.Struct, frozen=True):
    """How often an arm of a branch is taken that stands behind tests of which the branch says nothing.

    Of the requests that reach the branch, `fixed` take it and, of those that the `number` tests before have left, a
    `part`.
    """

    number: int
    fixed: float
    part: float = 0.0

    def share(self, left: float) -> float:
        """Of the requests that are left, where so many are of those that reach the branch, the part that takes it."""
        return min(1.0, max(0.0, self.part + self.fixed / left)) if left > 0.0 else 0.0


#: Of so many branches at most it is told that they say which requests reach a place.
MOST_THROUGH = 32


class Passed(msgspec.Struct, frozen=True):
    """A branch that says which requests reach a place: those for which none of its first `failed` tests holds.

    And for which the one behind those does, where it is `taken`. With no number the place stands behind the branch, and
    is reached by those that have not returned in it.
    """

    branch: Span
    failed: int | None = None
    taken: bool = False


class Written(msgspec.Struct, frozen=True):
    """A share as the user wrote it `at` a place: of a branch, of an `until`, or of what an `each` keeps.

    It is of the requests that are `among` those which reach one place, however many statements they pass without a
    return on any path, and stands in its branch `behind` so many tests. What an `until` says is of rounds; `around` are
    the requests that reach its loop. `through` are the branches whose tests say which requests reach the place, the
    outermost first: those in an arm of which it stands, and those before it that return; where its pipeline is called,
    those of the call go first. More than MOST_THROUGH are not told. Where it `says_rest`, a share is written as well of
    what it leaves, for which its branch has no test.
    """

    at: Span
    share: float
    among: Span | None
    behind: int = 0
    around: Span | None = None
    through: tuple[Passed, ...] = ()
    says_rest: bool = False


class Node(msgspec.Struct, frozen=True):
    """One operation of a flow.

    `share` is set on `Select` nodes: of the requests that reach the condition, the part that takes
    `then`. On a `Repeat` it is how often a round is the
    last one, where the user said so. Where `guessed`, nobody said that share: it goes behind what is
    said elsewhere of the same test; `written` is what somebody said. Where an `arm` is given, the share is what
    it comes to by what is guessed of the tests before. `span` is where the user wrote the operation, and `number` which
    test of the branch that is a `Select` of it asks, those before it counted.
    """

    operation: Operation
    type: Type
    span: Span | None = None
    share: float | None = None
    guessed: bool = False
    written: Written | None = None
    arm: Arm | None = None
    number: int | None = None


class Body(msgspec.Struct, frozen=True):
    """Nodes in topological order with the positions of their results: the main part of a flow, or a block of it."""

    nodes: tuple[Node, ...]
    results: tuple[int, ...]


class Load(msgspec.Struct, frozen=True):
    """Expected arrivals, requests per second; `peak_rps` equals `rps` where none was said.

    `by_class` are the parts of the request classes, where the user said them; their sums are the whole. `at` is
    where the user wrote a rate.
    """

    rps: float
    peak_rps: float
    by_class: Mapping[str, "Load"] = msgspec.field(default_factory=dict)
    at: Span | None = None


#: What is reckoned with of a pipeline whose load nobody says.
USUAL_LOAD = Load(rps=1.0, peak_rps=1.0)


class Flow(msgspec.Struct, frozen=True):
    """One pipeline: nodes in topological order, the answer's position, promises and load.

    `blocks` are what its `Repeat`, `Each` and `Attempt` operations run, each after those that it runs
    itself; no two operations run the same block. `classes` are the request classes that it can be
    asked in, `class_port` the port that holds the class's name.
    """

    name: str
    ports: tuple[Port, ...]
    result_type: Type
    nodes: tuple[Node, ...]
    result: int
    streams: bool = False
    objectives: tuple[Objective, ...] = ()
    load: Load | None = None
    span: Span | None = None
    blocks: tuple[Body, ...] = ()
    classes: tuple[RequestClass, ...] = ()
    class_port: str | None = None

    @property
    def reckoned_load(self) -> Load:
        """Its load, or what is reckoned with where the user said none."""
        return USUAL_LOAD if self.load is None else self.load

    @property
    def class_shares(self) -> dict[str, float]:
        """The part of the requests that each class is, by the loads; nothing where the user said no class's load."""
        if self.load is None or not self.load.by_class:
            return {}
        rates = {each.name: self.load.by_class.get(each.name) for each in self.classes}
        whole = sum(rate.rps for rate in self.load.by_class.values())
        return {name: rate.rps / whole if rate is not None else 0.0 for name, rate in rates.items()}

    @property
    def main(self) -> Body:
        """The nodes that the answer is among."""
        return Body(self.nodes, (self.result,))

    @property
    def bodies(self) -> tuple[Body, ...]:
        """Every block, then the main part: each after those that it runs."""
        return (*self.blocks, self.main)


class Application(msgspec.Struct, frozen=True):
    """Everything that the given files declare: what is placed, what is called, what is served.

    `places` says, by component and by setting, where the user gave each; an engine's are those of
    the component that it is named after.
    """

    engines: dict[str, Engine]
    components: dict[str, Component]
    flows: tuple[Flow, ...]
    sources: tuple[Source, ...] = ()
    places: Mapping[str, Mapping[str, Span]] = msgspec.field(default_factory=dict)

    def place(self, name: str, setting: str) -> Span | None:
        """Where a setting of a component or an engine was given."""
        return self.places.get(name, {}).get(setting)
