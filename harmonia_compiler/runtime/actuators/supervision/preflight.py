"""What speaks against starting a bundle on this machine, found before anything is started."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from harmonia_compiler.contract.bundle import ReplicaLaunch, Service
from harmonia_compiler.contract.card import is_fixed
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.contract.requirements import LOCK, NotPinned, lacking_here
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected, in_order
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.detect import usable_cpus, usable_memory_gib
from harmonia_compiler.runtime import bundle as bundles
from harmonia_compiler.runtime.actuators.supervision.command import launch_here
from harmonia_compiler.runtime.actuators.supervision.ports import is_free
from harmonia_compiler.runtime.gateway.late import UnusableVariables, resolve_late
from harmonia_compiler.runtime.weights import check_store, find, locate, wanted


def preflight(bundle: Path, port: int | None, outer: Mapping[str, str]) -> list[Diagnostic]:
    """Every finding at once; those that begin with W do not forbid the start."""
    documents = bundles.read_local_bundle(bundle)
    processes = documents.processes
    found = moving_embedders(documents.service.engines, processes.replicas)
    found += [*missing_variables(processes.launches, outer), *wrong_variables(documents.service, outer)]
    for replica in processes.replicas:
        try:
            _check_launch(replica.launch)
        except Rejected as rejected:
            found += rejected.found
    found += _missing_packages(bundle / "code")
    if port is not None and not is_free(port):
        found.append(
            Diagnostic("E0908", f"port {port} is in use", help="name another with --port, or none to have one found")
        )
    return in_order([*found, *exceeded_here(documents.plan)])


def moving_embedders(engines: Mapping[str, Engine], replicas: Iterable[ReplicaLaunch]) -> list[Diagnostic]:
    """Embedders that a bundle of an earlier version starts at whatever their name or a branch means by then."""
    known = kinds()
    models = {
        one.launch.model
        for one in replicas
        if one.launch.model is not None and (kind := known.get(engines[one.engine].kind)) is not None and kind.embeds
    }
    found = []
    for model in sorted(models):
        name, _, revision = model.partition("@")
        if not is_fixed(revision):
            at = f"the revision `{revision}`" if revision else "no revision"
            message = f"the bundle starts the embedder `{name}` at {at}, which may be another than it embedded with"
            step = "compile the bundle again" + ("; the pipeline must name a commit of 40 digits" if revision else "")
            found.append(Diagnostic("E0813", message, help=step))
    return found


def _missing_packages(code: Path) -> list[Diagnostic]:
    """What the user's functions require and this interpreter, which runs them, does not have."""
    try:
        wrong = lacking_here(code)
    except (OSError, NotPinned) as problem:
        return [Diagnostic("E0905", f"`{code / LOCK}` cannot be used: {problem}", help="compile the bundle again")]
    if not wrong:
        return []
    shown = "; ".join(wrong[:3]) + ("; …" if len(wrong) > 3 else "")
    step = f"`python -m pip install -r {code / LOCK}` installs what the functions require"
    return [Diagnostic("E0924", f"packages that the pipelines' functions require are not here: {shown}", help=step)]


def exceeded_here(plan: Plan) -> list[Diagnostic]:
    """What the plan asks for and this machine does not have."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    return exceeded(plan, usable_cpus(), usable_memory_gib(), gpus)


def exceeded(plan: Plan, cores: float, memory_gib: float, gpus: int) -> list[Diagnostic]:
    """What the plan asks for and a machine of this size does not have."""
    found: list[Diagnostic] = []
    planned_cores = sum(replica.cores for replica in plan.replicas)
    planned_gib = sum(replica.memory_gib for replica in plan.replicas)
    planned_gpus = max((device + 1 for replica in plan.replicas for device in replica.devices), default=0)
    help_text = "plan for this machine: `harmoniac inventory detect` writes its inventory"
    if planned_cores > cores:
        found.append(
            Diagnostic("W0901", f"the plan uses {planned_cores:g} cores and this machine has {cores:g}", help=help_text)
        )
    if planned_gib > memory_gib:
        message = f"the plan uses {planned_gib:.1f} GiB of memory and this machine has {memory_gib:.1f}"
        found.append(Diagnostic("W0902", message, help=help_text))
    if planned_gpus > gpus:
        found.append(
            Diagnostic("W0903", f"the plan uses {planned_gpus} GPUs and this machine shows {gpus}", help=help_text)
        )
    return found


def _check_launch(launch: Launch) -> None:
    """Raise `Rejected` where the engine or its weights are not here."""
    here = launch_here(launch)
    if here.model is not None:
        check_weights(here.model)


def models_of(replicas: Iterable[ReplicaLaunch]) -> list[str]:
    """The models that replicas load, each once."""
    return sorted({one.launch.model for one in replicas if one.launch.model is not None})


def check_weights(model: str) -> None:
    """Raise `Rejected` where a model is not here as it is wanted; weights that can be converted first are."""
    card = wanted(model)
    found = find(card)
    if found is not None and found.convert:
        check_store(card)
    else:
        locate(model)


def missing_variables(launches: Iterable[Launch], outer: Mapping[str, str]) -> list[Diagnostic]:
    """Variables that a process reads at start and that are not set."""
    names = sorted({name for launch in launches for name in launch.late.values() if name not in outer})
    return [
        Diagnostic(
            "E0906",
            f"the environment variable `{name}` is not set, which the pipeline reads at start",
            help=f"set it for this command: `{name}=… harmoniac up DIR`",
        )
        for name in names
    ]


def wrong_variables(service: Service, outer: Mapping[str, str]) -> list[Diagnostic]:
    """What the gateway could not start with; what is missing is said of every process alike."""
    if any(engine.kind not in kinds() for engine in service.engines.values()):
        return []  # the gateway names the distribution that is not here
    try:
        resolve_late(service, kinds(), outer)
    except UnusableVariables as unusable:
        return [
            Diagnostic(
                "E0916",
                f"the environment variable `{name}` cannot be the `{setting.name}` that the pipeline reads at start",
                help=f"`{setting.name}`: {setting.meaning}",
            )
            for name, setting in sorted(unusable.wrong.items())
        ]
    return []
