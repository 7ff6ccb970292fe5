"""By which factor all times are stretched, where this machine would otherwise be what is measured."""

from harmonia_compiler.contract.component import Component
from harmonia_compiler.emulate.outcomes import most_tokens
from harmonia_compiler.emulate.scenario import Scenario, answering
from harmonia_compiler.flow.extents import called
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.kinds.registry import kinds

#: Processor time of this machine that a call is taken to need, and a streamed piece of an answer: emulated engine,
#: gateway and sender together, in ms of one core. `bench/check_rehearsal.py` prints what a whole request needed.
CALL_MS = 3.0
PIECE_MS = 0.35
#: The part of this machine that a rehearsal may take, and of how many cores at most: engines, gateway and sender are a
#: process each, with one core for its events, and none of the three may be busy for much more than half of the time.
MOST_BUSY, MOST_CORES = 0.5, 2.5


def factor_for(scenario: Scenario, rate_rps: float, cores: float, answer_tokens: float | None = None) -> float:
    """By how much to stretch, so that the calls of so many requests a second leave this machine some room.

    Answers have so many tokens in the mean, as far as they may; where nobody has recorded that, as many as is expected.
    """
    shares = scenario.shares
    each_ms = sum(
        shares[pipeline.name]
        * (CALL_MS * sum(pipeline.visits.values()) + PIECE_MS * _pieces(scenario, pipeline.name, answer_tokens))
        for pipeline in scenario.plan.pipelines
    )
    return max(1.0, rate_rps * each_ms / 1000.0 / (min(cores, MOST_CORES) * MOST_BUSY))


def _pieces(scenario: Scenario, pipeline: str, answer_tokens: float | None) -> float:
    """How many pieces of text a request of a pipeline is expected to be sent."""
    program = scenario.service.programs[pipeline]
    if not program.streams:
        return 0.0
    answers = [called(call, scenario.application) for call in answering(program)]
    return max((_answer_tokens(one, kinds()[one.kind], answer_tokens) for one in answers), default=0.0)


def _answer_tokens(component: Component, kind: Kind, recorded: float | None) -> float:
    most = most_tokens(component, kind)
    return kind.result_extent(component).tokens if recorded is None or most is None else min(recorded, most)
