"""What a request is expected to ask of each component: how often, how much, and after what.

Visits are probabilities added up over the calls of a flow, times the items and rounds that each runs
for. For flows whose branches are taken independently they are the visit ratios v = (I - Mᵀ)⁻¹ s.
"""

from collections.abc import Collection, Iterable, Mapping
from math import prod

import msgspec
import networkx as nx
from msgspec.structs import replace

from harmonia_compiler.contract.program import MOST_ITEMS, Call
from harmonia_compiler.flow.asked import Test
from harmonia_compiler.flow.calls import bridged, call_graph
from harmonia_compiler.flow.conditions import Missed
from harmonia_compiler.flow.expand import Expanded, expand, scopes_around
from harmonia_compiler.flow.extents import extents, work
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.guards import Bounds, Guards, Path, guards
from harmonia_compiler.flow.guesses import Results, unsaid
from harmonia_compiler.flow.lateness import Course, Way, choices, late_ways, with_lateness
from harmonia_compiler.flow.questions import Place, Questions
from harmonia_compiler.flow.streamed import streamed
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.kinds.extents import USUAL_ITEMS
from harmonia_compiler.kinds.kind import Extent, Kind, Work
from harmonia_compiler.kinds.registry import kinds as all_kinds

_QUANTITIES = Work.__struct_fields__

#: So many rounds of a loop are told apart where more of them branch too much.
_FEW_ROUNDS = 2


class CallDemand(msgspec.Struct, frozen=True):
    """One call of a flow: how likely a request sends it, what it asks, and which calls end before it starts.

    `position` is the call's in the expanded flow. `probability` is that of one of its items; `count`
    says for how many items it is sent, side by side, and `rounds` how often in a row where rounds of a
    loop are not told apart. `streams` says that its text leaves as it comes where it is the request's answer, which
    begins then when this call does.
    """

    position: int
    component: str
    probability: float
    work: Work
    after: tuple[int, ...]
    streams: bool
    count: float = 1.0
    rounds: float = 1.0

    @property
    def visits(self) -> float:
        """How often a request is expected to send it."""
        return self.probability * self.count * self.rounds


