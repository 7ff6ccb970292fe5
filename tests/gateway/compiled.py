"""What a gateway serves of a source text."""

from pathlib import Path

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.program import Program
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.registry import optimise

Compiled = tuple[list[Program], dict[str, Engine]]


def compile_text(folder: Path, source: str) -> Compiled:
    """Its programs and engines, of which no pass has taken apart a block, or made one call of several."""
    path = folder / "app.rag"
    path.write_text(source)
    checked = check_files([path])
    assert checked.application is not None, checked.found
    made = optimise(checked.application, last="expand_retrieval")
    return [lower(flow, made) for flow in made.flows], dict(made.engines)
