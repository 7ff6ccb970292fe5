"""Grids of tables: how near they are, and that they are kept, found again, and never taken for another's."""

import random
import statistics
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.component import Engine
from harmonia_compiler.profile import table_grids
from harmonia_compiler.profile.device import GpuPart
from harmonia_compiler.profile.grid import Grid, Plane, grid_of
from harmonia_compiler.profile.sources import Sources
from harmonia_compiler.profile.steps import Roofline, StepLoad, roofline
from harmonia_compiler.profile.table_grids import grid_for
from harmonia_compiler.profile.tables import Shape, shape_of, table_of
from harmonia_compiler.runtime.weights import wanted

LLAMA = wanted("meta-llama/Llama-3.1-8B-Instruct")
SHAPE = Shape("1.0", "vllm", "h100_sxm", 1, "bfloat16", {"hidden_size": 4096})


class Sheet:
    """A roofline as a table: what a plan is made of when the package is not there."""

    provenance = "a data sheet"

    def __init__(self) -> None:
        self.model: Roofline = roofline(LLAMA, "bf16", GpuPart("h100_sxm", 1.0))

    def step_ms(self, load: StepLoad, /) -> float:
        return self.model.step_ms(load)

    def shared_ms(self, tokens: int, /) -> float:
        return self.model.step_ms(StepLoad(tokens))


def some_loads(count: int) -> list[StepLoad]:
    """Steps as engines have them: prompts, begun or gone on with, several together, answers, and all of it at once."""
    rng = random.Random(1)

    def between(low: float, high: float) -> float:
        return float(low * (high / low) ** rng.random())

    found = []
    for number in range(count):
        new, decodes = round(between(2, 8192)), round(between(1, 256))
        before = rng.choice([0, 0, round(between(16, 8000))])
        pairs = new * (before + new / 2) / (rng.choice([1, 1, 2, 4]) if before == 0 else 1)
        prompt, answers = (new, pairs), (decodes, decodes * between(16, 8000))
        found.append(StepLoad(*(prompt if number % 3 != 1 else (0, 0.0)), *(answers if number % 3 else (0, 0.0))))
    return found


@pytest.mark.parametrize(
    ("gpu", "degree", "precision", "median", "most_of_them"),
    [
        ("h100_sxm", 1, "bf16", 0.02, 0.08),
        pytest.param("a100_sxm", 4, "bf16", 0.02, 0.08, marks=pytest.mark.slow),
        pytest.param("l40s", 2, "bf16", 0.02, 0.08, marks=pytest.mark.slow),
        # The package's own figures for 8-bit products go up and down by half between the sizes that were measured.
        pytest.param("h200_sxm", 1, "fp8", 0.03, 0.30, marks=pytest.mark.slow),
    ],
)
def test_a_grid_is_near_its_table(gpu: str, degree: int, precision: str, median: float, most_of_them: float) -> None:
    pytest.importorskip("aiconfigurator_core")
    shape = shape_of(LLAMA, gpu, degree, precision)
    assert shape is not None
    table = table_of(shape)
    assert table is not None
    grid = grid_of(table)
    errors = sorted(abs(grid.step_ms(load) / table.step_ms(load) - 1.0) for load in some_loads(600))
    assert statistics.median(errors) < median
    assert errors[int(len(errors) * 0.95)] < most_of_them


def test_a_grid_says_at_its_points_what_it_was_told() -> None:
    sheet = Sheet()
    grid = grid_of(sheet)
    for load in (StepLoad(512, 512**2 / 2), StepLoad(512, 512 * (1024 + 256)), StepLoad(0, 0.0, 16, 16 * 1024.0)):
        assert grid.step_ms(load) == pytest.approx(sheet.step_ms(load))


def test_a_step_never_takes_less_than_no_time() -> None:
    grid = grid_of(Sheet())
    for load in (
        *some_loads(300),
        StepLoad(),
        StepLoad(60_000, 60_000**2 / 2),
        StepLoad(0, 0.0, 4000, 4000 * 300_000.0),
    ):
        assert grid.step_ms(load) > 0.0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Shape]:
    """The shapes whose table was loaded, instead of by the package, which may not be there."""
    found: list[Shape] = []

    def load(shape: Shape) -> Sheet | None:
        found.append(shape)
        return Sheet() if shape.gpu != "t4" else None

    monkeypatch.setattr(table_grids, "table_of", load)
    return found


def only_file(folder: Path) -> Path:
    [path] = (folder / "tables").iterdir()
    return path


def test_a_table_is_loaded_once(tmp_path: Path, asked: list[Shape]) -> None:
    first, second = grid_for(SHAPE, tmp_path), grid_for(SHAPE, tmp_path)
    assert first == second
    assert first is not None
    assert asked == [SHAPE]
    assert only_file(tmp_path).stat().st_size < 20_000


