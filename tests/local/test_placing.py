"""The supervisor's pure decisions."""

import math
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.plan import FORMAT_VERSION, Configuration, Plan, Replica, Solver
from harmonia_compiler.profile.detect import detect
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.actuators.supervision.fitting import Need, first_fitting
from harmonia_compiler.runtime.actuators.supervision.placing import (
    HEALTHY_S,
    delay_s,
    failures_after,
    pin_cores,
    turns_of,
)
from harmonia_compiler.runtime.actuators.supervision.preflight import exceeded

from .conftest import Hand, launch


def test_delays_double_up_to_the_cap() -> None:
    assert [delay_s(failures) for failures in (1, 2, 3, 7, 8, 1000)] == [0.5, 1.0, 2.0, 30.0, 30.0, 30.0]


def test_who_was_ready_for_long_has_a_clean_record() -> None:
    assert [failures_after(5, ready_for_s) for ready_for_s in (0.0, HEALTHY_S - 0.1, HEALTHY_S)] == [6, 6, 1]


@pytest.mark.parametrize(
    ("planned", "available", "pinned"),
    [
        ({"llm": 2.0, "a": 0.5, "b": 0.5}, [0, 1, 2], {"llm": {0, 1}, "a": {2}, "b": {2}}),
        ({"llm": 1.0, "a": 1.5}, [4, 5, 6], {"llm": {4}, "a": {5, 6}}),
        ({"llm": 2.0, "a": 0.5}, [0, 1], {"llm": {0, 1}}),
        ({"llm": 4.0, "a": 0.5}, [0, 1], {}),
        ({}, [0, 1], {}),
    ],
)
def test_whole_cores_are_given_and_the_rest_shared(
    planned: dict[str, float], available: list[int], pinned: dict[str, set[int]]
) -> None:
    assert pin_cores(planned, available) == pinned


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([3.0, 2.0, 1.0, 1.5, 0.25, 0.0]), min_size=3),
    st.integers(4, 12),
)
def test_a_core_that_was_planned_whole_is_nobody_elses(planned: dict[str, float], count: int) -> None:
    pinned = pin_cores(planned, range(count))
    for name, cores in pinned.items():
        assert cores
        assert cores <= set(range(count))
        if planned[name] >= 1 and planned[name].is_integer():
            assert len(cores) == planned[name]
            assert all(cores.isdisjoint(other) for rest, other in pinned.items() if rest != name)


def test_engines_on_one_device_take_turns_and_small_models_do_not() -> None:
    assert turns_of((1, 0), 0) == ("gpu 0", "gpu 1")
    assert turns_of((), 300 * 2**20) == ("loading a model",)
    assert turns_of((), 90 * 2**20) == ()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to some CPUs")
def test_a_machine_is_as_large_for_the_start_as_for_its_inventory(hand: Hand) -> None:
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})
    try:
        assert detect().host.cpus == 1
        hand.write(cores=1.5, one=launch())
        assert [finding.code for finding in ACTUATOR.preflight(hand.path, port=None)] == ["W0901"]
    finally:
        os.sched_setaffinity(0, usable)


def test_what_a_machine_lacks_is_a_warning_each() -> None:
    replica = Replica("a-0", "a", "here", (1,), 4.0, 8.0, Configuration(4.0, 8.0), ("a",))
    plan = _plan(replica)
    assert exceeded(plan, cores=4, memory_gib=8.0, gpus=2) == []
    assert [finding.code for finding in exceeded(plan, cores=2, memory_gib=4.0, gpus=1)] == ["W0901", "W0902", "W0903"]


def _plan(replica: Replica) -> Plan:
    return Plan(FORMAT_VERSION, "cost", (), {}, {}, (replica,), {}, (), Solver("optimal", 0.0), {})


def test_the_first_that_find_place_are_those_up_to_the_one_that_does_not() -> None:
    there, coming = [Need(1.0, 2.0)], [Need(1.0, 1.0), Need(0.0, 1.0), Need(0.0, 0.5)]
    assert first_fitting(there, coming, 2.0, 8.0) == 3
    assert first_fitting(there, coming, 1.0, 8.0) == 0, "of one core"
    assert first_fitting(there, coming, math.inf, 3.5) == 1
    assert first_fitting(there, [], 0.0, 0.0) == 0
