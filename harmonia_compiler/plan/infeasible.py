"""What is raised where no plan exists: which limit fails, by how much, and what would satisfy it.

A remedy holds figures, and its sentence is made of them: what is said is exactly what would satisfy the limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.plan.figures import amounts, plain, time, up
from harmonia_compiler.plan.problem import Promise
from harmonia_compiler.plan.promises import named


@dataclass(frozen=True, slots=True)
class More:
    """Hardware to add, by host and resource. Where there is but one host, nothing is said of its name."""

    hardware: Mapping[str, Mapping[str, int]]
    named: bool

    def __str__(self) -> str:
        to = {host: f" to `{host}`" if self.named else "" for host in self.hardware}
        return "add " + ", and ".join(f"{amounts(added)}{to[host]}" for host, added in self.hardware.items())


@dataclass(frozen=True, slots=True)
class Less:
    """Loads to lower, in requests a second by pipeline."""

    load_rps: Mapping[str, float]

    def __str__(self) -> str:
        return f"lower the load to {loads(self.load_rps)}"


@dataclass(frozen=True, slots=True)
class Allow:
    """Replicas to allow, by engine."""

    replicas: Mapping[str, int]

    def __str__(self) -> str:
        return "raise " + " and ".join(f"`max_replicas` of `{name}` to {most}" for name, most in self.replicas.items())


@dataclass(frozen=True, slots=True)
class Later:
    """A promise to give in place of one that a pipeline gave, to all or to a class."""

    pipeline: str
    given: Promise
    bound_ms: float

    def __str__(self) -> str:
        return f"promise {time(self.bound_ms)} or more"


@dataclass(frozen=True, slots=True)
class Looser:
    """Promises to give in place of others, all of them."""

    promises: tuple[Later, ...]

    def __str__(self) -> str:
        if len(self.promises) == 1:
            return str(self.promises[0])
        return "promise " + " and ".join(
            f"a p{one.given.quantile * 100:g} {one.given.metric} of {time(one.bound_ms)} or more of "
            f"`{named(one.pipeline, one.given.request_class)}`"
            for one in self.promises
        )


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts to add, by the name of one that they are like, and what they cost an hour together."""

    like: Mapping[str, int]
    price_per_hour: float

    def __str__(self) -> str:
        kinds = " and ".join(
            f"{count} host{'' if count == 1 else 's'} like `{name}`" for name, count in self.like.items()
        )
        return f"add {kinds} for {plain(up(self.price_per_hour))} an hour"


Remedy = More | Hosts | Less | Allow | Later | Looser


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that fails, as a finding, and what satisfies it: any one of the remedies."""

    finding: Diagnostic
    remedies: tuple[Remedy, ...] = ()


class Infeasible(Rejected):
    """No plan satisfies the problem. Its findings are about limits, not about mistakes in a file."""

    def __init__(self, limits: Sequence[Limit]) -> None:
        super().__init__([limit.finding for limit in limits])
        self.limits = tuple(limits)

    @property
    def late(self) -> frozenset[str]:
        """The pipelines whose promises, given later, would let a plan keep its limits."""
        remedies = [remedy for limit in self.limits for remedy in limit.remedies]
        looser = [one for remedy in remedies if isinstance(remedy, Looser) for one in remedy.promises]
        return frozenset(one.pipeline for one in (*remedies, *looser) if isinstance(one, Later))


def loads(rps: Mapping[str, float]) -> str:
    """Loads of pipelines, by name; a single one needs no name."""
    return " and ".join(f"{plain(load)} rps" + (f" of `{name}`" if len(rps) > 1 else "") for name, load in rps.items())
