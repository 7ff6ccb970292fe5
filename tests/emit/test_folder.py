"""A bundle's folder: where one file has no place, none is written."""

from pathlib import Path

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected

from .conftest import Planned, planned


@pytest.mark.parametrize("in_the_way", ["a link", "a file", "a folder"])
def test_a_file_that_has_no_place_leaves_the_others_as_they_were(
    quickstart: Planned, project: Path, tmp_path: Path, in_the_way: str
) -> None:
    out, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    before = quickstart.write(out)
    elsewhere.mkdir()
    (out / "service.json").unlink()
    (out / "service.json").mkdir()
    if in_the_way != "a folder":
        (out / "service.json").rmdir()
        (out / "local/processes.json").unlink()
        (out / "local").rmdir()
        (out / "local").symlink_to(elsewhere) if in_the_way == "a link" else (out / "local").write_text("")
    with pytest.raises(Rejected, match="E0901"):
        planned(project / "app.rag", root=project).write(out)
    assert {name: (out / name).read_text() for name in ("README.md", "bundle.json", "plan.json")} == {
        name: before[name] for name in ("README.md", "bundle.json", "plan.json")
    }
    assert not (out / "code").exists()
