"""Whose figures hold: the best that match, for planner and simulator alike, and none that were not allowed."""

from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.profile import sources
from harmonia_compiler.profile.assumptions import SHARED_EFFICIENCY
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.device import CpuPart, GpuPart, part_of
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import Observation
from harmonia_compiler.profile.memory import memory_of
from harmonia_compiler.profile.profiles import Asked
from harmonia_compiler.profile.record import MeasuredProfile, Ran, profile_of
from harmonia_compiler.profile.serving import Stepping, serving
from harmonia_compiler.profile.sources import CPU_ROOFLINE, ROOFLINE, Sources, sources_here
from harmonia_compiler.profile.steps import StepLoad
from harmonia_compiler.profile.store import keep, kept
from harmonia_compiler.runtime.weights import wanted

MODEL = "meta-llama/Llama-3.2-3B-Instruct"
CARD = wanted(MODEL)
ENGINE = Engine("small", "llm", {"model": MODEL, "max_model_len": 4096})
WHOLE, HALF = GpuPart("h100_sxm", 1.0), GpuPart("h100_sxm", 0.5)
SEEN = [Observation("a", (StepLoad(10, 50.0),), 5.0, 1), Observation("b", (StepLoad(0, 0.0, 2, 40),), 3.0)]
LOAD = StepLoad(decodes=4, decode_context=4000)


def measured(
    ran: Ran | None, *, model: str = MODEL, engine: str = "vllm 0.0", date: str = "2026-01-02"
) -> MeasuredProfile:
    return profile_of(SEEN, model=model, engine=engine, limits=Limits(100, 2048, 8, 4096), date=date, ran=ran)


ON_H100 = measured(Ran("bf16", "h100_sxm", 1.0, 1.0))
ON_TWO_CORES = measured(Ran("bf16", "", 0.0, 2.0))


def test_what_was_measured_comes_before_a_roofline() -> None:
    found = Sources(measured=(ON_H100, ON_TWO_CORES))
    assert found.steps(ENGINE, CARD, WHOLE).provenance == "measured: vllm 0.0, h100_sxm, 2026-01-02"
    assert found.steps(ENGINE, CARD, CpuPart(2.0)).provenance == ON_TWO_CORES.provenance
    assert found.steps(ENGINE, CARD, WHOLE).steps == ON_H100.steps


@pytest.mark.parametrize(
    ("profile", "part"),
    [
        (ON_H100, GpuPart("h200_sxm", 1.0)),
        (ON_H100, GpuPart("h100_sxm", 2.0)),
        (ON_TWO_CORES, CpuPart(4.0)),
        (ON_TWO_CORES, GpuPart("h100_sxm", 2.0)),
        (measured(None), WHOLE),
        (measured(ON_H100.ran, model="another"), WHOLE),
        (measured(Ran("fp8", "h100_sxm", 1.0, 1.0)), WHOLE),
    ],
)
def test_what_was_measured_of_something_else_does_not_count(profile: MeasuredProfile, part: GpuPart | CpuPart) -> None:
    found = Sources(measured=(profile,)).steps(ENGINE, CARD, part)
    assert found.provenance == (CPU_ROOFLINE if isinstance(part, CpuPart) else ROOFLINE)


def test_what_was_measured_of_a_folder_that_was_added_holds_for_that_revision_alone() -> None:
    """Another one that has or had its name may be of any size. A hub's commits are as fast as each other."""

    def by(measured_at: str, planned: str) -> str:
        ran = Ran("bf16", "h100_sxm", 1.0, 1.0, measured_at)
        card = msgspec.structs.replace(CARD, revision=planned)
        return Sources(measured=(measured(ran),)).steps(ENGINE, card, WHOLE).provenance

    own, other, commit = "local-00000000000000a1", "local-00000000000000a2", "0" * 40
    assert by(own, own) == by(commit, CARD.revision) == by("", CARD.revision) == ON_H100.provenance
    assert [by(own, other), by(own, commit), by(commit, own), by("", own)] == [ROOFLINE] * 4


def test_what_was_measured_on_cores_holds_for_the_same_processor() -> None:
    found = Sources(measured=(ON_TWO_CORES,))
    own = ON_TWO_CORES.machine.processor
    assert found.steps(ENGINE, CARD, CpuPart(2.0, own)).provenance == ON_TWO_CORES.provenance
    assert found.steps(ENGINE, CARD, CpuPart(2.0, "another")).provenance == CPU_ROOFLINE


