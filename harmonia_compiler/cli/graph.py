"""`harmoniac graph`: draws pipelines after the passes, as the planner sees them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from harmonia_compiler.check.files import check_files
from harmonia_compiler.cli.exits import DIAGNOSTICS
from harmonia_compiler.cli.options import InventoryPath, files_argument, settings_option
from harmonia_compiler.cli.output import print_diagnostics
from harmonia_compiler.cli.untrue import estimated, missed_share
from harmonia_compiler.contract.inventory import load_inventory
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed, nearest, suggestion
from harmonia_compiler.flow.demand import Demand, demand
from harmonia_compiler.flow.draw import dot, mermaid
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.passes.registry import PASSES, optimise
from harmonia_compiler.flow.picture import picture
from harmonia_compiler.flow.text import show_flow
from harmonia_compiler.plan.planner import usual_takes


class PassName(click.Choice[str]):
    """The name of a pass; an unknown one is answered with the nearest."""

    def __init__(self) -> None:
        super().__init__([each.name for each in PASSES])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, if it is one."""
        if value not in self.choices:
            near = nearest(value, self.choices)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(self.choices)}"
            self.fail(f"no pass is called {value!r}; {hint}", param, ctx)
        return value


@click.command()
@files_argument
@settings_option
@click.option("--pipeline", help="This pipeline alone.")
@click.option("--format", "form", type=click.Choice(["mermaid", "dot", "text"]), default="mermaid", show_default=True)
@click.option("--after", type=PassName(), help="Stop after this pass.")
@click.option("--without", type=PassName(), multiple=True, help="Leave out this pass, and those that build on it.")
@click.option(
    "--inventory",
    type=InventoryPath(),
    help="With the usual times on these machines: what is late falls back, and what is worth it begins early.",
)
@click.pass_context
def command(
    context: click.Context,
    files: tuple[Path, ...],
    settings: dict[str, str],
    pipeline: str | None,
    form: str,
    after: str | None,
    without: tuple[str, ...],
    inventory: Path | None,
) -> None:
    """Draw the pipelines of FILEs, with the share of each branch and the expected calls of a request.

    A box names the component that is called, its kind and its engine. `text` is the flow's canonical text, one node a
    line. The passes run first, in the order in which --after names them.

    What `speculate` begins early depends on how long calls take, and so on the machines: it does nothing without
    --inventory. With one, the drawing is what `plan` falls back to where a promised latency is missed otherwise. How
    often a `within` is over depends on that too: without --inventory, fallbacks are there for what fails alone.
    """
    checked = check_files(files, settings)
    print_diagnostics(checked.found, checked.left_out)
    if checked.application is None:
        context.exit(DIAGNOSTICS)
    application = optimise(checked.application, without, last=after)
    takes = None if inventory is None else usual_takes(application, load_inventory(inventory))
    if takes is not None:
        application = optimise(checked.application, without, last=after, takes=takes)
    flows = _chosen(application, pipeline)
    if form == "text":
        click.echo("\n".join(map(show_flow, flows)), nl=False)
        return
    demands = [demand(application, flow, takes=takes) for flow in flows]
    pictures = [
        picture(flow, application, found, f"p{number}")
        for number, (flow, found) in enumerate(zip(flows, demands, strict=True))
    ]
    click.echo({"mermaid": mermaid, "dot": dot}[form](pictures), nl=False)
    for sentence in _untrue(demands):
        click.echo(sentence, err=True)


def _untrue(demands: Sequence[Demand]) -> Iterator[str]:
    """What is drawn and does not hold exactly, as `plan` says it."""
    if pipelines := [each.pipeline for each in demands if not each.exact]:
        yield estimated(pipelines)
    for one in dict.fromkeys(missed for each in demands for missed in each.missed):
        yield missed_share(one.at.source.name, one.at.source.position(one.at.start)[0], one.said, one.found)


def _chosen(application: Application, name: str | None) -> tuple[Flow, ...]:
    if name is None:
        return application.flows
    chosen = tuple(flow for flow in application.flows if flow.name == name)
    if not chosen:
        served = [flow.name for flow in application.flows]
        help_ = suggestion(name, served, f"there are {listed(served)}")
        raise Rejected([Diagnostic("E1120", f"the files declare no pipeline `{name}`", help=help_)])
    return chosen
