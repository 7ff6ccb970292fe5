"""Target `compose`: a compose file for each host of the plan, with a service for each replica."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

import harmonia_compiler
from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaLaunch
from harmonia_compiler.contract.compose import OVERLAY, SERVICES, ComposeReplica, ComposeServices, ComposeSite
from harmonia_compiler.contract.document import encode_document
from harmonia_compiler.contract.further import further_names
from harmonia_compiler.contract.launch import Fill, Launch, Probe
from harmonia_compiler.contract.plan import Plan, Replica
from harmonia_compiler.contract.requirements import LOCK
from harmonia_compiler.contract.site import Site
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.emit import yaml_text
from harmonia_compiler.emit.emission import Emission
from harmonia_compiler.emit.targets import compose_services as services
from harmonia_compiler.emit.targets.compose_faults import misplaced
from harmonia_compiler.emit.targets.compose_places import cpu_sets, predecessors
from harmonia_compiler.emit.targets.compose_site import check_hosts, check_ports, compose_site
from harmonia_compiler.emit.targets.compose_text import rendered
from harmonia_compiler.emit.targets.hosts import by_host
from harmonia_compiler.kinds.milvus import STANDALONE_ETCD, is_standalone
from harmonia_compiler.kinds.registry import kinds

ENDPOINTS = "compose/endpoints.json"

#: What is installed into the worker's image before, or beside, what the package index has.
_WHEELS = "compose/worker/wheels"

#: The release whose argument parser the command lines are tried with; its image runs them on GPUs.
VLLM = "0.32.0"
_TORCH = "2.13.0"
#: Which builds of torch there are for what runs on no GPU, and on one.
_TORCH_FOR = {False: "cpu", True: "cu130"}

#: The folder of what Milvus itself keeps, which is not what milvus-lite does.
_STANDALONE_DATA = "milvus-standalone"

_CONTROLLER = Launch((Fill("python"), "-m", "harmonia_compiler.runtime.controller", services.BUNDLE), Probe("none"))


def check_site(site: Site | None) -> None:
    """Raise `Rejected` for a site profile that has mistakes, whatever the plan will be."""
    compose_site(site)


def files(emission: Emission) -> dict[str, bytes]:
    """The target's own files, by their paths in the bundle; raises `Rejected` for a site profile that has mistakes."""
    site = compose_site(emission.site)
    made = _services(emission, site)
    check_hosts(site, [*made.files], emission.site)
    check_ports(site, made.services, emission.site)
    several = {OVERLAY: yaml_text.dump(_overlay())} if len(made.files) > 1 else {}
    etcd = {services.ETCD: yaml_text.dump(STANDALONE_ETCD)} if site.milvus_image else {}
    return {
        SERVICES: encode_document(made),
        ENDPOINTS: encode_document(_endpoints(made)),
        **{name: yaml_text.dump(rendered(_document(emission, made, host))) for host, name in made.files.items()},
        **several,
        **etcd,
        **({f"{_WHEELS}/{LOCK}": emission.requires} if emission.requires else {}),
    }


def faults(emission: Emission, written: Mapping[str, bytes]) -> list[str]:
    """Where the files as written say something else than the plan; empty when all is well."""
    found = msgspec.json.decode(written[SERVICES], type=ComposeServices)
    wrong = [] if found == _services(emission, found.site) else [f"{SERVICES} does not read back as what was written"]
    return wrong + misplaced(emission.plan, found, {host: written[name] for host, name in found.files.items()})


def warnings(emission: Emission) -> list[Diagnostic]:  # noqa: ARG001 - there is nothing to warn of
    """What does not forbid the bundle, and whoever starts it should know."""
    return []


def _services(emission: Emission, site: ComposeSite) -> ComposeServices:
    replicas = _started(emission, site)
    models = sorted({one.launch.model for one in replicas if one.launch.model})
    variables = {model: f"HARMONIA_WEIGHTS_{number}" for number, model in enumerate(models, 1)}
    planned = [(one, False) for one in replicas]
    further = [(one, True) for one in _further(emission, site)]
    workers = _workers(emission, site)
    others = {True: site.milvus_image, False: site.vllm_image or f"vllm/vllm-openai:v{VLLM}"}
    made = [
        ComposeReplica(
            one.replica,
            one.engine,
            one.host,
            services.LOOPBACK if site.network == "host" else f"replica-{number}",
            site.first_port + number,
            workers[bool(one.devices)].name if services.is_in_our_image(one) else others[is_standalone(one.launch)],
            variables.get(one.launch.model or ""),
            _data_of(one, emission.plan),
            is_further,
        )
        for number, (one, is_further) in enumerate([*planned, *further], 1)
    ]
    return ComposeServices(
        replicas,
        emission.gateway,
        site,
        tuple(made),
        replicas[0].host if replicas else "gateway",
        workers[False].name,
        {name: model for model, name in variables.items()},
    )


def _started(emission: Emission, site: ComposeSite) -> tuple[ReplicaLaunch, ...]:
    """What each replica of the plan runs here: of a store, Milvus itself where the site has an image of it."""
    if not site.milvus_image:
        return emission.replicas
    return tuple(
        services.milvus_itself(one) if emission.plan.engines[one.engine].kind == "milvus" else one
        for one in emission.replicas
    )


def _data_of(one: ReplicaLaunch, plan: Plan) -> str | None:
    """The folder below the bundle's own for what a replica keeps; None where it keeps nothing."""
    if is_standalone(one.launch):
        return _STANDALONE_DATA
    return plan.engines[one.engine].kind if Fill("data") in one.launch.command else None


