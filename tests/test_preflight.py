"""What `make demo` and `make setup` look at before they install anything: each check on machines that are made up."""

import ast
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from harmonia_compiler.profile.detect import usable_memory_gib

ROOT = Path(__file__).parents[1]
GIB = 2**30


@pytest.fixture
def preflight() -> ModuleType:
    """The checks as a module."""
    spec = importlib.util.spec_from_file_location("machine", ROOT / "tools" / "machine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(text))


#: Limits on memory in GiB, by where they stand, and the least of them.
GROUPS = {
    "at the root": ({"own": "0::/\n", "groups/memory.max": f"{4 * GIB}\n"}, 4),
    "of the own group": ({"own": "0::/job/step\n", "groups/job/step/memory.max": f"{3 * GIB}\n"}, 3),
    "of a group above": (
        {
            "own": "0::/job/step\n",
            "groups/memory.max": "max\n",
            "groups/job/memory.max": f"{2 * GIB}\n",
            "groups/job/step/memory.max": "max\n",
        },
        2,
    ),
    "of the first version": (
        {
            "own": "4:memory:/job\n3:cpu,cpuacct:/job\n",
            "groups/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "groups/memory/job/memory.limit_in_bytes": f"{5 * GIB}\n",
        },
        5,
    ),
    "of a group whose name is no text": (
        {
            "own": "0::/caf\udce9\nof/two lines\n",
            "groups/caf\udce9\nof/memory.max": "max\n",
            "groups/memory.max": f"{GIB}\n",
        },
        1,
    ),
    "of another group": ({"own": "0::/job\n", "groups/other/memory.max": f"{GIB}\n"}, None),
    "none": ({}, None),
}


@pytest.mark.parametrize("where", GROUPS)
def test_memory_is_what_every_control_group_above_leaves(
    preflight: ModuleType, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, least = GROUPS[where]
    write(tmp_path, files)
    monkeypatch.setattr(preflight.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}.__getitem__)
    monkeypatch.setattr(preflight, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(preflight, "OWN_CGROUP", tmp_path / "own")
    assert preflight.memory_limit_gib() == (64 if least is None else least)
    finding = preflight.check_memory()
    assert bool(finding.remedy) == (least is not None)
    if least is not None:
        assert finding == (f"{least}.0 GiB", "the demo's engines need 7 GiB side by side: raise the limit")


def test_the_memory_is_as_inventory_detect_finds_it(preflight: ModuleType) -> None:
    assert preflight.memory_limit_gib() == pytest.approx(usable_memory_gib(), rel=1e-3)


@pytest.mark.parametrize(
    ("installed", "free_gib", "lacking"), [(False, 5.5, 0.5), (False, 6, None), (True, 0.5, 0.5), (True, 1, None)]
)
def test_disk(
    preflight: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_gib: float,
    lacking: float | None,
    *,
    installed: bool,
) -> None:
    if installed:
        write(tmp_path, {".venv/stamps/project": ""})
    monkeypatch.setattr(preflight, "ROOT", tmp_path)
    usage = type(shutil.disk_usage(tmp_path))(100 * GIB, 0, int(free_gib * GIB))
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _path: usage)
    remedy = preflight.check_disk().remedy
    assert remedy == ("" if lacking is None else f"free {lacking} GiB more on the disk that holds {tmp_path}")


@pytest.mark.parametrize(
    ("system", "machine", "flags", "found", "remedy"),
    [
        ("Linux", "x86_64", "flags\t\t: fpu sse4_2 avx", "no AVX2", "vLLM's CPU build needs it"),
        ("Linux", "x86_64", "", "no AVX2", "vLLM's CPU build needs it"),
        ("Linux", "x86_64", "flags\t\t: fpu avx avx2", "AVX2 (AVX-512 would be faster)", ""),
        ("Linux", "x86_64", "processor : 0\nflags : avx2 avx512f", "AVX-512", ""),
        ("Linux", "aarch64", "Features : asimd", "vLLM has no CPU build here", ""),
        ("Darwin", "arm64", "", "vLLM has no CPU build here", ""),
    ],
)
def test_cpu(
    preflight: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    machine: str,
    flags: str,
    found: str,
    remedy: str,
) -> None:
    write(tmp_path, {"cpuinfo": flags})
    monkeypatch.setattr(preflight, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(preflight.platform, "system", lambda: system)
    monkeypatch.setattr(preflight.platform, "machine", lambda: machine)
    finding = preflight.check_cpu()
    assert finding.found.startswith(found)
    assert finding.remedy.startswith(remedy)
    assert bool(finding.remedy) == bool(remedy)


@pytest.mark.parametrize(
    ("system", "runs"), [("Linux", True), ("Darwin", True), ("Windows", False), ("FreeBSD", False)]
)
def test_system(preflight: ModuleType, monkeypatch: pytest.MonkeyPatch, system: str, *, runs: bool) -> None:
    monkeypatch.setattr(preflight.platform, "system", lambda: system)
    finding = preflight.check_system()
    assert finding.found.startswith(f"{system} on ")
    assert (finding.remedy == "") == runs


@pytest.mark.parametrize(("version", "runs"), [((3, 7, 0), False), ((3, 10, 9), False), ((3, 11, 0), True)])
def test_python(
    preflight: ModuleType, monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], *, runs: bool
) -> None:
    monkeypatch.setattr(preflight.sys, "version_info", version)
    assert (preflight.check_python().remedy == "") == runs


SCRIPT = ROOT / "tools" / "preflight.py"


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15)])
def test_a_python_too_old_for_the_checks_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 1
    assert capsys.readouterr().out == (
        f"  missing  python   Python {version[0]}.{version[1]}\n"
        "           -> install Python 3.11 or newer and run `make PYTHON=python3.11 ...`\n"
    )


