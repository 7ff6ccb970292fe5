"""`harmoniac inventory`: what machines there are to plan for."""

import sys
from pathlib import Path

import click
import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from harmonia_compiler.cli.options import PATH, format_option
from harmonia_compiler.contract.inventory import Host, Inventory, load_inventory
from harmonia_compiler.profile.detect import Detected
from harmonia_compiler.profile.detect import detect as detect_host


@click.group(name="inventory")
def command() -> None:
    """Write an inventory of this machine, or show one."""


@command.command("detect")
def detect() -> None:
    """Print an inventory of this machine, as TOML.

    CPUs and memory are what this process may use: affinity and the limits of control groups count. GPUs are those
    that nvidia-smi lists.
    """
    click.echo(_toml(detect_host()), nl=False)


@command.command("show")
@click.argument("file", type=PATH)
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


def _toml(found: Detected) -> str:
    host = found.host
    lines = ["[[hosts]]", f'name = "{host.name}"', f"cpus = {host.cpus}", f"memory_gib = {host.memory_gib:g}"]
    if host.gpus:
        gpus = ", ".join(f'{{type = "{gpu.type}", count = {gpu.count}}}' for gpu in host.gpus)
        lines.append(f"gpus = [{gpus}]")
    lines += [f"# {_plain(product)} is left out: no profile knows this type of GPU" for product in found.unknown_gpus]
    return "\n".join(lines) + "\n"


def _plain(product: str) -> str:
    return "".join(char for char in product if char.isprintable())
