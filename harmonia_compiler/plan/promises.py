"""What is promised of a pipeline, and to whom: its objectives, and the deadlines of its request classes.

Plans are made by these, and simulations judge them by these.
"""

from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.flow.graph import Flow

#: The part of a class's requests that is to be answered by its deadline where its pipeline says of no part.
CLASS_QUANTILE = 0.95


def promises(flow: Flow) -> list[tuple[Objective, str | None]]:
    """Each promise of a pipeline, with the class whose requests it is about; None is all of them."""
    usual = max((one.quantile for one in flow.objectives if one.metric == "latency"), default=CLASS_QUANTILE)
    of_classes = [
        (Objective("latency", usual, one.deadline_ms), one.name) for one in flow.classes if one.deadline_ms is not None
    ]
    return [*((one, None) for one in flow.objectives), *of_classes]


def named(pipeline: str, request_class: str | None) -> str:
    """Of whom a promise is: `desk`, `desk/urgent`."""
    return pipeline if request_class is None else f"{pipeline}/{request_class}"
