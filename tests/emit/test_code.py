"""What of the user's Python a bundle takes along."""

import os
from pathlib import Path

import pytest
import yaml

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emit.bundle import write_bundle
from harmonia_compiler.emit.code import source_folders, user_code
from harmonia_compiler.emit.emission import make_emission
from harmonia_compiler.emit.folder import write_files
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan
from tests.emit.conftest import planned

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


@pytest.mark.parametrize(
    ("function", "more", "out"), [("mine:find", ', files: "data"', "data/b"), ("pkg:find", "", "pkg/b")]
)
def test_a_bundle_does_not_carry_itself_or_others(tmp_path: Path, function: str, more: str, out: str) -> None:
    for name in ("mine.py", "pkg/__init__.py", "pkg/bundle/words.txt", "data/bundle.json", "data/deep/bundle.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("def find(q): ...\n" if name.endswith(".py") else "[]")
    (tmp_path / "p.rag").write_text(SOURCE.replace('"mine:find"', f'"{function}"{more}'))
    made = planned(tmp_path / "p.rag", root=tmp_path)
    first = made.write(tmp_path / out)
    assert {"code/mine.py", "code/data/bundle.json", "code/data/deep/bundle.json"} <= first.keys() or not more
    (tmp_path / out / "run").mkdir()
    (tmp_path / out / "run/state.json").write_text("{}")
    assert made.write(tmp_path / out).keys() == {*first, "run/state.json"}
    made.write(tmp_path / "data/other")
    made.write(tmp_path / "pkg/other")
    assert made.write(tmp_path / out).keys() == {*first, "run/state.json"}


TWO = """
component find(q: text) -> [passage] = python("mine:find", requires: "locks/find.txt")
component rank(q: text, found: [passage]) -> [passage] = python("mine:rank", requires: "requirements.txt")
pipeline p(q: text) -> [passage] {
    load 1 rps
    return rank(q, find(q))
}
"""


def requiring(folder: Path, find: str | None, rank: str, target: str = "local") -> dict[str, str]:
    """The files of a bundle whose two functions require what these locks pin."""
    (folder / "mine.py").write_text("def find(q): ...\ndef rank(q, found): ...\n")
    (folder / "locks").mkdir(exist_ok=True)
    if find is not None:
        (folder / "locks/find.txt").write_text(find)
    (folder / "requirements.txt").write_text(rank)
    (folder / "p.rag").write_text(TWO)
    return planned(folder / "p.rag", root=folder).write(folder / f"out-{target}", target)


def test_a_bundle_carries_what_its_functions_require_as_one_lock(tmp_path: Path) -> None:
    files = requiring(tmp_path, "# mine\nnumpy==2.3.5\nA_b==1\n", "numpy==2.3.5\nc==3\n")
    assert files["code/requires.txt"] == "A_b==1\nc==3\nnumpy==2.3.5\n"
    assert "code/requires.txt" in files["bundle.json"]
    assert requiring(tmp_path, "", "# nothing\n").keys() == files.keys() - {"code/requires.txt"}


def test_the_image_of_containers_has_what_they_require_and_a_name_of_its_own(tmp_path: Path) -> None:
    without = requiring(tmp_path, "", "", "compose")
    with_one = requiring(tmp_path, "numpy==2.3.5\n", "", "compose")
    with_other = requiring(tmp_path, "numpy==2.3.4\n", "", "compose")
    images = [
        {service["image"] for service in yaml.safe_load(files["compose.yaml"])["services"].values()}
        for files in (without, with_one, with_other)
    ]
    assert [len(one) for one in images] == [1, 1, 1]
    assert len(set.union(*images)) == 3
    assert "compose/worker/wheels/requires.txt" not in without
    assert with_one["compose/worker/wheels/requires.txt"] == with_one["code/requires.txt"] == "numpy==2.3.5\n"
    assert "/wheels/requires.txt" in with_one["compose/worker/Dockerfile"]


@pytest.mark.parametrize(
    ("find", "rank", "said", "where"),
    [
        (None, "", "there is no file `locks/find.txt`", "p.rag:2"),
        ("numpy==1\n", "b==1\nnumpy==2\n", "`requirements.txt` pins numpy 2, and `locks/find.txt` 1", "p.rag:3"),
        ("a==1\nnumpy>=1\n", "", "`numpy>=1` is no pin such as `numpy==2.3.5`", "locks/find.txt:2"),
        (
            "a==1\n",
            "b==1 --hash=sha256:" + "0" * 64,
            "`locks/find.txt` has no hash of a, and other packages",
            "p.rag:2",
        ),
    ],
)
def test_a_lock_that_cannot_be_used_is_a_finding(
    tmp_path: Path, find: str | None, rank: str, said: str, where: str
) -> None:
    with pytest.raises(Rejected) as rejected:
        requiring(tmp_path, find, rank)
    (found,) = rejected.value.found
    assert found.code == "E0923"
    assert found.message.startswith(said)
    assert found.help
    assert found.span is not None
    line, _ = found.span.source.position(found.span.start)
    assert f"{found.span.source.name}:{line}".endswith(where)
    assert not (tmp_path / "out-local").exists()


def test_a_lock_outside_the_project_is_not_carried(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "project"
    folder.mkdir()
    outside.write_text("numpy==1\n")
    (folder / "locks").mkdir()
    (folder / "locks/find.txt").symlink_to(outside)
    with pytest.raises(Rejected, match="leads out of the project"):
        requiring(folder, None, "")
    (folder / "mine.rag").write_text(TWO.replace("locks/find.txt", "../outside"))
    assert [found.code for found in check_files([folder / "mine.rag"], root=folder).found] == ["E0615"]


def carried(folder: Path, named: str) -> dict[str, bytes]:
    (folder / "mine.py").write_text("def find(q): ...\n")
    (folder / "p.rag").write_text(SOURCE.replace('"mine:find"', f'"mine:find", files: "{named}"'))
    made = planned(folder / "p.rag", root=folder)
    emission = make_emission(made.plan, made.application, folder)
    return user_code(emission.replicas, made.application, source_folders(made.application, folder), folder)


def test_files_that_a_function_reads_or_imports_by_name_come_along(tmp_path: Path) -> None:
    for name, text in {
        "data/graph.bin": "\x00\x01",
        "data/deep/words.txt": "words",
        "data/plugin.py": "import helper",
        "data/.env": "secret",
        "data/__pycache__/x.pyc": "",
        "helper.py": "",
        "other.txt": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = carried(tmp_path, "data")
    assert [*found] == [
        "code/data/deep/words.txt",
        "code/data/graph.bin",
        "code/data/plugin.py",
        "code/helper.py",
        "code/mine.py",
    ]
    assert found["code/data/graph.bin"] == b"\x00\x01"
    assert [*carried(tmp_path, "data/deep/words.txt")] == ["code/data/deep/words.txt", "code/mine.py"]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nothing", "there is no `nothing`"),
        ("outside", "`outside` leads out of the project"),
        ("folder", "`folder/link` leads out of the project"),
        ("large", "`large` cannot be copied: it is larger than 64 MiB"),
        ("pipe", "`pipe` cannot be copied: it is not a regular file"),
        ("broken.py", "`broken.py` is no Python"),
        ("requires.txt", "`requires.txt` is what a bundle calls its lock"),
        ("bundle", "`bundle` is a bundle"),
        ("bundle/bundle.json", "`bundle` is a bundle"),
    ],
)
def test_files_that_cannot_come_along_are_a_finding(tmp_path: Path, named: str, said: str) -> None:
    folder = tmp_path / "project"
    (folder / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_text("")
    (folder / "outside").symlink_to(tmp_path / "secret")
    (folder / "folder/link").symlink_to(tmp_path / "secret")
    with (folder / "large").open("wb") as file:
        file.truncate((64 << 20) + 1)
    os.mkfifo(folder / "pipe")
    (folder / "broken.py").write_text("def (")
    (folder / "requires.txt").write_text("")
    write_files(folder / "bundle", {}, "local")
    with pytest.raises(Rejected) as rejected:
        carried(folder, named)
    (found,) = rejected.value.found
    assert found.code == "E0904"
    assert found.message.startswith(said)
    assert found.help
    assert found.span is not None
