"""Which requests come in, and when: the options of every command that is driven by a workload."""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial, wraps
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import click

from harmonia_compiler.cli.options import IN_FILE, NumberRange, WholeRange
from harmonia_compiler.cli.output import print_diagnostics
from harmonia_compiler.contract.duration import duration_ms, shown_ms
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import suggestion
from harmonia_compiler.workload.arrivals import (
    bursty,
    classed,
    compressed,
    constant,
    mean_rate_rps,
    multiplied,
    poisson,
    until,
    window,
)
from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.trace import read_trace
from harmonia_compiler.workload.traces.registry import format_names

Command = TypeVar("Command", bound=Callable[..., Any])

#: How long requests are generated where nobody says.
_DEFAULT_FOR_MS = 60_000.0
#: How long at most where it is as long as some requests take to come.
_MOST_FOR_MS = 86_400_000.0
#: What becomes of each request is kept, and of more of them no memory holds it. A run of more than a year has no end
#: that anybody waits for.
MOST_REQUESTS, MOST_MS = 5_000_000, 366 * 86_400_000.0
#: Gaps that vary by less are even.
_LEAST_CV = 1e-6


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say."""

    rate: float | None
    cv: float | None
    trace: Path | None
    trace_format: str | None
    compress: float | None
    scale: float | None
    start_ms: float | None
    for_ms: float | None
    classes: tuple[tuple[str, float], ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Workload:
    """The requests, in the order of their times; until when they come; and how to say so."""

    arrivals: Iterator[Arrival]
    end_ms: float
    said: dict[str, str]


def duration_option(
    name: str, *more: str, default: str | None = None, zero: bool = False, help: str
) -> Callable[[Command], Command]:
    """An option that takes `90s` or `2m`, and gives the command milliseconds; where `zero` may be said, also `0s`."""
    return click.option(
        name,
        *more,
        metavar="DURATION",
        default=default,
        show_default=default is not None,
        callback=partial(_duration, zero=zero),
        help=help,
    )


def _duration(
    context: click.Context, parameter: click.Parameter, given: str | None, *, zero: bool = False
) -> float | None:
    try:
        return None if given is None else duration_ms(given, zero=zero)
    except ValueError as problem:
        raise click.BadParameter(str(problem), context, parameter) from None


def _shares(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:
    shares: dict[str, float] = {}
    for written in given:
        name, _, share = written.partition("=")
        try:
            part = float(share or 1) if share.isascii() else 0.0
        except ValueError:
            part = 0.0
        # The name is sent in a header.
        if not (name and name.isprintable()) or not 0.0 < part < math.inf:
            raise click.BadParameter(f"{written!r} is not NAME=SHARE with a share above 0", context, parameter)
        if name in shares:
            raise click.BadParameter(f"{name} is given twice", context, parameter)
        shares[name] = part
    return tuple(shares.items())


def workload_options(command: Command) -> Command:
    """The options, given to the command as `asked`."""

    @wraps(command)
    def with_asked(*arguments: Any, **given: Any) -> Any:
        asked = Asked(**{name: given.pop(name) for name in Asked.__dataclass_fields__})
        return command(*arguments, asked=asked, **given)

    above_0 = NumberRange(min=0.0, min_open=True, max=1e6)
    options = (
        click.option("--rate", type=above_0, help="Requests a second on average; a trace is sped up to it."),
        click.option("--bursty", "cv", metavar="CV", type=NumberRange(0.0, 100.0), help=_CV_HELP),
        click.option("--trace", type=IN_FILE, help="Replay the requests of a recording."),
        click.option(
            "--trace-format", type=click.Choice(format_names()), help="Told by the first line where not said."
        ),
        click.option("--compress", type=above_0, metavar="N", help="Replay a trace N times as fast."),
        click.option(
            "--scale", type=above_0, metavar="N", help="N times as many requests of a trace in the same time."
        ),
        duration_option("--from", "start_ms", help="Begin so far into a trace."),
        duration_option("--for", "for_ms", help="How long to send: 60s, or the whole trace."),
        click.option("--class", "classes", metavar="NAME=SHARE", multiple=True, callback=_shares, help=_CLASS_HELP),
        click.option("--seed", type=WholeRange(0), default=1, show_default=True, help="Another seed, other chances."),
    )
    decorated = with_asked
    for option in reversed(options):
        decorated = option(decorated)
    return cast("Command", decorated)


_CV_HELP = "Arrivals in bursts: how much gaps vary for their mean. 0 is even, 1 as Poisson's."
_CLASS_HELP = "A class of requests and its part; may be given several times."


def for_enough(asked: Asked, requests: int) -> Asked:
    """What is asked for, until about so many requests have come where nobody says for how long."""
    if asked.for_ms is not None or asked.trace is not None or asked.rate is None:
        return asked
    takes_ms = min(_MOST_FOR_MS, 1000.0 * requests / asked.rate)
    return dataclasses.replace(asked, for_ms=max(_DEFAULT_FOR_MS, takes_ms))


def workload(asked: Asked) -> Workload:
    """The requests that the options ask for. Options that contradict each other are a UsageError."""
    found = _generated(asked) if asked.trace is None else _recorded(asked, asked.trace)
    if not asked.classes:
        return found
    shares = ", ".join(f"{name} {share:g}" for name, share in asked.classes)
    return Workload(classed(found.arrivals, asked.classes, asked.seed), found.end_ms, {**found.said, "classes": shares})


def _generated(asked: Asked) -> Workload:
    needs = {
        "--trace-format": asked.trace_format,
        "--compress": asked.compress,
        "--scale": asked.scale,
        "--from": asked.start_ms,
    }
    for name, value in needs.items():
        if value is not None:
            raise click.UsageError(f"{name} is about a trace: give one with --trace FILE")
    if asked.rate is None:
        raise click.UsageError("say how many requests a second come with --rate, or replay some with --trace FILE")
    end_ms = _DEFAULT_FOR_MS if asked.for_ms is None else asked.for_ms
    if asked.cv is not None and 0.0 < asked.cv < _LEAST_CV:
        raise click.UsageError(f"--bursty is 0, where gaps are even, or at least {_LEAST_CV:g}")
    _bound(asked.rate * end_ms / 1000.0, end_ms, "let fewer come with --rate, or for a shorter time with --for")
    if asked.cv is None:
        arrivals, how = poisson(asked.rate, asked.seed), "Poisson"
    elif asked.cv == 0.0:
        arrivals, how = constant(asked.rate), "even"
    else:
        arrivals, how = bursty(asked.rate, asked.cv, asked.seed), f"bursty, CV {asked.cv:g}"
    said = {"arrivals": f"{how}, {asked.rate:g}/s for {shown_ms(end_ms)}", "seed": str(asked.seed)}
    coming = until(arrivals, end_ms)
    first = next(coming, None)
    if first is None:
        message = f"no request comes in {shown_ms(end_ms)} at {asked.rate:g}/s"
        raise Rejected(
            [Diagnostic("E1307", message, help="let more of them come with --rate, or for longer with --for")]
        )
    return Workload(chain((first,), coming), end_ms, said)


def _recorded(asked: Asked, path: Path) -> Workload:
    if asked.cv is not None:
        raise click.UsageError("--bursty is about generated arrivals: a trace has bursts of its own")
    if asked.rate is not None and asked.compress is not None:
        raise click.UsageError("--rate speeds a trace up to a rate, --compress by a factor: give one of them")
    trace = read_trace(path, asked.trace_format)
    print_diagnostics(trace.found)
    arrivals = [*window(trace.arrivals, asked.start_ms or 0.0)]
    said = {"trace": f"{path.name} ({trace.format})", "seed": str(asked.seed)}
    factor = asked.compress or 1.0
    if asked.rate is not None:
        # Of what is sent, not of the whole recording, which has quiet hours; copies come on top.
        wanted = asked.rate / (asked.scale or 1.0)
        if asked.for_ms is not None:
            arrivals = arrivals[: max(2, round(wanted * asked.for_ms / 1000.0) + 1)]
        mean = mean_rate_rps(arrivals)
        if mean is None:
            _nothing(path, "has no two requests at different times to take a rate from")
        # What is slowed down beyond what numbers hold lasts too long in any case.
        factor = wanted / mean or sys.float_info.min
    if factor != 1.0:
        arrivals = [*compressed(arrivals, factor)]
        said["compressed"] = f"{factor:.4g} times as fast"
    if asked.for_ms is not None:
        arrivals = [*until(arrivals, asked.for_ms)]
    last_ms = arrivals[-1].at_ms if arrivals else 0.0
    less = "take a part of it with --from and --for, or fewer with --scale"
    _bound(len(arrivals) * (asked.scale or 1.0), last_ms, less)
    if asked.scale is not None:
        arrivals = multiplied(arrivals, asked.scale, asked.seed)
        said["scaled"] = f"{asked.scale:g} times as many requests"
    if asked.for_ms is not None:
        # Copies come later than what they are copies of.
        arrivals = [*until(arrivals, asked.for_ms)]
    if not arrivals:
        _nothing(path, "has no request in the time that was asked for")
    # A trace that ends before the time that was asked for is no quiet hour.
    last_ms = arrivals[-1].at_ms
    rate = mean_rate_rps(arrivals)
    end_ms = last_ms + (1000.0 / rate if rate else 1000.0)
    if asked.for_ms is not None and end_ms > asked.for_ms > last_ms:
        end_ms = asked.for_ms
    said["arrivals"] = f"{len(arrivals)} recorded in {shown_ms(end_ms)}"
    return Workload(iter(arrivals), end_ms, said)


def _bound(requests: float, for_ms: float, help_: str) -> None:
    """Refuse what nobody could wait for or keep."""
    if requests > MOST_REQUESTS:
        message = f"about {requests:,.0f} requests are to come, and {MOST_REQUESTS:,} are the most of one run"
        raise Rejected([Diagnostic("E1308", message, help=help_)])
    if for_ms > MOST_MS:
        message = f"requests are to come for {shown_ms(for_ms)}, and {shown_ms(MOST_MS)} is the most of one run"
        raise Rejected([Diagnostic("E1308", message, help=help_)])


def _nothing(path: Path, why: str) -> NoReturn:
    help_ = "look at --from, --for, --scale and at the times in the trace"
    raise Rejected([Diagnostic("E1307", f"the trace `{path}` {why}", help=help_)])


def known_classes(asked: Asked, those: Iterable[str], lacks: str) -> None:
    """Whoever asks for requests of a class that is none of `those` is told so, and that it `lacks` it."""
    known = sorted(those)
    for name, _ in asked.classes:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there are none"
            raise click.UsageError(f"--class {name[:64]}: {lacks}; {suggestion(name[:64], known, there)}")
