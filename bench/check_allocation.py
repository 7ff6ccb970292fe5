"""What the planner's placement is worth: its rate beside that of two simpler ones, on the same hosts.

    python bench/check_allocation.py [NAME...] [--seconds N] [--plain]

*planned* is the plan as it is made, and *confirmed* the one that `plan --simulate` settles on. *uniform* deals whole
devices out to the engines of language models in turn, and to the others equal parts of the cores. *alone* gives every
engine for itself as many replicas as keep it busy for HEADROOM of the time at one rate, devices in the order of the
inventory, at the highest rate for which there is room. Both take for each device the configuration that carries most of
those that a promise allows. Hosts, and so the price, are the same for all.

The first figure of each is reckoned as for a plan, promises kept: 0 where they are at no rate. The second is simulated,
with requests as in a Poisson process at the rate at which the replicas are as busy as they may be, and at lower ones,
until 95 of 100 are in time. *any* is what the hosts carry at most by the profiles whatever was promised. The confirmed
plan is simulated at what it carries with two seeds that it was not confirmed with: the larger part of a promise taken.

At last the planner is given wrong profiles, each engine's times by up to half too long or too short, and what its plan
carries by the right ones is compared with the best. `--plain` leaves both out, confirmed plans and wrong profiles.

Expected before the first run: 1.8 times the rate of uniform in the mean, and less beside `alone`, which knows the loads
but not that devices differ; a regret of 10 % in the mean, since what is wrong is wrong for all devices alike. Expected
of confirmed plans, before their first run: 1.4 times uniform and 1.0 times alone, since even without any promise the
profiles say 1.7 times what uniform carries in time.

What came of it is in docs/planning.md.
"""

import argparse
import random
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.pipelines import FOLDER
from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.planning import plan_for
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.emulate.certify import attempt, certify
from harmonia_compiler.emulate.scenario import scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise as passed
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.choices import Choice, useful_choices
from harmonia_compiler.plan.corrected import Measured, corrected
from harmonia_compiler.plan.optimise import Allocation, carried, optimise
from harmonia_compiler.plan.planner import write_down
from harmonia_compiler.plan.predict import capacities, rate, used_options
from harmonia_compiler.plan.problem import Need, Problem, room
from harmonia_compiler.plan.promised import limits
from harmonia_compiler.plan.variables import Key
from harmonia_compiler.profile.assumptions import ENCODER_BATCHES
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.queueing import HEADROOM
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until

NAMES = ("crag", "self_rag", "adaptive", "ircot", "crag+vanilla")
#: A host with four GPUs of each of three types.
HOSTS = Inventory(
    tuple(Host(gpu, 32, 256.0, (Gpu(gpu, 4),), price) for gpu, price in (("a100_sxm", 8.0), ("l40s", 4.0), ("l4", 2.0)))
)
#: Wrong profiles that are tried, and by how much each engine's times are off at most.
WRONG, OFF = 8, 0.5
BISECTIONS = 30
#: Parts of the rate at which replicas are as busy as they may be that are simulated, and how many must be in time.
LOADS = tuple(part / 20 for part in range(20, 0, -1))
IN_TIME = 0.95
#: The seed of what plans are compared by, of what they are confirmed by, and those that confirmed plans are tried with.
SEED, CONFIRMING, TRYING = 1, 2, (3, 4)


class Floor:
    """What is free on each host while replicas are put there."""

    def __init__(self, problem: Problem) -> None:
        self.free = [room(host) for host in problem.hosts]
        self.counts: dict[Key, int] = {}

    def fits(self, choice: Choice, host: int) -> bool:
        """Whether a host has room for one more replica."""
        return all(self.free[host].get(name, 0.0) + 1e-9 >= amount for name, amount in choice.takes.items())

    def put(self, engine: int, choice: Choice, host: int) -> None:
        """Start one there."""
        for name, amount in choice.takes.items():
            self.free[host][name] -= amount
        self.counts[engine, choice.at, host] = self.counts.get((engine, choice.at, host), 0) + 1


