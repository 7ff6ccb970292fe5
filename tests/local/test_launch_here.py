"""A launch of what is not installed is refused before anything starts."""

import pytest

from harmonia_compiler.contract.launch import Launch, Probe
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.supervision.command import launch_here


def test_what_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(Rejected) as rejected:
        launch_here(Launch(("engine",), Probe("http", "/health", 1.0), {}, extra="torch", module="no_such_engine"))
    [found] = rejected.value.found
    assert (found.code, "harmonia-compiler[torch]" in found.help) == ("E0907", True)
