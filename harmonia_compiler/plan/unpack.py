"""Replicas by pool → replicas by host: packing in several dimensions, the same way for the same input.

First fit by size, then host by host what balances it, then an integer program of the pool alone. What GPUs take
halves each other, so that cores and memory are what packing fails by.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harmonia_compiler.plan.solve import Program
from harmonia_compiler.plan.variables import Key, Model

#: Beyond so many variables, and nodes, nobody waits for the integer program.
MOST_VARIABLES = 500
MOST_NODES = 200

#: How much less than what is taken counts as room, as the verifier has it, but for rounding.
_EPSILON = 1e-7

Counts = npt.NDArray[np.int64]
Amounts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Replicas by engine, option and host; and the pools that `failed`: whose hosts do not hold all of theirs.

    Or on too few hosts, where an engine asks for several.
    """

    counts: dict[Key, int]
    failed: frozenset[int]


def unpack(model: Model, values: Sequence[float]) -> Unpacked:
    """A solution's replicas on hosts, of those that it pays for."""
    counts = model.counts(values)
    takes = {(e, one.at): one.takes for e, choices in enumerate(model.choices) for one in choices}
    placed: dict[Key, int] = {}
    failed: set[int] = set()
    for g, hosts in enumerate(model.in_use(values)):
        items = [(key, count) for key, count in sorted(counts.items()) if key[2] == g]
        if not items:
            continue
        if not hosts:
            failed.add(g)
            continue
        rooms = {host: kind.room for kind in model.division.pools[g].kinds for host in kind.hosts}
        more = {resource: round(values[column]) for (at, resource), column in model.extra.items() if at == g}
        resources = sorted({name for (e, c, _), _ in items for name in takes[e, c]})
        room = np.array([[rooms[host].get(name, 0.0) + more.get(name, 0) for name in resources] for host in hosts])
        use = np.array([[takes[e, c].get(name, 0.0) for name in resources] for (e, c, _), _ in items])
        wanted = np.array([count for _, count in items], np.int64)
        room = room.reshape(len(hosts), len(resources))
        use = use.reshape(len(items), len(resources))
        engines = [(e, model.problem.needs[e].min_hosts) for (e, _, _), _ in items]
        running = [[model.problem.running.get((e, c, host), 0) for host in hosts] for (e, c, _), _ in items]
        found = _packed(room, use, wanted, engines, np.array(running, np.int64))
        for ((e, c, _), count), row in zip(items, found, strict=True):
            placed |= {(e, c, hosts[at]): int(row[at]) for at in np.flatnonzero(row)}
            if row.sum() < count:
                failed.add(g)
    return Unpacked(placed, frozenset(failed | _clumped(model, placed)))


def _clumped(model: Model, placed: dict[Key, int]) -> set[int]:
    """The pools of several hosts in which one of them has more than one replica of an engine that is on too few."""
    pools = {host: g for g, pool in enumerate(model.division.pools) for host in pool.hosts if len(pool.hosts) > 1}
    found: set[int] = set()
    for e, need in enumerate(model.problem.needs):
        hosts = {h for engine, _, h in placed if engine == e}
        if len(hosts) < need.min_hosts:
            found |= {pools[h] for h in hosts if h in pools}
    return found


def _packed(room: Amounts, use: Amounts, wanted: Counts, engines: Sequence[tuple[int, int]], running: Counts) -> Counts:
    """How many of each item stand in each bin: what runs there stays where the others then fit, else what will."""
    before = np.cumsum(running, axis=1) - running
    stays = (wanted[:, None] - before).clip(0, running)
    # Hosts may have less than when it was started.
    stays[:, (room - stays.T @ use < -_EPSILON).any(axis=1)] = 0
    for kept in (stays, np.zeros_like(stays)) if stays.any() else (stays,):
        seeds = kept + _seeds(room - kept.T @ use, use, wanted - kept.sum(axis=1), engines, kept)
        found: Counts = seeds + pack(room - seeds.T @ use, use, wanted - seeds.sum(axis=1))
        if (found.sum(axis=1) == wanted).all():
            break
    return found


def _seeds(room: Amounts, use: Amounts, wanted: Counts, engines: Sequence[tuple[int, int]], there: Counts) -> Counts:
    """One replica in each of as many bins as an engine asks for, as far as they have room, beside those that are there.

    `engines` are by item, with the bins that each asks for.
    """
    found = np.zeros((len(use), len(room)), np.int64)
    free = room.copy()
    size = _size(room, use)
    for engine, bins in sorted({one for one in engines if one[1] > 1}):
        items = [item for item, (e, _) in enumerate(engines) if e == engine]
        for item in sorted(items, key=lambda item: (-size[item], item)):
            taken = (found[items] + there[items]).any(axis=0)
            within = (free + _EPSILON >= use[item]).all(axis=1) & ~taken
            count = max(0, min(int(wanted[item]), bins - int(taken.sum())))
            here = np.flatnonzero(within)[:count]
            found[item, here] = 1
            free[here] -= use[item]
    return found


