"""Docker's own commands for the containers of one bundle. Whatever they print is data."""

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from harmonia_compiler.contract.compose import COMPOSE
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.actuators.supervision.command import basics, supervised

#: How long a question to the engine may take, and an order, in seconds.
QUESTION_S, ORDER_S = 30.0, 120.0

#: Found by its name, as whoever types it finds it.
_DOCKER = ("docker",)

#: Below `run/`: the variables of the compose file.
VARIABLES = "compose.env"

#: Set to the containers' project in the environment of what is told to start or to end them, and of nothing else.
_ORDERS = "HARMONIA_ORDERS"
#: How long an order that nobody waits for any more may take to end, in seconds.
_ORDER_ENDS_S = 5.0

#: Labels of each container: the name that all of a bundle bear, and its service.
PROJECT, _SERVICE = "com.docker.compose.project", "com.docker.compose.service"


class _Actor(msgspec.Struct, rename={"attributes": "Attributes"}):
    attributes: dict[str, str] = {}


class _Died(msgspec.Struct, rename={"actor": "Actor"}):
    """What is told of a container's end."""

    actor: _Actor


class DockerFailed(Exception):
    """A command of Docker's failed; the message is its last line."""


def project_of(bundle: Path) -> str:
    """The name that its containers bear: as its keeper said last, or else a name of this very folder at this place.

    By its place alone, one in which another was before that was moved away would have that one's.
    """
    run = rundir.RunDirectory(bundle)
    with contextlib.suppress(rundir.Damaged):
        state = run.read_state()
        if state is not None and state.project:
            return state.project
    number = run.path.stat().st_ino if run.path.is_dir() else 0
    return f"harmonia-{hashlib.sha256(os.fsencode(bundle.resolve()) + b':%d' % number).hexdigest()[:10]}"