class Demand(msgspec.Struct, frozen=True):
    """What one request of a pipeline asks.

    `visits` are expected calls, `work` the mean of one call, by component; `probabilities` and
    `extents` go by the node of the `expanded` flow, as do the positions of `calls`. These are in an
    order in which each stands after those it waits for. `items` is how many each scope has. `late` says of
    components how often what their calls belong to takes longer than its `within`, where it is known how long
    calls take. `likely` and `taken` are those of `Guards`.
    `guessed` names the ports and components whose size nobody said, and on which the work of some call rests.
    `ways` are the calls that requests send together, with how likely each is and what becomes of those that have a
    time. Where not `exact`, the flow branches beyond the bound of `guards.py`, and probabilities are estimates.
    `missed` are shares that are said and come to others.
    """

    pipeline: str
    visits: dict[str, float]
    work: dict[str, Work]
    probabilities: tuple[float, ...]
    extents: tuple[Extent, ...]
    calls: tuple[CallDemand, ...]
    guessed: frozenset[str]
    ways: tuple[Way, ...]
    exact: bool
    expanded: Expanded
    items: tuple[float, ...]
    late: Mapping[str, float] = msgspec.field(default_factory=dict)
    likely: Mapping[Place, Mapping[Test, float]] = msgspec.field(default_factory=dict)
    taken: Mapping[int, float] = msgspec.field(default_factory=dict)
    missed: tuple[Missed, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The calls that requests send together, and how likely each path is."""
        return tuple(way.path for way in self.ways)

    def runs(self) -> dict[tuple[int, int], float]:
        """How often each node of the flow, by its body and its position there, is expected to run for a request."""
        found: dict[tuple[int, int], float] = {}
        whole = self.expanded
        for origin, likely, rounds, scope in zip(
            whole.origins, self.probabilities, whole.rounds, whole.scopes, strict=True
        ):
            found[origin] = found.get(origin, 0.0) + likely * rounds * self.count(scope)
        return found

    def items_of(self) -> dict[tuple[int, int], float]:
        """How many items each `Each` of the flow, by its body and its position there, is expected to run for.

        Where it stands in a loop, the mean over the rounds; where no request reaches it, as if one did.
        """
        whole = self.expanded
        return _means(
            (whole.origins[scope.gather], self._weight(scope.gather, scope.parent), items)
            for scope, items in zip(whole.items[1:], self.items[1:], strict=True)
        )

    def shares_of(self) -> dict[tuple[int, int], float]:
        """How often each `Select` of the flow takes `then` once it is demanded, by its body and its position there.

        Where it stands in a loop, the mean over the rounds; nothing of one that no request demands.
        """
        whole = self.expanded
        return _means(
            (whole.origins[at], self._weight(at, whole.scopes[at]), share)
            for at, share in self.taken.items()
            if self.probabilities[at] > 0.0
        )

    def _weight(self, position: int, scope: int) -> float:
        """How often a node of the expanded flow is expected to run for a request."""
        return self.probabilities[position] * self.expanded.rounds[position] * self.count(scope)

    def count(self, scope: int) -> float:
        """How many items a scope has, over all those of the scopes around it."""
        return prod(self.items[each] for each in scopes_around(self.expanded, scope))


def _means(given: Iterable[tuple[tuple[int, int], float, float]]) -> dict[tuple[int, int], float]:
    """For each place the mean of its figures by their weights; where none weighs anything, the first one."""
    weighed: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for place, weight, figure in given:
        weighed.setdefault(place, []).append((weight, figure))
    return {
        place: sum(weight * figure for weight, figure in found) / total
        if (total := sum(weight for weight, _ in found)) > 0.0
        else found[0][1]
        for place, found in weighed.items()
    }


def demand(
    application: Application, flow: Flow, *, kinds: Mapping[str, Kind] | None = None, takes: Takes | None = None
) -> Demand:
    """The expected demand of one flow of the application; without what calls take, none is taken to be late.

    Where rounds that are told apart leave estimates, they are left together, if that is exact.
    """
    kinds = all_kinds() if kinds is None else kinds
    whole = expand(flow)
    found = _of_expanded(application, flow, kinds, takes, whole)
    if not found.exact and len((together := expand(flow, apart=_FEW_ROUNDS)).flow.nodes) < len(whole.flow.nodes):
        of_few = _of_expanded(application, flow, kinds, takes, together)
        return of_few if of_few.exact else found
    return found


def _of_expanded(
    application: Application, flow: Flow, kinds: Mapping[str, Kind], takes: Takes | None, expanded: Expanded
) -> Demand:
    graph, late = call_graph(expanded.flow), dict[str, float]()
    in_pieces, bounds = streamed(expanded.flow), Bounds()
    ways: tuple[Way, ...] | None = None
    if takes is not None and expanded.limited:
        told_apart = choices(expanded)

        def course(expanded: Expanded) -> Course:
            likely, _, items = _likely(expanded, application, kinds, bounds, told_apart)
            return Course(graph, likely.paths, items, in_pieces)

        expanded, late = with_lateness(expanded, course, takes)
        ways = late_ways(expanded, course(expanded), takes)
    likely, sizes, items = _likely(expanded, application, kinds, bounds)
    expanded = replace(expanded, rounds=likely.rounds)
    if ways is None:
        ways = tuple(map(Way, likely.paths))
    found = Demand(
        flow.name,
        {},
        {},
        likely.demanded,
        sizes,
        (),
        frozenset(),
        ways,
        likely.exact,
        expanded,
        items,
        late,
        likely.likely,
        likely.taken,
        tuple(one for one in likely.missed if one.matters),
    )
    sent = _calls(found, application, kinds, in_pieces)
    calls = _ordered(bridged(graph, sorted({*graph} - {*sent})), sent)
    by_component = {
        name: [call for call in calls if call.component == name] for name in sorted({call.component for call in calls})
    }
    return replace(
        found,
        visits={name: sum(call.visits for call in own) for name, own in by_component.items()},
        work={name: _mean(own) for name, own in by_component.items()},
        calls=calls,
        guessed=frozenset(
            f"{flow.name}.{each.name}" if each.is_port else each.name
            for each in unsaid(flow, Results(application, kinds))
        ),
    )


def _likely(
    expanded: Expanded,
    application: Application,
    kinds: Mapping[str, Kind],
    bounds: Bounds,
    told_apart: Collection[int] = (),
) -> tuple[Guards, tuple[Extent, ...], tuple[float, ...]]:
    """How likely each node is demanded, how much its value is, and how many items each scope has."""
    questions = Questions(expanded)
    likely = guards(
        expanded, [USUAL_ITEMS] * len(expanded.items), told_apart=told_apart, questions=questions, bounds=bounds
    )
    tested = {position for position, _ in likely.likely}
    sizes = extents(expanded.flow, application, kinds, likely.taken, tested)
    items = _items(expanded, sizes)
    if len(items) > 1:
        # How many items there are decides how likely one of them takes a branch.
        likely = guards(expanded, items, told_apart=told_apart, questions=questions, bounds=bounds)
        sizes = extents(expanded.flow, application, kinds, likely.taken, tested)
        items = _items(expanded, sizes)
    return likely, sizes, items


def _items(expanded: Expanded, sizes: tuple[Extent, ...]) -> tuple[float, ...]:
    """How many items each scope has, for one of those around it."""
    return (1.0, *(min(float(MOST_ITEMS), sizes[scope.list].items) for scope in expanded.items[1:]))


def _calls(
    found: Demand, application: Application, kinds: Mapping[str, Kind], in_pieces: Collection[int]
) -> dict[int, CallDemand]:
    """The calls that may be sent, without what they wait for."""
    expanded, sizes = found.expanded, found.extents
    flow = expanded.flow
    sent: dict[int, CallDemand] = {}
    for position in sorted(frozenset[int]().union(*(path.sent for path in found.paths))):
        call = flow.nodes[position].operation
        assert isinstance(call, Call)
        sent[position] = CallDemand(
            position,
            call.component,
            found.probabilities[position],
            work(call, flow, application, kinds, sizes, position),
            (),
            position in in_pieces,
            found.count(expanded.scopes[position]),
            expanded.rounds[position],
        )
    return sent


def _ordered(graph: "nx.DiGraph[int]", found: Mapping[int, CallDemand]) -> tuple[CallDemand, ...]:
    """The calls of the graph, each after those it waits for, earlier nodes first where that leaves a choice."""
    return tuple(
        replace(found[position], after=tuple(sorted(graph.predecessors(position))))
        for position in nx.lexicographical_topological_sort(graph)
    )


def _mean(calls: list[CallDemand]) -> Work:
    visits = sum(call.visits for call in calls)
    if not visits:
        return calls[0].work
    return Work(
        **{name: sum(call.visits * getattr(call.work, name) for call in calls) / visits for name in _QUANTITIES}
    )
