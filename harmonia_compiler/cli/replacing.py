"""What `up` and `rollback` say while a running service is replaced."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import click

from harmonia_compiler.cli.stopping import stopped_as_by_hand
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Replacing, Status, found_actuator


def replacing(bundle: Path) -> Replacing:
    """The actuator of a service that can be replaced; raises `Rejected` where its target cannot do that."""
    actuator = found_actuator(bundle)
    if not isinstance(actuator, Replacing):
        message = f"a service of the target of `{bundle}` is not replaced while it runs"
        step = f"`harmoniac down {shell_word(bundle)}`, then `harmoniac up` with the new one"
        raise Rejected([Diagnostic("E0918", message, help=step)])
    return actuator


def share_of(context: click.Context, parameter: click.Parameter, written: str | None) -> float | None:
    """`5%` as 0.05."""
    if written is None:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", written)
    if match is None or not 0.0 < float(match[1]) < 100.0:
        raise click.BadParameter(f"{written!r} is no part of the requests; write 5%", context, parameter)
    return float(match[1]) / 100.0


def replaced(bundle: Path, ask: Callable[[], Status | None]) -> None:
    """Have a service replaced, and say what came of it; an interrupted or failed one leaves the service as it was."""
    began = time.monotonic()
    try:
        with stopped_as_by_hand():
            status = ask()
    except NotStarted as failure:
        print_log(failure)
        raise
    except KeyboardInterrupt:
        click.echo(f"interrupted; `harmoniac status {shell_word(bundle)}` says how the service is", err=True)
        raise
    if status is None:
        click.echo(f"{bundle} runs that bundle already: nothing is replaced")
        return
    took = f"after {time.monotonic() - began:.1f} s: {status.url}/v1"
    canary = next((one for one in status.generations if one.share > 0.0 and not one.is_base), None)
    if canary is not None:
        click.echo(f"generation {canary.number} serves {_percent(canary.share)} of new requests {took}")
        click.echo(f"next: {_either(bundle)}")
        return
    click.echo(f"generation {status.history[-1]} serves all new requests {took}")
    if len(status.history) > 1:
        click.echo(
            f"next: `harmoniac status {shell_word(bundle)}`; `harmoniac rollback {shell_word(bundle)}` goes back"
        )


def print_log(failure: NotStarted) -> None:
    """The last lines of what did not come up."""
    if failure.said:
        click.echo(f"the last lines of {failure.process}'s log:", err=True)
        for line in failure.said:
            click.echo(f"  | {line}", err=True)


def told(status: Status, bundle: Path) -> list[str]:
    """The generations in words, where there is more to say than that there is one."""
    said = []
    for one in status.generations:
        if one.is_base and one.share == 1.0 and len(status.generations) == 1:
            continue
        if one.share > 0.0:
            what = f"serves {_percent(one.share)} of new requests"
            asked = f"; {one.answered} of its {one.arrived} requests were answered"
            said.append(f"generation {one.number} {what}{asked}" + ("" if one.is_base else f"; {_either(bundle)}"))
        elif status.rollout is not None and status.rollout.to == one.number and status.rollout.phase == "starting":
            part = _percent(status.rollout.share)
            said.append(f"generation {one.number} is being started, to serve {part} of new requests")
        else:
            said.append(f"generation {one.number} ends what it has begun, and gets no new requests")
    rollout = status.rollout
    if rollout is not None and rollout.phase == "failed":
        culprit = f"`{rollout.process}`: " if rollout.process else ""
        said.append(f"generation {rollout.to} was given up, and the service is as it was: {culprit}{rollout.why}")
    if len(status.history) > 1:
        before = status.history[-2]
        said.append(f"generation {status.history[-1]} is in service; before it was generation {before}")
    return said


def _either(bundle: Path) -> str:
    """What ends the trial of a generation that has a part of the requests."""
    named = shell_word(bundle)
    return f"`harmoniac up {named} --promote` gives it all, `harmoniac rollback {named}` none"


def _percent(share: float) -> str:
    return f"{100.0 * share:.3g} %"