class Docker:
    """The containers of a bundle, known by a name that no other bundle of this host has.

    Without the files that they are of, they can be seen and ended, and not started.
    """

    def __init__(self, bundle: Path, outer: Mapping[str, str], files: Sequence[str] = (COMPOSE,)) -> None:
        self._bundle, self._files = bundle, files
        self._environment = {
            **basics(outer),
            **{name: value for name, value in outer.items() if name.startswith("DOCKER_")},
            # What a bar of progress would write over and over is of no use in a log.
            "COMPOSE_PROGRESS": "plain",
        }
        self.project = project_of(bundle)
        self._ordering = {**self._environment, _ORDERS: self.project}

    def stay(self) -> None:
        """Speak to the engine that is meant now from now on, also where another context is made the current one.

        It is kept by its context's name, beside which the keys lie that its engine may want.
        """
        with contextlib.suppress(DockerFailed):
            said = self._said([*_DOCKER, "context", "inspect", "--format", "{{.Name}}"], QUESTION_S)
            if name := said.decode(errors="replace").strip():
                # DOCKER_HOST, where it is said, goes before it.
                self._environment["DOCKER_CONTEXT"] = self._ordering["DOCKER_CONTEXT"] = name

    def end_orders(self) -> None:
        """End what was told to start or to end containers, also by one that was killed since: it would go on.

        Only one who alone may start and end them may say so.
        """
        pids.end(pids.marked_with(self.project, _ORDERS), _ORDER_ENDS_S)

    def version(self) -> str:
        """The engine's version; raises `DockerFailed` where the engine or the compose plugin is not there."""
        self._said([*_DOCKER, "compose", "version", "--short"], QUESTION_S)
        said = self._said([*_DOCKER, "version", "--format", "{{.Server.Version}}"], QUESTION_S)
        return said.decode(errors="replace").strip()

    def engine(self) -> str:
        """What tells the engine from any other; empty where it does not say.

        Its name for itself is not enough: two on one host may read it in the same file, and a copied host has the same.
        """
        try:
            said = self._said([*_DOCKER, "info", "--format", "{{.ID}} {{.Name}} {{.DockerRootDir}}"], QUESTION_S)
            return said.decode(errors="replace").strip()
        except DockerFailed:
            return ""

    def has_image(self, name: str) -> bool:
        """Whether an image is on this host."""
        try:
            self._said([*_DOCKER, "image", "inspect", "--format", "{{.Id}}", name], QUESTION_S)
        except DockerFailed:
            return False
        return True

    def containers(self) -> dict[str, dict[str, Any]]:
        """What the engine says of each container, by its service; raises `DockerFailed`."""
        ids, said = self._ids(), b"[]"
        while ids:
            try:
                said = self._said([*_DOCKER, "inspect", *ids], QUESTION_S)
                break
            except DockerFailed:
                # One of them may have been removed since it was listed.
                before, ids = ids, self._ids()
                if ids == before:
                    raise
        try:
            found = msgspec.json.decode(said, type=list[dict[str, Any]])
        except msgspec.MsgspecError as problem:
            raise DockerFailed(f"its answer cannot be read: {problem}") from problem
        return {one["Config"]["Labels"].get(_SERVICE, ""): one for one in found}

    def up(self, services: Sequence[str], log: IO[bytes], *, alone: bool = True) -> "subprocess.Popen[bytes]":
        """Start these services, or all of the plan, as far as they do not run; what it does goes into the log.

        One that runs and is not as the files now say is made anew. If not `alone`, they wait for each other.
        """
        how = "--no-deps" if services and alone else "--remove-orphans"
        return subprocess.Popen(
            [*self._compose(), "up", "--detach", "--quiet-pull", how, *services],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self._bundle,
            env=self._ordering,
        )

    def halt(self, grace_s: float, *services: str) -> None:
        """End these services, or all: their containers stay, and what they said; raises `DockerFailed`."""
        everything = [] if services else ["--profile", "further"]
        self._order([*self._compose(), *everything, "stop", "--timeout", f"{grace_s:.0f}", *services])

    def stop(self, service: str, grace_s: float) -> None:
        """End one service and remove its container; raises `DockerFailed`."""
        self.halt(grace_s, service)
        self._order([*self._compose(), "rm", "--force", service])

    def down(self, grace_s: float) -> None:
        """End and remove everything but data; raises `DockerFailed`."""
        if self._files and all((self._bundle / name).is_file() for name in self._files):
            everything = [*self._compose(), "--profile", "further", "down", "--remove-orphans"]
            self._order([*everything, "--timeout", f"{grace_s:.0f}"])
        # What files that are not there, or are others by now, do not say bears the project's name as well.
        if ids := self._ids():
            self._order([*_DOCKER, "stop", "--time", f"{grace_s:.0f}", *ids])
            self._order([*_DOCKER, "rm", "--force", *ids])
        if networks := self.networks():
            self._order([*_DOCKER, "network", "rm", *networks])

    def follow(self, container: str, since: str, log: int) -> "subprocess.Popen[bytes]":
        """Write what a container says into a log, until it ends or this process does.

        `since` is a time as the engine writes it, or in seconds of the epoch.
        """
        return subprocess.Popen(
            supervised([*_DOCKER, "logs", "--follow", "--since", since, container], ()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=self._environment,
        )

    def ended_with(self, container: str, since: str) -> int | None:
        """The exit code of a container that has ended and runs again; None where the engine does not know any more.

        `since` is when it ended, as the engine writes times. It keeps what happened of late, and not for long.
        """
        about = ["--filter", f"container={container}", "--filter", "event=die", "--format", "{{json .}}"]
        try:
            # Up to now, or it would go on telling what happens.
            said = self._said(
                [*_DOCKER, "events", "--since", since, "--until", f"{time.time():.9f}", *about], QUESTION_S
            )
            died = [msgspec.json.decode(line, type=_Died) for line in said.splitlines()]
            return int(died[-1].actor.attributes["exitCode"]) if died else None
        except (DockerFailed, msgspec.MsgspecError, KeyError, ValueError):
            return None

    def execute(self, container: str, command: Sequence[str], said: bytes, limit_s: float) -> bytes:
        """Run a command in a container; gives what it prints. Raises `DockerFailed`."""
        return self._said([*_DOCKER, "exec", "--interactive", container, *command], limit_s, said)

    def networks(self) -> list[str]:
        """The networks that were made for them, by their numbers; raises `DockerFailed`."""
        return self._listed("network", "ls")

    def _ids(self) -> list[str]:
        return self._listed("ps", "--all")

    def _listed(self, *what: str) -> list[str]:
        """The numbers of all of one kind that bear the project's name."""
        listing = [*_DOCKER, *what, "--quiet", "--no-trunc", "--filter", f"label={PROJECT}={self.project}"]
        return self._said(listing, QUESTION_S).decode(errors="replace").split()

    def _compose(self) -> list[str]:
        # All is relative to the folder in which Docker is told: that may be moved.
        known = ["--env-file", f"run/{VARIABLES}"] if (self._bundle / "run" / VARIABLES).is_file() else []
        return [
            *(*_DOCKER, "compose", "--project-name", self.project, "--project-directory", "."),
            *known,
            *(word for name in self._files for word in ("--file", name)),
        ]

    def _order(self, command: Sequence[str]) -> None:
        self._said(command, ORDER_S, environment=self._ordering)

    def _said(
        self,
        command: Sequence[str],
        limit_s: float,
        given: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        try:
            done = subprocess.run(
                command,
                input=given,
                capture_output=True,
                check=False,
                timeout=limit_s,
                cwd=self._bundle,
                env=self._environment if environment is None else environment,
            )
        except FileNotFoundError:
            raise DockerFailed("there is no command `docker`") from None
        except subprocess.TimeoutExpired:
            message = f"`{command[0]} {command[1]}` does not end within {limit_s:g} s"
            raise DockerFailed(message) from None
        except OSError as problem:
            raise DockerFailed(str(problem)) from problem
        if done.returncode != 0:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            raise DockerFailed(lines[-1] if lines else f"`{command[0]} {command[1]}` exits {done.returncode}")
        return done.stdout
