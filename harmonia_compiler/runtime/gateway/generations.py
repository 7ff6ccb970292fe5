"""Follows `generations.json` and what lies beside it: which generations there are, where their replicas listen."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.decision import DECISION
from harmonia_compiler.contract.document import decode_versioned
from harmonia_compiler.contract.generations import ENDPOINTS, FORMAT_VERSION, GENERATIONS, Generations, folder_of
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.bundle import read_service
from harmonia_compiler.runtime.gateway.decisions import DecisionFile
from harmonia_compiler.runtime.gateway.endpoints import EndpointsFile
from harmonia_compiler.runtime.gateway.front import Front, Member
from harmonia_compiler.runtime.gateway.late import UnusableVariables
from harmonia_compiler.runtime.gateway.logs import log
from harmonia_compiler.runtime.gateway.polling import Polled
from harmonia_compiler.runtime.gateway.service import Gateway

#: A service that no target replaces has one generation, of which no document speaks.
ONLY = 0


class Followed:
    """A generation with the files that are looked at for it.

    In the one the target says where its replicas listen, in the other the controller, who knows only the service's own
    generation, what each is to get.
    """

    def __init__(self, member: Member, endpoints: Path, decision: Path) -> None:
        gateway = member.gateway
        self.member = member
        self.endpoints = EndpointsFile(endpoints, gateway.set_endpoints)
        self.decisions = DecisionFile(decision, gateway.service, gateway.watch, gateway.dispatcher.set_shares)
        self.endpoints.look()


class GenerationsFile:
    """The newest good content of the document. `make` gives a generation's gateway, or raises what its kinds do."""

    def __init__(self, run: Path, make: Callable[[Service], Gateway]) -> None:
        self._run, self._make = run, make
        self._file = Polled(run / GENERATIONS)
        self._followed: dict[int, Followed] = {}
        self._front: Front | None = None

    def begin(self, service: Service, endpoints: Path) -> Front:
        """What is served from the start: what the document says, or else this service."""
        self.look()
        if self._front is None:
            one = Followed(Member(ONLY, 1.0, self._make(service)), endpoints, self._run / DECISION)
            self._followed = {ONLY: one}
            self._front = Front((one.member,))
        self.look_at_decisions()
        return self._front

    def look(self) -> None:
        """Read the document again if it is another than last time, and serve what it says."""
        try:
            raw = self._file.news()
            if raw is None:
                return
            said = decode_versioned(raw, Generations, 1, FORMAT_VERSION)
        except (OSError, msgspec.MsgspecError) as problem:
            self._file.forget()
            log("generations_unreadable", reason=type(problem).__name__)
            return
        if self._front is not None and said.epoch < self._front.epoch:
            log("generations_stale", epoch=said.epoch, current=self._front.epoch)
            return
        try:
            known = {one.number: self._followed.get(one.number) or self._read(one.number) for one in said.serving}
        except (Rejected, UnusableVariables) as problem:
            log("generations_refused", epoch=said.epoch, reason=str(problem))
            if self._front is not None:
                self._front.refused = str(problem)
            return
        for one in said.serving:
            known[one.number].member.share = one.share
        self._followed = known
        members = [known[one.number].member for one in said.serving]
        if self._front is None:
            self._front = Front(tuple(members))
        self._front.replace(members)
        self._front.epoch, self._front.refused = said.epoch, ""
        log("generations", epoch=said.epoch, shares={str(one.number): one.share for one in said.serving})

    def look_at_endpoints(self) -> None:
        """Where the replicas of each generation listen."""
        for one in self._followed.values():
            one.endpoints.look()

    def look_at_decisions(self) -> None:
        """What the controller says of the service's own generation."""
        if self._front is not None:
            next(one for one in self._followed.values() if one.member is self._front.members[0]).decisions.look()

    def _read(self, number: int) -> Followed:
        """A generation from its folder; raises Rejected or UnusableVariables."""
        folder = folder_of(self._run, number)
        member = Member(number, 0.0, self._make(read_service(folder)))
        return Followed(member, folder / ENDPOINTS, self._run / DECISION)
