"""`harmoniac explain`: what a code such as E0201 means, and how it is mended."""

import click

from harmonia_compiler.diagnostics.near import nearest
from harmonia_compiler.diagnostics.pages import codes, page, title


@click.command()
@click.argument("code", required=False)
def command(code: str | None) -> None:
    """Explain CODE, or list all codes."""
    if code is None:
        click.echo("\n".join(f"{known}  {title(known)}" for known in codes()))
        return
    found = page(code.strip().upper())
    if found is None:
        near = nearest(code.strip().upper(), codes())
        hint = f"; did you mean {near}?" if near else "; `harmoniac explain` lists all"
        raise click.BadParameter(f"there is no code {code!r}{hint}", param_hint="CODE")
    click.echo(found.rstrip())
