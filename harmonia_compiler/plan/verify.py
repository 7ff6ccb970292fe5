"""Checks a plan against its problem without a solver and without trusting how it was made.

Every constraint of the model is re-checked on the document itself, and the predicted figures are
worked out again from the figures of the profiles: what makes plans and predictions is not called here,
so that a mistake there does not pass for right. Problem, profiles and their constants are shared.
"""

from collections.abc import Iterator
from statistics import NormalDist

from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import FORMAT_VERSION, Plan, Replica
from harmonia_compiler.plan.place import devices_by_type
from harmonia_compiler.plan.predict import QUANTILE
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, room
from harmonia_compiler.plan.queueing import INSTANT_MS, LATENCY_CV, MOST_SPREAD
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM, LEVELS

#: Relative error that rounding figures to six digits may leave.
ROUNDING = 2e-5


def faults(plan: Plan, problem: Problem) -> list[str]:
    """What is wrong with a plan, one sentence each; empty for a plan that holds."""
    found = [*_header(plan, problem), *_engines(plan, problem), *_replicas(plan, problem)]
    if not found:
        found = [*_hosts(plan, problem), *_devices(plan, problem)]
    if not found:
        found = [
            *_mixtures(plan, problem),
            *_rates(plan, problem),
            *_latencies(plan, problem),
            *_costs(plan, problem),
            *_profiles(plan, problem),
        ]
    return found


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
        if not _near(share.load_rps, pipeline.load_rps):
            yield f"{pipeline.name} is planned for {share.load_rps} rps, not {pipeline.load_rps}"
        if set(share.visits) != set(visits) or not all(_near(share.visits[name], visits[name]) for name in visits):
            yield f"the visits of {pipeline.name} are not those of its flow"


def _engines(plan: Plan, problem: Problem) -> Iterator[str]:
    for need in problem.needs:
        if need.engine not in plan.engines:
            yield f"engine {need.engine} is missing from the plan"
        count = sum(replica.engine == need.engine for replica in plan.replicas)
        if count < need.minimum:
            yield f"{need.engine} has {count} of at least {need.minimum} replicas"
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
    if replica.cores != config.cores or replica.memory_gib != config.memory_gib:
        given = f"{replica.cores} cores and {replica.memory_gib} GiB"
        yield f"{replica.id} is given {given}, which is not what its configuration takes"
    if replica.serves != need.components:
        yield f"{replica.id} serves {', '.join(replica.serves)}, not the components of {need.engine}"
    if need.on is not None and (config.gpu or "cpu") != need.on:
        yield f"{replica.id} must run on {need.on}, not on {config.gpu or 'cpu'}"
    if len(replica.devices) != (max(1, round(config.gpus)) if config.gpu else 0):
        yield f"{replica.id} has {len(replica.devices)} devices for {config.describe()}"


def _hosts(plan: Plan, problem: Problem) -> Iterator[str]:
    for host in problem.hosts:
        here = [replica for replica in plan.replicas if replica.host == host.name]
        has = room(host)
        if (cores := sum(replica.cores for replica in here)) > has["cores"] * (1 + ROUNDING):
            yield f"{host.name} has {has['cores']:g} cores and is asked for {cores:g}"
        if (memory := sum(replica.memory_gib for replica in here)) > has["memory_gib"] * (1 + ROUNDING):
            yield f"{host.name} has {has['memory_gib']:g} GiB of memory and is asked for {memory:g}"


def _devices(plan: Plan, problem: Problem) -> Iterator[str]:
    hosts = {host.name: host for host in problem.hosts}
    parts: dict[tuple[str, int], float] = {}
    memory: dict[tuple[str, int], float] = {}
    for replica in plan.replicas:
        config = replica.config
        yield from _owns(replica, hosts[replica.host])
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


def _options(plan: Plan, need: Need) -> list[Option]:
    """The figures of each replica of an engine."""
    configurations = [replica.config for replica in plan.replicas if replica.engine == need.engine]
    return [next(option for option in need.options if option.configuration == one) for one in configurations]


