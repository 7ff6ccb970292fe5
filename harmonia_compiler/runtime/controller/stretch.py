"""Readings of a rehearsal, all of whose times are stretched by one factor, as they would be without."""

import msgspec

from harmonia_compiler.contract.readings import Readings


def compressed(readings: Readings, factor: float) -> Readings:
    """The same in the time that is rehearsed."""
    if factor == 1.0:
        return readings
    return msgspec.structs.replace(
        readings,
        at_s=readings.at_s / factor,
        requests=tuple(
            msgspec.structs.replace(one, gap_s=one.gap_s / factor, gap_s2=one.gap_s2 / factor**2)
            for one in readings.requests
        ),
        calls=tuple(
            msgspec.structs.replace(one, service_s=one.service_s / factor, queue_s=one.queue_s / factor)
            for one in readings.calls
        ),
    )
