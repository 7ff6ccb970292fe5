"""The planner's door: an application and an inventory in, a verified plan out."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.contract.plan import FORMAT_VERSION, CutText, MissedShare, PipelineShare, Plan, Replica, Solver
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.flow.calls import early_calls
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.plan.build import Demanded, build_problem
from harmonia_compiler.plan.corrected import Measured, corrected
from harmonia_compiler.plan.diagnose import diagnose
from harmonia_compiler.plan.explain import Explanation, explain
from harmonia_compiler.plan.memory import memory_uses
from harmonia_compiler.plan.optimise import Allocation, optimise
from harmonia_compiler.plan.paces import solved
from harmonia_compiler.plan.place import place
from harmonia_compiler.plan.predict import QUANTILE, predict, profile_uses, rate, rounded, used_options, utilisations
from harmonia_compiler.plan.problem import Aim, Problem, Promise
from harmonia_compiler.plan.running import staying, with_running
from harmonia_compiler.plan.verify import faults
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.profiles import Profiles


def make_plan(
    application: Application,
    inventory: Inventory,
    *,
    objective: Aim = "throughput",
    profiles: Profiles | None = None,
    margin: float = 1.0,
    running: Plan | None = None,
    within_ms: float | None = None,
    measured: Measured | None = None,
) -> Plan:
    """The best plan for the objective, checked by the verifier.

    `throughput` serves as many multiples of the declared loads as the inventory can; `cost` serves
    the declared loads on the cheapest hosts. Without `profiles`, the best that are known here count. Latencies
    stay `margin` times below what was promised, or go beyond it where that is below 1. Of equally good plans the one
    is taken that keeps most replicas of a `running` one. `within_ms` bounds every pipeline's p95 latency beside its
    promises.
    What a service `measured` stands in place of what is expected of its calls.

    Raises Infeasible where no plan keeps what was promised, Rejected for an unknown model or a
    missing load.
    """
    figures = BestProfiles() if profiles is None else profiles

    def on(hosts: Sequence[Host]) -> Demanded:
        found = _demanded(application, Inventory(tuple(hosts)), objective, figures, margin, measured)
        return found if within_ms is None else replace(found, problem=bounded(found.problem, within_ms))

    demanded = on(inventory.hosts)
    former = () if running is None else staying(running, application)
    demanded = replace(demanded, problem=with_running(demanded.problem, former))
    found = solved(demanded.problem, optimise)
    if found is None:
        raise diagnose(demanded.problem, lambda hosts: on(hosts).problem)
    demanded = replace(demanded, problem=found.problem)
    plan = write_down(application, demanded, found.allocation, former)
    if wrong := faults(plan, demanded.problem):
        raise RuntimeError("the planner made a plan that its verifier rejects: " + "; ".join(wrong))
    return plan


def explained(
    application: Application,
    inventory: Inventory,
    plan: Plan,
    component: str,
    *,
    profiles: Profiles | None = None,
    measured: Measured | None = None,
) -> Explanation | None:
    """Why the plan for an application is as it is, for the engine of a component; None where that takes no hardware."""
    figures = BestProfiles() if profiles is None else profiles
    objective: Aim = "cost" if plan.objective == "cost" else "throughput"
    problem = _demanded(application, inventory, objective, figures, 1.0, measured).problem
    need = next((need for need in problem.needs if component in need.components), None)
    return None if need is None else explain(problem, need, plan.replicas)


def _demanded(
    application: Application,
    inventory: Inventory,
    objective: Aim,
    profiles: Profiles,
    margin: float,
    measured: Measured | None,
) -> Demanded:
    demanded = build_problem(application, inventory, objective, profiles, margin)
    return demanded if measured is None else replace(demanded, problem=corrected(demanded.problem, measured))


def bounded(problem: Problem, within_ms: float) -> Problem:
    """The problem with one promise more for each pipeline."""
    promise = Promise("latency", QUANTILE, within_ms)
    pipelines = tuple(replace(one, promises=(*one.promises, promise)) for one in problem.pipelines)
    return replace(problem, pipelines=pipelines)


def usual_takes(application: Application, inventory: Inventory, *, profiles: Profiles | None = None) -> Takes:
    """About how long a call of each component takes: the mean on its fastest configuration, hardly busy.

    Raises Rejected as `make_plan` does. Components whose engines run nowhere here are left out.
    """
    figures = BestProfiles() if profiles is None else profiles
    return build_problem(application, inventory, "throughput", figures).takes


def write_down(
    application: Application, demanded: Demanded, allocation: Allocation, former: Sequence[Replica] = ()
) -> Plan:
    """The document for an allocation, some of whose replicas may be `former` ones."""
    problem = demanded.problem
    replicas = place(problem, allocation.counts, former)
    used = used_options(problem, replicas)
    carried = rate(problem, used)
    busy = utilisations(problem, used, carried if carried < float("inf") else 1.0)
    early = {flow.name: early_calls(flow) for flow in application.flows}
    components = sorted({name for need in problem.needs for name in need.components} | set(problem.external_ms))
    engines = sorted({application.components[name].engine for name in components})
    return Plan(
        format_version=FORMAT_VERSION,
        objective=problem.aim,
        pipelines=tuple(
            PipelineShare(one.name, one.load_rps, dict(sorted(one.visits.items())), early[one.name])
            for one in sorted(problem.pipelines, key=lambda one: one.name)
        ),
        components={name: application.components[name] for name in components},
        engines={name: application.engines[name] for name in engines},
        replicas=replicas,
        predicted=predict(problem, replicas),
        profiles=profile_uses(problem, replicas),
        solver=Solver("optimal" if allocation.proven else "feasible", rounded(allocation.gap)),
        sources=digests(application.sources),
        utilisation={engine: rounded(part) for engine, part in sorted(busy.items())},
        guessed=demanded.guessed,
        estimated=demanded.estimated,
        missed=tuple(
            MissedShare(
                _name(one.at.source), one.at.source.position(one.at.start)[0], rounded(one.said), rounded(one.found)
            )
            for one in demanded.missed
        ),
        late={component: rounded(share) for component, share in demanded.late.items()},
        cut={name: CutText(rounded(one.tokens), one.window) for name, one in demanded.cut.items()},
        memory=memory_uses(application.engines, replicas),
    )


def digests(sources: Sequence[Source]) -> dict[str, str]:
    """The hashes by which a plan knows its sources."""
    found: dict[str, str] = {}
    for source in sources:
        name = _name(source)
        while name in found:
            name += "+"
        found[name] = "sha256:" + hashlib.sha256(source.text.encode()).hexdigest()
    return dict(sorted(found.items()))


def _name(source: Source) -> str:
    """What a plan calls a source: one that is named by an absolute path goes by its last part."""
    path = PurePath(source.name)
    return path.name if path.is_absolute() else source.name
