"""Divides calls by the planner's standing linear program, as `policy/control/division.py` asks for it."""

from collections.abc import Mapping, Sequence

from harmonia_compiler.plan.replan import Reading, Replan
from harmonia_compiler.policy.control.division import Load, NoDivision
from harmonia_compiler.policy.control.planned import Planned

#: As so many calls a second an engine counts at the least: one that is not called at all has no shares to find.
LEAST_RPS = 1e-3


class ByProgram:
    """The division of one plan's calls; the program is kept between windows, in which little changes."""

    def __init__(self, planned: Planned) -> None:
        several = {name: engine.most for name, engine in planned.engines.items() if engine.most > 1}
        self._replan = Replan(several) if several else None

    def __call__(self, loads: Mapping[str, Load]) -> Mapping[str, Sequence[float]]:
        """The part of its engine's calls for each replica."""
        if self._replan is None:
            return {}
        readings = {name: Reading(max(LEAST_RPS, load.calls_rps), load.busy_s) for name, load in loads.items()}
        try:
            return self._replan.shares(readings).by_engine
        except RuntimeError as problem:
            raise NoDivision(str(problem)) from problem
