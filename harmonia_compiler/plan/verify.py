"""Checks a plan against its problem without a solver and without trusting how it was made.

Every constraint of the model is re-checked on the document itself, and the predicted figures are worked out
again (`plan/recount.py`), as is what models hold (`plan/recount_memory.py`): what makes plans and predictions is not
called here, so that a mistake there does not pass for right. Problem, profiles and their constants are shared.

What a plan takes over as it is, the problem does not know: settings, prompts and sizes of components, digests of
sources, and what to know of those. Nor can the distance to the best be worked out without a solver.
"""

from collections.abc import Iterator, Sequence

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import FORMAT_VERSION, Plan, Replica
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.plan.memory import model_setting, room_gib
from harmonia_compiler.plan.problem import Need, Problem, devices_by_type, room
from harmonia_compiler.plan.recount import ROUNDING, miscounted, near
from harmonia_compiler.plan.recount_memory import memory_miscounted


def faults(plan: Plan, problem: Problem) -> list[str]:
    """What is wrong with a plan, one sentence each; empty for a plan that holds."""
    found = [*_header(plan, problem), *_components(plan, problem), *_kinds(plan, problem)]
    found += [*_engines(plan, problem), *_replicas(plan, problem)]
    if not found:
        found = [*without_room(plan, problem.hosts), *_memory(plan)]
    if not found:
        found = [*miscounted(plan, problem), *memory_miscounted(plan)]
    return found


def without_room(plan: Plan, hosts: Sequence[Host]) -> Iterator[str]:
    """What replicas take and their hosts, each of which must be one of these, do not have; or not for what they run."""
    yield from _hosts(plan, hosts)
    yield from _devices(plan, hosts)
    for replica in plan.replicas:
        if (replica.cores, replica.memory_gib) != (replica.config.cores, replica.config.memory_gib):
            given = f"{replica.cores} cores and {replica.memory_gib} GiB"
            yield f"{replica.id} is given {given}, which is not what its configuration takes"


def _header(plan: Plan, problem: Problem) -> Iterator[str]:
    if plan.format_version != FORMAT_VERSION:
        yield f"the plan has format_version {plan.format_version}, not {FORMAT_VERSION}"
    if plan.objective != problem.aim:
        yield f"the plan's objective is {plan.objective!r}, not {problem.aim!r}"
    if plan.solver.status not in ("optimal", "feasible") or not 0.0 <= plan.solver.gap < float("inf"):
        yield f"the solver's status {plan.solver.status!r} with gap {plan.solver.gap} is none of a plan"
    shares = {share.name: share for share in plan.pipelines}
    if set(plan.predicted) != {pipeline.name for pipeline in problem.pipelines}:
        yield "the predictions are not those of the pipelines"
    if list(shares) != sorted(pipeline.name for pipeline in problem.pipelines) or len(shares) != len(plan.pipelines):
        yield "the plan's pipelines are not those that are served"
        return
    for pipeline in problem.pipelines:
        share = shares[pipeline.name]
        visits = dict(pipeline.visits)
        if not near(share.load_rps, pipeline.load_rps):
            yield f"{pipeline.name} is planned for {share.load_rps} rps, not {pipeline.load_rps}"
        if set(share.visits) != set(visits) or not all(near(share.visits[name], visits[name]) for name in visits):
            yield f"the visits of {pipeline.name} are not those of its flow"


def _components(plan: Plan, problem: Problem) -> Iterator[str]:
    """The components are those that pipelines call, by their own names, and stand on engines of their kind."""
    wanted = {component for need in problem.needs for component in need.components} | set(problem.external_ms)
    needed = {need.engine for need in problem.needs}
    for name, component in plan.components.items():
        if component.name != name:
            yield f"component {name} calls itself {component.name}"
        if name not in wanted:
            yield f"component {name} is called by no pipeline"
        engine = plan.engines.get(component.engine)
        if engine is None:
            yield f"component {name} stands on {component.engine}, which is missing from the plan"
        elif component.kind != engine.kind:
            yield f"component {name} is of kind {component.kind!r}, and {component.engine} of {engine.kind!r}"
        if name in problem.external_ms and component.engine in needed:
            yield f"component {name} takes no hardware, and stands on {component.engine}, which does"
    for name in sorted(set(problem.external_ms) - set(plan.components)):
        yield f"component {name} is missing from the plan"


def _kinds(plan: Plan, problem: Problem) -> Iterator[str]:
    """The engines go by their own names, carry a component each, and take hardware where their kind does."""
    needed = {need.engine for need in problem.needs}
    stood_on = {component.engine for component in plan.components.values()}
    for name, engine in plan.engines.items():
        if engine.id != name:
            yield f"engine {name} calls itself {engine.id}"
        if name not in stood_on:
            yield f"no component stands on engine {name}"
        kind = kinds().get(engine.kind)
        if kind is None:
            yield f"engine {name} is of kind {engine.kind!r}, which there is not"
        elif kind.external == (name in needed):
            yield f"engine {name} is of kind {engine.kind!r}, which takes {'no' if kind.external else 'some'} hardware"


