"""`harmoniac profile`: measures how fast a real engine runs, for plans, rehearsals and simulations."""

import asyncio
import datetime as dt
import secrets
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.one_engine import configuration_here, running
from harmonia_compiler.cli.options import IN_FILE, OUT_FILE, WholeRange, format_option, settings_option
from harmonia_compiler.cli.outputs import refuse_overwriting, write_output
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.home import profile_store
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.kinds.llm import DEFAULT_CONTEXT
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.asking import NotAsked, asking
from harmonia_compiler.profile.facts import facts
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.memory import precision_of
from harmonia_compiler.profile.record import MeasuredProfile, Ran, encode, profile_of
from harmonia_compiler.profile.serving import Stepping, serving
from harmonia_compiler.profile.store import keep
from harmonia_compiler.profile.sweep import observe, sweep_for

#: What is taken of an engine at a URL where neither it nor the user says: vLLM's own defaults on CPU, and no bound.
_STEP_TOKENS = 2048
_SEQUENCES = 128
_UNBOUNDED = 2**30
#: The bits of a seed that any reader of JSON keeps.
_SEED_BITS = 53


@click.command()
@click.argument("file", required=False, type=IN_FILE)
@click.option(
    "--component", help="The language model of FILE that is started here and measured, or a component that it answers."
)
@click.option("--url", help="A running OpenAI-compatible engine to measure instead of starting one.")
@click.option("--model", help="The model's name at that URL.")
@click.option("--batch", type=WholeRange(min=1), help="The most calls at once (`--max-num-seqs`).")
@click.option(
    "--step-tokens",
    type=WholeRange(min=16),
    help="The most tokens of a step (`--max-num-batched-tokens`) of the engine at the URL.",
)
@click.option(
    "--repeats", type=WholeRange(min=1), default=5, show_default=True, help="How often each is asked, at least."
)
@click.option("--out", type=OUT_FILE, help="Write the profile to this file.")
@click.option(
    "--keep/--no-keep",
    "kept",
    default=True,
    show_default=True,
    help="Keep what was measured of FILE's engine, so that plans on this machine take it.",
)
@format_option
@settings_option
def command(
    file: Path | None,
    component: str | None,
    url: str | None,
    model: str | None,
    batch: int | None,
    step_tokens: int | None,
    repeats: int,
    out: Path | None,
    form: str,
    settings: dict[str, str],
    *,
    kept: bool,
) -> None:
    """Measure an engine: the one of a component of FILE, started here, or one that runs at a URL.

    It is asked with prompts of several lengths, with several answers side by side, and with both at once; how long a
    step takes follows from that. The engine, and this machine, should have nothing else to do meanwhile.

    What is measured of FILE's engine is kept, and later plans take it for that model on such GPUs or as many cores.
    Of an engine at a URL nobody knows what it runs on: it is only written to a file.
    """
    if (url is None) == (file is None) or (url is not None and model is None) or (file is None) != (component is None):
        raise click.UsageError("give FILE and --component, or --url and --model")
    if file is not None and step_tokens is not None:
        raise click.UsageError("--step-tokens is for an engine at a --url: what is started here is told how many")
    if url is not None and model is not None:
        limits = Limits(_UNBOUNDED, step_tokens or _STEP_TOKENS, batch or _SEQUENCES, DEFAULT_CONTEXT)
        # An engine's address is given to clients with the path that they take, and may lack its scheme as a gateway's.
        base = (url if "://" in url else f"http://{url}").rstrip("/").removesuffix("/v1")
        measured = until_interrupted(_measure(base, model, limits, repeats))
    else:
        assert file is not None
        engine = _engine(file, str(component), settings)
        configuration = configuration_here(engine, batch)
        measured = until_interrupted(_measure_here(engine, configuration, repeats))
        if kept:
            _keep(measured)
    document = encode(measured)
    if out is not None:
        write_output(out, document)
    if form == "json":
        click.echo(document, nl=False)
    else:
        _print(measured)


