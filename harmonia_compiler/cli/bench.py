"""`harmoniac bench`: puts a running service under load, and reports rates, latencies and what it refused."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import msgspec
import uvloop

from harmonia_compiler.cli.arriving import Asked, Workload, duration_option, known_classes, workload, workload_options
from harmonia_compiler.cli.exits import INTERRUPTED
from harmonia_compiler.cli.options import IN_FILE, WholeRange, format_option, inputs_option
from harmonia_compiler.cli.outputs import refuse_overwriting
from harmonia_compiler.cli.reporting import counted, html_option, print_report, warmup_option
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.objective import Objective, bound_ms, parse_objectives
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.kinds.http import KEY, KEY_FORM
from harmonia_compiler.report.building import measured
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.runtime.descriptors import raise_open_files
from harmonia_compiler.runtime.gateway.client import find_gateway
from harmonia_compiler.runtime.load.exchange import OURS
from harmonia_compiler.runtime.load.routes import ChatRoute, NativeRoute
from harmonia_compiler.runtime.load.run import Progress, Ran, Sending, run
from harmonia_compiler.runtime.load.sender import session
from harmonia_compiler.runtime.load.target import Target, find_target
from harmonia_compiler.workload.questions import prompt, question
from harmonia_compiler.workload.request import Arrival

_SLO_HELP = "What to hold it to: 'p95 latency <= 4 s, p95 ttft <= 1 s'."
#: How long a question is where neither options nor a trace say.
_QUESTION_TOKENS = 32
_MOST_QUESTIONS_BYTES = 64 << 20


def _objectives(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[Objective, ...]:
    try:
        return tuple(objective for some in given for objective in parse_objectives(some))
    except ValueError as problem:
        raise click.BadParameter(str(problem), context, parameter) from None


@click.command()
@click.argument("url")
@click.option("--model", "--pipeline", "model", help="Which one; needed where the service has several.")
@workload_options
@click.option("--questions", type=IN_FILE, help="A file of questions, one a line, asked in turn.")
@click.option("--question-tokens", type=WholeRange(1, 10**6), help="How long made-up questions are.")
@click.option("--max-tokens", type=WholeRange(1), help="The most tokens of an answer; a trace has its own.")
@inputs_option
@click.option("--slo", metavar="OBJECTIVES", multiple=True, callback=_objectives, help=_SLO_HELP)
@warmup_option
@duration_option("--timeout", "timeout_ms", default="120s", help="Give up waiting for an answer.")
@click.option("--native", is_flag=True, help="By the gateway's own route, which tells the time of each stage.")
@click.option("--stream/--no-stream", default=True, help="Whether answers come in pieces. On by default.")
@click.option("--api-key-env", metavar="NAME", help="The environment variable that holds the service's key.")
@html_option
@format_option
@click.pass_context
def command(
    context: click.Context,
    url: str,
    model: str | None,
    questions: Path | None,
    question_tokens: int | None,
    max_tokens: int | None,
    inputs: dict[str, str],
    slo: tuple[Objective, ...],
    warmup_ms: float | None,
    timeout_ms: float,
    api_key_env: str | None,
    html: Path | None,
    form: str,
    *,
    asked: Asked,
    native: bool,
    stream: bool,
) -> None:
    """Send requests to the service at URL, each at its time whatever became of earlier ones, and report.

    URL is any OpenAI-compatible service, or the folder of a running bundle. Latency counts from when a request was
    meant to be sent. Ctrl-C ends the run, and what was seen until then is reported.
    """
    if not stream and bound_ms(slo, "ttft") is not None:
        raise click.UsageError("--slo: a bound on `ttft` needs answers in pieces: leave out --no-stream")
    refuse_overwriting()
    coming, window = counted(workload(asked), warmup_ms)
    texts = None if questions is None else _read_questions(questions)
    headers = {} if api_key_env is None else {"authorization": f"Bearer {_key(api_key_env)}"}
    base = find_gateway(url).url
    raise_open_files()

    def sending(target: Target) -> Sending:
        if native and target.question_field is None:
            raise click.UsageError(f"--native is for gateways of harmonia, and {base} is none")
        if target.question_field is not None:
            known_classes(asked, target.class_deadlines_ms, f"`{target.model}` has no such class")
        return Sending(
            target=target,
            route=NativeRoute() if native else ChatRoute(),
            question=_asker(texts, question_tokens, asked.seed, is_pipeline=target.question_field is not None),
            max_tokens=lambda arrival: max_tokens or _recorded(arrival),
            timeout_s=timeout_ms / 1000.0,
            stream=stream,
            deadline_ms=bound_ms(slo, "latency"),
            ttft_deadline_ms=bound_ms(slo, "ttft"),
        )

    target, ran = uvloop.run(_bench(base, model, inputs, headers, coming, sending))
    print_report(_report(base, target, coming, ran, slo, window), form, html)
    if ran.was_stopped:
        context.exit(INTERRUPTED)


def _recorded(arrival: Arrival) -> int | None:
    """The tokens of the recorded answer, at least one: fewer cannot be asked for, and none would be no bound."""
    return None if arrival.answer_tokens is None else max(1, arrival.answer_tokens)


async def _bench(
    base: str,
    model: str | None,
    inputs: dict[str, str],
    headers: dict[str, str],
    coming: Workload,
    sending: Callable[[Target], Sending],
) -> tuple[Target, Ran]:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    async with session(headers) as client:
        target = await find_target(client, base, model, inputs)
        loop.add_signal_handler(signal.SIGINT, stop.set)
        try:
            return target, await run(client, sending(target), coming.arrivals, stop, _tell)
        finally:
            # The loop does not take it back at its end.
            loop.remove_signal_handler(signal.SIGINT)


def _asker(
    texts: list[str] | None, tokens: int | None, seed: int, *, is_pipeline: bool
) -> Callable[[int, Arrival], str]:
    """The question of a request.

    A pipeline finds its passages itself: what a trace says of whole prompts, passages included, is for bare models.
    """

    def ask(number: int, arrival: Arrival) -> str:
        if texts is not None:
            return texts[number % len(texts)]
        if tokens is not None:
            return question(seed, number, tokens)
        if arrival.question_tokens is not None:
            return question(seed, number, arrival.question_tokens)
        if is_pipeline or arrival.prompt_tokens is None:
            return question(seed, number, _QUESTION_TOKENS)
        return prompt(seed, number, arrival, arrival.prompt_tokens)

    return ask


def _report(
    base: str, target: Target, coming: Workload, ran: Ran, slo: tuple[Objective, ...], window: Window
) -> Report:
    notes: list[str] = []
    if ran.was_stopped and ran.until_ms < coming.end_ms:
        notes.append(f"The run was ended after {shown_ms(ran.until_ms)} of {shown_ms(coming.end_ms)}.")
        if window.from_ms >= ran.until_ms:
            notes.append(f"That is within its warm-up of {shown_ms(window.from_ms)}; all of it is counted.")
        window = Window(window.from_ms if window.from_ms < ran.until_ms else 0.0, ran.until_ms)
    held = ", ".join(one.describe() for one in slo) or _own_promise(target)
    settings = {"service": base, "model": target.model, **coming.said, "held to": held or "nothing"}
    report = measured("measurement", f"{target.model} at {base}", ran.observed, window, {target.model: slo}, settings)
    latency = report.groups[0].figures.latency if report.groups else None
    ran_out = any(one.outcome is Outcome.FAILED and one.reason.startswith(OURS) for one in ran.observed)
    machine = ran.watch.found(latency.p50 if latency else None, ran_out=ran_out)
    return msgspec.structs.replace(report, machine=machine, notes=(*notes, *report.notes))


def _own_promise(target: Target) -> str:
    deadlines = {"": target.deadline_ms, **target.class_deadlines_ms}
    said = [f"{name} {shown_ms(ms)}".strip() for name, ms in deadlines.items() if ms is not None]
    return f"the service's own deadline: {', '.join(said)}" if said else ""


def _read_questions(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_QUESTIONS_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as problem:
        _unusable(path, problem.strerror or "it cannot be read")
    except UnicodeDecodeError:
        _unusable(path, "it is not UTF-8 text")
    if len(raw) > _MOST_QUESTIONS_BYTES:
        _unusable(path, f"it is larger than {_MOST_QUESTIONS_BYTES >> 20} MiB")
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        _unusable(path, "it holds no question")
    return found


def _unusable(path: Path, why: str) -> NoReturn:
    raise Rejected([Diagnostic("E1322", f"the questions in `{path}` cannot be used: {why}", help=_ONE_A_LINE)])


_ONE_A_LINE = "give a text file with a question on each line"


def _key(name: str) -> str:
    """The key that a variable of the environment holds, without the blanks and line ends around it.

    A file of variables may end each line in a way that its reader keeps. Raises Rejected for what no header holds.
    """
    key = os.environ.get(name, "").strip()
    if not key:
        raise click.UsageError(f"the environment has no variable {name}, or nothing in it")
    if not re.fullmatch(KEY, key):
        message = f"what the environment's variable {name} holds is no key that can be sent"
        raise Rejected([Diagnostic("E1324", message, help=f"a key consists of {KEY_FORM}: set {name} anew")])
    return key


def _tell(progress: Progress) -> None:
    ended = progress.ended
    others = sum(count for outcome, count in ended.items() if outcome not in {Outcome.OK, Outcome.REFUSED})
    print(
        f"bench: {progress.at_s:.0f} s, {progress.sent} sent, {ended[Outcome.OK]} answered, "
        f"{ended[Outcome.REFUSED]} refused, {others} failed, {progress.running} running",
        file=sys.stderr,
        flush=True,
    )
