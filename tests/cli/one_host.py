"""A pipeline and a host with one GPU, as files for a command to plan with."""

from pathlib import Path

INVENTORY = '[[hosts]]\nname = "one"\ncpus = 16\nmemory_gib = 64\ngpus = [{type = "l40s", count = 1}]\n'


def on_one_host(folder: Path, source: str) -> list[str]:
    """The arguments that name both."""
    (folder / "ask.rag").write_text(source)
    (folder / "one.toml").write_text(INVENTORY)
    return [str(folder / "ask.rag"), "--inventory", str(folder / "one.toml")]
