"""Becomes a command that wants secrets in its environment, from files that a container runtime mounts.

    python -m harmonia_compiler.runtime.secret_files FOLDER '{"VARIABLE": "FILE"}' COMMAND...

What stands in a container's own environment is shown by whoever may look at the container; what a process is given as
files is not. A file that is missing or cannot be read is one line and exit code 1.
"""

import os
import sys
from pathlib import Path

import msgspec

from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_TEXT_BYTES, read_regular


def with_secrets(folder: Path, files: dict[str, str], environment: dict[str, str]) -> dict[str, str]:
    """The environment with each variable's value from its file, as it is there; raises OSError."""
    found = {name: read_regular(folder / file, MOST_TEXT_BYTES).decode() for name, file in files.items()}
    return {**environment, **found}


def main() -> None:
    """Read the files and become the command."""
    folder, files, *command = sys.argv[1:]
    try:
        wanted = decode_document(files.encode(), dict[str, str])
        environment = with_secrets(Path(folder), wanted, dict(os.environ))
        os.execvpe(command[0], command, environment)  # noqa: S606 - the words are the bundle's own
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as problem:
        sys.exit(f"the secrets in {folder} cannot be used: {problem}")


if __name__ == "__main__":
    main()
