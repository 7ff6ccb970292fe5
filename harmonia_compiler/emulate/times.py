"""How long single calls take around their mean, and times that are stretched."""

from dataclasses import dataclass

from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.profile.steps import StepLoad, StepModel
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


@dataclass(frozen=True, slots=True)
class Stretched:
    """A step model of which everything takes so many times as long."""

    steps: StepModel
    factor: float

    @property
    def request_ms(self) -> float:
        """What a call takes outside of steps, in ms."""
        return self.steps.request_ms * self.factor

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, in ms."""
        return self.steps.step_ms(load) * self.factor
