"""Reading a bundle: every process that starts, watches or serves one comes through here."""

from pathlib import Path
from typing import TypeVar

import msgspec

from harmonia_compiler.contract.bundle import FORMAT_VERSION, Contents, LocalProcesses, Service
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected

_Document = TypeVar("_Document", bound=msgspec.Struct)


class _Versioned(msgspec.Struct):
    format_version: int


def read_contents(bundle: Path) -> Contents:
    """What `bundle.json` says; raises `Rejected` where the folder is no bundle."""
    if not (bundle / "bundle.json").is_file():
        raise Rejected(
            [
                Diagnostic(
                    "E0905",
                    f"`{bundle}` is no bundle: it holds no bundle.json",
                    help="make one with `harmoniac compile FILE --inventory INV --target local --out DIR`",
                )
            ]
        )
    return read_document(bundle, "bundle.json", Contents)


def read_service(bundle: Path) -> Service:
    """The Programs, engines and collections of a bundle."""
    return read_document(bundle, "service.json", Service)


def read_local_processes(bundle: Path) -> LocalProcesses:
    """What target `local` starts."""
    return read_document(bundle, "local/processes.json", LocalProcesses)


def read_document(bundle: Path, name: str, of: type[_Document]) -> _Document:
    """One JSON document of a bundle; raises `Rejected` where it is missing, damaged or newer than this release."""
    try:
        text = (bundle / name).read_bytes()
        version = decode_document(text, _Versioned).format_version
        if version > FORMAT_VERSION:
            raise _damaged(bundle, name, f"its format {version} is newer than this release of harmoniac reads")
        return decode_document(text, of)
    except OSError as problem:
        raise _damaged(bundle, name, problem.strerror or "it cannot be read") from problem
    except msgspec.MsgspecError as problem:
        raise _damaged(bundle, name, str(problem)) from problem


def _damaged(bundle: Path, name: str, why: str) -> Rejected:
    return Rejected(
        [
            Diagnostic(
                "E0905",
                f"`{bundle / name}` cannot be used: {why}",
                help="compile the bundle again; `run/` and `data/` in it are kept",
            )
        ]
    )
