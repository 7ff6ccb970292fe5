"""`--simulate`: a plan that a simulation has confirmed, with a line for each that was tried."""

import click

from harmonia_compiler.cli.plan_tables import carries
from harmonia_compiler.cli.planning import Make
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.emulate.certify import ENOUGH_REQUESTS, Reached, Tried, certify
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.plan.infeasible import Infeasible, Limit

simulate_option = click.option(
    "--simulate", "is_simulated", is_flag=True, help="Plan as near to the promises as a simulation keeps them."
)


def simulated(make: Make, hosts: Inventory) -> tuple[Application, Plan]:
    """The best plan whose simulation keeps what is promised. Raises Infeasible where none of those tried does."""
    tried = certify(make, hosts, load_cards())
    for one in tried:
        click.echo(_said(one), err=True)
    last = tried[-1]
    if last.missed:
        raise Infeasible([_limit(last, missed) for missed in last.missed])
    click.echo(f"the plan's own latencies are reckoned, at {_rate(last, last.reckoned_rps)}", err=True)
    again = f"give its file to `simulate` or `rehearse` with --plan, and --rate {_digits(last, last.rate_rps)}"
    click.echo(f"to try this plan again, {again}", err=True)
    return last.application, last.plan


def _said(one: Tried) -> str:
    words = {True: f"with a margin of {one.margin:.2f}, ", False: f"promises loosened by {1.0 / one.margin:.2f}, "}
    how = "" if one.margin == 1.0 else words[one.margin > 1.0]
    said = []
    if not one.missed:
        what = "every promise is kept" if not one.unjudged else "no promise is missed"
        said.append(what if one.reached else "nothing is promised")
    said += [f"`{each.name}` misses {each.objective.describe()} with {_reached(each)}" for each in one.missed]
    if not one.missed:
        said += [f"`{each.name}` keeps {each.objective.describe()} with {_reached(each)}" for each in one.kept]
    said += [f"{each.objective.describe()} of `{each.name}` is not judged{_why(each)}" for each in one.unjudged]
    return f"{how}simulated at {_rate(one, one.rate_rps)}: {', '.join(said)}"


def _reached(one: Reached) -> str:
    return f"{shown_ms(one.found_ms)} in {one.requests:,} requests"


def _why(unjudged: Reached) -> str:
    if unjudged.is_expected:
        return f" by {unjudged.requests:,} requests, of {ENOUGH_REQUESTS:,} that it takes"
    return ", of which no request is expected: say in `load` how many there are"


def _rate(one: Tried, rps: float) -> str:
    return f"{_digits(one, rps)} rps{' in all' if len(one.plan.pipelines) > 1 else ''}"


def _digits(one: Tried, rps: float) -> str:
    """A rate of all requests, in the digits that a plan's table shows."""
    return carries(sum(share.load_rps for share in one.plan.pipelines), rps)


def _limit(last: Tried, missed: Reached) -> Limit:
    message = (
        f"`{missed.name}` promises {missed.objective.describe()}, and the most careful plan that there is comes to "
        f"{shown_ms(missed.found_ms)} in the simulation of {missed.requests:,} requests at {_rate(last, last.rate_rps)}"
    )
    help_ = f"promise {shown_ms(missed.found_ms * 1.05)} or more, lower the load, or add devices"
    return Limit(Diagnostic("E0726", message, help=help_))
