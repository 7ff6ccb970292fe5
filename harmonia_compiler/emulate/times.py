"""How long single calls take around their mean."""

from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.workload.draws import Uniform, lognormal

#: The spread of the time of a call that runs on cores, or elsewhere: coefficients of variation.
CORE_CV = 0.3
ELSEWHERE_CV = 0.5


def core_ms(work: Work, uniform: Uniform, speed: float) -> float:
    """The time of a call on a thread of this part of a core's speed."""
    return lognormal(uniform("service"), work.core_ms, CORE_CV) / speed


def elsewhere_ms(work: Work, uniform: Uniform) -> float:
    """The time that a service of somebody else's takes."""
    return lognormal(uniform("service"), work.elsewhere_ms, ELSEWHERE_CV)