def until_interrupted(measuring: Coroutine[Any, Any, MeasuredProfile]) -> MeasuredProfile:
    """What comes of it. Ctrl-C cancels it, and pressed again changes nothing of how it ends.

    By itself asyncio would raise the second one amid the loop's own work, where it may lose whom it was about to wake.
    """
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler

    async def heard() -> MeasuredProfile:
        task = asyncio.current_task()
        assert task is not None

        def pressed() -> None:
            if not task.cancelling():
                task.cancel()

        if is_heard:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, pressed)
        return await measuring

    try:
        return asyncio.run(heard())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _keep(profile: MeasuredProfile) -> None:
    """Keep a profile for plans; raises Rejected where it cannot be written."""
    try:
        path = keep(profile, profile_store())
    except OSError as problem:
        message = f"the profile cannot be kept in `{profile_store()}`: {problem.strerror}"
        help = "set `HARMONIA_HOME` to a folder that can be written, or give `--no-keep` and `--out`"
        raise Rejected([Diagnostic("E1207", message, help=help)]) from problem
    click.echo(f"kept for plans as {path}", err=True)


def _engine(file: Path, component: str, settings: dict[str, str]) -> Engine:
    """The language model of that name, or of the component that it answers; raises Rejected where there is none."""
    checked = check_files([file], settings)
    if checked.application is None:
        raise Rejected(checked.found)
    refuse_overwriting(checked.read)
    engines = {name: one for name, one in checked.application.engines.items() if one.kind == "llm"}
    # What a component is made of has a name that users see, and may have no ports to be called by.
    answered = {
        name: engines[one.engine] for name, one in checked.application.components.items() if one.engine in engines
    }
    named = {**engines, **answered}
    if component not in named:
        message = f"`{file}` has no language model `{component}`, and no component `{component}` that one answers"
        help = f"name one of {listed(sorted(named))}" if named else "no pipeline of it calls a component of kind `llm`"
        raise Rejected([Diagnostic("E1205", message, help=help)])
    return named[component]


async def _measure_here(engine: Engine, configuration: Configuration, repeats: int) -> MeasuredProfile:
    model = str(engine.settings["model"])
    click.echo(f"starting {model} on {configuration.describe()}", err=True)
    cards, reference = load_cards(), kinds()[engine.kind].model_of(engine)
    works = serving(engine, configuration, cards)
    assert reference is not None, engine
    assert isinstance(works, Stepping), engine
    card = cards.of(reference)
    precision = precision_of(engine, card, configuration.precision)
    ran = Ran(precision, configuration.gpu, configuration.gpus, configuration.cores, card.revision)
    async with running(engine, card, configuration) as url:
        return await _measure(url, model, works.limits, repeats, ran)


async def _measure(url: str, model: str, assumed: Limits, repeats: int, ran: Ran | None = None) -> MeasuredProfile:
    # No measurement before had the same prompts, which the engine's prefix cache would know.
    seed = secrets.randbits(_SEED_BITS)
    try:
        found = await facts(url, model, assumed)
        async with asking(url, model, seed) as asker:
            observations = await observe(asker, found.limits, sweep_for(found.limits, repeats), _tell)
    # A host's name that is too long is found out where it is written as names are in the network.
    except (NotAsked, OSError, aiohttp.ClientError, TimeoutError, UnicodeError) as problem:
        help = "give the URL of an engine that runs and streams `/v1/chat/completions`, with no other path than `/v1`"
        why = str(problem) or type(problem).__name__
        raise Rejected([Diagnostic("E1202", f"{url} cannot be measured: {why}", help=help)]) from problem
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return profile_of(
        observations, model=model, engine=found.engine, limits=found.limits, date=today, ran=ran, seed=seed
    )


def _tell(what: str) -> None:
    click.echo(what, err=True)


def _print(profile: MeasuredProfile) -> None:
    # The model's name and the engine's version are somebody else's words.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False, emoji=False)
    table = Table("what", "measured", "fitted", "off by", title=f"{profile.model} on {profile.engine}", box=SIMPLE)
    for seen in profile.observations:
        error = seen.fitted_ms / seen.measured_ms - 1.0
        table.add_row(seen.what, f"{seen.measured_ms:.1f} ms", f"{seen.fitted_ms:.1f} ms", f"{error:+.0%}")
    console.print(table)
    residual = profile.residual
    console.print(f"The fit is off by {residual.median:.0%} in the median and {residual.worst:.0%} at worst.")
