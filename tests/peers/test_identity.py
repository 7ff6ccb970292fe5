"""Files of cells outlive neither code nor plan nor versions."""

import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bench.peers import cells, identity
from bench.peers.cells import Cell, Key, Told, kept, measured
from bench.peers.systems import Set
from harmonia_compiler.emulate.scenario import Scenario
from tests.emulate.planned import planned_for

SOURCE = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component say(question: text) -> text ~ 20 tokens = model("Say. {question}", max_tokens: 30)
pipeline ask(question: text) -> text {
    slo p95 latency <= 5 s
    load 4 rps
    return say(question)
}
"""
KEY = Key("ask", "one", "other", "model=1", "poisson", 4.0, 5.0, 60.0, 2.0, 1, "code", "subject", "versions")


def cell(key: Key, *, void: tuple[str, ...] = (), violated: float = 0.0) -> Cell:
    return Cell(
        key, 1, 240, violated, 4.0, 4.0, 900.0, 1000.0, 1100.0, 90.0, 95.0, 910.0, (900.0,), {"ok": 240}, 1.5, 0.3,
        {"engines": 0.2}, 1.0, void, "2 cores", "3.11", "0", {"ray": "2"}, "abc", "now",
    )  # fmt: skip


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return planned_for(tmp_path_factory.mktemp("app"), SOURCE)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """What was measured, each with what `RESULTS` says of it."""
    found: list[Key] = []

    def measure(key: Key, attempt: int, scenario: Scenario, system: Set, trace: object, told: object) -> Cell:
        found.append(key)
        return cell(key, void=("busy",) if key.rate_rps == 9.0 else ())

    monkeypatch.setattr(cells, "_measure", measure)
    return found


def ask(folder: Path, planned: Scenario, key: Key) -> Cell:
    return measured(folder, key, 1, planned, lambda _: Set((), None), None, Told({}, "abc", 49.0, 51.0))


def test_a_cell_is_measured_once(tmp_path: Path, planned: Scenario, runs: list[Key]) -> None:
    assert ask(tmp_path, planned, KEY) == ask(tmp_path, planned, KEY)
    assert runs == [KEY]


@pytest.mark.parametrize("name", Key.__struct_fields__)
def test_a_cell_is_measured_anew_where_anything_is_different(
    tmp_path: Path, planned: Scenario, runs: list[Key], name: str
) -> None:
    was = getattr(KEY, name)
    other = msgspec.structs.replace(KEY, **{name: was + 1 if not isinstance(was, str) else f"{was}!"})
    ask(tmp_path, planned, KEY)
    ask(tmp_path, planned, other)
    assert runs == [KEY, other]
    assert [one.key for one in kept(tmp_path)] in ([KEY, other], [other, KEY])


def test_a_void_cell_is_measured_again_and_stays_in_the_folder(
    tmp_path: Path, planned: Scenario, runs: list[Key]
) -> None:
    void = msgspec.structs.replace(KEY, rate_rps=9.0)
    ask(tmp_path, planned, void)
    ask(tmp_path, planned, void)
    assert runs == [void, void]
    assert [one.void for one in kept(tmp_path)] == [("busy",), ("busy",)]


def test_code_is_told_apart_by_names_and_contents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    folder = tmp_path / "some"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "a.py").write_text("x")
    first = identity.code([folder])
    (folder / "__pycache__" / "a.pyc").write_text("y")
    assert identity.code([folder]) == first
    (folder / "a.py").write_text("y")
    changed = identity.code([folder])
    (folder / "a.py").rename(folder / "b.py")
    assert len({first, changed, identity.code([folder])}) == 3


def test_all_that_is_measured_with_is_there() -> None:
    assert all(path.exists() for path in identity.WHOLE)


def test_a_subject_is_its_replicas_its_programs_its_draws_and_its_promises(planned: Scenario, tmp_path: Path) -> None:
    replicas = planned.plan.replicas
    others = [
        identity.subject(planned, ()),
        identity.subject(planned_for(tmp_path, SOURCE.replace("Say.", "Tell.")), replicas),
        identity.subject(planned_for(tmp_path, SOURCE.replace("<= 5 s", "<= 4 s")), replicas),
        identity.subject(planned_for(tmp_path, SOURCE, price_per_hour=3.0), replicas),
        identity.subject(
            replace(planned, behaviour=replace(planned.behaviour, draws=replace(planned.draws, seed=9))), replicas
        ),
    ]
    assert len({identity.subject(planned, replicas), *others}) == 6
    same = planned_for(tmp_path, SOURCE)
    assert identity.subject(same, replicas) == identity.subject(planned, replicas)
    # Another plan is another subject by its replicas alone: what others run is not measured anew for it.
    other = replace(same, service=msgspec.structs.replace(same.service, shares={}, expected={}))
    assert identity.subject(other, replicas) == identity.subject(planned, replicas)


def test_versions_are_what_an_interpreter_says() -> None:
    installed = identity.versions(Path(sys.executable))
    assert installed["msgspec"] == msgspec.__version__
    assert identity.of_versions(installed) != identity.of_versions({**installed, "msgspec": "0"})
