"""`harmoniac models`: which models are known, where their weights are, and how more come to this machine."""

import json
import sys
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from harmonia_compiler.cli.fetching import fetched
from harmonia_compiler.cli.options import PATH, format_option
from harmonia_compiler.contract.card import Card, Role, is_added, load_cards
from harmonia_compiler.runtime.model_folder import add_to_store, earlier, read_model_folder
from harmonia_compiler.runtime.weights import find, stored_folder, wanted


@click.group(name="models")
def command() -> None:
    """List the models that can be planned with, and bring their weights to this machine."""


@command.command("list")
@format_option
def list_models(form: str) -> None:
    """List every model card and where its weights are; with @REVISION what a name meant before it was added again."""
    known = load_cards()
    cards = sorted(known, key=lambda card: (card.role, card.name))
    before = {now.name: [one for one in known.named(now.name) if _is_earlier(one, now)] for now in cards}
    if form == "json":
        click.echo(json.dumps([_row(card) | {"earlier": _places(before[card.name])} for card in cards], indent=2))
        return
    table = Table(Column("model", overflow="fold"), "role", "parameters", "context", "licence", "weights", box=SIMPLE)
    for card in cards:
        row = _row(card)
        size = f"{card.parameters / 1e9:.2f} B" if card.parameters >= 1e9 else f"{card.parameters / 1e6:.0f} M"
        gated = " (gated)" if card.gated else ""
        about = (card.name, card.role, size, f"{card.context:,}", card.licence + gated, str(row["weights"] or "-"))
        # A name may have brackets, which are no markup.
        table.add_row(*map(Text, about))
        for place in _places(before[card.name]):
            table.add_row(Text(f"{card.name}@{place['revision']}"), *[""] * 4, Text(str(place["weights"] or "-")))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _is_earlier(card: Card, now: Card) -> bool:
    """Whether a card is of what was added before what its name means now."""
    return is_added(card.revision) and card.name == now.name and card != now


def _places(cards: list[Card]) -> list[dict[str, object]]:
    found = [(card, find(card)) for card in cards]
    return [
        {"revision": card.revision, "weights": at.where if at else None, "folder": str(stored_folder(card))}
        for card, at in found
    ]


def _row(card: Card) -> dict[str, object]:
    found = find(card)
    return {
        "name": card.name,
        "aliases": list(card.aliases),
        "role": card.role,
        "revision": card.revision,
        "parameters": card.parameters,
        "context": card.context,
        "licence": card.licence,
        "gated": card.gated,
        "weights": found.where if found else None,
        "source": card.source,
    }


@command.command("add")
@click.argument("folder", type=PATH)
@click.option("--name", help="What a `.rag` calls the model; the folder's name where it is not given.")
@click.option("--role", type=click.Choice(["llm", "embedder", "reranker"]), help="What the model is for.")
@click.option("--licence", default="unknown", help="The licence of the weights.")
@click.option("--copy", is_flag=True, help="Copy the weights into the store; otherwise they are linked to.")
def add(folder: Path, name: str | None, role: Role | None, licence: str, *, copy: bool) -> None:
    """Add the model in FOLDER (config.json, safetensors, tokenizer) to the store.

    NAME means this model from then on. What was added under it before stays, for bundles that were compiled for it; the
    folder of one that no bundle needs any more can be removed.
    """
    card = read_model_folder(folder, name=name, role=role, licence=licence)
    stored = add_to_store(card, folder, copy=copy)
    click.echo(f"added {card.name} ({card.role}, {card.parameters:,.0f} parameters) as {stored}")
    for before in earlier(card):
        click.echo(f"what {card.name} meant before stays for the bundles that were compiled for it: {before}")


@command.command("fetch")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def fetch(names: tuple[str, ...]) -> None:
    """Have the weights of each NAME on this machine, ready to be loaded; print where they are.

    What is not here is downloaded from the hub into the model store, at the revision of the model's card. A token for
    gated models is taken from HF_TOKEN.
    """
    for name in names:
        found = find(wanted(name))
        if found is not None and found.convert:
            click.echo(f"converting {found.path.name}; this takes about half a minute, and only once", err=True)
        click.echo(fetched([name])[0])
