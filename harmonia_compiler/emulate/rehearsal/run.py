"""A rehearsal from a scenario and its arrivals to a report: requests are sent at their times and watched."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from time import perf_counter, time

import msgspec
import psutil

from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.launch import KEEP_ALIVE_S, REQUEST_HEADER
from harmonia_compiler.emulate.behaviour import said_of_cut
from harmonia_compiler.emulate.rehearsal.front import Front, ours
from harmonia_compiler.emulate.rehearsal.interrupting import run_interruptibly
from harmonia_compiler.emulate.rehearsal.mishaps import injected, loading
from harmonia_compiler.emulate.rehearsal.processes import Running, rehearsal_of, running
from harmonia_compiler.emulate.rehearsal.stretch import MOST_BUSY, factor_for
from harmonia_compiler.emulate.scenario import Coming, Scenario
from harmonia_compiler.emulate.servers.document import Tally
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.simulate.run import cost_per_hour
from harmonia_compiler.emulate.uses import engine_uses
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.report.building import measured
from harmonia_compiler.report.document import Decision, Injected, Machine, Report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Observation
from harmonia_compiler.runtime.descriptors import raise_open_files
from harmonia_compiler.runtime.load.exchange import Asking
from harmonia_compiler.runtime.load.machine import busy_since, machine_seconds, process_seconds
from harmonia_compiler.runtime.load.routes import NativeRoute
from harmonia_compiler.runtime.load.sender import Meant, Sender, session
from harmonia_compiler.runtime.stretched import loop_of
from harmonia_compiler.workload.arrivals import mean_rate_rps
from harmonia_compiler.workload.request import Arrival

#: Above this part of the machine, or later than this at p99 in ms, and figures are the machine's as well.
LIMIT_BUSY, LIMIT_LATE_MS = 0.6, 5.0
#: How much longer than its deadline, or than this where it has none, a request is waited for, in seconds.
_PATIENCE_S = 30.0
_USUAL_DEADLINE_MS = 600_000.0
#: How often it is looked whether a request has ended, once the last one has come, in seconds.
_LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """How to rehearse. `factor` None leaves it to the machine.

    `start_s` is how long engines take to load, by the name of an engine or of a component of it, "" for all others.
    `faults` name replicas, engines or components. `parts` of the gateway's scheduling are on. `front` takes the
    requests in place of our gateway and controller, which None stands for.
    """

    factor: float | None = None
    start_s: Mapping[str, float] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    parts: Parts = ALL
    front: Front | None = None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The report, and what became of each request, in the order in which they ended.

    `fullest` is, for each part of the rehearsal, how much of a core the busiest of its processes took: one with a
    single loop for its events is full at 1, whatever the rest of the machine does.
    """

    report: Report
    observed: tuple[Observation, ...]
    fullest: Mapping[str, float]


@dataclass(slots=True)
class Watched:
    """What was seen of the machine within the window, which took so long by its clock.

    Requests began at the second `epoch_s` of the epoch. `told` is what the front had done by the window's end. `cut`
    are the recorded answers of the whole run that were cut, by component.
    """

    epoch_s: float = 0.0
    took_s: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    fullest_s: dict[str, float] = field(default_factory=dict)
    busy: float = 0.0
    tally: Tally | None = None
    told: tuple[tuple[Decision, ...], str] = ((), "")
    cut: Mapping[str, int] = field(default_factory=dict)


