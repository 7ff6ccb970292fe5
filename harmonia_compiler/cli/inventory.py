"""`harmoniac inventory`: what machines there are to plan for."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from harmonia_compiler.cli.options import IN_FILE, InventoryPath, format_option
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Host, Inventory, load_inventory
from harmonia_compiler.profile.clusters.asking import MANAGERS, ask
from harmonia_compiler.profile.detect import Detected
from harmonia_compiler.profile.detect import detect as detect_host


@click.group(name="inventory")
def command() -> None:
    """Write an inventory of this machine or of a cluster, or show one."""


def _types(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    types: dict[str, str] = {}
    for pair in given:
        name, _, known = pair.rpartition("=")
        if not name or known not in GPU_TYPES:
            message = f"{pair!r} is not NAME=TYPE with one of the types {', '.join(GPU_TYPES)}"
            raise click.BadParameter(message, context, parameter)
        types[name] = known
    return types


@command.command("detect")
@click.option("--from", "manager", type=click.Choice(tuple(MANAGERS)), help="List the nodes of this cluster instead.")
@click.option("--listing", type=IN_FILE, help="Read what its command printed elsewhere, instead of running it.")
@click.option(
    "--gpu", "types", metavar="NAME=TYPE", multiple=True, callback=_types, help="The type of what the cluster calls so."
)
def detect(manager: str | None, listing: Path | None, types: dict[str, str]) -> None:
    """Print an inventory of this machine, or of a cluster, as TOML.

    Of this machine, CPUs and memory are what this process may use: affinity and the limits of control groups count.
    GPUs are those that nvidia-smi lists. Of a cluster they are what its manager gives to jobs, whatever runs there
    now; nodes where it starts nothing are left out, with the reason.
    """
    if manager is None:
        if listing is not None or types:
            raise click.UsageError("--listing and --gpu are about a cluster: give --from as well")
        click.echo(_toml([detect_host()]), nl=False)
        return
    found = ask(MANAGERS[manager], listing, types)
    for name, why in found.left_out:
        click.echo(f"{_plain(name)} is left out: {_plain(why)}", err=True)
    for name in sorted({name for host in found.hosts for name in host.unknown_gpus}):
        click.echo(f"nobody knows the type of GPU {_plain(name)}: say it with `--gpu {_plain(name)}=TYPE`", err=True)
    click.echo(_toml(found.hosts), nl=False)


@command.command("show")
@click.argument("file", type=InventoryPath())
@format_option
def show(file: Path, form: str) -> None:
    """Show the hosts of the inventory FILE, ranges written out."""
    inventory = load_inventory(file)
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(inventory), indent=2))
        return
    Console(width=None if sys.stdout.isatty() else 110).print(_table(inventory))


def _table(inventory: Inventory) -> Table:
    table = Table("host", "cores", "memory", "GPUs", "price per hour", box=SIMPLE)
    for host in inventory.hosts:
        price = f"{host.price_per_hour:g}" if host.price_per_hour else "-"
        table.add_row(host.name, str(host.cpus), f"{host.memory_gib:g} GiB", _gpus(host), price)
    cores, memory = sum(host.cpus for host in inventory.hosts), sum(host.memory_gib for host in inventory.hosts)
    count = len(inventory.hosts)
    table.add_section()
    table.add_row(f"{count} host{'' if count == 1 else 's'}", str(cores), f"{memory:g} GiB", "", "")
    return table


def _gpus(host: Host) -> str:
    return ", ".join(f"{gpu.count} × {gpu.type}" for gpu in host.gpus) or "-"


def _toml(found: Sequence[Detected]) -> str:
    return "\n".join(map(_table_of, found))


def _table_of(found: Detected) -> str:
    host = found.host
    lines = ["[[hosts]]", f'name = "{host.name}"', f"cpus = {host.cpus}", f"memory_gib = {host.memory_gib:.10g}"]
    if host.gpus:
        gpus = ", ".join(f'{{type = "{gpu.type}", count = {gpu.count}}}' for gpu in host.gpus)
        lines.append(f"gpus = [{gpus}]")
    if host.processor:
        # Of TOML's ways to write a text, the one of JSON as well.
        lines.append(f"processor = {json.dumps(_plain(host.processor))}")
    if not host.bf16:
        lines.append("bf16 = false")
    lines += [f"# {_plain(product)} is left out: no profile knows this type of GPU" for product in found.unknown_gpus]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return "".join(char for char in text if char.isprintable())
