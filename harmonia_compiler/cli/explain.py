"""`harmoniac explain`: what a code, a kind, a function or a pass is, and how a mistake is mended."""

import click
from click.shell_completion import CompletionItem

from harmonia_compiler.cli.examples import examples
from harmonia_compiler.cli.reference import names
from harmonia_compiler.cli.reference import page as page_of_name
from harmonia_compiler.diagnostics.near import nearest
from harmonia_compiler.diagnostics.pages import codes, page, title


def _offered(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:  # noqa: ARG001 - click gives them
    """What a shell may complete a name to; codes in small letters too, which are explained as well."""
    found = [CompletionItem(code, help=title(code)) for code in codes() if code.startswith(begun.upper())]
    for sort, known in names().items():
        found += [CompletionItem(name, help=f"one of the {sort}") for name in known if name.startswith(begun)]
    return found


@click.command(
    epilog=examples(
        "harmoniac explain E0404",
        "harmoniac explain llm",
        "harmoniac explain fuse",
        "harmoniac explain",
    )
)
@click.argument("name", required=False, shell_complete=_offered)
def command(name: str | None) -> None:
    """Explain NAME: a code such as E0201, a kind, a function of the language, or a pass; or list all there are."""
    if name is None:
        click.echo("\n".join(f"{sort}: {', '.join(known)}" for sort, known in names().items()))
        click.echo("\n".join(f"{known}  {title(known)}" for known in codes()))
        return
    wanted = name.strip()
    found = page(wanted.upper()) or page_of_name(wanted)
    if found is None:
        known = [each for known in names().values() for each in known]
        near = nearest(wanted.upper(), codes()) or nearest(wanted, known)
        hint = f"; did you mean {near}?" if near else "; `harmoniac explain` lists all"
        raise click.BadParameter(f"there is nothing to explain called {name!r}{hint}", param_hint="NAME")
    click.echo(found.rstrip())
