"""Pipelines to flows: names in single assignment form, branches as selects."""

from collections.abc import Iterator, Sequence

import msgspec

from harmonia_compiler.check.answers import Answer, Choice, Steps, settle, takes_all
from harmonia_compiler.check.branching import read_branch
from harmonia_compiler.check.classes import class_port
from harmonia_compiler.check.clauses import Clauses, read_clauses
from harmonia_compiler.check.components import Components
from harmonia_compiler.check.loops import read_loop
from harmonia_compiler.check.nodes import MOST_NODES, Nodes, TooLarge, past
from harmonia_compiler.check.order import dependency_order
from harmonia_compiler.check.program import Context, Declared
from harmonia_compiler.check.regions import limit_of
from harmonia_compiler.check.rounds import Grown
from harmonia_compiler.check.scope import Binding, Scope, Value, Variable
from harmonia_compiler.check.streaming import Streamed, report_unstreamed
from harmonia_compiler.check.types import in_order, shown, shown_apart
from harmonia_compiler.check.unreached import report_unreached
from harmonia_compiler.check.values import Values
from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import After, Constant, Parameter, Whole
from harmonia_compiler.contract.types import Type, fits
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Note
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Flow, Passed
from harmonia_compiler.syntax import tree


def check_pipelines(context: Context, components: Components) -> dict[Declared, Flow | None]:
    """The flow of every pipeline, each after those that it calls; None where an error stands in its way."""
    pipelines = [declared for declared in context.declared() if isinstance(declared.node, tree.Pipeline)]
    parts = {declared: _Parts.of(declared.node) for declared in pipelines if isinstance(declared.node, tree.Pipeline)}
    ordered, cycles = dependency_order(pipelines, lambda declared: _called(declared, parts[declared]))
    flows: dict[Declared, Flow | None] = {}
    impure: set[Declared] = set()
    for cycle in cycles:
        names = " → ".join(f"`{declared.name}`" for declared in [*cycle, cycle[0]])
        help = "a pipeline cannot call itself; for rounds, write `repeat up to N { … }`"
        context.findings.add("E0209", f"these pipelines call each other: {names}", cycle[-1].node.name.span, help=help)
        flows |= dict.fromkeys(cycle)
    for declared in ordered:
        if isinstance(declared.node, tree.Pipeline):
            flow = _Pipeline(context, declared, declared.node, parts[declared], components, flows, impure).flow()
            flows.setdefault(declared, flow)
    return flows


class _Parts(msgspec.Struct, frozen=True):
    """What a pipeline's text holds that is looked at before it is read: the names that it calls, and those it binds.

    `says_pure` is whether any of its calls gives a setting `pure`, `streams` whether it has a `return stream`.
    """

    called: tuple[str, ...]
    bound: dict[str, Span]
    says_pure: bool
    streams: bool

    @classmethod
    def of(cls, pipeline: tree.Pipeline) -> "_Parts":
        called: dict[str, None] = {}
        bound: dict[str, Span] = {}
        says_pure = streams = False
        # Types hold neither calls nor names that are bound.
        parts = [*(port.default for port in pipeline.ports if port.default is not None), *pipeline.body]
        for part in parts:
            for node, _ in tree.walk(part):
                if isinstance(node, tree.Call):
                    called[node.name.text] = None
                    named = (argument.name for argument in node.arguments)
                    says_pure = says_pure or any(name is not None and name.text == "pure" for name in named)
                elif isinstance(node, tree.Bind):
                    bound[node.name.text] = node.name.span
                elif isinstance(node, tree.Return):
                    streams = streams or node.stream
        return cls(tuple(called), bound, says_pure, streams)


def _called(declared: Declared, parts: _Parts) -> Iterator[Declared]:
    for name in parts.called:
        called = declared.unit.scope.get(name)
        if called is not None and isinstance(called.node, tree.Pipeline):
            yield called