@pytest.mark.parametrize(
    ("processors", "holds"),
    [(["", ""], True), (["own", "own"], True), (["own", ""], True), (["other", "own"], False), (["other", ""], False)],
)
def test_an_inventory_says_which_processor_its_cores_are_of(processors: list[str], *, holds: bool) -> None:
    own = ON_TWO_CORES.machine.processor
    hosts = (Host(f"h{at}", 2, 64.0, processor=own if one == "own" else one) for at, one in enumerate(processors))
    profiles = BestProfiles(sources=Sources(measured=(ON_TWO_CORES,)))
    offered = profiles.offer(Asked(ENGINE, {"small": Work(100.0, 50.0)}), Inventory(tuple(hosts)))
    on_two = [option for option in offered.options if option.configuration.cores == 2.0]
    assert {option.provenance == ON_TWO_CORES.provenance for option in on_two} == {holds}
    # Who imitates the replica takes the same figures.
    imitated = serving(ENGINE, on_two[0].configuration, load_cards(), Sources(measured=(ON_TWO_CORES,)))
    assert isinstance(imitated, Stepping)
    assert (imitated.steps == ON_TWO_CORES.steps) == holds


def test_a_host_without_16_bit_arithmetic_is_planned_in_32() -> None:
    asked = Asked(ENGINE, {"small": Work(100.0, 50.0)})
    hosts = (Host("a", 2, 64.0), Host("b", 2, 64.0, bf16=False))
    with_it, without = (
        {option.configuration.batch: option for option in BestProfiles().offer(asked, Inventory(those)).options}
        for those in (hosts[:1], hosts)
    )
    assert {option.configuration.precision for option in without.values()} == {"fp32"}
    for batch, option in with_it.items():
        wide = without[batch].configuration
        assert option.configuration.precision == "bf16"
        held, twice = (memory_of(ENGINE, CARD, each) for each in (option.configuration, wide))
        assert twice.weights_gib == 2 * held.weights_gib
        assert wide.memory_gib - option.configuration.memory_gib > held.weights_gib - 0.01
        assert twice.weights_gib + twice.cache_gib + twice.rest_gib <= wide.memory_gib
        # No measurement in 16 bits holds for 32.
        assert Sources(measured=(ON_TWO_CORES,)).steps(ENGINE, CARD, part_of(wide)).provenance == CPU_ROOFLINE


@pytest.mark.parametrize(
    ("server", "engine", "holds"),
    [
        ("auto", "vllm 0.0", True),
        ("auto", "openai-compatible server", True),
        ("vllm", "openai-compatible server", False),
        ("transformers", "openai-compatible server", True),
        ("transformers", "vllm 0.0", False),
    ],
)
def test_the_server_that_was_asked_for_must_be_the_measured_one(server: str, engine: str, *, holds: bool) -> None:
    asked = Engine("small", "llm", {"model": MODEL, "server": server})
    found = Sources(measured=(measured(ON_H100.ran, engine=engine),)).steps(asked, CARD, WHOLE)
    assert (found.provenance != ROOFLINE) == holds


def test_the_latest_of_several_measurements_counts() -> None:
    later = measured(ON_H100.ran, engine="vllm 0.1", date="2026-03-04")
    assert "vllm 0.1" in Sources(measured=(later, ON_H100)).steps(ENGINE, CARD, WHOLE).provenance


def test_half_a_gpu_is_as_much_slower_than_a_whole_one() -> None:
    found = Sources(measured=(ON_H100,))
    whole, half = (found.steps(ENGINE, CARD, part).steps for part in (WHOLE, HALF))
    assert half.step_ms(LOAD) == pytest.approx(whole.step_ms(LOAD) / (0.5 * SHARED_EFFICIENCY))
    assert half.request_ms == whole.request_ms


