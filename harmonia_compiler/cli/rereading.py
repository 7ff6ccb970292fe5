"""`--readings DIR`: what the service of a bundle measured, for a plan that goes by it."""

from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import REMEMBERED, fingerprint
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.plan.corrected import Measured, measured_by
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.runtime.bundle import read_plan_of, read_service


def measured_in(bundle: Path) -> Measured:
    """What the controller beside a bundle's service remembers of it. Raises Rejected where there is nothing of use."""
    plan, service = read_plan_of(bundle), read_service(bundle)
    file = bundle / "run" / REMEMBERED
    step = "start the bundle with `harmoniac up`, send it requests, and plan again"
    try:
        state = decode_document(read_regular(file, MOST_DOCUMENT_BYTES), State)
    except (OSError, msgspec.MsgspecError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else problem
        raise _rejected(f"the readings `{file}` cannot be read: {why}", step) from None
    if state.plan != fingerprint(service):
        raise _rejected(f"the readings `{file}` are of another plan than the bundle's", step)
    times = {name: ratio.value for name, ratio in state.engines.items() if ratio.evidence > 0}
    visits = {
        pipeline: {name: ratio.value for name, ratio in known.items() if ratio.evidence > 0}
        for pipeline, known in state.visits.items()
    }
    if not times and not any(visits.values()):
        raise _rejected(f"the readings `{file}` say nothing yet: no call has ended", step)
    return measured_by(plan, times, visits)


def _rejected(message: str, step: str) -> Rejected:
    return Rejected([Diagnostic("E0732", message, help=step)])
