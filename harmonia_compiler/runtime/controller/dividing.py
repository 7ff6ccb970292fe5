"""Divides calls by the planner's standing linear program, as `policy/control/division.py` asks for it."""

from collections.abc import Mapping, Sequence

from harmonia_compiler.plan.replan import Reading, Replan
from harmonia_compiler.policy.control.division import Load, NoDivision

#: As so many calls a second an engine counts at the least: one that is not called at all has no shares to find.
LEAST_RPS = 1e-3


class ByProgram:
    """The division of a service's calls; the program is kept as long as the same numbers of replicas run."""

    def __init__(self) -> None:
        self._replan: Replan | None = None
        self._counts: dict[str, int] = {}

    def __call__(self, loads: Mapping[str, Load]) -> Mapping[str, Sequence[float]]:
        """The part of its engine's calls for each replica that runs."""
        counts = {name: len(load.busy_s) for name, load in loads.items()}
        if not counts:
            return {}
        readings = {name: Reading(max(LEAST_RPS, load.calls_rps), load.busy_s) for name, load in loads.items()}
        try:
            if self._replan is None or self._counts != counts:
                self._replan, self._counts = Replan(counts), counts
            return self._replan.shares(readings).by_engine
        except RuntimeError as problem:
            raise NoDivision(str(problem)) from problem
