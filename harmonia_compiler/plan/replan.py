"""Shares of a running service's calls anew, from what was read of it: a linear program that stands, changed in place.

Which replicas there are stays as it is; what changes in seconds is how fast each turns out to be, and how many calls
of each engine come. The program gives every replica its part of its engine's calls so that the busiest of each engine
is as little busy as can be:

    Variables    share[i]     of replica i of engine e in the engine's calls
                 busy[e]      how busy the engine's busiest replica is
    divide       sum over i of e of share[i] = 1                             every engine
    relieve      calls[e] seconds[i] share[i] <= busy[e]                     every replica
    stay         share[i] >= LEAST / replicas[e]                             every replica: it shall stay measured
    Objective    sum over e of busy[e];  of as busy ones, the least work in all

HiGHS keeps the basis between runs, so that readings that have changed a little cost a few pivots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.plan.solve import Program, Standing, total

#: What the work in all weighs against the busiest replica: enough to choose between equals.
EQUALS = 1e-3

#: The part of an even share that every replica gets: who is sent nothing is not measured, either.
LEAST = 0.01


@dataclass(frozen=True, slots=True)
class Reading:
    """Calls a second of an engine, and how long a call keeps each of its replicas busy, in seconds."""

    calls_rps: float
    busy_s: Sequence[float]


@dataclass(frozen=True, slots=True)
class Shares:
    """The part of its engine's calls for each replica, and how busy the busiest of each engine is then."""

    by_engine: Mapping[str, tuple[float, ...]]
    busy: Mapping[str, float]


class Replan:
    """The program for some engines, each with so many replicas; built once."""

    def __init__(self, replicas: Mapping[str, int]) -> None:
        program = Program()
        self._busy = {engine: program.column() for engine in replicas}
        self._columns = {
            engine: [program.column(LEAST / count, 1.0) for _ in range(count)] for engine, count in replicas.items()
        }
        self._rows: dict[int, int] = {}
        for engine, columns in self._columns.items():
            program.row(total(columns), 1.0, 1.0)
            for column in columns:
                # Some coefficient must stand here for it to be changed.
                self._rows[column] = program.row({column: 1.0, self._busy[engine]: -1.0}, high=0.0)
        self._standing = Standing(program, total(self._busy.values()))

    def shares(self, readings: Mapping[str, Reading]) -> Shares:
        """The best shares for what was read of every engine."""
        every = sum(map(len, self._columns.values()))
        for engine, columns in self._columns.items():
            reading = readings[engine]
            for column, seconds in zip(columns, reading.busy_s, strict=True):
                work = reading.calls_rps * seconds
                self._standing.change(self._rows[column], column, work)
                self._standing.weigh(column, EQUALS * work / every)
        values = self._standing.solve()
        by_engine = {engine: tuple(values[column] for column in columns) for engine, columns in self._columns.items()}
        return Shares(by_engine, {engine: values[column] for engine, column in self._busy.items()})
