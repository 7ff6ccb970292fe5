"""The targets: where their folders are, and what each says that it can do."""

import tomllib
from pathlib import Path

import msgspec

import harmonia_compiler
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion

MANIFEST = "manifest.toml"


class Capabilities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a target can do.

    `multi_host`: run the replicas of one plan on several hosts. `site_profile`: be told of the place where it is
    started, by a table of its own in a site profile.
    """

    multi_host: bool
    site_profile: bool


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`targets/NAME/manifest.toml`."""

    name: str
    capabilities: Capabilities


def targets_folder() -> Path:
    """The folder of the targets: inside the installed package, or beside it in a checkout."""
    package = Path(harmonia_compiler.__file__).parent
    installed = package / "_targets"
    return installed if installed.is_dir() else package.parent / "targets"


def target_names() -> list[str]:
    """Every target that has a manifest, in alphabetical order."""
    return sorted(found.parent.name for found in targets_folder().glob(f"*/{MANIFEST}"))


def described_targets() -> list[str]:
    """Those that have a table in a site profile."""
    return [name for name in target_names() if read_manifest(name).capabilities.site_profile]


def read_manifest(target: str) -> Manifest:
    """What a target can do; raises `Rejected` for a name that no target has."""
    known = target_names()
    if target not in known:
        step = suggestion(target, known, f"there are {listed(known)}")
        raise Rejected([Diagnostic("E0903", f"there is no target `{target}`", help=step)])
    text = (targets_folder() / target / MANIFEST).read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Manifest)
