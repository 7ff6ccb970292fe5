"""Adds up what the processes of one gateway have counted, each for itself."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from prometheus_client.utils import floatToGoString

from harmonia_compiler.contract.readings import (
    CacheRead,
    CallsRead,
    GenerationRead,
    Readings,
    ReplicaRead,
    RequestsRead,
)

Read = TypeVar("Read", RequestsRead, CallsRead, ReplicaRead, GenerationRead, CacheRead)

#: What is not counted but seen, perhaps, by each process alike: of these the most that one has seen.
_NO_COUNTS = ("started_in_s",)


def sum_readings(each: Sequence[Readings]) -> Readings:
    """The readings of all processes as those of one gateway, which is another one as soon as one of them is.

    A decision, and the generations, are followed once all follow them.
    """
    if len(each) == 1:
        return each[0]
    waiting: dict[str, int] = {}
    for one in each:
        for engine, calls in one.waiting.items():
            waiting[engine] = waiting.get(engine, 0) + calls
    return Readings(
        "+".join(one.gateway for one in each),
        max(one.at_s for one in each),
        min(one.epoch for one in each),
        next((one.refused for one in each if one.refused), ""),
        _summed([one.requests for one in each], ("pipeline", "request_class")),
        _summed([one.calls for one in each], ("pipeline", "component", "replica")),
        _summed([one.replicas for one in each], ("engine", "replica")),
        waiting,
        _summed([one.generations for one in each], ("number",)),
        min(one.followed for one in each),
        next((one.not_followed for one in each if one.not_followed), ""),
        # One of the processes reads them; the others tell of none.
        _summed([one.caches for one in each], ("engine", "replica")),
    )


def _summed(each: Sequence[tuple[Read, ...]], keys: tuple[str, ...]) -> tuple[Read, ...]:
    """The rows of all, those of one key as one."""
    found: dict[tuple[Any, ...], Read] = {}
    for row in (row for rows in each for row in rows):
        key = tuple(getattr(row, name) for name in keys)
        known = found.get(key)
        found[key] = row if known is None else _added(known, row, keys)
    return tuple(found.values())


def _added(one: Read, other: Read, keys: tuple[str, ...]) -> Read:
    summed = {
        name: _both(name, getattr(one, name), getattr(other, name))
        for name in one.__struct_fields__
        if name not in keys
    }
    return msgspec.structs.replace(one, **summed)


def _both(name: str, one: Any, other: Any) -> Any:
    if name in _NO_COUNTS:
        return other if one is None else one if other is None else max(one, other)
    if isinstance(one, dict):
        return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}
    return one or other if isinstance(one, bool) else one + other


def sum_metrics(each: Sequence[bytes]) -> bytes:
    """The metrics of all processes, in Prometheus' text format, as those of one: counts, gauges and histograms add up.

    When a series began is when the first of them did.
    """
    if len(each) == 1:
        return each[0]
    families: dict[str, dict[str, float | None]] = {}
    for text in each:
        family: dict[str, float | None] = {}
        for line in text.decode().splitlines():
            if line.startswith("# HELP "):
                family = families.setdefault(line, {})
            elif line.startswith("#"):
                family.setdefault(line, None)
            elif line:
                series, _, value = line.rpartition(" ")
                family[series] = _together(series, family.get(series), float(value))
    lines: list[str] = []
    for head, family in families.items():
        lines.append(head)
        lines += [name if value is None else f"{name} {_written(value)}" for name, value in family.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _written(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _together(series: str, known: float | None, value: float) -> float:
    if known is None:
        return value
    return min(known, value) if series.partition("{")[0].endswith("_created") else known + value
