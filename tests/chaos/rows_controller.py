"""What a service promises while its controller dies, hangs, finds nothing or was told wrong: run by `make chaos`."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import Said
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.policy.control.division import HOLD_S, Load, NoDivision
from harmonia_compiler.policy.control.planned import planned
from harmonia_compiler.runtime.bundle import read_plan_of, read_service
from harmonia_compiler.runtime.controller.controller import JOURNAL, Controller
from tests.chaos.beside import RPS, loaded
from tests.chaos.controlled import controlled

#: How often the controller looks: as in a service where something is to be told within 30 s, else more often.
USUAL_S, OFTEN_S = 5.0, 0.5
CORRECTED_S = 30.0


def slow_one() -> Fault:
    return Fault("walk-1", "slow", 0.0, factor=3.0)


async def test_a_controller_that_is_killed_is_missed_by_nobody_and_goes_on_where_it_was(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    async with loaded(tmp_path, scenario, "walks", 14.0, seed, slow_one()) as (_, gateway, loading):
        listening = (gateway.run / "endpoints.json").read_bytes()
        async with controlled(gateway, OFTEN_S) as controller:
            await controller.until(controller.decision, 10.0)
            await controller.kill()
            known, said = controller.decision(), controller.said()
            assert known is not None
            await asyncio.sleep(1.0)
            await controller.start()
            assert await controller.until(lambda: controller.said() != said, 10.0) < 5.0
            latest, state = controller.decision(), controller.state()
            assert latest is not None
            assert latest.epoch >= known.epoch
            assert state is not None
            assert state.replicas["walk-1"].value > 1.2, "what was learned is not learned anew"
            became = await loading
        assert set(became) == {"answered"}
        assert (gateway.run / "endpoints.json").read_bytes() == listening


async def test_a_controller_that_hangs_is_missed_by_nobody(scenario: Scenario, seed: int, tmp_path: Path) -> None:
    async with loaded(tmp_path, scenario, "walks", 8.0, seed) as (_, gateway, loading):
        async with controlled(gateway, OFTEN_S) as controller:
            await controller.until(controller.said, 10.0)
            assert controller.process is not None
            os.kill(controller.process.pid, signal.SIGSTOP)
            became = await loading
        assert set(became) == {"answered"}


async def test_a_controller_that_finds_no_division_leaves_the_last_one(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    def none(_: Mapping[str, Load]) -> Mapping[str, Sequence[float]]:
        raise NoDivision("it is infeasible")

    async with loaded(tmp_path, scenario, "walks", 12.0, seed, slow_one()) as (_, gateway, loading):
        async with controlled(gateway, OFTEN_S) as controller:
            await controller.until(controller.decision, 10.0)
        known = controller.decision()
        facts = planned(read_plan_of(gateway.bundle), read_service(gateway.bundle), {})
        beside, loop = Controller(facts, gateway.run, none), asyncio.get_running_loop()
        for _ in range(4):
            await asyncio.to_thread(beside.look, loop.time(), 0.0)
            await asyncio.sleep(0.5)
        said = controller.said()
        assert said is not None
        assert any("infeasible" in one.why and not one.acted for one in said.reasons), said
        latest = controller.decision()
        assert known is not None
        assert latest is not None
        assert (latest.epoch, latest.shares) == (known.epoch, known.shares)
        assert set(await loading) == {"answered"}


async def test_a_replica_that_takes_three_times_what_the_plan_says_is_given_less_within_half_a_minute(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    async with (
        loaded(tmp_path, scenario, "walks", 24.0, seed, slow_one(), rps=RPS / 1.5) as (_, gateway, loading),
        controlled(gateway, USUAL_S) as controller,
    ):

        def is_corrected() -> bool:
            decision = controller.decision()
            if decision is None:
                return False
            weights = {name: decision.shares[f"walk-{name}"].weight for name in (1, 2, 3)}
            return weights[1] < 0.6 * min(weights[2], weights[3])

        await controller.until(is_corrected, CORRECTED_S)
        assert set(await loading) == {"answered"}


async def test_a_plan_whose_times_are_a_third_of_the_real_ones_is_corrected_within_half_a_minute(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    faults = [Fault(f"walk-{number}", "slow", 0.0, factor=3.0) for number in (1, 2, 3)]
    async with (
        loaded(tmp_path, scenario, "walks", 24.0, seed, *faults, rps=RPS / 3) as (_, gateway, loading),
        controlled(gateway, USUAL_S) as controller,
    ):

        def is_corrected() -> bool:
            state = controller.state()
            return state is not None and "walk" in state.engines and 2.2 < state.engines["walk"].value < 4.5

        await controller.until(is_corrected, CORRECTED_S)
        assert set(await loading) == {"answered"}


async def test_a_replica_that_comes_and_goes_does_not_make_the_controller_restless(
    scenario: Scenario, seed: int, tmp_path: Path
) -> None:
    faults = [Fault("walk-1", "die", 2.0 * turn, 2.0 * turn + 1.0) for turn in range(1, 9)]
    async with loaded(tmp_path, scenario, "walks", 20.0, seed, *faults) as (_, gateway, loading):
        async with controlled(gateway, OFTEN_S):
            became = await loading
        assert set(became) == {"answered"}
        journal = gateway.run / JOURNAL
        said = [msgspec.json.decode(line, type=Said) for line in journal.read_bytes().splitlines()]
        acted = [one for one in said if any(reason.acted for reason in one.reasons)]
        assert len(acted) <= 1 + 20.0 / HOLD_S
