"""`--without admission,controller`: turns parts of the scheduling off, to see what each is worth."""

import click

from harmonia_compiler.diagnostics.near import suggestion
from harmonia_compiler.policy.parts import ALL, PARTS, Parts


def _read(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> Parts:
    names = [name.strip() for written in given for name in written.split(",")]
    for name in names:
        if name not in PARTS:
            hint = suggestion(name[:64], PARTS, f"there are {', '.join(PARTS)}")
            raise click.BadParameter(f"{name[:64]!r} is no part of the scheduling; {hint}", context, parameter)
    return ALL.without(tuple(names))


without_option = click.option(
    "--without",
    "parts",
    metavar="PART[,PART]",
    multiple=True,
    callback=_read,
    help=f"Turn parts of the scheduling off: {', '.join(PARTS)}. With all off, calls go as they come, to each in turn.",
)


def said_without(parts: Parts) -> dict[str, str]:
    """What a report says of it: nothing where all are on."""
    return {"without": ", ".join(parts.off)} if parts.off else {}