def test_any_python_can_read_the_script_and_3_7_the_checks() -> None:
    ast.parse((ROOT / "tools" / "machine.py").read_text(encoding="utf-8"), feature_version=(3, 7))
    # No letter that Python 2 would ask an encoding for, and of the language what 2.7 has too.
    tree = ast.parse(SCRIPT.read_bytes().decode("ascii"), feature_version=(3, 4))
    newer = (
        ast.JoinedStr,
        ast.AnnAssign,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.NamedExpr,
        ast.Nonlocal,
    )
    assert [
        node for node in ast.walk(tree) if isinstance(node, (*newer, ast.ImportFrom, ast.Starred, ast.YieldFrom))
    ] == []
    printed = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert all(len(call.args) == 1 and not call.keywords for call in printed)


def test_the_script_runs_the_checks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert f"  ok       python   Python {sys.version_info.major}." in capsys.readouterr().out


def test_a_python_without_what_builds_environments(preflight: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    found: Callable[[str], object] = {"venv": "there", "ensurepip": None}.__getitem__
    monkeypatch.setattr(preflight, "find_spec", found)
    finding = preflight.check_venv()
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    assert finding.found == "no module ensurepip"
    assert package in finding.remedy


@pytest.mark.parametrize("fails", [True, False])
def test_what_fails_is_told_with_what_to_do(
    preflight: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, fails: bool
) -> None:
    checks = (
        ("disk", lambda: preflight.Finding("5 GiB free", "free 1 GiB more" if fails else "")),
        ("cpu", lambda: preflight.Finding("AVX-512")),
    )
    monkeypatch.setattr(preflight, "CHECKS", checks)
    assert preflight.main() == int(fails)
    out = capsys.readouterr().out
    assert ("  missing  disk     5 GiB free\n           -> free 1 GiB more\n" in out) == fails
    assert ("preflight: 1 of 2 checks failed" in out) == fails
    assert "  ok       cpu      AVX-512\n" in out


CHECKED_BY = '#!/bin/sh\ntest "$1" = -c && exit 0\necho "checked by $1"\nexit 1\n'


def made_demo(folder: Path, *given: str) -> tuple[int, str]:
    """What `make demo` ends with and says where nothing but the Makefile is."""
    shutil.copy(ROOT / "Makefile", folder)
    done = subprocess.run(["make", "demo", *given], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
def test_who_has_no_python_is_told_what_to_install(tmp_path: Path) -> None:
    said = (
        "  missing  python   there is no python-of-nobody\n"
        "           -> install Python 3.11 or newer and run `make PYTHON=python3.11 ...`\n"
    )
    assert made_demo(tmp_path, "PYTHON=python-of-nobody") == (2, said)
    assert made_demo(tmp_path, f"PYTHON={tmp_path}/python-of-nobody")[0] == 2


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
def test_an_environment_that_is_built_checks_the_machine_itself(tmp_path: Path) -> None:
    write(tmp_path, {".venv/stamps/venv": "", ".venv/bin/python": CHECKED_BY})
    (tmp_path / ".venv/bin/python").chmod(0o755)
    assert made_demo(tmp_path, "PYTHON=python-of-nobody") == (2, "checked by tools/preflight.py\n")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
def test_an_environment_whose_python_has_gone_is_built_anew(tmp_path: Path) -> None:
    write(tmp_path, {".venv/stamps/venv": "", "python": CHECKED_BY})
    (tmp_path / "python").chmod(0o755)
    (tmp_path / ".venv/bin").mkdir()
    (tmp_path / ".venv/bin/python").symlink_to(tmp_path / "gone")
    assert made_demo(tmp_path, f"PYTHON={tmp_path}/python") == (2, "checked by tools/preflight.py\n")

    def steps() -> str:
        asked = ["make", "--dry-run", ".venv/stamps/venv", "CHECKED=yes", f"PYTHON={tmp_path}/python"]
        return subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert "python -m venv .venv" in steps()
    # Another Python stands there now, which sees no package of the environment's.
    write(tmp_path, {"gone": '#!/bin/sh\ntest "$1$2" = "-cimport pip" && exit 1\nexit 0\n'})
    (tmp_path / "gone").chmod(0o755)
    assert "python -m venv .venv" in steps()
    shutil.copy(tmp_path / "python", tmp_path / "gone")
    assert "-m venv" not in steps()


#: Makes an environment as far as anybody here looks into it, and cannot install anything.
MAKES = '#!/bin/sh\ntest "$1$2" = "-mvenv" || exit 1\nmkdir -p "$3/bin"\ntouch "$3/made"\n'


def setup(folder: Path, target: str = ".venv/stamps/venv") -> tuple[int, str]:
    asked = ["make", target, "CHECKED=yes", f"PYTHON={folder}/python"]
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
@pytest.mark.parametrize("target", ["setup", "clean"])
def test_an_environment_of_somebody_s_own_is_not_replaced(tmp_path: Path, target: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    write(tmp_path, {".venv/lib/mine.py": "", ".venv/bin/python": CHECKED_BY, "python": MAKES})
    (tmp_path / "python").chmod(0o755)
    code, said = setup(tmp_path, target)
    assert code == 2
    assert ".venv was not made by `make setup`" in said
    assert "-> move it away, as with `mv .venv .venv.own`" in said
    assert (tmp_path / ".venv/lib/mine.py").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")
@pytest.mark.parametrize("there", [[], [".venv/"], [".venv/stamps/", ".venv/lib/old.py"], [".venv/stamps/venv"]])
def test_an_environment_of_ours_is_built_anew(tmp_path: Path, there: list[str]) -> None:
    """Also one whose making was interrupted before it bore a stamp, and an empty folder."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    write(tmp_path, {"python": MAKES, **{name: "" for name in there if not name.endswith("/")}})
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / "python").chmod(0o755)
    code, said = setup(tmp_path)
    assert code == 0, said
    assert {path.name for path in (tmp_path / ".venv").iterdir()} == {"bin", "made", "stamps"}
    assert (tmp_path / ".venv/stamps/venv").exists()