def _further(emission: Emission, site: ComposeSite) -> list[ReplicaLaunch]:
    """Replicas that scaling may add: like the last one of their engine, where that has no GPU and keeps nothing."""
    plan, last = emission.plan, {one.engine: one for one in emission.replicas}
    return [
        msgspec.structs.replace(like, replica=name)
        for engine, like in last.items()
        if not like.devices and not kinds()[plan.engines[engine].kind].stateful
        for name in further_names(plan, engine, site.scale_out)
    ]


def _endpoints(made: ComposeServices) -> Endpoints:
    """Where the gateway finds the plan's replicas, for whoever starts the files without `harmoniac`."""
    found = [Endpoint(one.replica, one.engine, one.address, one.port) for one in made.services if not one.further]
    return Endpoints(tuple(found), 1)


@dataclass(frozen=True, slots=True)
class _Worker:
    """An image of ours: its name, and what it is built from; nothing where it is not built here."""

    name: str
    arguments: Mapping[str, str]


def _workers(emission: Emission, site: ComposeSite) -> dict[bool, _Worker]:
    """Our image for what runs on GPUs, and for all else, as torch and vLLM are built for one of the two.

    Named by what they are built from, so that bundles share one exactly where it holds what each of them needs. Where
    the site names an image, that is the one for both, and is not built: its name would stand for something else.
    """
    inside = [one for one in _started(emission, site) if services.is_in_our_image(one)]
    if site.worker_image:
        both = _Worker(site.worker_image, {})
        return {False: both, True: both}
    found: dict[bool, _Worker] = {}
    for on_gpu in (False, True):
        arguments = _arguments([one for one in inside if bool(one.devices) == on_gpu], on_gpu=on_gpu)
        # Each argument stands for itself, whatever it holds.
        parts = "\0".join([*(f"{name}={value}" for name, value in sorted(arguments.items())), ""])
        digest = hashlib.sha256(parts.encode() + emission.requires).hexdigest()[:8]
        name = f"harmonia-worker:{harmonia_compiler.__version__}-{_TORCH_FOR[on_gpu]}-{digest}"
        found[on_gpu] = _Worker(name, arguments)
    return found


def _arguments(inside: Sequence[ReplicaLaunch], *, on_gpu: bool) -> dict[str, str]:
    """What an image of ours must hold: by the extras of the processes that run in it."""
    extras = sorted({one.launch.extra for one in inside if one.launch.extra})
    return {
        "HARMONIA": f"harmonia-compiler[{','.join(extras)}]=={harmonia_compiler.__version__}",
        "TORCH": f"torch=={_TORCH}",
        "TORCH_INDEX": f"https://download.pytorch.org/whl/{_TORCH_FOR[on_gpu]}",
    }


def _document(emission: Emission, made: ComposeServices, host: str) -> dict[str, Any]:
    """The compose file of one host, with what is a variable still a value of its own type."""
    planned = {one.id: one for one in emission.plan.replicas}
    there = by_host(emission.plan.replicas).get(host, [])
    cpus = cpu_sets(there)
    here = [(launch, given) for launch, given in _launches(made) if given.host == host]
    after = predecessors([launch for launch, given in here if not given.further])
    made_here = {
        given.replica: services.replica_service(
            launch,
            _planned(launch, planned),
            given,
            made.site,
            cpus="" if given.further else cpus[given.replica],
            after=after.get(given.replica, ()),
        )
        for launch, given in here
    }
    if host == made.front:
        first = [given.replica for _, given in here if not given.further]
        made_here["gateway"] = services.gateway_service(made.gateway, made.gateway_image, made.site, first)
        made_here["controller"] = services.controller_service(_CONTROLLER, made.gateway_image, made.site)
    # Whoever first runs in an image of ours says how it is made: Compose finds it for the others.
    ours = {one.name: one.arguments for one in _workers(emission, made.site).values() if one.arguments}
    for _, service in sorted(made_here.items(), key=lambda one: one[0] != "gateway"):
        if service["image"] in ours:
            service["build"] = services.build_of(ours.pop(service["image"]))
    names = sorted({name for launch, _ in here for name in services.secret_names(launch.launch)})
    names += [name for name in services.secret_names(made.gateway) if host == made.front and name not in names]
    secrets = {"secrets": {name: services.secret_file(name) for name in names}} if names else {}
    return {"name": "harmonia", "services": made_here, **secrets}


def _launches(made: ComposeServices) -> list[tuple[ReplicaLaunch, ComposeReplica]]:
    """Each service with the process that it runs; a further one runs what the last one of its engine does."""
    last = {one.engine: one for one in made.replicas}
    by_name = {one.replica: one for one in made.replicas}
    return [
        (by_name.get(given.replica) or msgspec.structs.replace(last[given.engine], replica=given.replica), given)
        for given in made.services
    ]


def _planned(launch: ReplicaLaunch, planned: Mapping[str, Replica]) -> Replica:
    """The plan's replica; of a further one, the last of its engine."""
    alike = [one for one in planned.values() if one.engine == launch.engine]
    return planned.get(launch.replica, alike[-1])


def _overlay() -> dict[str, Any]:
    """What joins the hosts of a plan: a network that spans them, made once by whoever looks after them."""
    return {"networks": {"default": {"external": True, "name": "harmonia"}}}