def _engines(plan: Plan, problem: Problem) -> Iterator[str]:
    for need in problem.needs:
        if need.engine not in plan.engines:
            yield f"engine {need.engine} is missing from the plan"
        count = sum(replica.engine == need.engine for replica in plan.replicas)
        if count < need.minimum:
            yield f"{need.engine} has {count} of at least {need.minimum} replicas"
        hosts = len({replica.host for replica in plan.replicas if replica.engine == need.engine})
        if hosts < need.min_hosts:
            yield f"{need.engine} stands on {hosts} of at least {need.min_hosts} hosts"
        if need.maximum is not None and count > need.maximum:
            yield f"{need.engine} has {count} of at most {need.maximum} replicas"
        for component in need.components:
            if component not in plan.components:
                yield f"component {component} is missing from the plan"
            elif plan.components[component].engine != need.engine:
                yield f"component {component} stands on {plan.components[component].engine}, not on {need.engine}"


def _replicas(plan: Plan, problem: Problem) -> Iterator[str]:
    needs = {need.engine: need for need in problem.needs}
    hosts = {host.name for host in problem.hosts}
    if len({replica.id for replica in plan.replicas}) != len(plan.replicas):
        yield "two replicas have the same id"
    for replica in plan.replicas:
        if replica.engine not in needs:
            yield f"{replica.id} is of {replica.engine}, which takes no hardware in this plan"
            continue
        if replica.host not in hosts:
            yield f"{replica.id} is on {replica.host}, which the inventory does not have"
        wanted = needs[replica.engine].hosts
        labels = next((host.labels for host in problem.hosts if host.name == replica.host), {})
        if wanted is not None and wanted not in [f"{name}={value}" for name, value in labels.items()]:
            yield f"{replica.id} is on {replica.host}, which does not carry {wanted}"
        yield from _configuration(replica, needs[replica.engine])


def _configuration(replica: Replica, need: Need) -> Iterator[str]:
    config = replica.config
    if all(option.configuration != config for option in need.options):
        yield f"{replica.id} runs as {config.describe()}, for which no profile has figures"
    if replica.serves != need.components:
        yield f"{replica.id} serves {', '.join(replica.serves)}, not the components of {need.engine}"
    if need.on is not None and (config.gpu or "cpu") != need.on:
        yield f"{replica.id} must run on {need.on}, not on {config.gpu or 'cpu'}"
    if len(replica.devices) != config.devices:
        yield f"{replica.id} has {len(replica.devices)} devices for {config.describe()}"


def _hosts(plan: Plan, hosts: Sequence[Host]) -> Iterator[str]:
    on: dict[str, list[Replica]] = {host.name: [] for host in hosts}
    for replica in plan.replicas:
        on[replica.host].append(replica)
    for host in hosts:
        here, has = on[host.name], room(host)
        if (cores := sum(replica.cores for replica in here)) > has["cores"] * (1 + ROUNDING):
            yield f"{host.name} has {has['cores']:g} cores and is asked for {cores:g}"
        if (memory := sum(replica.memory_gib for replica in here)) > has["memory_gib"] * (1 + ROUNDING):
            yield f"{host.name} has {has['memory_gib']:g} GiB of memory and is asked for {memory:g}"


def _devices(plan: Plan, hosts: Sequence[Host]) -> Iterator[str]:
    by_name = {host.name: host for host in hosts}
    parts: dict[tuple[str, int], float] = {}
    memory: dict[tuple[str, int], float] = {}
    for replica in plan.replicas:
        config = replica.config
        yield from _owns(replica, by_name[replica.host])
        for device in replica.devices:
            at = (replica.host, device)
            parts[at] = parts.get(at, 0.0) + min(config.gpus, 1.0)
            memory[at] = memory.get(at, 0.0) + config.gpu_memory_gib
            if memory[at] > GPU_TYPES[config.gpu].memory_gib * (1 + ROUNDING):
                yield f"device {device} of {replica.host} has less than the {memory[at]:.1f} GiB that is asked of it"
    for (host, device), part in parts.items():
        if part > 1 + ROUNDING:
            yield f"device {device} of {host} is given out {part:g} times"


def _owns(replica: Replica, host: Host) -> Iterator[str]:
    if len(set(replica.devices)) != len(replica.devices):
        yield f"{replica.id} has one device twice"
    own = devices_by_type(host).get(replica.config.gpu, [])
    for device in replica.devices:
        if device not in own:
            yield f"{replica.id} has device {device} of {host.name}, which is no {replica.config.gpu}"


def _memory(plan: Plan) -> Iterator[str]:
    """What models are said to hold is within what their replicas are given, and said of every one of them."""
    held = {(one.engine, one.config): one for one in plan.memory}
    used = {(replica.engine, replica.config.describe()): replica.config for replica in plan.replicas}
    modelled = {at for at in used if model_setting(plan.engines[at[0]]) is not None}
    if set(held) != modelled or len(held) != len(plan.memory):
        yield "the memory is not that of the configurations of models in use"
        return
    for at, one in held.items():
        parts, has = (one.weights_gib, one.cache_gib, one.rest_gib), room_gib(used[at])
        if min(parts) < 0 or sum(parts) > has * (1 + ROUNDING):
            yield f"a replica of {one.engine} as {one.config} holds {sum(parts):.6g} GiB and has {has:g}"
