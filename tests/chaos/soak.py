"""A service in which something goes wrong every second, for half an hour: `make soak`.

    python -m tests.chaos.soak [--minutes M] [--seed N]

Replicas die, hang, slow down, fail or lie, networks hold, cut, truncate, delay or trickle, clients leave, dawdle or
send nonsense, and the controller is killed and started again. Prints what became of the requests and what the gateway
holds.
Exits 1 where fewer than 99 % of the requests were answered, or memory or descriptors grow.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import fmean

import aiohttp

from harmonia_compiler.emulate.servers.faults import Fault, Way
from tests.chaos.beside import RPS, Beside, Start, beside
from tests.chaos.controlled import Beheld, controlled
from tests.chaos.proxy import FaultProxy
from tests.chaos.proxy import Way as NetworkWay
from tests.chaos.rows_clients import NONSENSE, leave
from tests.chaos.service import emulated, planned

EVERY_S = 1.0
#: How long a fault lasts, in seconds.
LEAST_S, MOST_S = 0.5, 2.0
#: So many replicas each stage has: at each moment about one is at fault, or not yet back.
EACH = 5
REPLICAS = tuple(f"{stage}-{number + 1}" for stage in ("walk", "model") for number in range(EACH))
WAYS: tuple[Way, ...] = ("die", "hang", "slow", "fail", "lie")
NETWORK_WAYS: tuple[NetworkWay, ...] = ("hold", "reset", "truncate", "trickle", "delay")
SAYS_RPS = 10.0
#: How often the gateway is looked at, and after which part of the run nothing may grow any more.
LOOK_S, SETTLED = 5.0, 0.2
SUCCESS = 0.99
#: By so much memory may be larger in the last fifth than in the second: what an allocator keeps.
GROWTH, MORE_DESCRIPTORS = 1.10, 20.0


@dataclass
class Run:
    """One soak: who is where, and what was seen. Times are in seconds since it began."""

    gateway: Beside
    controller: Beheld
    proxies: dict[str, FaultProxy]
    session: aiohttp.ClientSession
    chance: Random
    became: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    async def ask(self, pipeline: str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.became[await self.gateway.ask(self.session, pipeline)] += 1
        self.times.append(loop.time() - began)

    async def network(self, replica: str, way: NetworkWay, lasts_s: float) -> None:
        self.proxies[replica].turn(way)
        await asyncio.sleep(lasts_s)
        self.proxies[replica].turn("pass")

    async def leaving(self) -> None:
        pipeline = self.chance.choice(("walks", "says"))
        await asyncio.gather(*(leave(self.gateway.port, pipeline, 0.01) for _ in range(10)))

    async def dawdling(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        writer.write(b"POST /v1/pipelines/walks HTTP/1.1\r\nhost: x\r\nx-slow: ")
        await reader.read()
        writer.close()

    async def nonsense(self) -> None:
        more, body = self.chance.choice(list(NONSENSE.values()))
        _, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        writer.write(b"POST /v1/pipelines/walks HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body))
        writer.write(more + b"\r\n" + body)
        await asyncio.sleep(1.0)
        writer.close()

    async def without_controller(self) -> None:
        await self.controller.kill()
        await asyncio.sleep(1.0)
        await self.controller.start()


def of_replicas(until_s: float, chance: Random) -> tuple[list[Fault], list[tuple[float, str]]]:
    """What goes wrong each second: with replicas, as they are told it, and with others, when and what."""
    faults, others = list[Fault](), list[tuple[float, str]]()
    at = 5.0
    while at < until_s - MOST_S:
        kind = chance.choices(
            ("replica", "network", "leaving", "dawdling", "nonsense", "controller"), (8, 6, 2, 1, 2, 1)
        )
        if kind == ["replica"]:
            until = at + chance.uniform(LEAST_S, MOST_S)
            share = chance.choice((0.2, 1.0))
            faults.append(Fault(chance.choice(REPLICAS), chance.choice(WAYS), at, until, factor=10.0, share=share))
        else:
            others.append((at, kind[0]))
        at += EVERY_S
    return faults, others


async def go_wrong(run: Run, others: list[tuple[float, str]], began: float) -> None:
    """Let others than replicas go wrong."""
    loop, beside_ = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    for at, kind in others:
        await asyncio.sleep(max(0.0, began + at - loop.time()))
        made: Awaitable[None]
        if kind == "network":
            way = run.chance.choice(NETWORK_WAYS)
            run.wrong[f"network: {way}"] += 1
            made = run.network(run.chance.choice(REPLICAS), way, run.chance.uniform(LEAST_S, MOST_S))
        else:
            run.wrong[kind] += 1
            doing: dict[str, Callable[[], Awaitable[None]]] = {
                "leaving": run.leaving,
                "dawdling": run.dawdling,
                "nonsense": run.nonsense,
                "controller": run.without_controller,
            }
            made = doing[kind]()
        task = asyncio.ensure_future(tolerant(made))
        beside_.add(task)
        task.add_done_callback(beside_.discard)
    await asyncio.gather(*beside_)


async def tolerant(work: Awaitable[None]) -> None:
    """What clients do to themselves is no failure."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        await work


