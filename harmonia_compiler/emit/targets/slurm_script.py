"""Batch scripts: rendered with every inserted value quoted for the shell, and read back option by option."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harmonia_compiler.contract.launch import FOR_GATEWAY
from harmonia_compiler.contract.slurm import CHOSEN, SlurmComponent, SlurmSite
from harmonia_compiler.emit.manifest import targets_folder

_TEMPLATE = "job.sbatch.j2"
_OPTION = "#SBATCH "

#: What a job sees of the environment in which it was submitted. Secrets never go this way: Slurm keeps it on its disks.
_EXPORTED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH",
    "XDG_CACHE_HOME", "XDG_DATA_HOME", "HARMONIA_HOME", "HF_HOME", "HF_HUB_CACHE",
    *FOR_GATEWAY, *CHOSEN.values(),
)  # fmt: skip

#: And where it loads modules: where they lie, and what defines `module`.
_EXPORTED_FOR_MODULES = ("MODULESHOME", "MODULEPATH", "LMOD_PKG")


def script(
    components: Sequence[SlurmComponent], site: SlurmSite, program: str, purpose: str, *, by_name: bool, exclusive: bool
) -> bytes:
    """The script of a job of these components that runs one of our programs."""
    environment = Environment(  # noqa: S701 - no HTML comes out; `finalize` quotes for the shell
        loader=FileSystemLoader(folder()),
        undefined=StrictUndefined,
        finalize=_quoted,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    options = site.chosen
    if site.wall_time_s:
        options["time"] = _time(site.wall_time_s)
    return (
        environment.get_template(_TEMPLATE)
        .render(
            components=components,
            site=site,
            program=program,
            purpose=_Plain(purpose),
            job_name="harmonia",
            exported=",".join([*_EXPORTED, *(_EXPORTED_FOR_MODULES if site.modules else ())]),
            by_name=by_name,
            exclusive=exclusive,
            options=options,
        )
        .encode()
    )


def folder() -> Path:
    """Where the templates of scripts lie: apart from those that every target has rendered alike."""
    return targets_folder() / "slurm" / "scripts"


def options_of(written: bytes) -> list[dict[str, str]]:
    """What a script asks of Slurm, component by component; those of the whole job stand in the first."""
    found: list[dict[str, str]] = [{}]
    for line in written.decode().splitlines():
        if not line.startswith(_OPTION):
            continue
        (words,) = shlex.split(line.removeprefix(_OPTION)) or [""]
        if words == "hetjob":
            found.append({})
        else:
            name, _, value = words.removeprefix("--").partition("=")
            found[-1][name] = value
    return found


class _Plain(str):
    """A sentence of ours in a comment."""

    __slots__ = ()


def _quoted(value: object) -> object:
    return shlex.quote(value) if isinstance(value, str) and not isinstance(value, _Plain) else value


def _time(seconds: int) -> str:
    """As Slurm reads it, rounded up to a whole minute, which is as fine as it counts."""
    minutes = -(-seconds // 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02d}:{minutes % 60:02d}:00"
