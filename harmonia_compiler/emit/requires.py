"""The lock that a bundle carries: what the components' own locks pin, in one file, since they share an interpreter."""

from collections.abc import Sequence
from pathlib import Path

from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.contract.regular import read_text, real
from harmonia_compiler.contract.requirements import NotPinned, Pin, is_version, parse_pins
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.source import Source, Span
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.kinds.python import REQUIRES

_ADVICE = "give a file of lines such as `numpy==2.3.5`, as `uv export` and `pip-compile` write it"


def user_lock(plan: Plan, application: Application, folders: Sequence[Path], root: Path) -> bytes:
    """The lines for pip, sorted; nothing where no function requires anything.

    `folders` are searched in their order. Raises `Rejected` for a lock that is not there, is none, or differs.
    """
    wanted: dict[str, Span | None] = {}
    for replica in plan.replicas:
        name = application.engines[replica.engine].settings.get(REQUIRES)
        if name is not None:
            wanted.setdefault(str(name), application.place(replica.engine, REQUIRES))
    lines: dict[str, None] = {}
    first: dict[str, tuple[Pin, str]] = {}
    for name, place in sorted(wanted.items()):
        for pin in _read(name, place, folders, root):
            known, of = first.setdefault(pin.name, (pin, name))
            if not is_version(known.version, pin.version) and not known.marker and not pin.marker:
                message = f"`{name}` pins {pin.name} {pin.version}, and `{of}` {known.version}"
                raise Rejected([Diagnostic("E0923", message, place, "lock both together: they share an interpreter")])
            lines[pin.written] = None
    _check_hashes(first, wanted)
    return "".join(f"{line}\n" for line in sorted(lines)).encode()


def _read(name: str, place: Span | None, folders: Sequence[Path], root: Path) -> list[Pin]:
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise Rejected(
            [Diagnostic("E0923", f"there is no file `{name}`", place, "put it beside the .rag that names it")]
        )
    if not real(path).is_relative_to(real(root)):
        message = f"`{name}` leads out of the project"
        raise Rejected([Diagnostic("E0923", message, place, "put the file itself there in place of the link")])
    try:
        text = read_text(path)
    except OSError as problem:
        raise Rejected([Diagnostic("E0923", f"`{name}` cannot be read: {problem.strerror}", place, _ADVICE)]) from None
    try:
        return parse_pins(text)
    except NotPinned as problem:
        where = Source(name, text).span_of_line(problem.line)
        raise Rejected([Diagnostic("E0923", str(problem), where, _ADVICE)]) from None


def _check_hashes(first: dict[str, tuple[Pin, str]], wanted: dict[str, Span | None]) -> None:
    """Pip takes hashes of all packages or of none."""
    without = sorted((of, pin.name) for pin, of in first.values() if not pin.hashed)
    if without and len(without) < len(first):
        (name, package), place = without[0], wanted[without[0][0]]
        message = f"`{name}` has no hash of {package}, and other packages have hashes"
        raise Rejected([Diagnostic("E0923", message, place, "give hashes of all packages, or of none")])
