"""Brings the weights of models from a hub into the model store of this host: once, whoever asks, and only when asked.

The hub's client runs in a process of its own (`runtime/worker/fetch_weights.py`), which alone is given the token. What
loads the weights afterwards asks no hub.
"""

import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import msgspec

from harmonia_compiler.contract.card import Card, is_added
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.actuators.supervision.command import supervised
from harmonia_compiler.runtime.modules import module_command
from harmonia_compiler.runtime.weights import (
    WEIGHTS_FOLDER,
    find,
    is_model,
    locate,
    locked,
    stored_folder,
    wanted,
)

#: Where what was begun lies in a model's folder of the store, until it is complete.
DRAFT = ".fetching"
#: The hub's own names of the token: of all processes, only the one that fetches sees them.
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")

_MODULE = "harmonia_compiler.runtime.worker.fetch_weights"
#: How long a process that is no longer wanted may take to end, in seconds.
_GRACE_S = 5.0


class Said(msgspec.Struct, frozen=True):
    """A line of the process that fetches: how many bytes of how many are there, or why it ended without them."""

    bytes: int = 0
    of: int = 0
    why: str = ""


#: Is told how far it is.
Tell = Callable[[Said], None]


def fetch(model: str, environment: Mapping[str, str], tell: Tell) -> Path:
    """The folder of the weights of `name` or `name@revision`, fetched where they are not on this host.

    Several that ask at once wait for the first. Raises `Rejected` where there is no card, or they cannot be fetched.
    """
    card = wanted(model)
    if find(card) is None and not is_added(card.revision):
        out = stored_folder(card) / WEIGHTS_FOLDER
        with locked(out.parent):
            if not is_model(out):
                _fetch(card, out, environment, tell)
    return locate(model)


def _fetch(card: Card, out: Path, environment: Mapping[str, str], tell: Tell) -> None:
    if find_spec("huggingface_hub") is None:
        step = 'install it with `pip install "harmonia-compiler[hub]"`'
        raise _unfetched(card, "the client of the hub is not installed", step)
    # Tied to the life of this process, whose lock on the folder ends with it.
    command = supervised(module_command(_MODULE, card.name, card.revision, str(out)), ())
    # The client tells its hub otherwise who uses it, and in what.
    environment = {**environment, "HF_HUB_DISABLE_TELEMETRY": "1"}
    ended = Said(why="the process that fetches ended without a word")
    with subprocess.Popen(  # noqa: S603 - words of ours; a name is a card's
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                with suppress(msgspec.MsgspecError):
                    ended = decode_document(line, Said)
                    tell(ended)
            process.wait()
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        raise _unfetched(card, ended.why or "it was ended", _step(card, environment))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _step(card: Card, environment: Mapping[str, str]) -> str:
    if card.gated and not any(environment.get(name) for name in TOKENS):
        return f"accept its licence at https://huggingface.co/{card.name}, and set HF_TOKEN to a token of yours"
    return "once that is mended, ask again: what has arrived stays; or bring a folder with `harmoniac models add`"


def _unfetched(card: Card, why: str, step: str) -> Rejected:
    message = f"the weights of `{card.name}` cannot be fetched: {why}"
    return Rejected([Diagnostic("E0810", message, help=step)])
