"""Builds linear programs row by row and runs HiGHS on them so that the same input gives the same answer.

The one home of highspy. Columns and rows are kept as the flat arrays that HiGHS takes, since handing over a model
must cost less than solving it. One thread, one seed, a limit in nodes, never in seconds; the status is read from HiGHS
itself, which tells a proven optimum from a search that ended at its limit.
"""

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from highspy import Highs, HighsModelStatus, HighsSolution, MatrixFormat, ObjSense, SolutionStatus

#: Branch-and-bound nodes after which the best plan so far is taken.
NODE_LIMIT = 20_000

#: How far a row may be missed; far below what one replica contributes to any row.
TOLERANCE = 1e-9

INFINITY = float("inf")

#: A linear expression: coefficients by column.
Terms = Mapping[int, float]

Status = Literal["optimal", "feasible", "infeasible", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended.

    `status` is `optimal` (proven to within the gap that was asked for), `feasible` (the node limit or the target came
    first), `infeasible`, or `unknown` (the limit came before any solution, or rounding keeps HiGHS from saying). Only
    the first two have `values`, by column, and the columns' `reduced` costs where none is to be whole. No solution is
    better than `bound`; `gap` is the relative distance to it, as a part of the objective.
    """

    status: Status
    gap: float = 0.0
    objective: float = 0.0
    bound: float = 0.0
    values: Sequence[float] = ()
    reduced: Sequence[float] = ()

    @property
    def found(self) -> bool:
        """Whether there is a solution."""
        return self.status in ("optimal", "feasible")


@dataclass(slots=True)
class Program:
    """Columns and rows, in the order in which they are added."""

    lower: "array[float]" = field(default_factory=lambda: array("d"))
    upper: "array[float]" = field(default_factory=lambda: array("d"))
    whole: "array[int]" = field(default_factory=lambda: array("i"))
    least: "array[float]" = field(default_factory=lambda: array("d"))
    most: "array[float]" = field(default_factory=lambda: array("d"))
    starts: "array[int]" = field(default_factory=lambda: array("i", [0]))
    columns: "array[int]" = field(default_factory=lambda: array("i"))
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def column(self, low: float = 0.0, high: float = INFINITY, *, whole: bool = False) -> int:
        """A new variable; its number."""
        self.lower.append(low)
        self.upper.append(high)
        self.whole.append(whole)
        return len(self.lower) - 1

    def row(self, terms: Terms, low: float = -INFINITY, high: float = INFINITY) -> int:
        """Hold an expression between two bounds; the row's number."""
        self.columns.extend(terms.keys())
        self.values.extend(terms.values())
        self.starts.append(len(self.columns))
        self.least.append(low)
        self.most.append(high)
        return len(self.least) - 1

    def terms(self, row: int) -> dict[int, float]:
        """The expression of a row."""
        here = slice(self.starts[row], self.starts[row + 1])
        return dict(zip(self.columns[here], self.values[here], strict=True))

    def solve(
        self,
        objective: Terms,
        *,
        maximise: bool = False,
        gap: float = 0.0,
        nodes: int = NODE_LIMIT,
        start: Sequence[float] = (),
        within: Mapping[int, tuple[float, float]] | None = None,
        whole: Collection[int] | None = None,
        target: float | None = None,
    ) -> Outcome:
        """The best values of the columns, to within a relative gap; `start` are values that satisfy the rows.

        `within` are tighter bounds of some columns, and `whole` the columns to hold to whole numbers, if not all
        that are to be. The search ends where it has found what is as good as a `target`.
        """
        if not self.lower:
            # Nothing to decide, so that each row is true or false as it stands.
            kept = all(low <= 0.0 <= high for low, high in zip(self.least, self.most, strict=True))
            return Outcome("optimal" if kept else "infeasible")
        integers = [bool(is_whole) and (whole is None or at in whole) for at, is_whole in enumerate(self.whole)]
        highs = _loaded(self, objective, integers, maximise=maximise)
        for column, (low, high) in (within or {}).items():
            highs.changeColBounds(column, low, high)
        highs.setOptionValue("mip_rel_gap", gap)
        highs.setOptionValue("mip_max_nodes", nodes)
        for name, value in _BRANCHING.items() if nodes >= NODE_LIMIT else ():
            highs.setOptionValue(name, value)
        if target is not None:
            highs.setOptionValue("objective_target", target)
        if start:
            solution = HighsSolution()
            solution.col_value = list(start)
            highs.setSolution(solution)
        highs.run()
        return _read(highs, whole=any(integers), maximise=maximise)


def _loaded(program: Program, objective: Terms, integers: Sequence[bool], *, maximise: bool = False) -> Any:
    """HiGHS with the model loaded, ready to run."""
    highs: Any = Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)  # noqa: FBT003  HiGHS's own signature
    for name, value in _OPTIONS.items():
        highs.setOptionValue(name, value)
    cost = np.zeros(len(program.lower))
    for column, coefficient in objective.items():
        cost[column] = coefficient
    highs.passModel(
        len(program.lower),
        len(program.least),
        len(program.columns),
        int(MatrixFormat.kRowwise),
        int(ObjSense.kMaximize if maximise else ObjSense.kMinimize),
        0.0,
        cost,
        np.frombuffer(program.lower),
        np.frombuffer(program.upper),
        np.frombuffer(program.least) if program.least else np.zeros(0),
        np.frombuffer(program.most) if program.most else np.zeros(0),
        np.frombuffer(program.starts, np.int32)[:-1],
        np.frombuffer(program.columns, np.int32) if program.columns else np.zeros(0, np.int32),
        np.frombuffer(program.values) if program.values else np.zeros(0),
        np.array(integers, np.int32),
    )
    return highs


