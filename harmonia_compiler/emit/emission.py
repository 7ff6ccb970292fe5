"""All that is to be written for one plan, as typed values: what targets turn into files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import msgspec

from harmonia_compiler.contract.bundle import ExpectedCalls, ExpectedRequest, ReplicaLaunch, ReplicaShare, Service
from harmonia_compiler.contract.card import Card, Cards, load_cards
from harmonia_compiler.contract.collection import CollectionRecord, chunker_name
from harmonia_compiler.contract.component import Component, Engine, Late
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.launch import Fill, Launch, Probe
from harmonia_compiler.contract.plan import MOST, Configuration, PipelineShare, Plan, usual_ms
from harmonia_compiler.contract.site import Site
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.emit.code import source_folders
from harmonia_compiler.emit.requires import user_lock
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.kinds.kind import value_of
from harmonia_compiler.kinds.launching import weights_name
from harmonia_compiler.kinds.registry import kinds


@dataclass(frozen=True, slots=True)
class Emission:
    """A plan with what its replicas' processes and its gateway are, and what that serves.

    `site` is what the user said of the place where the bundle is started; `hosts` are those of the inventory, as far as
    it is given.
    """

    plan: Plan
    service: Service
    replicas: tuple[ReplicaLaunch, ...]
    gateway: Launch
    site: Site | None = None
    requires: bytes = b""
    hosts: tuple[Host, ...] = ()


def make_emission(
    plan: Plan, application: Application, root: Path, site: Site | None = None, hosts: Sequence[Host] = ()
) -> Emission:
    """Put together what a plan of an (optimised) application stands for; raises `Rejected`."""
    service, cards = make_service(plan, application), load_cards()
    return Emission(
        msgspec.structs.replace(plan, sources=_relative(plan.sources, root)),
        service,
        tuple(
            ReplicaLaunch(
                replica.id,
                replica.engine,
                replica.host,
                replica.cores,
                replica.devices,
                _launch_of(plan.engines[replica.engine], replica.config, cards),
            )
            for replica in plan.replicas
        ),
        _gateway(service),
        site,
        user_lock(plan, application, source_folders(application, root), root),
        tuple(hosts),
    )


def started_otherwise(plan: Plan, name: str, started: Sequence[ReplicaLaunch]) -> list[str]:
    """Where the document `name` starts other replicas than the plan has; empty when all is well."""
    planned = [(one.id, one.engine, one.host, one.cores, one.devices) for one in plan.replicas]
    found = [(one.replica, one.engine, one.host, one.cores, one.devices) for one in started]
    return [] if found == planned else [f"{name} starts {found} and the plan has {planned}"]


def make_service(plan: Plan, application: Application) -> Service:
    """The Programs of the application and how its components are reached; raises `Rejected`."""
    programs = {flow.name: lower(flow, application) for flow in sorted(application.flows, key=lambda flow: flow.name)}
    components = {name: made for program in programs.values() for name, made in program.components.items()}
    used = sorted({component.engine for component in components.values()})
    return Service(
        programs,
        {name: application.engines[name] for name in used},
        _collections(application, components),
        _shares(plan),
        _expected(plan),
        _requests(plan),
    )


def _expected(plan: Plan) -> dict[str, dict[str, ExpectedCalls]]:
    """What each pipeline is expected to call: how often, and for how long on the mean of its engine's replicas."""
    service_ms = usual_ms(plan)
    return {
        pipeline.name: {
            name: ExpectedCalls(visits, service_ms[engine])
            for name, visits in sorted(pipeline.visits.items())
            if (engine := plan.components[name].engine) in service_ms
        }
        for pipeline in plan.pipelines
    }


def _requests(plan: Plan) -> dict[str, ExpectedRequest]:
    """What each pipeline's requests are expected to take, and to be asked of engines meanwhile."""
    timed = sorted(name for name, ms in usual_ms(plan).items() if ms > 0.0)

    def calls(pipeline: PipelineShare, engine: str) -> float:
        return sum(visits for name, visits in pipeline.visits.items() if plan.components[name].engine == engine)

    per_second = {name: sum(one.load_rps * calls(one, name) for one in plan.pipelines) for name in timed}
    return {
        one.name: ExpectedRequest(
            plan.predicted[one.name].mean_ms,
            {
                name: min(MOST, rps / one.load_rps)
                for name, rps in per_second.items()
                if calls(one, name) > 0.0 and rps / one.load_rps > 0.0
            },
        )
        for one in plan.pipelines
    }


