"""Which cells are measured of a pipeline, in which order, and how long that takes."""

import argparse
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import ceil
from pathlib import Path

from bench.peers.ablation import ABLATIONS, WITHOUT
from bench.peers.arriving import named
from bench.peers.cells import Cell, Key, Told, measured
from bench.peers.identity import MEASURING, ROOT, WHOLE, code, of_versions, subject, versions
from bench.peers.judging import KEPT, OURS, Bisection, Stretch, alternated, compared, is_other, reasons, searched
from bench.peers.predicting import bound_rps
from bench.peers.systems import WARM_S, System, Systems, planned_rps
from bench.pipelines import planned
from harmonia_compiler.emulate.scenario import Scenario

#: What the peers are, of all that their environment has: the rest of it is in the lock file and in the cells' keys.
TOLD_VERSIONS = ("ray", "langgraph", "langchain-openai", "uvicorn", "fastapi", "haystack-ai", "hayhooks")
#: The part of what a system keeps at which it has next to no load: its mean latency there is what the paper doubles.
LOW = 0.1
#: Starting and ending the processes of a cell, and the last answers, in seconds, where the record says nothing of it.
USUAL_BESIDE_S = 30.0


class Run:
    """One run of the command: what all of its cells have in common."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.code, self.ours = code(MEASURING), code(WHOLE)
        self.revision = _revision()
        self.stretch = Stretch(given.factor)

    def cell(self, pipeline: str, system: System, rate_rps: float, seed: int, bounds: tuple[float, float]) -> Cell:
        """A system at a rate, measured until it counts or as often as it may be; each attempt is printed.

        `bounds` are what the integer plan and its relaxation carry.
        """
        installed = _installed(system.python) if system.python else {}
        peers = {name: installed[name] for name in TOLD_VERSIONS if name in installed}

        def attempted(factor: float, attempt: int) -> Cell:
            key = Key(
                pipeline,
                self.given.inventory,
                system.name,
                system.setup,
                named(self.given.trace),
                rate_rps,
                system.warmup_s,
                self.given.seconds,
                factor,
                seed,
                self.code if system.python else self.ours,
                subject(system.scenario, system.replicas),
                of_versions(installed) if installed else "",
            )
            told = Told(peers, self.revision, *bounds)
            found = measured(self.given.out, key, attempt, system.scenario, system.made, self.given.trace, told)
            print(line(found), flush=True)
            return found

        return self.stretch.settled(attempted)


def measure(run: Run, pipeline: str, scenario: Scenario, beside_s: Mapping[str, float]) -> None:
    """The cells of one pipeline, at the rates that are asked for and around what can be had.

    `beside_s` is how much longer than its requests a cell of a system took before.
    """
    given = run.given
    bounds = planned_rps(scenario), bound_rps(scenario)
    print(f"{pipeline} on {given.inventory}: planned for {bounds[0]:.1f}/s, at most {bounds[1]:.1f}/s", flush=True)
    replanned = partial(planned, pipeline, given.inventory)
    every = Systems(scenario, given.python.absolute(), given.haystack.absolute(), given.out / "searches", replanned)
    # Their set-ups may have to be searched for, which takes longer than what is of ours alone.
    found = every.named(given.systems) if given.rates or given.find else []
    print(_told_length(found, given, beside_s), flush=True)
    wanted = {one.name: one for one in found}

    def at(name: str, rate_rps: float, seed: int = given.seed) -> Cell:
        return run.cell(pipeline, wanted[name], round(rate_rps, 2), seed, bounds)

    for turn, rate in enumerate(given.rates):
        for name in alternated([*wanted], turn):
            at(name, rate)
    if given.find:
        find(wanted, at, given)
    if given.ablate:
        _ablate(every, wanted, at, given)
    if given.full:
        free = every.unpromised()
        own = planned_rps(free.scenario), bound_rps(free.scenario)
        for turn in range(given.repeats):
            run.cell(pipeline, free, round(given.full * own[0], 2), given.seed + turn, own)


def find(wanted: dict[str, System], at: Callable[..., Cell], given: argparse.Namespace) -> None:
    """The highest rate of each, that rate again with other seeds, next to no load, and the loads of the best peer.

    What counts as its capacity is the highest rate that it keeps with all seeds that were measured there.
    """
    kept: dict[str, dict[float, bool]] = {name: {} for name in wanted}

    def noted(name: str, rate_rps: float, seed: int = given.seed) -> Cell:
        cell = at(name, rate_rps, seed)
        if not reasons(cell):
            rate = cell.key.rate_rps
            kept[name][rate] = kept[name].get(rate, True) and 1.0 - cell.violated >= KEPT
        return cell

    def capacity(name: str) -> float:
        return max((rate for rate, is_kept in kept[name].items() if is_kept), default=0.0)

    highest = searched({name: Bisection(*one.between(), given.steps) for name, one in wanted.items()}, noted)
    print(*compared(highest), sep="\n", flush=True)
    for turn in range(given.repeats):
        for name in alternated([*wanted], turn):
            if highest[name].kept:
                noted(name, highest[name].kept, given.seed + turn)
    for name in wanted:
        if low := LOW * capacity(name):
            at(name, low)
    top = max(filter(is_other, wanted), key=capacity, default="")
    for turn, load in enumerate(given.loads if top and capacity(top) and OURS in wanted else ()):
        for name in alternated([OURS, top], turn):
            at(name, load * capacity(top))


def _ablate(every: Systems, wanted: dict[str, System], at: Callable[..., Cell], given: argparse.Namespace) -> None:
    """Ours, and ours with each thing taken away, at parts of what the plan says that it carries."""
    wanted |= {one.name: one for one in every.named([OURS, f"{WITHOUT}*"])}
    mine = [name for name in wanted if not is_other(name)]
    for turn, load in enumerate(given.ablate):
        for name in alternated(mine, turn):
            at(name, load * planned_rps(every.scenario))


def cells(systems: int, given: argparse.Namespace) -> int:
    """How many cells a command measures of so many systems at most, if none is void and no search has wrong bounds."""
    count = systems * len(given.rates)
    if given.find:
        # The first of the seeds was measured by the search, and so was the best peer's own capacity.
        count += systems * (given.steps + given.repeats) + 2 * len(given.loads) - 1
    return count + _own(given)


def _own(given: argparse.Namespace) -> int:
    """How many of them are of ours alone."""
    return (len(ABLATIONS) + 1) * len(given.ablate or ()) + (given.repeats if given.full else 0)


def lasting_s(systems: Sequence[System], given: argparse.Namespace, beside_s: Mapping[str, float]) -> float:
    """How long the cells of these systems take, by what those before took beside their requests."""
    each = [(one.warmup_s + given.seconds) * given.factor + beside_s.get(one.name, USUAL_BESIDE_S) for one in systems]
    own_s: float = (WARM_S + given.seconds) * given.factor + beside_s.get(OURS, USUAL_BESIDE_S)
    others = cells(len(systems), given) - _own(given)
    return _own(given) * own_s + (sum(each) * others / len(systems) if systems else 0.0)


def _told_length(systems: Sequence[System], given: argparse.Namespace, beside_s: Mapping[str, float]) -> str:
    count, minutes = cells(len(systems), given), ceil(lasting_s(systems, given, beside_s) / 60.0)
    return f"{count} cells of {len(systems)} systems: about {minutes} minutes where none is void or known already"


def line(cell: Cell) -> str:
    """A cell in one line."""
    full = max(cell.fullest, key=lambda name: cell.fullest[name])
    p50, p95 = (f"{ms:.0f}" if ms is not None else "-" for ms in (cell.p50_ms, cell.p95_ms))
    void = f"  VOID: {', '.join(cell.void)}" if cell.void else ""
    return (
        f"{cell.key.system:15} {cell.key.rate_rps:6.1f}/s x{cell.key.factor:g} seed {cell.key.seed}: "
        f"{cell.violated:6.1%} of {cell.offered} violated, {cell.goodput_rps:.1f}/s in time, p50 {p50}, p95 {p95} ms; "
        f"machine {cell.busy:.0%} busy, {full} {cell.fullest[full]:.0%} of a core, engines {cell.late_ms:.1f} ms late, "
        f"took {cell.took_s:.0f} s  [{cell.key.setup}]{void}"
    )


@cache
def _installed(python: Path) -> dict[str, str]:
    return versions(python)


def _revision() -> str:
    """The commit of this repository, with a plus where files differ from it; empty outside of one."""
    said = partial(subprocess.run, cwd=ROOT, check=False, capture_output=True, text=True)
    head = said(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
    changed = said(["git", "status", "--porcelain"]).stdout.strip()
    return f"{head}+" if head and changed else head
