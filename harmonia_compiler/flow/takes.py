"""About how long calls take, where that is known: what an expectation of lateness, or of time saved, goes by."""

from collections.abc import Callable, Mapping

import msgspec


class Takes(msgspec.Struct, frozen=True):
    """About how long a call of each component takes, in ms, and by what part of that it usually deviates.

    `first_ms` is until its first piece. `at_once` is how many calls of a component may be worked on at once at most;
    any number where nothing is said. `together` says of those that make each other wait how long so many take that are
    sent at once, in ms, and by what part of that they deviate.
    """

    ms: Mapping[str, float]
    deviation: float
    first_ms: Mapping[str, float] = msgspec.field(default_factory=dict)
    at_once: Mapping[str, float] = msgspec.field(default_factory=dict)
    together: Mapping[str, Callable[[float], tuple[float, float]]] = msgspec.field(default_factory=dict)