def test_that_there_is_none_is_known_as_well(tmp_path: Path, asked: list[Shape]) -> None:
    shape = msgspec.structs.replace(SHAPE, gpu="t4")
    assert grid_for(shape, tmp_path) is None
    assert grid_for(shape, tmp_path) is None
    assert asked == [shape]


@pytest.mark.parametrize(
    "other",
    [
        {"version": "1.1"},
        {"tensor_parallel": 2},
        {"products": "fp8"},
        {"gpu": "h200_sxm"},
        {"config": {"hidden_size": 2048}},
    ],
)
def test_another_shape_or_package_is_another_table(
    tmp_path: Path, asked: list[Shape], other: dict[str, object]
) -> None:
    grid_for(SHAPE, tmp_path)
    grid_for(msgspec.structs.replace(SHAPE, **other), tmp_path)
    assert len(asked) == 2


def test_another_format_is_made_anew(tmp_path: Path, asked: list[Shape], monkeypatch: pytest.MonkeyPatch) -> None:
    grid_for(SHAPE, tmp_path)
    monkeypatch.setattr(table_grids, "FORMAT_VERSION", table_grids.FORMAT_VERSION + 1)
    grid_for(SHAPE, tmp_path)
    assert len(asked) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other", "rows", "negative", "folder"])
def test_a_damaged_or_foreign_file_is_made_anew(tmp_path: Path, asked: list[Shape], damage: str) -> None:
    right = grid_for(SHAPE, tmp_path)
    path = only_file(tmp_path)
    raw = path.read_bytes()
    document = msgspec.json.decode(raw)
    if damage == "other":
        document["shape"]["gpu"] = "h200_sxm"
    if damage == "rows":
        document["grid"]["decodes"]["values"].pop()
    if damage == "negative":
        document["grid"]["shared"][3] = -1.0
    changed = {"cut": raw[: len(raw) // 2], "empty": b"", "text": b"\xff not ours"}.get(
        damage, msgspec.json.encode(document)
    )
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(changed)
    assert grid_for(SHAPE, tmp_path) == right
    assert len(asked) == 2
    if damage != "folder":
        assert path.read_bytes() == raw


def test_where_nothing_can_be_written_plans_are_made_all_the_same(tmp_path: Path, asked: list[Shape]) -> None:
    (tmp_path / "tables").write_text("in the way")
    assert grid_for(SHAPE, tmp_path) is not None
    assert list(tmp_path.iterdir()) == [tmp_path / "tables"]


@pytest.mark.parametrize(
    ("across", "along", "values"),
    [
        ((1.0,), (1.0, 2.0), ((1.0, 1.0),)),
        ((2.0, 1.0), (1.0, 2.0), ((1.0, 1.0), (1.0, 1.0))),
        ((1.0, 2.0), (1.0, 2.0), ((1.0, 1.0), ())),
        ((1.0, 2.0), (1.0, 2.0), ((1.0, 1.0), (1.0, float("nan")))),
    ],
)
def test_points_and_values_fit_each_other(
    across: tuple[float, ...], along: tuple[float, ...], values: tuple[tuple[float, ...], ...]
) -> None:
    with pytest.raises(ValueError, match=r"points|no time"):
        Plane(across, along, values)


PLANS = """
import sys
from harmonia_compiler.cli.main import run
code = run(["plan", sys.argv[1], "--inventory", sys.argv[2], "--format", "json"])
print(code, "aiconfigurator_core" in sys.modules, file=sys.stderr)
"""
RAG = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(question: text ~ 500 tokens) -> text ~ 60 tokens = small("{question}")
pipeline one(question: text ~ 500 tokens) -> text {
    return answer(question)
}
"""
INVENTORY = """
[[hosts]]
name = "rack"
cpus = 16
memory_gib = 128
gpus = [{ type = "h100_sxm", count = 2 }, { type = "t4", count = 1 }]
"""


@pytest.mark.slow
def test_a_second_plan_loads_no_table(tmp_path: Path) -> None:
    pytest.importorskip("aiconfigurator_core")
    source, inventory = tmp_path / "one.rag", tmp_path / "rack.toml"
    source.write_text(RAG)
    inventory.write_text(INVENTORY)
    environment = {"HARMONIA_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}

    def plan() -> tuple[str, str]:
        command = [sys.executable, "-c", PLANS, str(source), str(inventory)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr.splitlines()[-1]

    first, second = plan(), plan()
    assert (first[1], second[1]) == ("0 True", "0 False")
    assert first[0] == second[0]
    assert "tables: aiconfigurator-core" in first[0]


def test_a_table_comes_before_a_roofline(tmp_path: Path, asked: list[Shape], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmonia_compiler.profile.sources.shape_of", lambda *_: SHAPE)
    engine_model = {"model": LLAMA.name}
    from_table = Sources(tables=tmp_path)
    found = from_table.steps(Engine("small", "llm", engine_model), LLAMA, GpuPart("h100_sxm", 1.0))
    assert found.provenance == "tables: aiconfigurator-core 1.0, h100_sxm, vllm"
    assert isinstance(found.steps, Grid)
