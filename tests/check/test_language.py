"""Programs that between them use the whole language: each checks without a finding, and becomes the flows beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.text import show_flow

HERE = Path(__file__).parent
PROGRAMS = sorted((HERE / "language").glob("*.rag"))


def test_their_flows(golden: Callable[[Path, dict[str, str]], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE / "language")
    flows: dict[str, str] = {}
    for path in PROGRAMS:
        checked = check_files([Path(path.name)])
        assert checked.found == []
        assert checked.application is not None
        for flow in checked.application.flows:
            assert lower(flow, checked.application).pipeline == flow.name
        flows[f"{path.stem}.txt"] = "\n".join(map(show_flow, checked.application.flows))
    golden(HERE / "flows", flows)


def test_they_are_all_there() -> None:
    assert len(PROGRAMS) >= 9
