"""Imports stand at the top of a module. What is loaded by name instead is listed here, with why.

ruff finds import statements inside functions; a call of `import_module` it takes for any other call.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import harmonia_compiler
from harmonia_compiler.runtime.modules import module_command

PACKAGE = Path(harmonia_compiler.__file__).parent

#: The modules that load others by name: what they load is one file of a folder, or the user's own.
LOADERS = {
    "cli/main.py": "the command that was typed",
    "emit/targets/__init__.py": "the target that was asked for",
    "functions/registry.py": "the functions of the language",
    "kinds/registry.py": "the kinds, and, where none of ours has a name, the search through other distributions",
    "runtime/actuators/actuator.py": "the actuator of the bundle's target",
    "runtime/gateway/transports.py": "the ways to talk to replicas that the kinds of a service name",
    "runtime/worker/__main__.py": "the role of this worker",
    "runtime/worker/python.py": "the user's function",
    "workload/traces/registry.py": "the formats of traces",
}
#: The one that loads what is known beforehand: a package of figures that few installations have, and few runs ask.
OPTIONAL = {"profile/tables.py"}


def loads(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call that imports by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield node


@cache
def parsed() -> list[tuple[str, ast.Module]]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [(path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def test_only_what_is_listed_loads_by_name() -> None:
    assert {name for name, tree in parsed() if any(loads(tree))} == {*LOADERS, *OPTIONAL}


def test_nothing_that_is_known_beforehand_is_loaded_by_name() -> None:
    known = {name for name, tree in parsed() for call in loads(tree) if isinstance(call.args[0], ast.Constant)}
    assert known == OPTIONAL


def test_no_import_stands_in_a_function_and_none_is_excused() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    for name, tree in parsed():
        inside = [node for one in ast.walk(tree) if isinstance(one, functions) for node in ast.walk(one)]
        assert not any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in inside), name


def test_the_layers_are_those_that_architecture_shows() -> None:
    """Line by line, with those that share one."""
    root = PACKAGE.parent
    contracts = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "layers"]
    text = (root / "ARCHITECTURE.md").read_text("utf-8")
    table = text.partition("| layer | for |")[2].partition("\n\n")[0]
    shown = [re.findall(r"`([a-z]+)`", row.split("|")[1]) for row in table.splitlines()[2:]]
    assert shown == [layer.split(" | ") for layer in layers]


def test_a_module_of_ours_is_started_in_one_way() -> None:
    """What else runs this interpreter: a file by its path, and the launches of a bundle, whose environment is made."""
    using = [path for path in PACKAGE.rglob("*.py") if "sys.executable" in path.read_text(encoding="utf-8")]
    where = {path.relative_to(PACKAGE).as_posix() for path in using}
    supervision, slurm = "runtime/actuators/supervision/command.py", "runtime/actuators/slurm/commands.py"
    assert where == {"runtime/modules.py", supervision, slurm}


def test_nothing_is_imported_from_the_folder_in_which_a_module_of_ours_runs(tmp_path: Path) -> None:
    for name in ("queue", "html", "argparse", "harmonia_compiler"):
        (tmp_path / f"{name}.py").write_text('raise SystemExit("imported from the folder")')
    command = module_command("harmonia_compiler.runtime.worker", "--help")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("usage: "), done.stderr
