"""`harmoniac completion`: what a shell needs to complete commands, options and files."""

import click
from click.shell_completion import get_completion_class

PROGRAM = "harmoniac"
#: The variable by which the shell asks this program what may follow; click reads it.
VARIABLE = "_HARMONIAC_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion for SHELL.

    For bash, put `eval "$(harmoniac completion bash)"` into ~/.bashrc; for zsh likewise into ~/.zshrc; for fish,
    `harmoniac completion fish | source` into ~/.config/fish/config.fish.
    """
    found = get_completion_class(shell)
    assert found is not None, f"click knows {shell}"
    click.echo(found(context.find_root().command, {}, PROGRAM, VARIABLE).source())
