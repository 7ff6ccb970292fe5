"""`--readings DIR`: what the service of a bundle measured, for a plan that goes by it."""

from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import INSIDE, KEPT, REMEMBERED, fingerprint
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.plan.corrected import Measured, measured_by
from harmonia_compiler.policy.control.learning import visits_of
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.runtime.bundle import read_plan_of, read_service
from harmonia_compiler.runtime.controller.measured import read_state, says_something, strangers
from harmonia_compiler.runtime.owning import check_readable


def measured_in(bundle: Path) -> Measured:
    """What the controller beside a bundle's service remembers of it, or did when the last one that was called ended.

    Raises Rejected where there is nothing of use.
    """
    check_readable(bundle)
    plan, service = read_plan_of(bundle), read_service(bundle)
    step = f"start the bundle with `harmoniac up {shell_word(bundle)}`, send it requests, and plan again"
    run = bundle / "run"
    own = [run / REMEMBERED, run / INSIDE / REMEMBERED, run / KEPT]
    there = [file for file in own if file.exists()] or own[:1]
    for file in there:
        state = _read(file, step)
        if says_something(state):
            break
        # One that has just begun says nothing yet, and what the one before measured still holds.
    if state.plan != fingerprint(service):
        raise _rejected(f"the readings `{file}` are of another plan than the bundle's", step)
    for wrong in strangers(state, service):
        raise _rejected(f"the readings `{file}` cannot be used: {wrong}, which the bundle does not have", step)
    times = {name: ratio.value for name, ratio in state.engines.items() if ratio.evidence > 0}
    visits = {
        share.name: {
            name: visits_of(share.visits[name], ratio)
            for name, ratio in state.visits.get(share.name, {}).items()
            if ratio.evidence > 0 and name in share.visits
        }
        for share in plan.pipelines
    }
    if not times and not any(visits.values()):
        raise _rejected(f"the readings `{file}` say nothing yet: no call has ended", step)
    return measured_by(plan, times, visits)


def _read(file: Path, step: str) -> State:
    try:
        return read_state(file)
    except (OSError, msgspec.MsgspecError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else problem
        raise _rejected(f"the readings `{file}` cannot be read: {why}", step) from None


def _rejected(message: str, step: str) -> Rejected:
    return Rejected([Diagnostic("E0732", message, help=step)])
