"""What actuators refuse and give up in the same words, whatever they start."""

from pathlib import Path

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.actuators.actuator import NotStarted
from harmonia_compiler.runtime.actuators.supervision.rundir import Asked, RunDirectory
from harmonia_compiler.runtime.actuators.supervision.store import UNFIT
from harmonia_compiler.runtime.bundle import SUPERVISOR

#: How many lines of a log are shown where a start failed.
SHOWN_LINES = 12


def unusable(run: RunDirectory, problem: OSError) -> Rejected:
    """The folder of a run cannot be written."""
    message = f"`{run.path}` cannot be written: {problem.strerror}"
    step = "the state and the logs of a running service go there: give it room and write permission"
    return Rejected([Diagnostic("E0910", message, help=step)])


def check_asked(bundle: Path, asked: Asked, given: Asked, port: int | None) -> None:
    """Raise `Rejected` where a service that runs, or is starting, was started with other options than these.

    It was `given` its own; `port` is that of its gateway, where that is known.
    """
    found: dict[str, str] = {}
    if asked.port not in (None, port):
        why = "its gateway takes any port that is free" if port is None else f"its gateway listens on port {port}"
        found[f"--port {asked.port}"] = why
    if asked.reembed and not given.reembed:
        found["--reembed"] = "it was started without"
    if found:
        named = shell_word(bundle)
        step = f"`harmoniac down {named}` first, then `up` with the options that you want; or leave them out"
        raise Rejected(
            [
                Diagnostic("E0917", f"`{bundle}` runs already, and `{option}` changes nothing there: {why}", help=step)
                for option, why in found.items()
            ]
        )


def not_started(bundle: Path, process: str, why: str, said: list[str], *, goes_on: bool = False) -> NotStarted:
    """A start was given up for a process that `said` this; where it `goes_on`, it is another command's."""
    named = shell_word(bundle)
    step = f"{_read_all(named, process)}; what was started is stopped again"
    if UNFIT in why:
        step = f"`harmoniac up {named} --reembed` starts without it, so that it can be built anew"
    if goes_on:
        step = f"another `up` started it, and it goes on: `harmoniac status {named}` shows how far it is"
    return given_up(process, why, step, said)


def not_stopped(bundle: Path, failed: NotStarted, refused: Rejected) -> NotStarted:
    """The same of a start that failed, where stopping again what had been started was `refused`."""
    (found,), named = failed.found, shell_word(bundle)
    why = "; ".join(one.message for one in refused.found)
    step = (
        f"not all that was started is stopped again ({why}): `harmoniac down {named}` tries again, "
        f"`harmoniac status {named}` says how it is; {_read_all(named, failed.process)}"
    )
    return NotStarted(msgspec.structs.replace(found, help=step), failed.process, failed.said)


def not_taken_over(bundle: Path, process: str, why: str, said: list[str], *, goes_on: bool) -> NotStarted:
    """A service that was up was not taken over for a process that `said` this; it may be yet where that `goes_on`."""
    named = shell_word(bundle)
    after = f"nobody looks after it: `harmoniac up {named}` takes it over"
    if goes_on:
        after = f"so does its takeover: `harmoniac status {named}` shows how far it is"
    step = f"the service goes on as it was, and {after}, `harmoniac down {named}` ends it; {_read_all(named, process)}"
    return given_up(process, why, step, said)


def not_seen(bundle: Path, why: str, said: list[str]) -> NotStarted:
    """A service that was up already, of which nobody knows whether it is ready; its supervisor `said` this."""
    named = shell_word(bundle)
    step = f"`harmoniac status {named}` shows when somebody has seen it again, `harmoniac down {named}` ends it"
    message = f"`{bundle}` was started before, and nobody knows whether it is ready: {why}"
    return NotStarted(Diagnostic("E0909", message, help=step), SUPERVISOR, said)


def stopped_meanwhile(bundle: Path) -> Rejected:
    """A start that came to nothing since somebody else stopped the service, of which nothing is left to stop."""
    message = f"`{bundle}` was stopped before it was ready, as another `down` does"
    step = f"where it is wanted, `harmoniac up {shell_word(bundle)}` starts it again"
    return Rejected([Diagnostic("E0927", message, help=step)])


def not_replaced(bundle: Path, process: str, why: str, said: list[str]) -> NotStarted:
    """A replacement was given up for a process that `said` this."""
    named = shell_word(bundle)
    step = _read_all(named, process)
    if UNFIT in why:
        # With both embedders in service, neither could search the other's collection.
        step = (
            f"to build it anew, `harmoniac down {named}`, compile into `{bundle}`, `harmoniac up {named} --reembed`, "
            f"and `harmoniac ingest … --service {named} --reembed`"
        )
    return given_up(process, why, f"the service goes on as it was; {step}", said)


def given_up(process: str, why: str, step: str, said: list[str]) -> NotStarted:
    """A process did not become ready, and what to do next."""
    return NotStarted(Diagnostic("E0909", f"`{process}` did not become ready: {why}", help=step), process, said)


def _read_all(named: str, process: str) -> str:
    return f"read all that it wrote with `harmoniac logs {named} {process}`"
