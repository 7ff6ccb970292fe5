"""What the script `harmoniac` runs: the command, with Ctrl-C quiet from before its first import on."""

from harmonia_compiler.cli import hushed  # noqa: F401 - for what importing it does
from harmonia_compiler.cli.main import main

__all__ = ["main"]
