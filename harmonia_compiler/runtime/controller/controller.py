"""One window after another: ask the gateway, decide, and write down what was decided, why, and what to remember."""

import errno
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import DECISION, REMEMBERED, SAID, Decision, Reason, Said
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.readings import Readings
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular, write_whole
from harmonia_compiler.policy.control.decide import begun, decide
from harmonia_compiler.policy.control.division import Divide
from harmonia_compiler.policy.control.planned import Planned
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.policy.control.succession import succeeded
from harmonia_compiler.runtime.controller.asking import PATIENCE_S, Heard, ask
from harmonia_compiler.runtime.controller.journal import Journal

JOURNAL = Path("logs", "controller.jsonl")
#: How long a window is, in seconds.
EVERY_S = 5.0


def leave(_: Mapping[str, int]) -> None:
    """What is told a target that cannot start or stop replicas."""


@dataclass(slots=True)
class Controller:
    """The controller of one running bundle, whose files lie in `run`.

    `scale` is told how many replicas each engine is to have. The gateway may take `patience_s` to say its readings.
    """

    planned: Planned
    run: Path
    divide: Divide
    scale: Callable[[Mapping[str, int]], None] = leave
    patience_s: float = PATIENCE_S
    state: State = field(init=False)
    _journal: Journal = field(init=False)
    _trouble: str = ""

    def __post_init__(self) -> None:
        self._journal = Journal(self.run / JOURNAL)
        self.state = _remembered(self.run / REMEMBERED, self.planned) or begun(self.planned)

    def look(self, now: float, day_s: float) -> Decision:
        """One window: `now` by a clock that only goes forward, `day_s` the seconds of the day."""
        heard = ask(self.run, self.patience_s)
        readings = heard.readings
        self.state, decision = decide(self.planned, self.state, readings, now, day_s, self.divide)
        reasons = (*_about_hearing(heard), *decision.reasons)
        wanted = {REMEMBERED: self.state, SAID: Said(time.time(), decision.epoch, reasons)}
        if decision.epoch > 0 and readings is not None and (readings.epoch < decision.epoch or readings.refused):
            # Whatever became of the file that was written before: it is not followed, or would not be after a restart.
            wanted = {DECISION: decision, **wanted}
        try:
            if not self.run.is_dir():
                raise FileNotFoundError(errno.ENOENT, "it has been removed")  # and it is not for us to make it anew
            for name, document in wanted.items():
                write_whole(self.run / name, msgspec.json.encode(document), 0o600)
            self.scale({name: count for name, count in decision.replicas.items() if self._may_change(name)})
            self._journal.write(Said(time.time(), decision.epoch, reasons), now)
        except OSError as problem:
            self._say(f"{self.run} cannot be written: {problem.strerror}")
        else:
            self._say("")
        return decision

    def _may_change(self, engine: str) -> bool:
        return not self.planned.engines[engine].is_fixed

    def _say(self, trouble: str) -> None:
        """Say what is in the way, once."""
        if trouble and trouble != self._trouble:
            print(trouble, flush=True)  # noqa: T201 - a process's log is what it prints
        self._trouble = trouble


def _about_hearing(heard: Heard) -> tuple[Reason, ...]:
    """Why the gateway was not heard, or does not follow what it was told."""
    if heard.why:
        return (Reason("", acted=False, why=heard.why),)
    readings: Readings | None = heard.readings
    if readings is not None and readings.refused:
        return (Reason("", acted=False, why=f"the gateway refused what `{DECISION}` said last: {readings.refused}"),)
    return ()


def _remembered(path: Path, planned: Planned) -> State | None:
    """What was remembered of the service: by an earlier process, or by the controller of a plan that this one replaced.

    None where there is nothing that can be used.
    """
    try:
        state = decode_document(read_regular(path, MOST_DOCUMENT_BYTES), State)
    except (OSError, msgspec.MsgspecError):
        return None
    # A plan is known without its times, which may be others.
    fits = state.plan == planned.fingerprint and state.expected == planned.expected
    fits = fits and state.sizes.keys() == planned.engines.keys()
    fits = fits and state.forecasts.keys() == planned.expected.keys()
    return state if fits else succeeded(state, planned)
