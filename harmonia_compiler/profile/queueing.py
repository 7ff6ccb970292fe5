"""How busy replicas may be, and how long calls wait then: the assumptions that every profile shares."""

import math

#: The utilisations for which profiles say latencies. Between them what a replica has in progress, which goes by its
#: utilisation times the latency, is taken to go in straight lines: where the latency grows with 1 / (1 - utilisation),
#: they are up to 7 % above it, and nowhere below. At less than the first of them a call is alone.
LEVELS = (0.05, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)

#: No replica is planned to be busy for more than this part of the time: arrivals come in bursts.
HEADROOM = LEVELS[-1]

#: Squared coefficients of variation: arrivals as in a Poisson process, service times as in an exponential one.
ARRIVAL_CV2 = 1.0
SERVICE_CV2 = 1.0


def wait_ms(service_ms: float, servers: int, utilisation: float) -> float:
    """Mean wait for one of several servers that are each busy for `utilisation` of the time.

    The approximation of Allen and Cunneen with Sakasegawa's exponent; exact for one Poisson-fed server.
    """
    exponent = math.sqrt(2 * (servers + 1)) - 1
    crowding = math.pow(utilisation, exponent) / (servers * (1 - utilisation))
    return (ARRIVAL_CV2 + SERVICE_CV2) / 2 * crowding * service_ms


def with_wait_ms(service_ms: float, servers: int) -> tuple[float, ...]:
    """Mean time until the answer, at each of LEVELS."""
    return tuple(service_ms + wait_ms(service_ms, servers, level) for level in LEVELS)