def pack(room: Amounts, use: Amounts, wanted: Counts) -> Counts:
    """How many of each item stand in each bin: all that are wanted, or as many as were found to fit.

    `room` has a row for each bin, `use` for each item, both by resource.
    """
    tried = []
    for way in (_first_fit, _bin_by_bin) if len(room) > 1 else (_first_fit,):
        found = way(room, use, wanted)
        if (found.sum(axis=1) == wanted).all():
            return found
        tried.append(found)
    if len(use) * len(room) <= MOST_VARIABLES:
        tried.append(_by_program(room, use, wanted))
    return max(tried, key=lambda found: float(_size(room, use) @ found.sum(axis=1)))


def _size(room: Amounts, use: Amounts) -> Amounts:
    """How much of the mean bin an item takes, of what it takes most of."""
    size: Amounts = (use / np.maximum(room.mean(axis=0), _EPSILON)).max(axis=1, initial=0.0)
    return size


def _first_fit(room: Amounts, use: Amounts, wanted: Counts) -> Counts:
    """The largest items first, each in the first bins that have room."""
    found = np.zeros((len(use), len(room)), np.int64)
    free = room.copy()
    size = _size(room, use)
    for item in sorted(range(len(use)), key=lambda item: (-size[item], item)):
        taken = use[item] > 0
        if not taken.any():
            found[item, 0] = wanted[item]
            continue
        fits = np.floor((free[:, taken] + _EPSILON) / use[item, taken]).min(axis=1).clip(0).astype(np.int64)
        before = np.cumsum(fits) - fits
        found[item] = (wanted[item] - before).clip(0, fits)
        free -= np.outer(found[item], use[item])
    return found


def _bin_by_bin(room: Amounts, use: Amounts, wanted: Counts) -> Counts:
    """One bin after the other, each with what takes most of what is scarce and still free in it.

    Equal bins in a row are filled equally, as far as the items go.
    """
    found = np.zeros((len(use), len(room)), np.int64)
    left = wanted.copy()
    left[~(use > 0).any(axis=1)] = 0
    found[:, 0] = wanted - left
    at = 0
    while at < len(room) and left.any():
        scarce = (left @ use) / np.maximum(room[at:].sum(axis=0), _EPSILON)
        here = _fill(room[at], use, left, scarce)
        if not here.any():
            at += 1
            continue
        alike = 1
        while at + alike < len(room) and (room[at + alike] == room[at]).all():
            alike += 1
        times = max(1, min(alike, int((left[here > 0] // here[here > 0]).min())))
        found[:, at : at + times] = here[:, None]
        left -= here * times
        at += times
    return found


def _fill(room: Amounts, use: Amounts, left: Counts, scarce: Amounts) -> Counts:
    """What goes into one bin of what is left."""
    here = np.zeros(len(use), np.int64)
    free = room.copy()
    parts = use * (scarce / np.maximum(room, _EPSILON) ** 2)
    while True:
        fits = ((free + _EPSILON) >= use).all(axis=1) & (here < left) & (use > 0).any(axis=1)
        if not fits.any():
            return here
        item = int(np.where(fits, parts @ free, -1.0).argmax())
        here[item] += 1
        free -= use[item]


def _by_program(room: Amounts, use: Amounts, wanted: Counts) -> Counts:
    """As many as an integer program finds room for, in a bounded search."""
    program = Program()
    most = np.floor((room[None, :, :] + _EPSILON) / np.where(use > 0, use, np.inf)[:, None, :])
    each = np.where((use > 0)[:, None, :], most, np.inf).min(axis=2, initial=np.inf)
    each = np.minimum(each, wanted[:, None])
    columns = [[program.column(high=float(most), whole=True) for most in row] for row in each]
    for item, row in enumerate(columns):
        program.row(dict.fromkeys(row, 1.0), high=float(wanted[item]))
    for at, has in enumerate(room):
        for resource, amount in enumerate(has):
            terms = {columns[item][at]: float(use[item, resource]) for item in range(len(use)) if use[item, resource]}
            program.row(terms, high=float(amount))
    # What takes most of the whole is worth most, so that what is left is small.
    size = (use / np.maximum(room.sum(axis=0), _EPSILON)).max(axis=1, initial=0.0)
    worth = {column: float(size[item]) + _EPSILON for item, row in enumerate(columns) for column in row}
    outcome = program.solve(worth, maximise=True, nodes=MOST_NODES)
    if not outcome.found:
        return np.zeros((len(use), len(room)), np.int64)
    return np.array([[round(outcome.values[column]) for column in row] for row in columns], np.int64)
