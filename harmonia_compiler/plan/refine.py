"""Asks the program again, over a finer division of the hosts, until what it answers stands on them.

A pool is a relaxation of its hosts. Where its replicas cannot be put onto them, the rows that are rounded by the sizes
of what it holds rule many such answers out, and what is left is ruled out by counting the pool's hosts one by one,
where they are few enough. Where they are not, the rest is found heuristically: with pools that have a little less.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from harmonia_compiler.plan.pools import MOST_APART, Division, Pool, split
from harmonia_compiler.plan.search import judged
from harmonia_compiler.plan.solve import INFINITY, Outcome
from harmonia_compiler.plan.unpack import Unpacked, unpack
from harmonia_compiler.plan.variables import Key, Model

#: Rounds of rounded rows at most, before pools are divided.
MOST_ROUNDS = 4

#: Times that pools are given less, and by what part at least, where nothing else helps.
MOST_RESERVED = 12
RESERVED = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """A model that was solved objective by objective, how the searches ended, and the last one's replicas on hosts.

    `relaxed` are the searches of the finest relaxation: the same, unless what they found did not stand on the hosts.
    """

    model: Model
    outcomes: Sequence[Outcome]
    relaxed: Sequence[Outcome]
    counts: dict[Key, int]

    @property
    def found(self) -> bool:
        """Whether there are replicas, and they stand on the hosts."""
        return self.outcomes[0].found

    @property
    def infeasible(self) -> bool:
        """Whether it is proven that there are none."""
        return self.relaxed[0].status == "infeasible"

    @property
    def proven(self) -> bool:
        """Whether what was found is proven to be the best, to within the gaps that were asked for."""
        return all(one.status == "optimal" for one in self.outcomes)


#: Solves over a division; what it ends with is the solution, where there is one, and how each objective's search ended.
Search = Callable[[Division], tuple[Model, Sequence[Outcome]]]

#: Makes what was unpacked of a solution whole again where that is possible, and says how good it is then.
Mend = Callable[[Model, Outcome, dict[Key, int]], tuple[dict[Key, int], Outcome] | None]


def refined(search: Search, division: Division, mend: Mend | None = None) -> Answer:
    """What a search finds, over a division as fine as it takes for the replicas to stand on hosts.

    With `mend`, of a large model, it is what stands on them and comes nearest to what the pools promise.
    """
    relaxed: Sequence[Outcome] = ()
    nearest: Answer | None = None
    rounds = reserved = 0
    while True:
        model, outcomes = search(division)
        relaxed = relaxed if reserved else outcomes
        best = last_found(outcomes)
        unpacked = unpack(model, best.values) if best else Unpacked({}, frozenset())
        if mend and best and (mended := mend(model, best, unpacked.counts)):
            counts, outcome = mended
            if nearest is None or outcome.gap < nearest.outcomes[0].gap:
                nearest = Answer(model, [outcome], relaxed, counts)
            if outcome.status == "optimal":
                return nearest
        elif not unpacked.failed:
            return nearest or Answer(
                model, _against(outcomes, relaxed) if reserved else outcomes, relaxed, unpacked.counts
            )
        finer = None if reserved or best is None else _finer(model, best, unpacked.failed, division, rounds)
        rounds += 1
        if finer is None and nearest:
            return nearest
        if finer is None:
            reserved += 1
            if reserved > MOST_RESERVED:
                return Answer(model, [Outcome("unknown", INFINITY)], relaxed, {})
            finer = _reserving(division, unpacked.failed)
        division = finer


def _against(outcomes: Sequence[Outcome], relaxed: Sequence[Outcome]) -> list[Outcome]:
    """What was found with less than the hosts have, by its distance to the bounds over all that they have."""
    return [judged(one, over.bound, 0.0) if one.found else one for one, over in zip(outcomes, relaxed, strict=False)]


def last_found(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The solution of the last objective for which there is one."""
    return next((one for one in reversed(outcomes) if one.found), None)


def _finer(model: Model, best: Outcome, failed: Collection[int], division: Division, rounds: int) -> Division | None:
    """A division that rules an answer out that failed in some pools; None where that would be too much."""
    units = frozenset(unit for g in failed for unit in _broken(model, best, g))
    if rounds < MOST_ROUNDS and units - division.units:
        return replace(division, units=division.units | units)
    options = sum(map(len, model.choices))
    room = MOST_APART // max(1, options) - sum(len(pool.hosts) == 1 for pool in division.pools)
    pools: list[Pool] = []
    for g, pool in enumerate(division.pools):
        apart = g in failed and len(pool.hosts) <= room
        room -= len(pool.hosts) if apart else 0
        pools += split(pool) if apart else [pool]
    if len(pools) == len(division.pools):
        return None
    return replace(division, pools=tuple(sorted(pools, key=lambda pool: min(pool.hosts))))


def _reserving(division: Division, failed: Collection[int]) -> Division:
    """A division whose pools that failed have less than their hosts have."""
    pools = (
        replace(pool, reserve=1.0 - (1.0 - pool.reserve) * (1.0 - RESERVED)) if g in failed else pool
        for g, pool in enumerate(division.pools)
    )
    return replace(division, pools=tuple(pools))


def _broken(model: Model, best: Outcome, g: int) -> Iterator[tuple[str, float]]:
    """The resources and units by whose rounding an answer asks more of a pool than its hosts in use have."""
    used = set(model.in_use(best.values)[g])
    rooms = [(kind.room, sum(host in used for host in kind.hosts)) for kind in model.division.pools[g].kinds]
    taken = [
        (takes, count)
        for (e, c, at), column in model.n.items()
        if at == g and (count := round(best.values[column])) and (takes := model.choices[e][c].takes)
    ]
    for resource in sorted({name for takes, _ in taken for name in takes}):
        for unit in sorted({takes[resource] for takes, _ in taken if resource in takes}):
            asks = sum(int(takes.get(resource, 0.0) / unit + 1e-9) * count for takes, count in taken)
            has = sum(int(room.get(resource, 0.0) / unit + 1e-9) * hosts for room, hosts in rooms)
            if asks > has:
                yield resource, unit
