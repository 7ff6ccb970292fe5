"""What a rehearsal reports of its machine and of its replicas, by figures of both."""

import pytest

from harmonia_compiler.emulate.rehearsal.run import LIMIT_BUSY, LIMIT_LATE_MS, Watched, report_of
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.document import Tally
from harmonia_compiler.emulate.uses import Usage
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.measures import Distribution, Window
from harmonia_compiler.report.observation import Outcome
from tests.report.made import seen

WINDOW = Window(0.0, 1000.0)


def late_by(ms: float) -> Distribution:
    return Distribution(9, ms, ms, ms, ms, ms, ms)


def reported(planned: Scenario, busy: float, late_ms: float) -> Report:
    """Of a second that took four, in which each replica of the model worked for a quarter of a second."""
    models = [one.id for one in planned.plan.replicas if one.engine == "model"]
    assert len(models) == 2
    tally = Tally({name: Usage(250.0, 3) for name in models}, late_by(late_ms), 9, 1.0)
    watched = Watched(took_s=4.0, cpu_s={"gateway": 2.0}, busy=busy, tally=tally)
    observed = [seen(100.0, 50.0, pipeline="ask"), seen(200.0, 50.0, Outcome.FAILED, pipeline="ask")]
    return report_of(planned, observed, watched, WINDOW, {}, 4.0)


def test_replicas_are_as_busy_as_they_were_of_the_time_that_is_rehearsed(planned: Scenario) -> None:
    uses = {use.engine: use for use in reported(planned, 0.2, 1.0).engines}
    assert uses["model"].replicas == 2
    assert uses["model"].working == pytest.approx(0.25)
    assert uses["model"].calls_rps == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("busy", "late_ms", "is_limit"),
    [
        (LIMIT_BUSY, LIMIT_LATE_MS, False),
        (LIMIT_BUSY + 0.01, 0.0, True),
        (0.1, LIMIT_LATE_MS + 0.1, True),
    ],
)
def test_a_machine_that_is_busy_or_late_is_said_to_be_the_limit(
    planned: Scenario, busy: float, late_ms: float, *, is_limit: bool
) -> None:
    report = reported(planned, busy, late_ms)
    assert report.machine is not None
    # Whether a request has failed, as the second one has, makes no difference to that.
    assert (report.machine.factor, report.machine.is_limit) == (4.0, is_limit)
    assert any("repeat it" in note.lower() for note in report.notes) == is_limit
