"""Options of commands that start emulated engines: how long all takes, and what goes wrong."""

from collections.abc import Callable
from typing import TypeVar

import click

from harmonia_compiler.cli.options import NumberRange
from harmonia_compiler.emulate.rehearsal.mishaps import parse_delay, parse_fault

Read = TypeVar("Read")

_FAULT = "'NAME WAY [HOW MUCH] [at TIME] [for TIME]'"
_FAULT_HELP = (
    "Let replicas go wrong: 'answer slow 3x at 30s for 10s', 'search fail 20%', or hang, die, lie in /health. "
    "May be given several times."
)
_DELAY_HELP = "How long engines take to load when they start, all or one. May be given several times."


def _read(
    parse: Callable[[str], Read],
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[Read, ...]]:
    """What reads each value of an option that may be given several times."""

    def read(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[Read, ...]:
        try:
            return tuple(map(parse, given))
        except ValueError as problem:
            raise click.BadParameter(str(problem), context, parameter) from None

    return read


#: By how much all times are stretched, the command's parameter `factor`.
factor_option = click.option(
    "--factor",
    type=NumberRange(min=1.0, max=10_000.0),
    help="Stretch all times so much; a rehearsal does by default as much as this machine needs.",
)
#: What goes wrong, the command's parameter `faults`.
faults_option = click.option(
    "--fault", "faults", metavar=_FAULT, multiple=True, callback=_read(parse_fault), help=_FAULT_HELP
)
#: How long engines load, the command's parameter `delays`.
delays_option = click.option(
    "--start-delay", "delays", metavar="[NAME=]DURATION", multiple=True, callback=_read(parse_delay), help=_DELAY_HELP
)