class Simple:
    """The choices of the simpler placements: for each engine and kind of device the one that carries most."""

    def __init__(self, problem: Problem) -> None:
        figures = limits(problem)
        self.problem = problem
        self.of: list[dict[str, Choice]] = []
        for need in problem.needs:
            best: dict[str, Choice] = {}
            for choice in useful_choices(problem, need, figures):
                config = choice.option.configuration
                # Whole devices, and one core: what somebody would take who does not reckon.
                if config.gpus >= 1.0 or (not config.gpu and config.cores == 1.0):
                    known = best.get(config.gpu)
                    smaller = known is not None and config.gpus < known.option.configuration.gpus
                    same = known is not None and config.gpus == known.option.configuration.gpus
                    if known is None or smaller or (same and choice.capacity > known.capacity):
                        best[config.gpu] = choice
            self.of.append({gpu: one for gpu, one in best.items() if gpu or len(best) == 1 or not self._writes(need)})
        self.on_gpus = [e for e, need in enumerate(problem.needs) if self._writes(need)]

    @staticmethod
    def _writes(need: Need) -> bool:
        """Whether it is a language model's engine: of others no profile offers so many calls at once."""
        return any(option.configuration.batch > max(ENCODER_BATCHES) for option in need.options)

    def uniform(self) -> dict[Key, int]:
        """Devices in turn, and equal parts of the cores."""
        floor = Floor(self.problem)
        others = [e for e in range(len(self.problem.needs)) if e not in self.on_gpus]
        turn = 0
        for h, host in enumerate(self.problem.hosts):
            for gpu in host.gpus:
                idle = 0
                while idle < len(self.on_gpus):
                    e = self.on_gpus[turn % len(self.on_gpus)]
                    turn += 1
                    choice = self.of[e].get(gpu.type)
                    if choice is not None and floor.fits(choice, h):
                        floor.put(e, choice, h)
                        idle = 0
                    else:
                        idle += 1
            cores = int(floor.free[h]["cores"])
            for number in range(cores):
                e = others[number % len(others)]
                if self._may_have_more(floor, e) and floor.fits(self.of[e][""], h):
                    floor.put(e, self.of[e][""], h)
        return floor.counts

    def alone(self) -> dict[Key, int]:
        """Every engine scaled to its own utilisation, at the highest rate that there is room for."""
        low, high, found = 0.0, 1e6, dict[Key, int]()
        for _ in range(BISECTIONS):
            middle = (low * high) ** 0.5 if low else high / 100.0
            counts = self._scaled(middle)
            low, high, found = (low, middle, found) if counts is None else (middle, high, counts)
        return found

    def _scaled(self, rate: float) -> dict[Key, int] | None:
        floor = Floor(self.problem)
        for e, need in enumerate(self.problem.needs):
            left, count = rate / HEADROOM, 0
            while left > 1e-9 or count < need.minimum:
                place = next(self._places(floor, e), None)
                if place is None or not self._may_have_more(floor, e):
                    return None
                floor.put(e, *place)
                left, count = left - place[0].capacity, count + 1
        return floor.counts

    def _places(self, floor: Floor, e: int) -> Iterator[tuple[Choice, int]]:
        for h, host in enumerate(self.problem.hosts):
            for gpu in (*(one.type for one in host.gpus), ""):
                choice = self.of[e].get(gpu)
                if choice is not None and (gpu or e not in self.on_gpus) and floor.fits(choice, h):
                    yield choice, h

    def _may_have_more(self, floor: Floor, e: int) -> bool:
        most = self.problem.needs[e].maximum
        return most is None or sum(count for (engine, _, _), count in floor.counts.items() if engine == e) < most


