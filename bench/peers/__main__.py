"""Harmonia beside what people use today, over the same emulated devices: `make bench-peers`.

    python -m bench.peers --predict [--ablate] [--pipelines P...] [--inventory eight]
    python -m bench.peers PYTHONS --find [--pipelines crag...] [--systems NAME...] [--steps N] [--trace FILE]
    python -m bench.peers PYTHONS --rates R... [--seconds N] [--factor F]
    python -m bench.peers --ablate [PART...] --full [--pipelines P...]

`PYTHONS` is `--python PEERS/bin/python --haystack HAYSTACK/bin/python`, which `make bench-peers` says by itself.

The same arrivals, requests, engines and promise for all; each system on all GPUs of the inventory. `systems.py` says
which systems there are and how each is set up. `--predict` simulates what each can carry, so that it is known before
measuring which ratio can be had. `--rates` measures each system at these rates; `--find` looks for the highest rate at
which 95 of a hundred requests are answered within the promise, by bisection around what was predicted, and then
measures each system at the rate that it kept with `--repeats` seeds and at a tenth of it, and Harmonia and the best of
the others at `--loads` times the rate that that one kept; all in an order that alternates. `--ablate` measures Harmonia
without each of what `ablation.py` takes away, at parts of its plan's rate, and `--full` a plan with nothing promised
where more comes than it carries. Before the first cell it says how many there are and about how long they take.

Times are stretched by one factor for all systems, so that none is held up by this machine: a cell in which the machine
or one process was more than 60 % busy, or an engine more than 5 ms late, is void, is repeated with a larger factor, and
decides nothing. Every cell is a file under `--out`, void ones too; a second run measures what is missing. In the end
`docs/results.md` is written from them (`results.py`).
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from bench.peers import predicting, record, results
from bench.peers.identity import PREDICTING, code
from bench.peers.measuring import Run, measure
from bench.pipelines import NAMES, planned

#: Which systems are measured where nobody says.
USUAL = ("harmonia", "ray-auto", "ray-best", "monolith-best", "langgraph-best", "haystack-best")
#: At which parts of the plan's rate Harmonia is measured with things taken away, where nobody says: about as much as
#: its replicas carry, since a plan is careful, and far more.
ABLATED = (1.2, 1.5)


def main() -> int:
    """All that is asked for, and the results written anew."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="one that has the peers' packages")
    parser.add_argument("--haystack", type=Path, default=Path(sys.executable), help="one that has Haystack's")
    parser.add_argument("--pipelines", nargs="*", default=["crag"], choices=NAMES)
    parser.add_argument("--inventory", default="eight")
    parser.add_argument("--predict", action="store_true", help="simulate what each system can carry")
    parser.add_argument("--rates", type=float, nargs="*", default=[], help="requests a second")
    parser.add_argument("--find", action="store_true", help="find the highest rate with the promise kept")
    parser.add_argument(
        "--full",
        type=float,
        nargs="?",
        const=1.2,
        help="Harmonia with nothing promised, at so many times its plan's rate",
    )
    parser.add_argument(
        "--ablate",
        type=float,
        nargs="*",
        help="Harmonia with each thing taken away, at these parts of its plan's rate; of predictions too",
    )
    parser.add_argument("--steps", type=int, default=4, help="of each bisection")
    parser.add_argument("--repeats", type=int, default=3, help="seeds at the rate that was found, and of predictions")
    parser.add_argument(
        "--loads", type=float, nargs="*", default=[1.0, 1.5, 2.0], help="of what the best peer keeps, for both"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="that count of each cell, before stretching")
    parser.add_argument("--factor", type=float, default=6.0, help="by how much all times are stretched at first")
    parser.add_argument("--trace", type=Path, help="a recording by whose times requests come, at each rate")
    parser.add_argument("--systems", nargs="*", default=USUAL, help="by name; * stands for anything")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=record.DOCS, help="the folder of results.md and its record")
    parser.add_argument("--out", type=Path, default=Path(".bench/peers"))
    given = parser.parse_args()
    predicting_code = code(PREDICTING)
    given.ablate = [*ABLATED] if given.ablate == [] else given.ablate
    for pipeline in given.pipelines:
        scenario = planned(pipeline, given.inventory)
        if given.predict:
            replanned = partial(planned, pipeline, given.inventory) if given.ablate else None
            searches = given.out / "searches"
            rows = predicting.predicted(scenario, given.inventory, searches, given.repeats, replanned)
            print(*predicting.told(rows), sep="\n", flush=True)
            record.keep_predicted(rows, given.results / record.RECORD, predicting_code)
        if given.rates or given.find or given.ablate or given.full:
            measure(Run(given), pipeline, scenario, record.beside_s(given.results / record.RECORD))
    results.write(given.out, given.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
