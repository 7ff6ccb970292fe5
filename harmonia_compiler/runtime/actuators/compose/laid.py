"""What the containers of a service find on their host, which the keeper puts there and back where somebody removed it.

Folders, secrets, the token by which the controller reads the gateway's readings, variables for compose, and the socket
on which the controller asks for replicas.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from harmonia_compiler.contract.decision import INSIDE
from harmonia_compiler.contract.readings import TOKEN
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.asking import Answer, Listening, Wish
from harmonia_compiler.runtime.actuators.compose.reading import ComposeBundle
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory

LOG = logging.getLogger(__name__)


class Laid:
    """What is laid out for one service; `answer` is for what is asked on the socket."""

    def __init__(
        self, bundle: Path, documents: ComposeBundle, run: RunDirectory, answer: Callable[[Wish], Answer]
    ) -> None:
        self._bundle, self._documents, self._run, self._answer = bundle, documents, run, answer
        self._port = 0
        self._token = b""
        self._listening: Listening | None = None

    def begin(self, port: int) -> None:
        """Put everything in place for a gateway at a port of this host; raises OSError and `Rejected`."""
        self._port, self._token = port, _token_of(self._run.path / INSIDE)
        self._lay_out()

    def keep(self) -> None:
        """Put back what somebody removed from the folder of the run; raises OSError and `Rejected`."""
        if not preparing.is_laid_out(self._run.path, self._documents):
            self._lay_out()
            LOG.warning("something was removed from the folder of the run, and has been put back")

    def close(self) -> None:
        """Answer no more."""
        if self._listening is not None:
            self._listening.close()

    def _lay_out(self) -> None:
        preparing.prepare_folders(self._bundle, self._documents)
        preparing.write_secrets(self._bundle, self._documents, os.environ)
        preparing.hand_over(self._run.path / INSIDE, TOKEN, self._token)
        self._run.write(TOKEN, self._token)
        preparing.write_variables(self._bundle, self._documents, self._port)
        self.close()
        self._listening = Listening(self._run.path / preparing.CONTROL, preparing.owner()[0], self._answer)


def _token_of(inside: Path) -> bytes:
    """What lets the controller's container read the gateway's readings: what containers that run already know."""
    with contextlib.suppress(OSError):
        return read_regular(inside / TOKEN, MOST_DOCUMENT_BYTES)
    return secrets.token_hex(32).encode()
