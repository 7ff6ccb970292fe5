"""Component declarations: what each is made from, its ports, prompts and settings."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from harmonia_compiler.check.annotations import Signature, compare
from harmonia_compiler.check.constants import constant
from harmonia_compiler.check.made import MOST_PORTS, OWN_REPLICAS, Made
from harmonia_compiler.check.modules import Modules, Untold
from harmonia_compiler.check.order import dependency_order
from harmonia_compiler.check.program import Context, Declared, Unit, not_a
from harmonia_compiler.check.prompts import Template, warn_of_inserted
from harmonia_compiler.check.settings import ComponentName, SettingReader
from harmonia_compiler.check.soundness import check_prompts, check_result, check_settings, warn_of_braces
from harmonia_compiler.check.types import Shape, Types, shown, shown_apart
from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.types import fits
from harmonia_compiler.diagnostics.diagnostic import Note, Rejected
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.kinds.kind import COMMON_SETTINGS, Kind, Setting
from harmonia_compiler.syntax import tree


class Components:
    """Every component of the program, each after the one it is made from."""

    def __init__(self, context: Context, types: Types) -> None:
        self.context = context
        self.findings = context.findings
        self.types = types
        self.made: dict[Declared, Made | None] = {}
        self.modules = Modules(context)
        self._call_settings: dict[str, Mapping[str, Setting]] = {}
        components = [declared for declared in context.declared() if isinstance(declared.node, tree.Component)]
        ordered, cycles = dependency_order(components, self._base)
        for cycle in cycles:
            names = " → ".join(f"`{declared.name}`" for declared in [*cycle, cycle[0]])
            message = f"these components are made from each other: {names}"
            if len(cycle) == 1:
                message = f"`{cycle[0].name}` is made from itself"
            self.findings.add("E0208", message, cycle[-1].node.name.span, help=self._way_out(cycle))
            self.made |= dict.fromkeys(cycle)
        for declared in ordered:
            if declared not in self.made and isinstance(declared.node, tree.Component):
                self.made[declared] = self._make(declared, declared.node)
        self._by_id = {declared.id: made for declared, made in self.made.items()}
        #: Those that can be built on and not called: neither they nor the code that they name says which ports.
        self.bases = {
            declared
            for declared, made in self.made.items()
            if made is not None and made.ports is None and made.function is None
        }

    def call_settings(self, kind: Kind) -> Mapping[str, Setting]:
        """The settings of a kind, by their names, that a call may name."""
        if kind.name not in self._call_settings:
            every = (*kind.settings, *COMMON_SETTINGS)
            self._call_settings[kind.name] = {each.name: each for each in every if each.type != "prompt"}
        return self._call_settings[kind.name]

    def by_id(self, identifier: str) -> Made | None:
        """The component of that id."""
        return self._by_id.get(identifier)

    def _base(self, declared: Declared) -> Iterator[Declared]:
        """What a component is made from, and the components that its settings name."""
        assert isinstance(declared.node, tree.Component)
        base, unit = declared.node.base.text, declared.unit
        names = [base]
        names += [
            argument.value.name.text
            for argument in declared.node.settings
            if isinstance(argument.value, tree.Reference) and self._may_take_component(base, argument, unit)
        ]
        for name in names:
            needed = declared.unit.scope.get(name)
            if needed is not None and isinstance(needed.node, tree.Component):
                yield needed

    def _may_take_component(self, base: str, argument: tree.Argument, unit: Unit) -> bool:
        """Whether an argument may name a component: a kind's settings say so, and those of a component do not yet."""
        try:
            kind = None if base in unit.scope else self.context.kinds.get(base)
        except Rejected:
            return True
        if kind is None:
            return True
        setting = kind.setting(kind.unnamed if argument.name is None else argument.name.text)
        return setting is not None and setting.type == "component"

    def _way_out(self, cycle: Sequence[Declared]) -> str:
        """How to end a circle of components, each of which needs the next as its base, or as what a setting names."""
        last, first = cycle[-1], cycle[0]
        kinds = set(self.context.kinds)
        hiding = next((one.name for one in cycle if one.name in kinds), None)
        if hiding is not None:
            return f"the component hides the kind `{hiding}`: give it another name"
        assert isinstance(last.node, tree.Component)
        for argument in last.node.settings:
            value = argument.value
            if isinstance(value, tree.Reference) and last.unit.scope.get(value.name.text) is first:
                return f"let `{last.name}` name another component than `{first.name}` here"
        return "make one of them from a kind" if len(cycle) > 1 else "make it from a kind, or from another component"

    # --- one component -----------------------------------------------------------------------------------------

    def _make(self, declared: Declared, node: tree.Component) -> Made | None:
        start = self._start(declared, node.base)
        if start is None:
            if node.ports is not None and node.result is not None:
                self.signature(declared, node.ports, node.result)
            return None
        before = self.findings.mark()
        made = self._with_signature(self._with_settings(start, node), node)
        if made is not None:
            check_settings(made, self.findings)
            check_prompts(made, node, self.context)
            check_result(made, node, self.findings)
            if not self.findings.failed_since(before):
                warn_of_braces(made, node, self.findings)
        return made

    def _start(self, declared: Declared, base: tree.Name) -> Made | None:
        """What the component begins as: empty from a kind, or all that its base has."""
        found = declared.unit.find(base.text)
        if found is not None and isinstance(found.node, tree.Component):
            made = self.made.get(found)
            return made and replace(made, declared=declared)
        if found is not None:
            help = "a component is made from a kind or from a component"
            not_a(found, "a kind or component", base.span, self.context, help)
            return None
        if declared.unit.is_unread(base.text):
            return None
        try:
            kind = self.context.kinds.get(base.text)
        except Rejected as rejected:
            self.findings.extend(replace(found, span=base.span) for found in rejected.found)
            return None
        if kind is None:
            near = self.context.nearest(base.text, chain(self.context.kinds, _others(declared)))
            help = f"did you mean `{near}`?" if near else f"the kinds are {listed(self.context.kinds, most=12)}"
            message = f"unknown kind or component `{base.text}`"
            self.findings.add("E0201", message, base.span, help=help, about=declared.unit.about(base))
            return None
        ports, result = None, None
        if kind.signature is not None:
            ports, result = kind.signature.ports, Shape(kind.signature.result)
        return Made(declared, declared, kind, {}, {}, {}, {}, ports, result)

    def _with_settings(self, start: Made, node: tree.Component) -> Made:
        """Read the settings that stand at this component, over those of its base."""
        engine, settings = dict(start.engine_settings), dict(start.settings)
        prompts, places = dict(start.prompts), dict(start.places)
        reader = SettingReader(self.context, start.declared.unit)
        said: dict[str, tree.Argument] = {}
        names = {argument.name.text for argument in node.settings if argument.name is not None}
        unknown = False
        for argument in node.settings:
            setting = self._setting(start, argument)
            if setting is None:
                unknown = True
                continue
            if setting.name in said:
                notes = (Note(said[setting.name].span, "given here first"),)
                message = f"`{setting.name}` is given twice"
                may_be_prompt = argument.name is None and start.kind.has_prompt and "prompt" not in {*names, *said}
                prompt = start.kind.setting("prompt") if may_be_prompt else None
                help = "write `prompt: …` if this is the prompt, or " if prompt else ""
                self.findings.add("E0603", message, argument.span, help=f"{help}delete one of the two", notes=notes)
                if prompt is None or not isinstance(argument.value, tree.Text | tree.Call):
                    continue
                # What it inserts is looked at all the same.
                setting = prompt
            said[setting.name] = argument
            if start.root is not start.declared and setting.scope != "call" and setting.name != OWN_REPLICAS:
                base = node.base.text
                help = f"for another `{setting.name}`, make a component from the kind `{start.kind.name}`"
                self.findings.add("E0604", f"`{setting.name}` is fixed by `{base}`", argument.span, help=help)
                continue
            places[setting.name] = argument.value.span
            value = self._component(setting, reader.value(setting, argument.value), start.declared)
            if isinstance(value, Template):
                prompts[setting.name] = value
            elif value is not None:
                (engine if setting.scope == "engine" else settings)[setting.name] = value
        # A text that is never closed may hold the settings behind it, and an unknown one may be what is missing.
        whole = not unknown and not any(isinstance(argument.value, tree.Broken) for argument in node.settings)
        for setting in start.kind.settings:
            if setting.required and setting.name not in places:
                help = f"write `{setting.name}: …`: {setting.meaning}"
                if whole:
                    self.findings.add("E0607", f"`{start.kind.name}` needs `{setting.name}`", node.base.span, help=help)
                places[setting.name] = node.base.span
        # What keeps its replicas to itself stands on an engine of its own, named after it.
        is_own = OWN_REPLICAS in said and settings.get(OWN_REPLICAS) == "never"
        root = start.declared if is_own else start.root
        return replace(start, root=root, engine_settings=engine, settings=settings, prompts=prompts, places=places)

    def _setting(self, start: Made, argument: tree.Argument) -> Setting | None:
        """Which setting an argument gives, by its name or as the unnamed one."""
        from_component = start.root is not start.declared
        if argument.name is None:
            name = "prompt" if from_component and start.kind.has_prompt else start.kind.unnamed
            return start.kind.setting(name)
        setting = start.kind.setting(argument.name.text)
        if setting is None:
            known = [setting.name for setting in (*start.kind.settings, *COMMON_SETTINGS)]
            near = self.context.nearest(argument.name.text, known)
            help = f"did you mean `{near}`?" if near else f"`{start.kind.name}` takes {listed(known, most=20)}"
            if near is None and (text := _unquoted(argument, start.kind.setting(start.kind.unnamed))) is not None:
                help = f'write it in quotes: `"{text}"`'
            message = f"`{start.kind.name}` has no setting `{argument.name.text}`"
            self.findings.add("E0601", message, argument.name.span, help=help)
        return setting

    def _component(self, setting: Setting, value: Any, declared: Declared) -> Any:
        """The name, in later documents, of the component that a setting names."""
        if not isinstance(value, ComponentName):
            return value
        name = value.name
        found = declared.unit.find(name.text)
        if found is None:
            if not declared.unit.is_unread(name.text):
                near = self.context.nearest(name.text, _others(declared))
                help = (
                    f"did you mean `{near}`?"
                    if near
                    else f"declare it: `component {name.text} = {setting.accepts[0] if setting.accepts else 'KIND'}(…)`"
                )
                message = f"unknown component `{name.text}`"
                self.findings.add("E0201", message, name.span, help=help, about=declared.unit.about(name))
            return None
        if not isinstance(found.node, tree.Component):
            not_a(found, "a component", name.span, self.context, f"name a component, of kind {listed(setting.accepts)}")
            return None
        made = self.made.get(found)
        if made is None:
            return None
        if setting.accepts and made.kind.name not in setting.accepts:
            help = f"it takes a component of kind {listed(setting.accepts)}"
            message = f"`{setting.name}` cannot be `{name.text}`, which is of kind `{made.kind.name}`"
            self.findings.add("E0602", message, name.span, help=help)
            return None
        return found.id

    # --- ports -------------------------------------------------------------------------------------------------

    def _with_signature(self, made: Made, node: tree.Component) -> Made | None:
        """The component with its own ports, where it declares some; None where they cannot be read."""
        annotated = self._annotated(made)
        if node.ports is None or node.result is None:
            return self._with_annotations(made, annotated)
        ports, result = self.signature(made.declared, node.ports, node.result)
        if made.kind.signature is not None:
            fixed = f"({_shown_ports(made.kind.signature.ports)}) -> {shown(made.kind.signature.result)}"
            span = node.name.span.to(node.result.span)
            message = f"the kind `{made.kind.name}` has ports of its own"
            self.findings.add("E0316", message, span, help=f"delete them; they are {fixed}")
            return made
        if ports is None or result is None:
            return None
        if annotated is Untold.NO_MODULE and made.function is not None:
            self.modules.warn_of_absent(*made.function)
        if isinstance(annotated, Signature):
            compare(made.declared.name, node, ports, result, annotated, self.findings)
        return replace(made, ports=ports, result=result)

    def _annotated(self, made: Made) -> Signature | Untold:
        """What the annotations of the component's Python function say, if it has one and its source is at hand."""
        if made.kind.function_setting is None or made.ports is not None:
            return Untold.NO_SOURCE
        function = made.function
        return Untold.REPORTED if function is None else self.modules.signature(*function)

    def _with_annotations(self, made: Made, annotated: Signature | Untold) -> Made | None:
        """A component without declared ports: what its function says; None where that is not all."""
        if annotated is Untold.REPORTED:
            return None
        if isinstance(annotated, Untold):
            return made
        unclear = annotated.unclear
        if unclear is not None:
            what = "the result" if unclear.name == "return" else f"`{unclear.name}`"
            help = f"{unclear.help}, or declare the ports: `component {made.declared.name}(…) -> … = …`"
            message = f"{what} of `{annotated.name}` has {unclear.reason}"
            self.findings.add(unclear.code, message, unclear.span, help=help)
            return None
        return replace(made, ports=annotated.ports, result=annotated.result.shape)

    def signature(
        self, declared: Declared, nodes: tuple[tree.Port, ...], result: tree.Sized
    ) -> tuple[tuple[Port, ...] | None, Shape | None]:
        """Declared ports and result; None for what cannot be read, which is reported."""
        ports: dict[str, Port] = {}
        places: dict[str, Span] = {}
        whole = len(nodes) <= MOST_PORTS
        if not whole:
            message = f"`{declared.name}` has more than {MOST_PORTS} ports"
            help = "let one port take several of them as a record: `(name: type, …)`"
            self.findings.add("E0327", message, declared.node.name.span, help=help)
        names = {node.name.text for node in nodes}
        for node in nodes:
            name = node.name.text
            if name in places:
                notes = (Note(places[name], "declared here first"),)
                self.findings.add(
                    "E0204", f"the port `{name}` is declared twice", node.name.span, help="rename one", notes=notes
                )
                continue
            places[name] = node.name.span
            shape = self.types.sized(node.sized, declared.unit)
            if shape is None:
                whole = False
            else:
                default = self._default(node, shape)
                if isinstance(default, str) and node.default is not None:
                    warn_of_inserted(default, names.__contains__, node.default.span, self.findings)
                ports[name] = Port(name, shape.type, shape.size, default, shape.item_size, shape.inner)
        return tuple(ports.values()) if whole else None, self.types.sized(result, declared.unit)

    def _default(self, node: tree.Port, shape: Shape) -> Any:
        if node.default is None:
            return msgspec.UNSET
        value = constant(node.default, self.findings)
        if value is None:
            return None
        if not fits(value.type, shape.type):
            given, wanted = shown_apart(value.type, shape.type, fits)
            message = f"the default of `{node.name.text}` is {given}, not {wanted}"
            self.findings.add("E0317", message, node.default.span, help="give a default of the port's type")
        return value.value


def _others(declared: Declared) -> Iterator[str]:
    """What a component may be made from or name by its settings: never itself, however near its own name is."""
    return (name for name in declared.unit.named(tree.Component) if name != declared.name)


def _unquoted(argument: tree.Argument, setting: Setting | None) -> str | None:
    """A text for this setting, such as `module:name`, that was read as a named argument since its quotes lack."""
    if argument.name is None or not isinstance(argument.value, tree.Reference):
        return None
    text = f"{argument.name.text}:{argument.value.name.text}"
    return text if setting is not None and setting.pattern and re.fullmatch(setting.pattern, text) else None


def _shown_ports(ports: tuple[Port, ...]) -> str:
    return ", ".join(f"{port.name}: {shown(port.type)}" for port in ports)