_OPTIONS = {
    "threads": 1,
    "random_seed": 0,
    "mip_abs_gap": 0.0,
    "mip_feasibility_tolerance": TOLERANCE,
    "primal_feasibility_tolerance": TOLERANCE,
}


#: With nodes to spare, branching finds solutions sooner than the searches beside it, than beginning anew with fewer
#: columns, and than trying every branch eight times before its worth is believed: plans take half of the time. With
#: few nodes the searches are what finds any.
_BRANCHING = {
    "mip_heuristic_run_rins": False,
    "mip_heuristic_run_rens": False,
    "mip_heuristic_run_feasibility_jump": False,
    "mip_allow_restart": False,
    "mip_pscost_minreliable": 1,
}

#: Ends of a run in which what was found, if anything, satisfies the rows; the first alone says that nothing is better.
_ENDED = (
    HighsModelStatus.kOptimal,
    HighsModelStatus.kObjectiveTarget,
    HighsModelStatus.kSolutionLimit,
    HighsModelStatus.kUnknown,
)


def _read(highs: Any, *, whole: bool, maximise: bool = False) -> Outcome:
    """What a run ended with."""
    status, info = highs.getModelStatus(), highs.getInfo()
    # No objective of ours is unbounded: it is a rate below 1, or a sum that is not negative.
    if status in (HighsModelStatus.kInfeasible, HighsModelStatus.kUnboundedOrInfeasible):
        return Outcome("infeasible")
    if status not in _ENDED:
        raise RuntimeError(f"HiGHS ended with {highs.modelStatusToString(status)}")
    found = info.primal_solution_status == int(SolutionStatus.kSolutionStatusFeasible)
    if not found or (status == HighsModelStatus.kUnknown and not whole):
        # Without an optimum a linear program has no bound, and a point that breaks a row is no solution.
        nothing = INFINITY if maximise else -INFINITY
        return Outcome("unknown", INFINITY, bound=float(info.mip_dual_bound) if whole else nothing)
    objective = float(info.objective_function_value)
    return Outcome(
        "optimal" if status == HighsModelStatus.kOptimal else "feasible",
        max(0.0, float(info.mip_gap)) if whole else 0.0,
        objective,
        float(info.mip_dual_bound) if whole else objective,
        tuple(highs.getSolution().col_value),
        () if whole else tuple(highs.getSolution().col_dual),
    )


class Standing:
    """A linear program that is solved again and again, from where it was solved last, while its figures change."""

    def __init__(self, program: Program, objective: Terms) -> None:
        self._highs = _loaded(program, objective, [False] * len(program.lower))
        # Its basis is a better start than what presolving finds anew.
        self._highs.setOptionValue("presolve", "off")

    def change(self, row: int, column: int, coefficient: float) -> None:
        """Give a column another coefficient in a row."""
        self._highs.changeCoeff(row, column, coefficient)

    def weigh(self, column: int, coefficient: float) -> None:
        """Give a column another coefficient in the objective."""
        self._highs.changeColCost(column, coefficient)

    def solve(self) -> Sequence[float]:
        """The best values of the columns of a program that has some."""
        self._highs.run()
        outcome = _read(self._highs, whole=False)
        if not outcome.found:
            raise RuntimeError(f"a program that has a solution ended as {outcome.status}")
        return outcome.values


def total(columns: Iterable[int]) -> dict[int, float]:
    """The sum of columns, as an expression."""
    return dict.fromkeys(columns, 1.0)