def _shares(plan: Plan) -> dict[str, ReplicaShare]:
    """What each replica takes at once, and its planned capacity: the plan counts on all being equally busy.

    Where the plan does not give a capacity for every replica of an engine, they share its calls evenly.
    """
    planned = {(use.engine, use.config): use.capacity_rps for use in plan.profiles}
    weights = {one.id: planned.get((one.engine, one.config.describe()), 0.0) for one in plan.replicas}
    even = {one.engine for one in plan.replicas if weights[one.id] <= 0}
    return {
        one.id: ReplicaShare(one.config.batch, 1.0 if one.engine in even else weights[one.id]) for one in plan.replicas
    }


def _launch_of(engine: Engine, configuration: Configuration, cards: Cards) -> Launch:
    kind = kinds()[engine.kind]
    assert kind.launch is not None, f"a plan holds no replica of an external engine such as {engine.id}"
    model = kind.model_of(engine)
    if model is None:
        return kind.launch(engine, None, configuration)
    card = cards.of(model)
    return _at_revision(kind.launch(engine, card, configuration), model.name, card)


def _at_revision(launch: Launch, name: str, card: Card) -> Launch:
    """The same where a kind gives its model by name alone: a plan stands for one revision of it."""
    otherwise = None if launch.otherwise is None else _at_revision(launch.otherwise, name, card)
    model = weights_name(name, card) if launch.model in (name, card.name, *card.aliases) else launch.model
    return msgspec.structs.replace(launch, model=model, otherwise=otherwise)


def _collections(application: Application, components: dict[str, Component]) -> dict[str, CollectionRecord]:
    """What each collection must have been built with, by its name."""
    cards = load_cards()
    records: dict[str, CollectionRecord] = {}
    for component in components.values():
        if component.kind == "milvus":
            name, record = str(component.settings["collection"]), _record(application, component, cards)
            assert records.setdefault(name, record) == record, f"`{name}` is made in two ways"
    return dict(sorted(records.items()))


def _record(application: Application, component: Component, cards: Cards) -> CollectionRecord:
    declared = kinds()[component.kind].settings
    given = component.settings
    embedder = application.engines[application.components[str(given["embedder"])].engine]
    model = kinds()[embedder.kind].model_of(embedder)
    card = None if model is None else cards.of(model)
    if card is None or card.dimension is None:
        message = f"the card of `{embedder.settings['model']}` does not say how long its vectors are"
        raise Rejected([Diagnostic("E0913", message, help="add `dimension = N` to the card")])
    return CollectionRecord(
        embedder=card.name,
        revision=card.revision,
        dimension=card.dimension,
        metric=str(value_of("metric", given, declared)),
        chunker=chunker_name(value_of("chunk_tokens", given, declared), value_of("chunk_overlap", given, declared)),
        hybrid=bool(value_of("hybrid", given, declared)),
    )


def _gateway(service: Service) -> Launch:
    """How the gateway is started, whatever the target."""
    return Launch(
        (
            *(Fill("python"), "-m", "harmonia_compiler.runtime.gateway"),
            *("--service", "service.json", "--endpoints", "run/endpoints.json"),
            *("--host", Fill("host"), "--port", Fill("port")),
        ),
        Probe("http", "/healthz", timeout_s=60.0),
        late={name: name for name in _late_names(service)},
    )


def _late_names(service: Service) -> list[str]:
    """The variables that the gateway needs at start: those of calls, and of engines that are somebody else's.

    What a replica needs stands in its own launch.
    """
    known = kinds()
    settings = [engine.settings for engine in service.engines.values() if known[engine.kind].external]
    settings += [made.settings for program in service.programs.values() for made in program.components.values()]
    return sorted({value.name for given in settings for value in given.values() if isinstance(value, Late)})


def _relative(sources: dict[str, str], root: Path) -> dict[str, str]:
    """Sources by paths that say nothing about this machine."""

    def shown(name: str) -> str:
        path = PurePath(name)
        if not path.is_absolute():
            return name
        return str(path.relative_to(root)) if path.is_relative_to(root) else path.name

    return dict(sorted((shown(name), digest) for name, digest in sources.items()))