def _arrivals(problem: Problem, need: Need) -> dict[str, float]:
    """Calls a second of each component at the declared loads."""
    return {
        component: sum(pipeline.load_rps * pipeline.visits.get(component, 0.0) for pipeline in problem.pipelines)
        for component in need.components
    }


def _full(plan: Plan, problem: Problem, need: Need) -> float:
    """Multiples of the loads at which the engine's replicas would never be idle."""
    arrivals = _arrivals(problem, need)
    per_replica = []
    for option in _options(plan, need):
        seconds = sum(arrivals[name] * option.busy_ms[name] / 1000.0 for name in need.components)
        per_replica.append(1.0 / seconds if seconds > 0 else float("inf"))
    return sum(per_replica)


def _mean(problem: Problem, need: Need, figures: dict[str, float]) -> float:
    """The mean of a figure over an engine's calls; over its components where there are none."""
    arrivals = _arrivals(problem, need)
    total = sum(arrivals.values())
    if total <= 0:
        return sum(figures.values()) / len(figures)
    return sum(figures[name] * arrivals[name] / total for name in figures)


def _mixtures(plan: Plan, problem: Problem) -> Iterator[str]:
    for need in problem.needs:
        times = [
            _mean(problem, need, {name: option.latency_ms[name][0] for name in need.components})
            for option in _options(plan, need)
        ]
        if max(times) > min(times) * MOST_SPREAD * (1 + ROUNDING):
            yield f"a call of {need.engine} takes {min(times):g} ms on one replica and {max(times):g} on another"


def _rates(plan: Plan, problem: Problem) -> Iterator[str]:
    full = {need.engine: _full(plan, problem, need) for need in problem.needs}
    rates = {
        plan.predicted[pipeline.name].throughput_rps / pipeline.load_rps
        for pipeline in problem.pipelines
        if pipeline.load_rps > 0
    }
    rate = min(rates, default=1.0)
    if max(rates, default=1.0) > rate * (1 + 2 * ROUNDING):
        yield "the pipelines are predicted different multiples of their loads"
    if problem.aim == "cost" and rate < 1 - ROUNDING:
        yield f"the replicas carry {rate:.3f} times the declared loads"
    busy = {engine: rate / most for engine, most in full.items()}
    for engine, part in busy.items():
        if part > HEADROOM * (1 + ROUNDING):
            yield f"{engine} would be busy for {part:.6g} of the time"
    if set(plan.utilisation) != set(busy):
        yield "the utilisations are not those of the engines"
        return
    for engine, part in busy.items():
        if not _near(plan.utilisation[engine], part):
            yield f"{engine} is busy for {part:.6g} of the time, not {plan.utilisation[engine]}"
    for pipeline in problem.pipelines:
        bottleneck = plan.predicted[pipeline.name].bottleneck
        if busy and not _near(busy.get(bottleneck, -1.0), max(busy.values())):
            yield f"the bottleneck of {pipeline.name} is not {bottleneck!r}"


def _latencies(plan: Plan, problem: Problem) -> Iterator[str]:
    for pipeline in problem.pipelines:
        said = plan.predicted[pipeline.name]
        rate = said.throughput_rps / pipeline.load_rps * (1 - ROUNDING) if pipeline.load_rps > 0 else 1.0
        for metric, figure in (("latency", said.latency_ms), ("ttft", said.ttft_ms)):
            found = _quantile(plan, problem, pipeline, metric, QUANTILE, min(rate, 1.0))
            if not _near(figure, found):
                yield f"{pipeline.name} is predicted a {metric} of {figure} ms, the replicas give {found:.6g}"
        for promise in pipeline.promises:
            found = _quantile(plan, problem, pipeline, promise.metric, promise.quantile, rate)
            if found > promise.bound_ms * (1 + ROUNDING) + INSTANT_MS:
                promised = f"promises a {promise.metric} of {promise.bound_ms:g} ms"
                yield f"{pipeline.name} {promised} and would take {found:.6g}"


def _level(utilisation: float) -> int:
    """How many of the levels are below a utilisation, and so the position of the first that is not."""
    return min(sum(utilisation > level * (1 + 1e-8) for level in LEVELS), len(LEVELS) - 1)


