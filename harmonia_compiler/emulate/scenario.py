"""A plan and the workload that it is tried on: which requests come in, for which pipeline, with what, promised what.

Simulation and rehearsal are given the same scenario, so that both see the same requests.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.component import UNSAID, Port
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.objective import Objective, bound_ms
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.contract.program import Call, Parameter, Program
from harmonia_compiler.contract.types import Labels, Text, Value
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.emit.emission import make_service
from harmonia_compiler.emulate.behaviour import Behaviour, text_of
from harmonia_compiler.emulate.outcomes import (
    Outcome,
    draw,
    expected_argument,
    expected_arguments,
    expected_outcomes,
    most_parts,
    sized,
)
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.extents import called
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.passes.dead_code import without_unread
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.plan.promises import named, promises
from harmonia_compiler.workload.draws import Draws, Uniform
from harmonia_compiler.workload.request import Arrival

#: How long a question is where nobody says.
QUESTION_TOKENS = 20.0
#: No value is drawn of more tokens and items together: no model's context holds them (`kinds/llm.py`).
MOST_PARTS = 2**20
#: Draws are keyed by components' names, which have no brackets.
_CHOICE = "(request)"


class Coming(msgspec.Struct, frozen=True):
    """A request that comes in: when, for which pipeline, with what, and by when it wants to be answered.

    `answer_tokens` is how long the answer is, where a trace says so.
    """

    number: int
    at_ms: float
    pipeline: str
    arguments: Mapping[str, Value]
    request_class: str | None = None
    deadline_ms: float | None = None
    ttft_deadline_ms: float | None = None
    answer_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """What simulation and rehearsal have in common: also how many requests of each pipeline come beside each other.

    `loads` says that, in requests a second, of which only the ratios count. `arguments` are what requests bring for
    ports that tests ask about, by pipeline and by port; ports of which nothing is said bring what they are declared
    with, or anything.
    """

    application: Application
    inventory: Inventory
    plan: Plan
    service: Service
    behaviour: Behaviour
    loads: Mapping[str, float]
    arguments: Mapping[str, Mapping[str, Outcome]] = field(default_factory=dict)

    @property
    def draws(self) -> Draws:
        """The random choices of the run."""
        return self.behaviour.draws

    @property
    def objectives(self) -> dict[str, tuple[Objective, ...]]:
        """What is promised, by pipeline, or by pipeline and class as in `desk/urgent`."""
        found: dict[str, tuple[Objective, ...]] = {}
        for flow in self.application.flows:
            for objective, of_class in promises(flow):
                name = named(flow.name, of_class)
                found[name] = (*found.get(name, ()), objective)
        return found

    @property
    def load_rps(self) -> float:
        """The loads of all pipelines together; 0 where none is declared."""
        return sum(self.loads.values()) if any(flow.load is not None for flow in self.application.flows) else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """The part of the requests that are each pipeline's."""
        whole = sum(self.loads.values())
        return {name: load / whole if whole > 0.0 else 1.0 / len(self.loads) for name, load in self.loads.items()}

    def coming(self, arrivals: Iterable[Arrival]) -> Iterator[Coming]:
        """A request for each arrival. Pipelines get their parts of the loads, classes of those of theirs."""
        flows, shares = {flow.name: flow for flow in self.application.flows}, self.shares
        promised = {
            name: (bound_ms(flow.objectives, "latency"), bound_ms(flow.objectives, "ttft"))
            for name, flow in flows.items()
        }
        only = next(iter(flows)) if len(flows) == 1 else None
        for number, arrival in enumerate(arrivals):
            uniform = self.draws.of(number, _CHOICE)
            flow = flows[only or _drawn(shares, uniform("pipeline"))]
            program = self.service.programs[flow.name]
            named = self._class(flow, arrival, uniform)
            latency_ms, ttft_ms = promised[flow.name]
            of_class = next((one.deadline_ms for one in flow.classes if one.name == named), None)
            yield Coming(
                number,
                arrival.at_ms,
                flow.name,
                self._arguments(flow, program, arrival, number, named),
                named,
                of_class if of_class is not None else latency_ms,
                ttft_ms,
                arrival.answer_tokens,
            )

    def _class(self, flow: Flow, arrival: Arrival, uniform: Uniform) -> str | None:
        names = [one.name for one in flow.classes]
        if arrival.request_class in names:
            return arrival.request_class
        by_class = flow.load.by_class if flow.load is not None else {}
        if by_class:
            return _drawn({name: load.rps for name, load in by_class.items()}, uniform("class"))
        return names[0] if names else None

    def _arguments(
        self, flow: Flow, program: Program, arrival: Arrival, number: int, named: str | None
    ) -> dict[str, Value]:
        ports, tested = {port.name: port for port in flow.ports}, self.arguments.get(flow.name, {})
        found: dict[str, Value] = {}
        first_text = True
        for parameter in program.parameters:
            if parameter.name == program.class_parameter and named is not None:
                found[parameter.name] = named
            elif parameter.name in tested:
                found[parameter.name] = self._drawn(parameter.name, tested[parameter.name], number)
            elif parameter.default is not msgspec.UNSET and ports[parameter.name].sizes == UNSAID:
                found[parameter.name] = parameter.default
            else:
                is_required = parameter.default is msgspec.UNSET
                is_question = first_text and is_required and isinstance(parameter.type, Text)
                first_text = first_text and not is_question
                said = float(arrival.question_tokens) if is_question and arrival.question_tokens else None
                found[parameter.name] = self._argument(ports[parameter.name], said, number)
        return found

    def _argument(self, port: Port, said: float | None, number: int) -> Value:
        if isinstance(port.type, Text):
            return text_of(f"{port.name}.{number}", said or port.size or QUESTION_TOKENS)
        if isinstance(port.type, Labels):
            return port.type.labels[0]
        return self._drawn(port.name, expected_argument(port), number)

    def _drawn(self, port: str, outcome: Outcome, number: int) -> Value:
        uniform = self.draws.of(number, f"({port})")
        return draw(outcome, uniform, lambda at, size: text_of(f"{port}.{number}{at}", size))


