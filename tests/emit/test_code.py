"""What of the user's Python a bundle takes along."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emit.bundle import write_bundle
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan

SOURCE = """
component find(q: text) -> [passage] = python("mine:find", cores: 1, memory: 1 GiB)
pipeline p(q: text) -> [passage] {
    load 1 rps
    return find(q)
}
"""


def bundle(folder: Path) -> Path:
    (folder / "p.rag").write_text(SOURCE)
    application = check_files([folder / "p.rag"], root=folder).application
    assert application is not None
    application = optimise(application)
    plan = make_plan(application, Inventory((Host("here", 2, 4.0),)))
    write_bundle(plan, application, target="local", out=folder / "out", root=folder)
    return folder / "out" / "code"


def test_hidden_files_of_a_package_stay(tmp_path: Path) -> None:
    for name in ("__init__.py", "words.txt", ".env", ".git/config", "__pycache__/x.pyc"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("def find(q): ..." if name == "__init__.py" else "")
    code = bundle(tmp_path)
    assert sorted(path.name for path in code.rglob("*") if path.is_file()) == ["__init__.py", "words.txt"]


@pytest.mark.parametrize("text", ["def find(", "x=" + "-" * 200_000 + "1", "x=" + "(" * 5000, "x = '\0'"])
def test_what_is_no_python_is_a_finding(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.py").write_text("from other import find")
    (tmp_path / "other.py").write_text(text)
    with pytest.raises(Rejected, match="E0904"):
        bundle(tmp_path)


def test_a_finding_about_a_module_stands_where_it_is_wrong_or_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import other\nfrom far import away\ndef find(q): ...\n")
    (tmp_path / "other.py").write_text("x = 1\ndef find(\n")
    assert refused(tmp_path) == ("`other.py` is no Python: '(' was never closed", "other.py", 2)
    (tmp_path / "other.py").write_text("x = 1")
    outside = tmp_path.parent / f"{tmp_path.name}.py"
    outside.write_text("")
    (tmp_path / "far.py").symlink_to(outside)
    assert refused(tmp_path) == ("`far.py` leads out of the project", "mine.py", 2)


def refused(folder: Path) -> tuple[str, str, int]:
    """The message of the one finding, and the file and line where it stands."""
    with pytest.raises(Rejected) as rejected:
        bundle(folder)
    (found,) = rejected.value.found
    assert found.code == "E0904"
    assert found.help
    assert found.span is not None
    return found.message, found.span.source.name, found.span.source.position(found.span.start)[0]