def _slowest(plan: Plan, problem: Problem, pipeline: Pipeline, rate: float) -> dict[tuple[int, str], float]:
    """The mean time of each step on its engine's slowest replica, whole and to the first piece of one round.

    A replica takes as many calls as its batch at once, and of more that come together the rest waits its turn.
    """
    engines = {name: need for need in problem.needs for name in need.components}
    found: dict[tuple[int, str], float] = {}
    for s, step in enumerate(pipeline.steps):
        if step.component in problem.external_ms:
            found[s, "ttft"] = problem.external_ms[step.component]
            found[s, "latency"] = found[s, "ttft"] * step.rounds
            continue
        need = engines[step.component]
        level = _level(rate / _full(plan, problem, need))
        whole, first = [], []
        for option in _options(plan, need):
            turns, left = 1, step.count - option.configuration.batch
            while left > 1e-6:
                turns, left = turns + 1, left - option.configuration.batch
            whole.append(turns * option.latency_ms[step.component][level])
            first.append(turns * option.first_ms[step.component][level])
        found[s, "latency"] = max(whole) * step.rounds
        found[s, "ttft"] = max(first)
    return found


def _quantile(plan: Plan, problem: Problem, pipeline: Pipeline, metric: str, quantile: float, rate: float) -> float:
    """A quantile of a pipeline's latency at a rate, backwards from the steps that end it."""
    slowest = _slowest(plan, problem, pipeline, rate)
    matters = [step.rarity > 1.0 - quantile + 1e-9 for step in pipeline.steps]
    known: dict[int, float] = {}

    def begins(s: int) -> float:
        return max((ends(before) for before in pipeline.steps[s].after), default=0.0)

    def ends(s: int) -> float:
        if s not in known:
            known[s] = begins(s) + (slowest[s, "latency"] if matters[s] else 0.0)
        return known[s]

    if metric == "ttft" and pipeline.streamed:
        pieces = [s for s in pipeline.streamed if matters[s]]
        mean = max((begins(s) + slowest[s, "ttft"] for s in pieces), default=0.0)
    else:
        mean = max((ends(s) for s in range(len(pipeline.steps))), default=0.0)
    spread = LATENCY_CV * NormalDist().inv_cdf(min(max(quantile, 0.001), 0.9999))
    return mean * (1.0 + max(0.0, spread))


def _costs(plan: Plan, problem: Problem) -> Iterator[str]:
    used = {replica.host for replica in plan.replicas}
    price = sum(host.price_per_hour for host in problem.hosts if host.name in used)
    said = [predicted.cost_per_hour for predicted in plan.predicted.values()]
    if not _near(sum(said), price) or min(said, default=0.0) < 0:
        yield f"the pipelines cost {sum(said):.6g} an hour together, their hosts {price:.6g}"


def _profiles(plan: Plan, problem: Problem) -> Iterator[str]:
    wrong = "the profiles are not those of the configurations in use"
    expected = [
        (need, option)
        for need in problem.needs
        for option in need.options
        if any(one.engine == need.engine and one.config == option.configuration for one in plan.replicas)
    ]
    if len(expected) != len(plan.profiles):
        yield wrong
        return
    carried = [
        plan.predicted[one.name].throughput_rps / one.load_rps * (1 - ROUNDING)
        for one in problem.pipelines
        if one.load_rps > 0
    ]
    rate = min([1.0, *carried])
    for (need, option), said in zip(expected, plan.profiles, strict=True):
        level = _level(rate / _full(plan, problem, need))
        busy = _mean(problem, need, {name: option.busy_ms[name] for name in need.components})
        latency = _mean(problem, need, {name: option.latency_ms[name][level] for name in need.components})
        named = (said.engine, said.config, said.provenance)
        if (
            named != (need.engine, option.configuration.describe(), option.provenance)
            or not _near(said.capacity_rps, HEADROOM * 1000.0 / busy if busy > 0 else 0.0)
            or not _near(said.latency_ms, latency)
        ):
            yield wrong


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= ROUNDING * max(1e-9, abs(one), abs(other))
