"""How many replicas each engine has, by what is wanted: who is to run, and who is on its way out."""

import contextlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import fingerprint
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_TEXT_BYTES, read_regular
from harmonia_compiler.runtime.actuators.compose.asking import Answer, Wish, refusal
from harmonia_compiler.runtime.actuators.compose.docker import Docker, DockerFailed
from harmonia_compiler.runtime.actuators.compose.reading import ComposeBundle
from harmonia_compiler.runtime.actuators.compose.watched import Watched
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.controller.asking import ask

#: Below `run/`: the last wish that was granted, so that it outlives the process that granted it.
WISH = "wish.json"

#: A gateway sends a replica nothing more so long after it left the endpoints, in seconds.
_UNROUTED_S = 1.5
#: How long a replica may take for what it still works on, and how often it is looked whether it does, in seconds.
_DRAIN_S, _LOOK_EVERY_S = 120.0, 1.0


class Counts:
    """Grants wishes within the bounds of the bundle. Wishes come from another thread than looks."""

    def __init__(self, documents: ComposeBundle, run: RunDirectory, docker: Docker) -> None:
        by_engine = {
            engine: [one for one in these if one in documents.here] for engine, these in documents.by_engine().items()
        }
        self._by_engine = {engine: [one.replica for one in these] for engine, these in by_engine.items()}
        self._planned = {engine: sum(not one.further for one in these) for engine, these in by_engine.items()}
        # Of an engine with replicas on other hosts too, nobody here knows how many there are.
        self._bounds = {engine: len(these) for engine, these in documents.scalable().items() if documents.is_front}
        self._run, self._docker = run, docker
        self._lock = threading.Lock()
        self._wish = _last(run.path, fingerprint(documents.service)) or Wish(fingerprint(documents.service), 0, {})

    def answer(self, wish: Wish) -> Answer:
        """Grant a wish, or say why not."""
        with self._lock:
            if why := refusal(wish, self._wish.plan, self._wish.epoch, self._bounds):
                return Answer(accepted=False, why=why)
            granted = msgspec.structs.replace(wish, replicas={**self._wish.replicas, **wish.replicas})
            if granted != self._wish:
                try:
                    self._run.write(WISH, msgspec.json.encode(granted))
                except OSError as problem:
                    return Answer(accepted=False, why=f"the host cannot write it down: {problem.strerror}")
                self._wish = granted
            return Answer(accepted=True)

    def wanted(self) -> list[str]:
        """Who is to run."""
        with self._lock:
            counts: Mapping[str, int] = {**self._planned, **self._wish.replicas}
        return [name for engine, names in self._by_engine.items() for name in names[: counts[engine]]]

    def let_go(self, watched: Watched) -> None:
        """Have one end once it has ended the calls that it has."""
        watched.leaving = True
        ending = threading.Thread(target=self._end, args=(watched,), name=f"ending {watched.name}", daemon=True)
        ending.start()

    def _end(self, watched: Watched) -> None:
        time.sleep(_UNROUTED_S)
        until = time.monotonic() + _DRAIN_S
        while self._works(watched.name) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)
        # Where that fails, whoever looks next finds it still there, and lets it go again.
        with contextlib.suppress(DockerFailed):
            self._docker.stop(watched.name, GRACE_S)
        watched.leaving = watched.was_ready = False

    def _works(self, name: str) -> bool:
        """Whether the gateway still awaits anything of a replica; a gateway that is not there awaits nothing."""
        heard = ask(self._run.path)
        replicas = () if heard.readings is None else heard.readings.replicas
        return any(one.in_flight > 0 for one in replicas if one.replica == name)


def _last(run: Path, plan: str) -> Wish | None:
    """The last wish that was granted for this plan."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        found = decode_document(read_regular(run / WISH, MOST_TEXT_BYTES), Wish)
        return found if found.plan == plan else None
    return None