def scenario(
    application: Application, inventory: Inventory, plan: Plan, seed: int, loads: Mapping[str, float] | None = None
) -> Scenario:
    """The scenario of an optimised application's plan. Raises Rejected as compiling does, or for huge values.

    Requests come by these loads, in requests a second, or else by those that the pipelines have in the mean.
    """
    read = [without_unread(flow) for flow in application.flows]
    demands = [(flow, demand(application, flow)) for flow in read]
    service = make_service(plan, application)
    answers = frozenset(call.component for program in service.programs.values() for call in answering(program))
    outcomes = expected_outcomes(application, demands, kinds())
    behaviour = Behaviour(outcomes, kinds(), Draws(seed), answers)
    arguments = {flow.name: expected_arguments(flow, asked) for flow, asked in demands}
    found = [*_too_large_values(application, read, outcomes, arguments)]
    if found:
        raise Rejected(found)
    if loads is None:
        loads = {flow.name: flow.reckoned_load.rps for flow in application.flows}
    return Scenario(application, inventory, plan, service, behaviour, loads, arguments)


def answering(program: Program) -> list[Call]:
    """The calls that may give requests their answers."""
    bodies = (program.operations, *(block.operations for block in program.blocks))
    calls = (operation for operations in bodies for operation in operations if isinstance(operation, Call))
    return [call for call in calls if call.may_answer]


def _too_large_values(
    application: Application,
    flows: Sequence[Flow],
    outcomes: Mapping[str, Outcome],
    arguments: Mapping[str, Mapping[str, Outcome]],
) -> Iterator[Diagnostic]:
    """A finding for each component whose answers cannot be drawn, at the first call of such, and for each such port."""
    nodes = [node for flow in flows for body in flow.bodies for node in body.nodes]
    calls = [(node.operation, node.span) for node in nodes if isinstance(node.operation, Call)]
    found: dict[str, Diagnostic] = {}
    for call, place in calls:
        component = called(call, application)
        # Further calls may have outcomes of their own: no test says how much a component answers.
        outcome = sized(outcomes[component.name], component, kinds()[component.kind])
        if finding := _too_large(f"what `{component.name}` answers", outcome, place):
            found.setdefault(component.name, finding)
    yield from found.values()
    for flow in flows:
        places = {node.operation.name: node.span for node in flow.nodes if isinstance(node.operation, Parameter)}
        for port in flow.ports:
            outcome = arguments[flow.name].get(port.name) or expected_argument(port)
            if finding := _too_large(f"`{port.name}` of `{flow.name}`", outcome, places.get(port.name, flow.span)):
                yield finding


def _too_large(name: str, outcome: Outcome, place: Span | None) -> Diagnostic | None:
    parts = most_parts(outcome)
    if parts <= MOST_PARTS:
        return None
    message = f"{name} has up to {parts:,.0f} tokens and items, of which no more than {MOST_PARTS:,} are drawn"
    help_ = "expect less of it: by its `~`, or where `count` asks how many it has"
    return Diagnostic("E1343", message, place, help=help_)


def _drawn(shares: Mapping[str, float], uniform: float) -> str:
    left = uniform * sum(shares.values())
    for name, share in shares.items():
        left -= share
        if left < 0.0:
            return name
    return next(name for name in reversed([*shares]) if shares[name] > 0.0)