def rehearse(
    scenario: Scenario,
    arrivals: Iterable[Arrival],
    window: Window,
    settings: Mapping[str, str],
    wishes: Wishes,
    tell: Callable[[float], object],
    waits: Callable[[int, float], object] = lambda _open, _most_s: None,
) -> Rehearsed:
    """Let the arrivals come in at the real gateway over emulated replicas, and report on those within the window.

    `tell` is told the factor once it is settled, and `waits` how many requests have not ended when the last one has
    come, and for how many seconds of a clock it is waited where none ends. Raises Rejected where the processes do not
    start.
    """
    faults = injected(scenario, wishes.faults, window.to_ms)
    start_s = loading(scenario, wishes.start_s)
    came = [*arrivals]
    rate = mean_rate_rps(came) or 1.0
    coming = [*scenario.coming(came)]
    lengths = {str(one.number): one.answer_tokens for one in coming if one.answer_tokens is not None}
    recorded = fmean(lengths.values()) if lengths else None
    factor = wishes.factor or factor_for(scenario, rate, psutil.cpu_count() or 1, recorded)
    tell(factor)
    document = rehearsal_of(scenario, factor, start_s, faults, lengths)
    raise_open_files()
    front = wishes.front or ours(scenario.plan, wishes.parts)
    with (
        tempfile.TemporaryDirectory(prefix="harmonia-rehearsal-") as folder,
        running(Path(folder), document, front) as processes,
    ):
        sending = _send(processes, scenario, coming, window, factor, waits)
        observed, watched = run_interruptibly(sending, loop_of(factor))
    done, why = watched.told
    report = report_of(scenario, observed, watched, window, settings, factor)
    notes = (*report.notes, *said_of_cut(watched.cut, len(lengths)), *([why] if why else ()))
    report = msgspec.structs.replace(report, decisions=done, notes=notes)
    if start_s:
        report = msgspec.structs.replace(report, notes=(_loaded(start_s, processes.ready_s / factor), *report.notes))
    fullest = {name: spent_s / watched.took_s for name, spent_s in watched.fullest_s.items()}
    return Rehearsed(msgspec.structs.replace(report, faults=tuple(map(_told, faults))), tuple(observed), fullest)


def _told(fault: Fault) -> Injected:
    until_ms = None if fault.until_s is None else fault.until_s * 1000.0
    return Injected(fault.from_s * 1000.0, until_ms, fault.replica, fault.describe())


def _loaded(start_s: Mapping[str, float], ready_s: float) -> str:
    """What is said of engines that take their time to start."""
    took = ", ".join(f"{engine} {shown_ms(seconds * 1000.0)}" for engine, seconds in sorted(start_s.items()))
    return (
        f"Replicas took so long to load, also after they had died: {took}. The gateway was ready after "
        f"{shown_ms(ready_s * 1000.0)}, and requests came from then on."
    )


async def _send(
    processes: Running,
    scenario: Scenario,
    coming: Sequence[Coming],
    window: Window,
    factor: float,
    waits: Callable[[int, float], object],
) -> tuple[list[Observation], Watched]:
    """Send all by the time that is rehearsed, which is that of the event loop."""
    watched = Watched()
    # Whoever answers may keep connections by a clock that is not stretched.
    async with session({}, KEEP_ALIVE_S / factor) as client:
        async with client.post(f"{processes.control}/begin") as begun:
            begun.raise_for_status()
        # Finer than the loop's own, which stands still while something happens.
        sender = Sender(client, NativeRoute(), lambda: perf_counter() / factor)
        watched.epoch_s = time()
        watching = asyncio.create_task(_watch(processes, window, sender, watched))
        await sender.send(_meant(processes.front.address, scenario, coming))
        patience_s = patience(scenario, coming)
        await end(sender, patience_s, lambda count: waits(count, patience_s * factor))
        await watching
        watched.cut = (await _tally(processes, sender)).cut
    return sender.observed, watched


def _meant(gateway: str, scenario: Scenario, coming: Iterable[Coming]) -> Iterator[Meant]:
    for one in coming:
        streams = scenario.service.programs[one.pipeline].streams
        body = msgspec.json.encode({"inputs": one.arguments, "stream": streams})
        headers = {"content-type": "application/json", REQUEST_HEADER: str(one.number)}
        patience_s = (one.deadline_ms or _USUAL_DEADLINE_MS) / 1000.0 + _PATIENCE_S
        yield Meant(
            one.at_ms,
            Asking(f"{gateway}/v1/pipelines/{one.pipeline}", body, headers, patience_s, streams),
            one.pipeline,
            one.request_class,
            one.deadline_ms,
            one.ttft_deadline_ms,
        )


def patience(scenario: Scenario, coming: Iterable[Coming]) -> float:
    """For how many seconds it is waited where no request ends: longer than any is expected to take.

    That is its deadline, or what the plan says of its pipeline where it has none.
    """
    predicted = scenario.plan.predicted
    longest_ms = max((one.deadline_ms or predicted[one.pipeline].latency_ms for one in coming), default=0.0)
    return _PATIENCE_S + min(longest_ms, _USUAL_DEADLINE_MS) / 1000.0