async def load(run: Run, pipeline: str, rps: float, until: float) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()
    while loop.time() < until:
        task = asyncio.create_task(run.ask(pipeline))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(run.chance.expovariate(rps))
    await asyncio.gather(*tasks)


async def look(run: Run, until: float) -> None:
    loop, looks = asyncio.get_running_loop(), 0
    began = loop.time()
    while loop.time() < until:
        await asyncio.sleep(LOOK_S)
        looks += 1
        itself = run.gateway.itself
        run.memory.append(itself.memory_info().rss)
        run.descriptors.append(itself.num_fds())
        if looks % 12 == 0:
            print(
                f"{(loop.time() - began) / 60:5.1f} min  {run.became.total():7,} asked  {answered(run):7.2%} answered  "
                f"{run.memory[-1] / 2**20:6.1f} MiB  {run.descriptors[-1]:4} descriptors",
                flush=True,
            )


def answered(run: Run) -> float:
    return run.became["answered"] / max(1, run.became.total())


async def soak(minutes: float, seed: int) -> bool:
    """Whether all was well."""
    chance, until_s = Random(seed), minutes * 60.0
    faults, others = of_replicas(until_s, chance)
    with tempfile.TemporaryDirectory() as folder:
        scenario = planned(Path(folder))
        async with (
            emulated(scenario, *faults, replicas=EACH) as (host, proxies, endpoints),
            beside(Path(folder), scenario, endpoints, Start(log=Path(folder) / "log"), EACH) as gateway,
            controlled(gateway, 5.0) as controller,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session,
        ):
            run = Run(gateway, controller, proxies, session, chance)
            run.wrong.update(fault.way for fault in faults)
            began = asyncio.get_running_loop().time()
            host.begin()
            async with asyncio.TaskGroup() as all_:
                all_.create_task(go_wrong(run, others, began))
                all_.create_task(look(run, began + until_s))
                all_.create_task(load(run, "walks", RPS, began + until_s))
                all_.create_task(load(run, "says", SAYS_RPS, began + until_s))
            bugs = sum("bug" in line or "turn_failed" in line for line in gateway.how.log.read_text().splitlines())
    return report(run, bugs)


def report(run: Run, bugs: int) -> bool:
    """Say what was seen; whether it is as it should be."""
    count, times = len(run.memory), sorted(run.times)
    early = slice(int(count * SETTLED), max(int(count * 2 * SETTLED), int(count * SETTLED) + 1))
    late = slice(int(count * (1.0 - SETTLED)), count)
    memory = [fmean(run.memory[part]) / 2**20 for part in (early, late)]
    descriptors = [fmean(run.descriptors[part]) for part in (early, late)]
    print(f"went wrong: {', '.join(f'{way} {times}' for way, times in sorted(run.wrong.items()))}")
    print(f"became of {run.became.total():,}: {', '.join(f'{what} {n:,}' for what, n in run.became.most_common())}")
    print(
        f"times: p50 {times[len(times) // 2]:.3f} s, p99 {times[int(len(times) * 0.99)]:.3f} s, most {times[-1]:.3f} s"
    )
    print(f"memory {memory[0]:.1f} → {memory[1]:.1f} MiB, descriptors {descriptors[0]:.1f} → {descriptors[1]:.1f}")
    print(f"scrapes at which all that was accepted was in one place: {run.gateway.scrapes:,}; bugs logged: {bugs}")
    is_flat = memory[1] <= GROWTH * memory[0] and descriptors[1] <= descriptors[0] + MORE_DESCRIPTORS
    is_well = answered(run) >= SUCCESS and is_flat and not bugs
    print(f"{answered(run):.3%} answered: {'passed' if is_well else 'FAILED'}")
    return is_well


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description="Lets something go wrong every second.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    # What clients that leave do to the emulated replicas is not worth a line each.
    logging.disable(logging.ERROR)
    return 0 if asyncio.run(soak(given.minutes, given.seed)) else 1


if __name__ == "__main__":
    sys.exit(main())
