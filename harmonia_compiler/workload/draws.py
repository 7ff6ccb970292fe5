"""Every random choice of a run as a pure function of a key: who asks for it, when, or how often changes nothing.

So a simulation, a rehearsal and their repetition draw the same outcomes for the same requests, whatever
order their events come in. Numbers are hashed from the seed and the key; there is no state.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from statistics import NormalDist

#: A number in [0, 1) for each thing that is drawn.
Uniform = Callable[[str], float]

_SCALE = 2.0**-53
_NORMAL = NormalDist()
#: A number is sought by so many halvings of where it may be.
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Draws:
    """The choices of one run; another seed gives another run."""

    seed: int

    def of(self, request: int | str, component: str, place: str = "") -> Uniform:
        """The choices that one call of a component makes for a request; `place` tells them apart, as "2/5" does."""
        start = blake2b(f"{self.seed}\0{request}\0{component}\0{place}\0".encode(), digest_size=8)

        def uniform(what: str) -> float:
            found = start.copy()
            found.update(what.encode())
            return (int.from_bytes(found.digest(), "little") >> 11) * _SCALE

        return uniform


def lognormal(uniform: float, mean: float, cv: float) -> float:
    """The value of a lognormal distribution of this mean and coefficient of variation below which that part lies."""
    if mean <= 0.0 or cv <= 0.0:
        return mean
    spread2 = math.log1p(cv * cv)
    # An argument of exactly 0 has no quantile; nothing this small ever matters.
    return mean * math.exp(math.sqrt(spread2) * _NORMAL.inv_cdf(max(uniform, _SCALE)) - spread2 / 2.0)


def exponential(uniform: float, mean: float) -> float:
    """The same for an exponential distribution."""
    return -mean * math.log1p(-uniform)


def gamma(uniform: Uniform, shape: float) -> float:
    """A value of the gamma distribution of this shape and scale 1, by Marsaglia and Tsang's rejection.

    Which numbers it takes is part of the key: the first try is `0`, the next one `1`.
    """
    if shape < 1.0:
        return gamma(uniform, shape + 1.0) * math.pow(max(uniform("boost"), _SCALE), 1.0 / shape)
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    for attempt in count():
        normal = NormalDist().inv_cdf(max(uniform(f"{attempt} normal"), _SCALE))
        cube = (1.0 + c * normal) ** 3
        if cube > 0.0:
            tried = math.log(max(uniform(f"{attempt} accept"), _SCALE))
            if tried < normal * normal / 2.0 + d * (1.0 - cube + math.log(cube)):
                return d * cube
    raise AssertionError("counting ended")


def length(uniform: float, mean: float, cv: float, most: float) -> int:
    """A number of tokens, lognormal; at least 1 and, as an engine cuts it off there, at most `most`.

    With those that are cut the mean is what it is said to be: the others are longer by as much as those are shorter.
    """
    return max(1, round(min(lognormal(uniform, _uncut(mean, cv, most), cv), most)))


@lru_cache(1024)
def _uncut(mean: float, cv: float, most: float) -> float:
    """The mean of the lognormal distribution whose values have that mean once they are cut at `most`."""
    if mean >= most:
        return math.inf
    if mean <= 0.0 or cv <= 0.0 or math.isinf(most):
        return mean
    # Of the mean's logarithm. Far enough above, all values are cut.
    low = high = math.log(mean)
    while _cut(math.exp(high), cv, most) < mean:
        high += 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _cut(math.exp(middle), cv, most) < mean else (low, middle)
    return math.exp(high)


def _cut(mean: float, cv: float, most: float) -> float:
    """The mean of the values of a lognormal distribution that are cut at `most`."""
    spread = math.sqrt(math.log1p(cv * cv))
    bound = math.log(most / mean) / spread
    return mean * _NORMAL.cdf(bound - spread / 2.0) + most * _NORMAL.cdf(-bound - spread / 2.0)
