"""Target `slurm`: a job for the plan, a step for each replica, and a job for each replica that may come on top."""

from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.document import encode_document
from harmonia_compiler.contract.site import Site
from harmonia_compiler.contract.slurm import JOB, SCRIPT, SlurmComponent, SlurmFurther, SlurmJob, SlurmSite
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.emit.emission import Emission, started_otherwise
from harmonia_compiler.emit.targets.slurm_layout import beside, further, layout
from harmonia_compiler.emit.targets.slurm_script import options_of, script
from harmonia_compiler.emit.targets.slurm_site import check_gpus, slurm_site, waits_for_its_own_nodes

_SERVICE = "The whole service: a step for each replica, the gateway and the controller. `harmoniac up` submits it."
_FURTHER = "One more replica beside a service that runs. Its controller submits it, and ends it."


def check_site(site: Site | None) -> None:
    """Raise `Rejected` for a site profile that has mistakes, whatever the plan will be."""
    slurm_site(site)


def files(emission: Emission) -> dict[str, bytes]:
    """The target's own files, by their paths in the bundle; raises `Rejected` for a site profile that has mistakes.

    So it does for one under which the plan cannot start.
    """
    site = slurm_site(emission.site)
    check_gpus(emission.plan.replicas, emission.hosts, site, emission.site)
    job = _job(emission, site)
    by_name = site.nodes == "named"
    whole = script(job.components, site, "head", _SERVICE, by_name=by_name, exclusive=site.exclusive)
    return {
        JOB: encode_document(job),
        SCRIPT: whole,
        **{
            one.script: script([component], site, "more", _FURTHER, by_name=False, exclusive=False)
            for one, component in _beside(emission, job)
        },
    }


def faults(emission: Emission, written: Mapping[str, bytes]) -> list[str]:
    """Where the files as written say something else than the plan; empty when all is well."""
    found = msgspec.json.decode(written[JOB], type=SlurmJob)
    wrong = started_otherwise(emission.plan, JOB, found.replicas)
    if found != _job(emission, found.site):
        wrong.append(f"{JOB} does not read back as what was written")
    wrong += _misplaced(emission, found)
    by_name = found.site.nodes == "named"
    asked = [_asked(component, found.site, by_name=by_name) for component in found.components]
    read = options_of(written[SCRIPT])
    for at, (component, options) in enumerate(zip(asked, read, strict=False)):
        if differs := sorted(name for name in component if options.get(name) != component[name]):
            wrong.append(f"component {at} of {SCRIPT} says something else of {', '.join(differs)}")
    if len(read) != len(asked):
        wrong.append(f"{SCRIPT} has {len(read)} components, and the plan {len(asked)}")
    for one, takes in _beside(emission, found):
        (options,) = options_of(written[one.script])
        asking = _asked(takes, found.site, by_name=False)
        if differs := sorted(name for name in asking if options.get(name) != asking[name]):
            wrong.append(f"{one.script} says something else of {', '.join(differs)}")
    return wrong


def warnings(emission: Emission) -> list[Diagnostic]:
    """What does not forbid the bundle, and whoever starts it should know."""
    return waits_for_its_own_nodes(slurm_site(emission.site), emission.site)


def _misplaced(emission: Emission, job: SlurmJob) -> list[str]:
    """Steps that are not for their replica of the plan, or are not where the job has what they take."""
    wrong = []
    for replica, step in zip(emission.plan.replicas, job.steps, strict=False):
        component = job.components[step.component]
        by_number = job.site.has_planned_gpus
        has_gpus = step.devices == replica.devices if by_number else len(step.devices) == len(replica.devices)
        if (step.replica, step.host) != (replica.id, replica.host) or not has_gpus:
            wrong.append(f"the step of `{replica.id}` is for something else")
        if step.host not in component.hosts:
            wrong.append(f"the step of `{replica.id}` is on `{step.host}`, which its component has not")
        gpus_lack = bool(step.gres) and step.gres not in component.gres.split(",")
        if step.memory_mib > component.memory_mib or step.cpus > component.cpus or gpus_lack:
            wrong.append(f"the step of `{replica.id}` takes more than the job has there")
    if len(job.steps) != len(emission.plan.replicas):
        wrong.append(f"{JOB} has {len(job.steps)} steps for {len(emission.plan.replicas)} replicas")
    return wrong


def _asked(component: SlurmComponent, site: SlurmSite, *, by_name: bool) -> dict[str, str]:
    """What the script must ask of Slurm for a component."""
    asked = {
        "nodes": str(len(component.hosts)),
        "cpus-per-task": str(component.cpus),
        "mem": f"{component.memory_mib}M",
        **({"nodelist": ",".join(component.hosts)} if by_name else {}),
        **({"gres": component.gres} if component.gres else {}),
    }
    return {**asked, **site.chosen}


def _job(emission: Emission, site: SlurmSite) -> SlurmJob:
    components, steps = layout(emission.plan.replicas, emission.hosts, site)
    return SlurmJob(emission.replicas, emission.gateway, site, components, steps, further(emission.plan, site))


def _beside(emission: Emission, job: SlurmJob) -> list[tuple[SlurmFurther, SlurmComponent]]:
    """The further replicas, with what the job of one takes."""
    planned = {replica.id: replica for replica in emission.plan.replicas}
    return [(one, beside(planned[one.like], job.site)) for one in job.further]
