"""`--simulate`: a plan that a simulation has confirmed, with a line for each that was tried."""

import click

from harmonia_compiler.cli.planning import Make
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.emulate.certify import Missed, Tried, certify
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.plan.infeasible import Infeasible, Limit


def simulated(make: Make, hosts: Inventory) -> tuple[Application, Plan]:
    """The first plan whose simulation keeps what is promised. Raises Infeasible where none of those tried does."""
    tried = certify(make, hosts, load_cards())
    for one in tried:
        click.echo(_said(one), err=True)
    last = tried[-1]
    if last.missed:
        raise Infeasible([_limit(missed) for missed in last.missed])
    return last.application, last.plan


def _said(one: Tried) -> str:
    careful = f"with a margin of {one.margin:.2f}, " if one.margin > 1.0 else ""
    if not one.missed:
        return f"{careful}simulated: every promise is kept"
    missed = ", ".join(
        f"`{each.pipeline}` reaches {shown_ms(each.found_ms)} of {each.objective.describe()}" for each in one.missed
    )
    return f"{careful}simulated: {missed}"


def _limit(missed: Missed) -> Limit:
    message = (
        f"`{missed.pipeline}` promises {missed.objective.describe()}, and the most careful plan that there is comes to "
        f"{shown_ms(missed.found_ms)} in the simulation"
    )
    help_ = f"promise {shown_ms(missed.found_ms * 1.05)} or more, lower the load, or add devices"
    return Limit(Diagnostic("E0726", message, help=help_))
