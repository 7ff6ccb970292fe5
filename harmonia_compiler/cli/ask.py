"""`harmoniac ask`: sends a question to a running service and prints the answer with what it stands on."""

import sys
from collections.abc import Mapping
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harmonia_compiler.cli.options import format_option, inputs_option
from harmonia_compiler.contract.types import Value
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.gateway.client import PipelineInfo, all_inputs, fill_inputs, find_gateway

#: How much of a passage's first line is shown, in characters.
_SHOWN = 160


@click.command()
@click.argument("question")
@click.option("--service", default="bundle", show_default=True, help="Folder of a running bundle, or a gateway's URL.")
@click.option("--pipeline", help="Which pipeline; needed where the service has several.")
@inputs_option
@format_option
def command(question: str, service: str, pipeline: str | None, inputs: dict[str, str], form: str) -> None:
    """Ask a running service, and print the answer, the passages it used, and the time of each stage.

    QUESTION fills the one text of the pipeline that is not given by --set, and may be empty where there is none.
    """
    gateway = find_gateway(service)
    asked = gateway.pipeline(pipeline)
    filled = _filled(asked, question, inputs)
    streamed = False
    try:
        for event in gateway.ask(asked.id, filled):
            if event["type"] == "result":
                _print_result(event, form, streamed=streamed)
            elif form == "text":
                streamed = True
                click.echo(_printable(event["text"]), nl=False)
                sys.stdout.flush()
    except Rejected:
        if streamed:
            click.echo()
        raise


def _filled(asked: PipelineInfo, question: str, named: Mapping[str, str]) -> dict[str, Value]:
    """The inputs of a pipeline. Raises Rejected for a question of no words that was to fill a text.

    The route takes an empty text as it takes others; somebody at a shell has more likely lost one.
    """
    if question.strip():
        return fill_inputs(asked, question, named)
    texts = [each for each in asked.parameters if each.type == "text"]
    missing = [each for each in texts if each.required and each.name not in named]
    if missing or (texts and not any(each.name in named for each in texts)):
        help_ = "write it behind `ask`, in quotes, or give the text with --set NAME=VALUE"
        raise Rejected([Diagnostic("E1104", "the question is empty", help=help_)])
    return all_inputs(asked, named)


def _print_result(result: dict[str, Any], form: str, *, streamed: bool) -> None:
    if form == "json":
        document = {name: value for name, value in result.items() if name != "type"}
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return
    if not streamed:
        value = result["value"]
        click.echo(_printable(value if isinstance(value, str) else msgspec.json.encode(value).decode()), nl=False)
    click.echo("\n")
    console = Console(highlight=False)
    if result["passages"]:
        console.print(_passages(result["passages"]), end="\n\n")
    console.print(_stages(result["timings"]))


def _passages(passages: list[dict[str, Any]]) -> Table:
    table = Table("passage", "score", "source", title="Passages used", title_justify="left", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for passage in passages:
        begins = " ".join(passage["text"].split())
        begins = begins if len(begins) <= _SHOWN else begins[: _SHOWN - 1] + "…"
        table.add_row(Text(_printable(begins)), f"{passage['score']:.3f}", Text(_printable(passage["source"])))
    return table


def _stages(timings: dict[str, Any]) -> Table:
    columns = ("stage", "replica", "start ms", "queue ms", "service ms", "first text ms")
    table = Table(*columns, title="Time of each stage", title_justify="left", box=None, pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for stage in timings["stages"]:
        figures = [_ms(stage.get(name)) for name in ("start_ms", "queue_ms", "service_ms", "ttft_ms")]
        table.add_row(Text(stage["component"]), Text(stage.get("replica") or "-"), *figures)
    table.add_row("total", "", "", "", _ms(timings["total_ms"]), _ms(timings["ttft_ms"]))
    return table


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _printable(text: str) -> str:
    """Text from models and documents without what would steer a terminal."""
    return "".join(char for char in text if char in "\n\t" or char.isprintable())
