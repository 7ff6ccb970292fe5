"""Runs HiGHS on a PuLP problem so that the same input gives the same answer.

PuLP builds the model; the status is read from HiGHS itself, because PuLP has no word for a node
limit and calls an interrupted search optimal. One thread, one seed, a limit in nodes, never in seconds.
"""

from dataclasses import dataclass

import pulp
from highspy import Highs, HighsModelStatus

#: Branch-and-bound nodes after which the best plan so far is taken.
NODE_LIMIT = 20_000

#: How far a row may be missed; far below what one replica contributes to any row.
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended.

    `status` is `optimal` (proven to within the gap that was asked for), `feasible` (the node limit came
    first), `infeasible`, or `unknown` (the node limit came before any solution). Only the first two
    leave values in the variables. `gap` is relative.
    """

    status: str
    gap: float
    objective: float

    @property
    def found(self) -> bool:
        """Whether there is a solution."""
        return self.status in ("optimal", "feasible")


def solve(problem: pulp.LpProblem, *, gap: float = 0.0, nodes: int = NODE_LIMIT) -> Outcome:
    """Solve in place, to within a relative gap: afterwards the variables of the problem hold their values."""
    solver = pulp.HiGHS(
        msg=False,
        threads=1,
        gapRel=gap,
        gapAbs=0.0,
        random_seed=0,
        mip_max_nodes=nodes,
        mip_feasibility_tolerance=TOLERANCE,
        primal_feasibility_tolerance=TOLERANCE,
    )
    solver.createAndConfigureSolver(problem)
    solver.buildSolverModel(problem)
    solver.callSolver(problem)
    highs: Highs = problem.solverModel
    status, info = highs.getModelStatus(), highs.getInfo()
    if status == HighsModelStatus.kModelEmpty:
        # Nothing to decide, so that each row is true or false as it stands.
        return Outcome("optimal" if problem.valid(TOLERANCE) else "infeasible", 0.0, 0.0)
    if status in (HighsModelStatus.kInfeasible, HighsModelStatus.kUnboundedOrInfeasible):
        return Outcome("infeasible", 0.0, 0.0)
    if status not in (HighsModelStatus.kOptimal, HighsModelStatus.kSolutionLimit):
        raise RuntimeError(f"HiGHS ended with {highs.modelStatusToString(status)}")
    if not info.primal_solution_status:
        return Outcome("unknown", float("inf"), 0.0)
    values = highs.getSolution().col_value
    for variable in problem.variables():
        variable.varValue = values[variable.index]
    proven = "optimal" if status == HighsModelStatus.kOptimal else "feasible"
    return Outcome(proven, max(0.0, float(info.mip_gap)), float(pulp.value(problem.objective)))
