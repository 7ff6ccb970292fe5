"""What the measurement must show, and what the record says of it: kept, missed, or not measured."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean

from bench.peers.judging import OURS, is_other
from bench.peers.record import Measured, Row
from bench.peers.systems import UNPROMISED

#: The inventory of the headline, and that of the paper's comparison, whose baseline and gain those are.
MAIN, PAPERS, PAPERS_PIPELINE, PAPERS_PEER = "eight", "paper", "crag", "langgraph"
#: What is aimed at.
RATIO, FEWER, FULL, HOPS, GATEWAY, PAPERS_RATIO = 2.04, 0.784, 0.9, "3", 15.0, 1.48
#: At which loads of the best peer's capacity something must be won.
BEYOND = (1.5, 2.0)


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim, what was found, and whether that is enough; None where it was not measured."""

    wanted: str
    found: str = "not measured"
    kept: bool | None = None

    @property
    def verdict(self) -> str:
        """In a word."""
        return "" if self.kept is None else "kept" if self.kept else "missed"


@dataclass(frozen=True, slots=True)
class Pair:
    """Ours and the best of the others on one pipeline and inventory.

    `open` are others that may carry more than was measured of them: nothing is shown beyond by cells that count. Where
    there are none the best one's highest rate is what it carries.
    """

    ours: Measured
    best: Measured
    open: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Our highest rate by theirs."""
        return self.ours.highest / self.best.highest

    def at(self, load: float) -> tuple[Sequence[Row], Sequence[Row]] | None:
        """The cells of both at a multiple of their highest rate; None where not both were measured there."""
        rate = round(load * self.best.highest, 2)
        mine, theirs = self.ours.at(rate), self.best.at(rate)
        return (mine, theirs) if mine and theirs else None


def pairs(measured: Sequence[Measured], of: Callable[[str], bool] = is_other) -> Iterator[Pair]:
    """For each pipeline and inventory, ours and the best of the others, where rates of both were found."""
    for pipeline, where in dict.fromkeys((one.pipeline, one.where) for one in measured):
        here = [one for one in measured if (one.pipeline, one.where) == (pipeline, where)]
        ours = next((one for one in here if one.system == OURS and one.highest), None)
        others = [one for one in here if of(one.system)]
        if ours is not None and any(one.highest for one in others):
            best = max(others, key=lambda one: one.highest)
            yield Pair(ours, best, tuple(one.system for one in others if not one.is_bounded))


def mean(rows: Iterable[Row], name: str) -> float:
    """The mean of a column over some cells."""
    return fmean(float(one[name]) for one in rows)


def full_shares(measured: Sequence[Measured]) -> dict[tuple[str, str], float]:
    """By pipeline and inventory, what was completed with nothing promised, as a share of the integer plan's rate."""
    return {
        (one.pipeline, one.where): mean(one.rows, "throughput_rps") / mean(one.rows, "planned_rps")
        for one in measured
        if one.system == UNPROMISED and one.rows
    }


def aims(measured: Sequence[Measured], costs: Sequence[Row]) -> list[Aim]:
    """All of them, in the order of the headline."""
    main = [one for one in pairs(measured) if one.ours.where == MAIN]
    return [_ratio(main), _fewer(main), *(_gain(main, load) for load in BEYOND), *_others(measured, costs)]


def _ratio(main: Sequence[Pair]) -> Aim:
    wanted = f"the best peer's highest rate within the promise, times {RATIO:g}: geometric mean over the pipelines"
    if not main:
        return Aim(wanted)
    found = geometric_mean(one.ratio for one in main)
    each = ", ".join(f"{one.ours.pipeline} {one.ratio:.2f}" for one in main)
    theirs = [f"{name} on {one.ours.pipeline}" for one in main for name in one.open]
    ours = [f"{one.ours.system} on {one.ours.pipeline}" for one in main if not one.ours.is_bounded]
    said = f"{found:.2f} ({each})"
    if theirs or ours:
        bound = "at least" if not theirs else "at most" if not ours else "more or less than"
        said += f"; {bound} that, since no more than was measured is known of {', '.join(sorted({*theirs, *ours}))}"
    is_open = theirs if found >= RATIO else ours
    return Aim(wanted, said, None if is_open else found >= RATIO)


def _fewer(main: Sequence[Pair]) -> Aim:
    wanted = f"{FEWER:.1%} fewer violations at the best peer's capacity, over the pipelines"
    there = [both for one in main if not one.open and (both := one.at(1.0))]
    theirs = sum(mean(other, "violated") for _, other in there)
    if not theirs:
        return Aim(wanted, "nothing violated there" if there else "not measured")
    found = 1.0 - sum(mean(mine, "violated") for mine, _ in there) / theirs
    return Aim(wanted, f"{found:.1%} over {len(there)} pipelines", found >= FEWER)


def _gain(main: Sequence[Pair], load: float) -> Aim:
    wanted = f"more answered in time at {load:g} times that capacity, on every pipeline"
    there = [(one.ours.pipeline, both) for one in main if not one.open and (both := one.at(load))]
    if not there:
        return Aim(wanted)
    rates = [(name, mean(mine, "goodput_rps"), mean(other, "goodput_rps")) for name, (mine, other) in there]
    said = ", ".join(f"{name} {mine:.1f}/s beside {other:.1f}/s" for name, mine, other in rates)
    return Aim(wanted, said, all(mine > other for _, mine, other in rates))


def _others(measured: Sequence[Measured], costs: Sequence[Row]) -> Iterator[Aim]:
    wanted = f"{FULL:.0%} of the integer plan's rate with nothing promised, where 1.2 times as many come"
    shares = full_shares(measured)
    said = ", ".join(f"{name} on {where} {share:.0%}" for (name, where), share in shares.items())
    yield Aim(wanted, said, min(shares.values()) >= FULL) if shares else Aim(wanted)

    wanted = f"Ray Serve's throughput at {HOPS} hops that do nothing, times {GATEWAY:g}"
    hops = [one for one in costs if one["hops"] == HOPS]
    mine, other = ([one for one in hops if (one["system"] == OURS) is is_ours] for is_ours in (True, False))
    if mine and other:
        times = mean(mine, "rate_rps") / mean(other, "rate_rps")
        yield Aim(wanted, f"{times:.1f}", times >= GATEWAY)
    else:
        yield Aim(wanted)

    wanted = f"corrective RAG on six GPUs beside LangGraph: {PAPERS_RATIO:g} times as many in time at high load"
    found = next(
        (
            one
            for one in pairs(measured, lambda name: name.startswith(PAPERS_PEER))
            if (one.ours.pipeline, one.ours.where) == (PAPERS_PIPELINE, PAPERS)
        ),
        None,
    )
    loads = [load for load in (*BEYOND, 1.0) if found is not None and not found.open and found.at(load)]
    both = found.at(loads[0]) if found is not None and loads else None
    if both is None:
        yield Aim(wanted)
        return
    rates = [mean(rows, "goodput_rps") for rows in both]
    times = rates[0] / rates[1] if rates[1] else float("inf")
    said = f"{times:.2f} at {loads[0]:g} times its capacity: {rates[0]:.1f}/s beside {rates[1]:.1f}/s"
    yield Aim(wanted, said, times >= PAPERS_RATIO)
