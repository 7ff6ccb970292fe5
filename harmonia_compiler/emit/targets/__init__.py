"""What each target writes beside the files that every bundle has: one module a target, found by its name."""

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol, cast

from harmonia_compiler.contract.site import Site
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.emit.emission import Emission


class TargetModule(Protocol):
    """What such a module defines."""

    def check_site(self, site: Site | None) -> None:
        """Raise `Rejected` for a site profile that has mistakes, whatever the plan will be."""
        ...

    def files(self, emission: Emission) -> dict[str, bytes]:
        """The target's own files, by their paths in the bundle."""
        ...

    def faults(self, emission: Emission, written: Mapping[str, bytes]) -> list[str]:
        """Where the files as written say something else than the plan; empty when all is well."""
        ...

    def warnings(self, emission: Emission) -> list[Diagnostic]:
        """What does not forbid the bundle, and whoever starts it should know."""
        ...


def target_module(target: str) -> TargetModule:
    """The module of a target that has a manifest."""
    # By listing: import-linter does not see this edge, which stays within this package.
    return cast("TargetModule", import_module(f"{__name__}.{target}"))