async def end(sender: Sender, patience_s: float, tell: Callable[[int], object]) -> None:
    """Wait until all have ended that were sent, or until none has for so long: those that run then are cut off.

    What hangs for good would be waited for as long as the gateway does, which is ten minutes.
    """
    drain = asyncio.create_task(sender.drain())
    before, since_ms = -1, sender.now_ms
    while not (await asyncio.wait({drain}, timeout=_LOOK_S))[0]:
        if before < 0:
            tell(len(sender.running))
        if len(sender.observed) != before:
            before, since_ms = len(sender.observed), sender.now_ms
        elif sender.now_ms - since_ms >= patience_s * 1000.0:
            sender.cut_off()
    await drain


async def _watch(processes: Running, window: Window, sender: Sender, watched: Watched) -> None:
    """Look at the machine and the replicas at the beginning of the window and at its end."""
    await asyncio.sleep(max(0.0, (window.from_ms - sender.now_ms) / 1000.0))
    async with sender.client.post(f"{processes.control}/reset"):
        began_s = perf_counter()
    before, machine = _cpu_s(processes), machine_seconds()
    await asyncio.sleep(max(0.0, (window.to_ms - sender.now_ms) / 1000.0))
    watched.tally = await _tally(processes, sender)
    watched.told = processes.front.told(watched.epoch_s)
    watched.took_s = max(1e-9, perf_counter() - began_s)
    spent_s = {name: _since(after, before[name]) for name, after in _cpu_s(processes).items()}
    watched.cpu_s = {name: sum(each) for name, each in spent_s.items()}
    watched.fullest_s = {name: max(each) for name, each in spent_s.items()}
    watched.busy = busy_since(machine)


async def _tally(processes: Running, sender: Sender) -> Tally:
    async with sender.client.get(f"{processes.control}/tally") as answer:
        return msgspec.json.decode(await answer.read(), type=Tally)


def _cpu_s(processes: Running) -> dict[str, Mapping[int, float]]:
    return {**processes.cpu_s(), "sender": {os.getpid(): process_seconds()}}


def _since(after: Mapping[int, float], before: Mapping[int, float]) -> list[float]:
    """What each process that is still there took; one that was not there before has taken all of it since."""
    return [spent - before.get(pid, 0.0) for pid, spent in after.items()]


def advice(own: float, busy: float, factor: float) -> str:
    """What helps where the machine was the limit, by the parts of it that the rehearsal and everything kept busy."""
    if busy <= LIMIT_BUSY:
        # It was late all the same, and how much room that takes is not to be seen.
        busy = 2.0 * MOST_BUSY
    elif own < busy / 2.0:
        return f"The rehearsal took {own:.1%} of this machine, and others the rest: end those and repeat it."
    return f"Repeat it with `--factor {float(f'{factor * busy / MOST_BUSY:.2g}'):g}`."


def report_of(
    scenario: Scenario,
    observed: Sequence[Observation],
    watched: Watched,
    window: Window,
    settings: Mapping[str, str],
    factor: float,
) -> Report:
    """The report of what was observed, and of what was seen of the machine meanwhile."""
    assert watched.tally is not None
    names = ", ".join(sorted(flow.name for flow in scenario.application.flows))
    report = measured("rehearsal", names, observed, window, scenario.objectives, settings)
    took_s = watched.took_s
    lateness = watched.tally.late
    is_late = lateness is not None and lateness.p99 > LIMIT_LATE_MS
    is_limit = watched.busy > LIMIT_BUSY or is_late
    shares = ", ".join(f"{name} {spent / took_s:.2f}" for name, spent in sorted(watched.cpu_s.items()))
    notes = [f"Cores that the rehearsal kept busy: {shares}."]
    if is_limit:
        notes.append(advice(sum(watched.cpu_s.values()) / took_s / (psutil.cpu_count() or 1), watched.busy, factor))
    return msgspec.structs.replace(
        report,
        engines=engine_uses(scenario.plan, watched.tally.replicas, took_s * 1000.0 / factor),
        cost_per_hour=cost_per_hour(scenario),
        machine=Machine(factor, lateness, sum(watched.cpu_s.values()) / took_s, watched.busy, is_limit),
        notes=(*notes, *report.notes),
    )
