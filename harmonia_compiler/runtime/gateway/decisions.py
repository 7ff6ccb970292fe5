"""Follows the controller's decisions: what each replica is to be given, from `run/decision.json`.

The gateway needs no controller. A decision that is damaged, is for another plan, wants what no plan would or is not
newer than the one that is followed changes nothing; neither does a controller that is gone or hangs. So the last good
decision stays, and before the first one the plan.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import ReplicaShare, Service
from harmonia_compiler.contract.decision import FORMAT_VERSION, Decision, fingerprint
from harmonia_compiler.contract.document import decode_versioned
from harmonia_compiler.runtime.gateway.logs import log
from harmonia_compiler.runtime.gateway.polling import Polled
from harmonia_compiler.runtime.gateway.watch import Watch

#: Between these lie the weights that anything is decided by.
LEAST_WEIGHT, MOST_WEIGHT = 1e-9, 1e12


class DecisionFile:
    """The newest good content of the file; `take` is handed its shares, and `watch` told which one is followed."""

    def __init__(
        self, path: Path, service: Service, watch: Watch, take: Callable[[dict[str, ReplicaShare]], None]
    ) -> None:
        self._file = Polled(path)
        self._plan = fingerprint(service)
        self._planned = service.shares
        self._watch = watch
        self._take = take

    def look(self) -> None:
        """Read the file again if it is another than last time, and follow what it says."""
        try:
            raw = self._file.news()
            if raw is None:
                return
            decision = decode_versioned(raw, Decision, 1, FORMAT_VERSION)
        except OSError as problem:
            self._refuse(f"it cannot be read: {problem.strerror}")
            return
        except msgspec.MsgspecError:
            self._refuse("it is damaged, or of another format")
            return
        why = self._objection(decision)
        if why:
            self._refuse(why)
            return
        self._watch.refused = ""
        if decision.epoch == self._watch.epoch:
            return
        self._watch.epoch = decision.epoch
        self._take(bounded(self._planned, decision))
        log("decision", epoch=decision.epoch, shares=len(decision.shares))

    def _objection(self, decision: Decision) -> str:
        """What speaks against following a decision; empty where nothing does."""
        if decision.plan != self._plan:
            return "it is for another plan"
        if decision.epoch < self._watch.epoch:
            return f"its epoch is {decision.epoch}, and {self._watch.epoch} is followed already"
        for replica, share in decision.shares.items():
            if not LEAST_WEIGHT <= share.weight <= MOST_WEIGHT:
                return f"it gives `{replica}` the weight {share.weight:g}"
        return ""

    def _refuse(self, why: str) -> None:
        self._watch.refused = why
        log("decision_refused", reason=why, follows=self._watch.epoch)


def bounded(planned: Mapping[str, ReplicaShare], decision: Decision) -> dict[str, ReplicaShare]:
    """The plan's shares with what was decided instead; none gets more calls at once than the plan has room for."""
    most = max((share.batch for share in planned.values()), default=1)
    found = dict(planned)
    for replica, share in decision.shares.items():
        room = planned[replica].batch if replica in planned else most
        found[replica] = ReplicaShare(min(share.batch, room), share.weight)
    return found
