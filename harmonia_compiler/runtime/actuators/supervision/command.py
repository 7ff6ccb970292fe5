"""From a `Launch` to the arguments and the environment of a process on this machine."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harmonia_compiler.contract.launch import FOR_GATEWAY, Fill, Launch, chosen
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.actuators.supervision.pids import MARK
from harmonia_compiler.runtime.actuators.supervision.ports import LOOPBACK

#: What a process sees of the environment in which the service was started, beside what it declares.
PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "CUDA_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
    *FOR_GATEWAY,
)  # fmt: skip

_CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the words `weights`, `data` and `code` of a command point; absolute, decided at start.

    The user's Python lies in the bundle where `code` does not say otherwise.
    """

    bundle: Path
    data: Path
    weights: Path | None
    code: Path | None = None


def has_module(name: str) -> bool:
    """Whether this interpreter could import a module; the module itself is not imported."""
    return find_spec(name) is not None


def launch_here(launch: Launch) -> Launch:
    """The launch that this interpreter can start; raises `Rejected` with what to install where it can start none."""
    found = chosen(launch, has_module)
    if found is None:
        raise Rejected(
            [
                Diagnostic(
                    "E0907",
                    f"`{launch.module}` is not installed, which this plan starts",
                    help=f'install it with `pip install "harmonia-compiler[{launch.extra}]"`',
                )
            ]
        )
    return found


def command_line(launch: Launch, folders: Folders, port: int) -> list[str]:
    """The command with every word filled in."""
    slots = {
        "python": sys.executable,
        "host": LOOPBACK,
        "port": str(port),
        "weights": str(folders.weights),
        "data": str(folders.data),
        "code": str(folders.code or folders.bundle / "code"),
    }
    return [word.prefix + slots[word.slot] if isinstance(word, Fill) else word for word in launch.command]


def supervised(command: Sequence[str], cpus: Sequence[int]) -> list[str]:
    """The same command, tied to this process's life and to some CPUs (none: to all)."""
    child = [sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), ",".join(map(str, cpus))]
    return [*child, *command]


def basics(outer: Mapping[str, str]) -> dict[str, str]:
    """What every process sees, whatever it is."""
    return {
        **{name: outer[name] for name in PASSED_ON if name in outer},
        "PYTHONUNBUFFERED": "1",
        # Nothing may be imported from the folder in which the process runs.
        "PYTHONSAFEPATH": "1",
    }


def environment_of(
    launch: Launch, folders: Folders, devices: Sequence[int], outer: Mapping[str, str]
) -> dict[str, str]:
    """All that the process sees: a few basics, what it declares, and the late settings that it waits for.

    A process without devices is shown none, so that no engine takes a GPU that the plan gave away.
    """
    return {
        **basics(outer),
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, devices)),
        # As NVML and schedulers count them, and not the fastest first, which is another where types are mixed.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        **launch.environment,
        **{name: outer[variable] for name, variable in launch.late.items() if variable in outer},
        MARK: str(folders.bundle),
    }
