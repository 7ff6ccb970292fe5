"""Faults and start delays as people write them, and which replicas they meet."""

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emulate.rehearsal.mishaps import injected, loading, parse_delay, parse_fault
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import Fault


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("answer slow 3x at 30s for 10s", Fault("answer", "slow", 30.0, 40.0, factor=3.0)),
        ("answer slow", Fault("answer", "slow")),
        (" model-1  fail 20% for 2 min ", Fault("model-1", "fail", 0.0, 120.0, share=0.2)),
        ("search die at 500ms", Fault("search", "die", 0.5)),
        ("search hang", Fault("search", "hang")),
        ("search fail 50% at 0s for 30s", Fault("search", "fail", 0.0, 30.0, share=0.5)),
        ("at lie at 1s for 1s", Fault("at", "lie", 1.0, 2.0)),
    ],
)
def test_a_fault_is_read_as_it_is_written(written: str, fault: Fault) -> None:
    assert parse_fault(written) == fault


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "is no fault; write it like"),
        ("\x1b[31m hang", r"\\x1b\[31m hang' is no fault"),
        ("answer", "is no fault; write it like"),
        ("answer slow 3x at 30s for", "is no duration; write it like"),
        ("answer slow -3x", "is no fault; write it like"),
        ("answer fail \u0665\u0660%", "is no fault; write it like"),
        ("answer hang at \u0665s", "is no duration; write it like"),
        ("answer slo", "did you mean `slow`"),
        ("answer burn", "can be made slow, hang, fail, die, lie"),
        ("answer slow 3x at noon", "is no duration"),
        ("answer slow 1x", "above 1"),
        ("answer slow 20%", "takes times as in `3x`"),
        ("answer slow 99999x", "at most 10000"),
        ("answer fail 101%", "at most 100"),
        ("answer fail 0%", "above 0"),
        ("answer die 3x", "takes no amount"),
        ("answer hang for 0s", "not above 0"),
        ("answer slow " + "9" * 400 + "x", "at most"),
    ],
)
def test_what_is_no_fault_says_how_one_looks(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_fault(written)


def test_a_delay_is_of_all_engines_or_of_one() -> None:
    assert parse_delay("20s") == ("", 20.0)
    assert parse_delay("answer=2m") == ("answer", 120.0)
    for wrong in ("", "=3s", "\x1b=3s", "answer=", "answer=soon"):
        with pytest.raises(ValueError, match="write it like"):
            parse_delay(wrong)


def test_a_name_is_of_a_replica_or_an_engine_or_a_component(planned: Scenario) -> None:
    models = {one.id for one in planned.plan.replicas if one.engine == "model"}
    one = min(models)
    for name, met in (("model", models), ("answer", models), (one, {one}), ("web", {"web"})):
        assert {fault.replica for fault in injected(planned, [Fault(name, "hang")], 1000.0)} == met


def test_faults_that_meet_nothing_are_all_told_with_the_next_step(planned: Scenario) -> None:
    faults = [Fault("anwser", "hang"), Fault("zzz", "hang"), Fault("answer", "hang", from_s=60.0)]
    with pytest.raises(Rejected) as rejected:
        injected(planned, faults, 60_000.0)
    late, misspelt, unknown = rejected.value.found
    assert {one.code for one in rejected.value.found} == {"E1342"}
    assert misspelt.help == "did you mean `answer`?"
    assert "`grade`" in unknown.help
    assert late.message == "the fault of `answer` begins after 1 min, and requests come for 1 min"


def test_engines_load_for_what_is_said_of_them_or_of_all(planned: Scenario) -> None:
    every = loading(planned, {"": 5.0})
    assert every == dict.fromkeys(planned.plan.engines, 5.0)
    assert loading(planned, {"": 5.0, "answer": 20.0}) == {**every, "model": 20.0}
    assert loading(planned, {"minilm": 1.0}) == {"minilm": 1.0}
    with pytest.raises(Rejected) as rejected:
        loading(planned, {"modle": 1.0})
    assert rejected.value.found[0].help == "did you mean `model`?"