def test_a_kept_profile_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    keep(ON_H100, tmp_path)
    keep(ON_TWO_CORES, tmp_path)
    later = measured(ON_H100.ran, date="2026-03-04")
    keep(later, tmp_path)
    assert sorted(each.measured_on for each in kept(tmp_path)) == ["2026-01-02", "2026-03-04"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, where something was measured, and all sources allowed."""
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path))
    monkeypatch.delenv(sources.VARIABLE)
    keep(ON_H100, tmp_path / "profiles")
    return tmp_path


@pytest.mark.parametrize(
    ("said", "takes", "tables"),
    [(None, True, True), ("roofline", False, False), ("measured,roofline", True, False), (" tables ", False, True)],
)
def test_only_what_is_allowed_is_taken(
    home: Path, monkeypatch: pytest.MonkeyPatch, said: str | None, *, takes: bool, tables: bool
) -> None:
    if said is not None:
        monkeypatch.setenv(sources.VARIABLE, said)
    found = sources_here()
    assert found.measured == ((ON_H100,) if takes else ())
    assert found.tables == (home / "cache" if tables else None)


def test_a_source_that_is_none_is_a_diagnostic(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sources.VARIABLE, "tables,mesured")
    with pytest.raises(Rejected) as rejected:
        sources_here()
    assert [(each.code, each.help) for each in rejected.value.found] == [("E1206", "did you mean `measured`?")]


def test_a_damaged_profile_among_the_kept_ones_is_a_diagnostic(home: Path) -> None:
    (home / "profiles" / "a.json").write_text("{}")
    with pytest.raises(Rejected) as rejected:
        sources_here()
    assert [each.code for each in rejected.value.found] == ["E1201"]


def test_plans_and_simulations_take_their_figures_from_one_place(home: Path) -> None:
    """A call that computes a prompt and writes one token takes a replica as long as the simulator's step does."""
    work = Work(prompt_tokens=900.0, output_tokens=1.0)
    inventory = Inventory((Host("one", 8, 64.0, (Gpu("h100_sxm", 1),)),))
    option = next(
        each
        for each in BestProfiles().offer(Asked(ENGINE, {"call": work}), inventory).options
        if (each.configuration.gpus, each.configuration.batch) == (1.0, 4)
    )
    works = serving(ENGINE, option.configuration, load_cards())
    assert isinstance(works, Stepping)
    assert works.steps == ON_H100.steps
    assert option.provenance == ON_H100.provenance
    assert option.first_ms["call"][0] == pytest.approx(
        works.steps.request_ms + works.steps.step_ms(StepLoad(900, 900**2 / 2)), rel=0.1
    )


def test_a_prompt_longer_than_a_step_takes_several() -> None:
    """An A100 computes 2,048 tokens in a step."""
    work = {"long": Work(prompt_tokens=4000.0, output_tokens=1.0)}
    inventory = Inventory((Host("one", 8, 64.0, (Gpu("a100_sxm", 1),)),))
    found = BestProfiles(sources=Sources())
    option = next(each for each in found.offer(Asked(ENGINE, work), inventory).options if each.configuration.gpus == 1)
    steps = Sources().steps(ENGINE, CARD, GpuPart("a100_sxm", 1.0)).steps
    first, second = StepLoad(2048, 2048**2 / 2), StepLoad(1952, 1952 * (2048 + 1952 / 2))
    assert option.busy_ms["long"] == pytest.approx(steps.step_ms(first) + steps.step_ms(second))


def test_what_a_call_takes_outside_of_steps_is_waited_for_and_occupies_nobody(home: Path) -> None:
    slow = msgspec.structs.replace(ON_H100, steps=msgspec.structs.replace(ON_H100.steps, request_ms=100.0))
    asked = Asked(ENGINE, {"call": Work(prompt_tokens=900.0, output_tokens=9.0)})
    inventory = Inventory((Host("one", 8, 64.0, (Gpu("h100_sxm", 1),)),))
    quick = msgspec.structs.replace(ON_H100, steps=msgspec.structs.replace(ON_H100.steps, request_ms=0.0))
    one, other = (BestProfiles(sources=Sources((each,))).offer(asked, inventory).options for each in (quick, slow))
    for before, after in zip(one, other, strict=True):
        if before.configuration.gpu:
            assert before.busy_ms == after.busy_ms
            assert after.first_ms["call"][0] == pytest.approx(before.first_ms["call"][0] + 100.0)


def test_tables_are_asked_for_whole_gpus_and_where_they_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "shape_of", lambda *_: pytest.fail("nobody may ask"))
    assert Sources().steps(ENGINE, CARD, WHOLE).provenance == ROOFLINE
    assert Sources(tables=Path("nowhere")).steps(ENGINE, CARD, CpuPart(2.0)).provenance == CPU_ROOFLINE


def test_another_card_of_the_same_name_is_another_model() -> None:
    found = Sources()
    smaller = msgspec.structs.replace(CARD, parameters=CARD.parameters / 2)
    assert found.steps(ENGINE, CARD, WHOLE).steps.step_ms(LOAD) > found.steps(ENGINE, smaller, WHOLE).steps.step_ms(
        LOAD
    )