def main() -> int:
    """Print a line for each case and the mean of the ratios; 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    ours = ("planned",) if given.plain else ("planned", "confirmed")
    ways = (*ours, "uniform", "alone")
    print(f"{'':14} {'any':>7} " + " ".join(f"{way:>16}" for way in ways) + "   requests a second: reckoned, in time")
    ratios: dict[str, list[float]] = {}
    regrets: list[float] = []
    for name in given.names:
        checked = check_files([FOLDER / f"{one}.rag" for one in name.split("+")])
        assert checked.application is not None, checked.found
        application = passed(checked.application)
        demanded = build_problem(application, HOSTS, "throughput", BestProfiles())
        problem, load = demanded.problem, sum(one.load_rps for one in demanded.problem.pipelines)
        best, most = optimise(problem), optimise(unpromised(problem))
        assert best is not None
        assert most is not None
        simple = Simple(problem)
        plans = {
            way: write_down(application, demanded, Allocation(counts, 1.0, proven=True, gap=0.0))
            for way, counts in (("planned", best.counts), ("uniform", simple.uniform()), ("alone", simple.alone()))
        }
        after = ""
        if not given.plain:
            *_, settled = certify(
                partial(plan_for, checked.application, HOSTS, "throughput"), HOSTS, load_cards(), CONFIRMING
            )
            plans["confirmed"] = settled.plan
            taken = max(
                attempt(settled.application, settled.plan, settled.margin, HOSTS, load_cards(), seed).taken
                for seed in TRYING
            )
            after = f"   margin {settled.margin:.2f}, {taken:.2f} taken"
        figures = {
            way: (reckoned(problem, plans[way]) * load, in_time(application, problem, plans[way], given.seconds))
            for way in ways
        }
        shown = " ".join(f"{one:8.2f} {real:7.2f}" for one, real in figures.values())
        print(f"{name:14} {most.rate * load:7.2f} {shown}{after}", flush=True)
        for other in ("uniform", "alone"):
            real = figures[other][1]
            for way in ours:
                ratios.setdefault(f"{way} beside {other}, in time", []).append(figures[way][1] / real)
            ratios.setdefault(f"any rate beside {other}, in time", []).append(most.rate * load / real)
            if figures[other][0] > 0:
                ratio = figures["planned"][0] / figures[other][0]
                ratios.setdefault(f"planned beside {other}, as reckoned", []).append(ratio)
        regrets += () if given.plain else regret(problem, best.rate)
    for way, found in ratios.items():
        print(f"{way}: {statistics.mean(found):.2f} times in the mean of {len(found)}")
    if regrets:
        less = f"{statistics.mean(regrets):.1%} less in the mean, {max(regrets):.1%} at most"
        print(f"by profiles off by up to {OFF:.0%}: {less}")
    return 0


def unpromised(problem: Problem) -> Problem:
    """The same without promises."""
    return replace(problem, pipelines=tuple(replace(one, promises=()) for one in problem.pipelines))


def reckoned(problem: Problem, plan: Plan) -> float:
    """Multiples of the loads that a plan's replicas carry while the promises are kept."""
    return rate(problem, used_options(problem, plan.replicas))


def in_time(application: Application, problem: Problem, plan: Plan, seconds: float) -> float:
    """Requests a second that are answered in time at the highest of some rates at which most of them are."""
    if {replica.engine for replica in plan.replicas} != {need.engine for need in problem.needs}:
        return 0.0
    load_rps = sum(one.load_rps for one in problem.pipelines)
    top = min(capacities(problem, used_options(problem, plan.replicas)).values()) * HEADROOM * load_rps
    window = Window(0.2 * seconds * 1000.0, seconds * 1000.0)
    made = scenario(application, HOSTS, plan, SEED)
    for part in LOADS:
        arrivals = until(poisson(part * top, SEED), window.to_ms)
        groups = simulate(made, arrivals, window, load_cards(), {}).report.groups
        figures = [group.figures for group in groups if group.request_class is None]
        if all((one.attainment or 0.0) >= IN_TIME for one in figures if one.requests):
            # Not what ends within the window: until answers come, none does, and slow ones come late.
            return sum(one.offered_rps * (one.attainment or 0.0) for one in figures)
    return 0.0


def regret(problem: Problem, best: float) -> Iterator[float]:
    """The part of the best rate that plans by wrong profiles do not carry by the right ones."""
    chance = random.Random(5)
    for _ in range(WRONG):
        times = {need.engine: chance.uniform(1.0 - OFF, 1.0 + OFF) for need in problem.needs}
        found = optimise(corrected(problem, Measured(times, {})))
        yield 1.0 if found is None else max(0.0, 1.0 - carried(problem, found.counts) / best)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main())