class _Pipeline:
    """The reading of one pipeline."""

    def __init__(
        self,
        context: Context,
        declared: Declared,
        node: tree.Pipeline,
        parts: _Parts,
        components: Components,
        flows: dict[Declared, Flow | None],
        impure: set[Declared],
    ) -> None:
        self.context = context
        self.findings = context.findings
        self.declared = declared
        self.node = node
        self.components = components
        self.parts = parts
        at, complete = node.name.span, node.complete
        self.values = Values(context, declared.unit, components, flows, parts.bound, impure, at=at, complete=complete)
        self.clauses = Clauses((), None, {})
        self.class_port: str | None = None
        self.variables: list[Variable] = []
        self.result_type: Type | None = None
        self.streamed: list[Streamed] = []
        self.whole = node.complete
        self.grown: dict[int, Grown] = {}
        self.guesses: list[Diagnostic] = []

    @property
    def nodes(self) -> Nodes:
        """Those that statements add to at this point: the pipeline's own, or a loop's."""
        return self.values.nodes

    def flow(self) -> Flow | None:
        """The pipeline's flow; None where something in it is wrong."""
        try:
            return self.read()
        except TooLarge:
            help = "a pipeline that is called stands there as often as it is called; call fewer, or write several"
            message = f"`{self.declared.name}` has more than {MOST_NODES:,} operations"
            self.findings.add("E0406", message, self.node.name.span, help=help)
            return None

    def read(self) -> Flow | None:
        """What `flow` gives. Raises TooLarge."""
        before = self.findings.mark()
        ports, result = self.components.signature(self.declared, self.node.ports, self.node.result)
        clauses = self.clauses = read_clauses(self.node.body, self.declared.unit, self.context)
        self.class_port = class_port(self.node.ports, self.declared.unit, self.findings)
        classes = () if self.class_port is None else self.declared.unit.classes
        self.values.limit = limit_of(clauses.objectives, classes)
        self.result_type = None if result is None else result.type
        statements = [item for item in self.node.body if not isinstance(item, tree.Slo | tree.Load)]
        outermost = self.outermost(ports)
        if self.parts.says_pure or self.values.may_be_impure(self.parts.called):
            self.nodes.begin_effects(self.node.name.span)
        self.nodes.among = self.node.name.span
        answer, goes_on = self.block(statements, outermost)
        if goes_on and self.node.complete and not self.values.doubtful:
            end = Span(self.node.span.source, self.node.span.end - 1, self.node.span.end)
            help = f"end every path with `return` and a `{shown(self.result_type) if self.result_type else 'value'}`"
            if takes_all(self.nodes.all, answer):
                help = "bind the field to a name and test that: of names alone it is known that tests take every label"
            self.findings.add("E0401", f"`{self.declared.name}` can end without a `return`", end, help=help)
        if "ttft" in clauses.places and not self.parts.streams and self.node.complete:
            help = "write `return stream`, or bound the latency alone"
            self.findings.add("E0405", "a bound on `ttft` needs `return stream`", clauses.places["ttft"], help=help)
        if self.findings.failed_since(before) or not self.whole or ports is None or result is None:
            # Rounds may be alike because of what is wrong.
            self.findings.forget(before, {"W0403"})
            is_said_elsewhere = not self.node.complete or ports is None or result is None or self.values.rests_elsewhere
            if not self.findings.failed_since(before) and not is_said_elsewhere:
                self.findings.extend(dict.fromkeys(self.guesses))
            return None
        if self.declared.unit.file.whole:
            self.warn_of_unused()
        return self.finished(ports, result.type, answer, clauses)

    def outermost(self, ports: Sequence[Port] | None) -> Scope:
        """The scope of the pipeline's block, where its ports are bound."""
        scope = Scope()
        types = {port.name: port.type for port in ports or ()}
        for node in self.node.ports:
            name = node.name.text
            variable = Variable(name, node.name.span, is_port=True)
            self.variables.append(variable)
            value = None
            if name in types:
                value = Value(self.nodes.add(Parameter(name), types[name], node.span), types[name])
            scope.own[name] = variable
            scope.bind(name, Binding((variable,), value, home=self.nodes))
        return scope

    def finished(self, ports: tuple[Port, ...], result: Type, answer: Answer, clauses: Clauses) -> Flow:
        if self.nodes.has_effects:
            self.values.impure.add(self.declared)
        position = settle(self.nodes, answer, -1, result)
        usual = next((port.default for port in ports if port.name == self.class_port), msgspec.UNSET)
        classes = self.declared.unit.classes
        if usual is not msgspec.UNSET:
            # A request that says none is of the first.
            classes = tuple(sorted(classes, key=lambda each: each.name != usual))
        return Flow(
            self.declared.id,
            ports,
            result,
            tuple(self.nodes.all),
            position,
            self.parts.streams,
            clauses.objectives,
            clauses.load,
            self.node.name.span,
            self.nodes.blocks,
            classes,
            self.class_port,
        )

    def warn_of_unused(self) -> None:
        for variable in self.variables:
            # The class of a request says how long it may take, whoever else reads it.
            if variable.used or (variable.is_port and variable.name == self.class_port):
                continue
            if variable.is_port:
                message = f"the port `{variable.name}` is never used"
                self.findings.add("W0203", message, variable.span, help="delete it, or use it")
            else:
                message = f"the value `{variable.name}` is never used, so what gives it never runs"
                self.findings.add("W0202", message, variable.span, help="delete the line, or use the value")

    # --- statements --------------------------------------------------------------------------------------------

    def block(self, statements: Sequence[tree.Statement], scope: Scope) -> tuple[Answer, bool]:
        """What a block answers, and whether some path goes on after it."""
        choices: list[Choice] = []
        last: Answer = None
        behind: Choice | None = None
        goes_on = True
        for at, statement in enumerate(statements):
            if not goes_on:
                report_unreached(self.values, statement, *statements[at:], scope=scope)
                break
            match statement:
                case tree.Bind():
                    self.bind(statement, scope)
                case tree.Return():
                    last, goes_on = self.returned(statement, scope), False
                case tree.If():
                    choice, goes_on = read_branch(self, statement, scope)
                    if choice is not None and goes_on:
                        choices.append(choice)
                    elif choice is not None:
                        last = choice
                case tree.Repeat():
                    found, goes_on = read_loop(self, statement, scope)
                    if isinstance(found, Choice):
                        choices.append(found)
                    elif found is not None:
                        last = found
            if choices and choices[-1] is not behind:
                # Those that go on are others.
                behind, self.nodes.among = choices[-1], statement.span
                self.nodes.through = past(self.nodes.through, Passed(statement.span))
        return (Steps(tuple(choices), last) if choices else last), goes_on

    def bind(self, statement: tree.Bind, scope: Scope) -> None:
        name = statement.name.text
        effect = self.nodes.effect
        value = self.values.value(statement.value, scope)
        if name in scope.own:
            notes = (Note(scope.own[name].span, "bound here first"),)
            what = "is a port, and cannot be bound again" if scope.own[name].is_port else "is bound twice in this block"
            help = "give the second value a name of its own"
            self.findings.add("E0204", f"`{name}` {what}", statement.name.span, help=help, notes=notes)
            return
        variable = Variable(name, statement.name.span, used=self.nodes.effect != effect)
        self.variables.append(variable)
        scope.own[name] = variable
        scope.bind(name, Binding((variable,), value, home=self.nodes))

    def returned(self, statement: tree.Return, scope: Scope) -> int:
        value = self.values.value(statement.value, scope)
        if value is None or self.result_type is None:
            self.whole = False
            return -1
        if not fits(value.type, self.result_type):
            given, wanted = shown_apart(value.type, self.result_type, fits)
            message = f"`{self.declared.name}` gives {wanted}, not {given}"
            notes = (Note(self.node.result.span, "declared here"),)
            help = in_order(value.type, self.result_type) or "return a value of that type, or change the declaration"
            self.findings.add("E0313", message, statement.value.span, help=help, notes=notes)
        elif statement.stream:
            self.streamed.append(Streamed(self.nodes, value.position, statement.value.span))
            if self.nodes.parent is None:
                report_unstreamed(self.values, self.streamed)
        position, of = value.position, value.type
        if self.nodes.effect not in (None, position):
            assert self.nodes.effect is not None
            position = self.nodes.add(After(self.nodes.effect, position), of, statement.span)
        if self.parts.streams and not statement.stream and not isinstance(self.nodes.all[position].operation, Constant):
            position = self.nodes.add(Whole(position), of, statement.span)
        return position
