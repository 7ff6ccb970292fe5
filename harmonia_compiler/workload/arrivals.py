"""When requests arrive: generated from a rate and a seed, or recorded and then squeezed, multiplied and cut.

Times are milliseconds from the start of the run. Everything is a function of its arguments, the seed among
them, and the generated arrivals go on for ever: `until` cuts them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, takewhile

from msgspec.structs import replace

from harmonia_compiler.workload.draws import Draws, Uniform, exponential, gamma
from harmonia_compiler.workload.request import Arrival

_MS = 1000.0
#: What comes within so short a time comes all at once: no recording tells such times apart.
_AT_ONCE_MS = 1e-6
#: Draws are keyed by a component's name; no component of a pipeline can have this one.
_SOURCE = "(arrivals)"


def constant(rate_rps: float) -> Iterator[Arrival]:
    """One request after each equal gap."""
    return (Arrival(number * _MS / rate_rps) for number in count(1))


def poisson(rate_rps: float, seed: int) -> Iterator[Arrival]:
    """Requests that know nothing of each other, so many a second on average."""
    mean_ms = _MS / rate_rps
    return _renewal(seed, lambda uniform: exponential(uniform("gap"), mean_ms))


def bursty(rate_rps: float, cv: float, seed: int) -> Iterator[Arrival]:
    """As many a second on average, but in bursts: gaps of a gamma distribution with this coefficient of variation.

    At a `cv` of 1 these are as Poisson's are; below it they are more even.
    """
    shape = 1.0 / (cv * cv)
    scale_ms = _MS / rate_rps / shape
    return _renewal(seed, lambda uniform: gamma(uniform, shape) * scale_ms)


def until(arrivals: Iterable[Arrival], end_ms: float) -> Iterator[Arrival]:
    """Those that arrive before an end."""
    return takewhile(lambda one: one.at_ms < end_ms, arrivals)


def mean_rate_rps(arrivals: Sequence[Arrival]) -> float | None:
    """How many arrive in a second on average; None where they all arrive at once."""
    span_ms = arrivals[-1].at_ms - arrivals[0].at_ms if arrivals else 0.0
    return (len(arrivals) - 1) / span_ms * _MS if span_ms > _AT_ONCE_MS else None


def compressed(arrivals: Iterable[Arrival], factor: float) -> Iterator[Arrival]:
    """The same requests while time passes `factor` times as fast: their order and the shape of bursts stay."""
    return (replace(one, at_ms=one.at_ms / factor) for one in arrivals)


def multiplied(arrivals: Sequence[Arrival], factor: float, seed: int) -> list[Arrival]:
    """So many times as many requests in the same time, on average.

    Each request comes as often as the factor says, a fraction by chance. Its further copies come after a gap as the
    trace has between requests on average, so that rush hours stay where they are; they are of other sessions.
    """
    rate = mean_rate_rps(arrivals)
    gap_ms = _MS / rate if rate else 0.0
    draws = Draws(seed)
    found: list[Arrival] = []
    for number, one in enumerate(arrivals):
        uniform = draws.of(number, _SOURCE)
        copies = int(factor) + (uniform("copies") < factor % 1.0)
        for copy in range(copies):
            if copy == 0:
                found.append(one)
                continue
            later_ms = exponential(uniform(f"copy {copy}"), gap_ms)
            session = None if one.session is None else f"{one.session}+{copy}"
            found.append(replace(one, at_ms=one.at_ms + later_ms, session=session))
    return sorted(found, key=_at)


def window(arrivals: Iterable[Arrival], from_ms: float, for_ms: float | None = None) -> Iterator[Arrival]:
    """Those that arrive from then on, for so long; the window's beginning becomes the start of the run."""
    for one in arrivals:
        at_ms = one.at_ms - from_ms
        if at_ms < 0.0:
            continue
        if for_ms is not None and at_ms >= for_ms:
            return
        yield replace(one, at_ms=at_ms)


def classed(arrivals: Iterable[Arrival], shares: Sequence[tuple[str, float]], seed: int) -> Iterator[Arrival]:
    """The same requests, each of a class that is drawn by its share of the whole."""
    draws = Draws(seed)
    whole = sum(share for _, share in shares)
    for number, one in enumerate(arrivals):
        left = draws.of(number, _SOURCE)("class") * whole
        name = shares[-1][0]
        for candidate, share in shares:
            left -= share
            if left < 0.0:
                name = candidate
                break
        yield replace(one, request_class=name)


def _renewal(seed: int, gap_ms: Callable[[Uniform], float]) -> Iterator[Arrival]:
    draws = Draws(seed)
    at_ms = 0.0
    for number in count():
        at_ms += gap_ms(draws.of(number, _SOURCE))
        yield Arrival(at_ms)


def _at(one: Arrival) -> float:
    return one.at_ms
