"""What a request costs beside its engines: Harmonia's gateway beside Ray Serve, with components that do nothing.

    python -m bench.peers.overhead --python PEERS/bin/python [--seconds S] [--repeats N]

One hop and three, the same client and bodies of ten kilobytes, in turns whose order alternates. Of Harmonia each hop is
a call over HTTP to an engine that answers at once, in a process of its own; of Ray Serve a call through a handle to a
deployment's replica. One client measures latency, sixteen how many a second, and CPU is that of the system's processes
for each request: client and engine share the machine with it, so rates are lower bounds, and CPU is what compares.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import gateway_overhead as ours
from bench.peers import record, results
from bench.peers.front import PROGRAMS, environment
from bench.peers.judging import OURS, alternated
from bench.peers.record import Cost
from harmonia_compiler.emulate.rehearsal.child import Child, command, wait_for
from harmonia_compiler.emulate.rehearsal.front import is_ready
from harmonia_compiler.runtime.actuators.supervision.ports import free_port

#: Models of both, by the number of hops.
MODELS = {1: "one", 3: "chain"}
#: How long Ray may take to start, in seconds.
START_S = 600.0
RAY = "ray"


@dataclass(frozen=True, slots=True)
class Started(ours.Server):
    """A server whose processes are several: the one that was started and those that it has started."""

    child: Child

    def cpu_s(self) -> float:
        """What all of them have taken of the processors."""
        return sum(self.child.cpu_s().values())


@contextmanager
def ray(python: Path) -> Iterator[Started]:
    """Ray Serve with components that do nothing. Raises Rejected where it does not start."""
    with tempfile.TemporaryDirectory(prefix="harmonia-noop-") as name:
        folder, port = Path(name), free_port(())
        path = folder / "peer.json"
        cores = os.cpu_count() or 1
        hops = {model: count for count, model in MODELS.items()}
        path.write_text(json.dumps({"hops": hops, "cores": cores, "gpus": 0}))
        words = [str(python), str(PROGRAMS / "noop_app.py"), str(path), str(port)]
        with command(folder, "ray", words, environment()) as started:
            wait_for(started, lambda: is_ready(f"http://127.0.0.1:{port}"), START_S)
            yield Started(port, psutil.Process(started.process.pid), started)


async def measured(servers: dict[str, ours.Server], seconds: float, repeats: int) -> list[Cost]:
    """The costs of each in turn."""
    found = []
    for turn in range(repeats):
        for name in alternated([*servers], turn):
            for hops, model in MODELS.items():
                async with ours.client() as asking:
                    await asking.again(servers[name], model, seconds / 4.0)
                    times = await asking.again(servers[name], model, seconds)
                    rate, cpu_us = await asking.many(servers[name], model, seconds)
                found.append(Cost(name, hops, turn, rate, statistics.median(times), cpu_us))
                print(
                    f"{name:10} {hops} hops: {rate:7.0f}/s of {ours.CLIENTS} clients, p50 of one "
                    f"{found[-1].p50_ms:6.2f} ms, {cpu_us:7.0f} µs of CPU a request",
                    flush=True,
                )
    return found


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.overhead")
    parser.add_argument("--python", type=Path, required=True, help="an interpreter that has Ray Serve")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=record.DOCS, help="the folder of results.md and its record")
    given = parser.parse_args()
    with ours.running() as (_, _, gateway), ray(given.python.absolute()) as other:
        found = asyncio.run(measured({OURS: gateway, RAY: other}, given.seconds, given.repeats))
    record.keep_costs(found, given.results / record.RECORD)
    results.write(None, given.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
