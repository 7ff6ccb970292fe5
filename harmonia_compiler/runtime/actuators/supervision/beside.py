"""The process that a service does well without: its controller, kept up beside it and waited for by nobody."""

import asyncio
import contextlib
import logging
from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import SAID, Said
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.launch import Fill, Launch, Probe
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.runtime.actuators.supervision import placing
from harmonia_compiler.runtime.actuators.supervision.managed import Managed, StartFailed
from harmonia_compiler.runtime.actuators.supervision.spec import Spec
from harmonia_compiler.runtime.bundle import CONTROLLER, LocalBundle

LOG = logging.getLogger(__name__)

_LAUNCH = Launch((Fill("python"), "-m", "harmonia_compiler.runtime.controller", "."), Probe("none"))


def controller_of(bundle: Path, documents: LocalBundle) -> Spec | None:
    """The controller; None where the plan says nothing that it could correct."""
    if not (documents.plan.profiles and documents.service.expected):
        return None
    return Spec(CONTROLLER, "", _LAUNCH, bundle)


async def keep_beside(managed: Managed) -> None:
    """Keep a process up until cancelled, also where it does not even come up."""
    while True:
        try:
            await managed.run()
        except StartFailed as failed:
            LOG.warning("%s; the service goes on without it", failed)
            await asyncio.sleep(placing.LONGEST_DELAY_S)


def last_words(run: Path) -> Said | None:
    """What the controller of a run directory said last; None where it has said nothing that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return decode_document(read_regular(run / SAID, MOST_DOCUMENT_BYTES), Said)
    return None
