"""Reads the `[slurm]` table of a site profile: every mistake at once, each at its line."""

import re
from collections.abc import Iterable

from harmonia_compiler.contract.further import MOST_SCALE_OUT
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.contract.site import Site
from harmonia_compiler.contract.slurm import MOST_NOTICE_S, SlurmSite
from harmonia_compiler.contract.toml_document import shown
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.emit.targets.slurm_layout import asked_type

#: How a time is written, as Slurm writes it; in a profile its key has no `_s`.
_TIME = re.compile(r"(?:(\d{1,3})-)?(\d{1,3}):([0-5]\d):([0-5]\d)")
_TIMES = {"wall_time": "wall_time_s", "drain": "drain_s", "handover": "handover_s"}

#: By key, how its value is written.
_WORDS = {
    "partition": "names of letters, digits, `.`, `_` and `-`, with a comma between two",
    **dict.fromkeys(("account", "qos"), "a name of letters, digits, `.`, `_` and `-`"),
    "constraint": "names of features such as `ib&(rome|milan)`, without blanks",
    "gres": 'one of "typed", "untyped" and "none"',
    "gpu_types": 'a table such as `{h100_sxm = "h100"}`',
    "modules": 'a list such as `["python/3.11"]`, of names of letters, digits, `.`, `_`, `+`, `/` and `-`',
    "venv": 'an absolute path of plain names, such as "/shared/venv"',
    "image": 'an absolute path of plain names, such as "/shared/harmonia.sif"',
    "stage": 'an absolute path of plain names, such as "/local/scratch/harmonia"',
    **dict.fromkeys(_TIMES, "a time"),
    "submit_from_nodes": "`true` or `false`",
    "scale_out": f"a whole number from 0 to {MOST_SCALE_OUT}",
    "nodes": '"named" or "any"',
    "exclusive": "`true` or `false`",
}

#: Times that are more than none, with what to say instead.
_NEVER_NONE = {
    "wall_time": "leave it out where a job may run for ever",
    "drain": "say how long what is begun may take to end, a second at least, or leave it out for a minute",
}
#: What lets replicas come on nodes that were not planned for: why, and how not to.
_ANYWHERE = {
    "nodes": ('with `nodes = "any"` it takes those of any node', 'say `nodes = "named"`'),
    "scale_out": ("with `scale_out` it takes those of any node for a replica on top", "leave `scale_out` out"),
}
#: How GPUs are told apart, by the key that says how they are called.
_APART = {
    "gres": 'say `gres = "typed"` where the site counts its GPUs by type, and by `gpu_types` what it calls each',
    "gpu_types": "say by `gpu_types` what the site calls each",
}


def slurm_site(site: Site | None) -> SlurmSite:
    """What the profile says of Slurm, and what it leaves out as it usually is; raises `Rejected`."""
    if site is None:
        return SlurmSite()
    findings = Findings()
    values = site.values("slurm", "Slurm", SlurmSite, _WORDS, findings)
    for key in [key for key in _TIMES if key in values]:
        value = values.pop(key)
        seconds = _seconds(value)
        if seconds is None:
            step = 'write "HH:MM:SS" or "D-HH:MM:SS", a year at most'
            findings.add("E0932", f"`{key}` is {shown(value)}, which is no time", site.place("slurm", key), help=step)
        if seconds == 0 and key in _NEVER_NONE:
            findings.add("E0932", f"`{key}` is no time at all", site.place("slurm", key), help=_NEVER_NONE[key])
        values[_TIMES[key]] = seconds
    if not findings.failed:
        found = SlurmSite(**values)
        _check_together(found, site, findings)
    if findings.failed:
        raise Rejected(findings.items)
    return found


def check_gpus(replicas: Iterable[Replica], hosts: Iterable[Host], found: SlurmSite, site: Site | None) -> None:
    """Raise `Rejected` where the plan needs GPUs and is given none, or may be given others than it needs.

    Others are those of another type that bear the same name for Slurm, or no name: on the replica's own host, and on
    all of the inventory where Slurm takes any.
    """
    needs = [one for one in replicas if one.devices]
    if site is None or not needs:
        return
    if found.gres == "none":
        message = f'`gres` is "none", and `{needs[0].id}` needs GPUs: Slurm shows a step none that it was not asked for'
        step = 'say "typed" or "untyped", as the site counts its GPUs, or plan with an inventory without GPUs'
        raise Rejected([Diagnostic("E0938", message, site.place("slurm", "gres"), help=step)])
    there = {host.name: {gpu.type for gpu in host.gpus} for host in hosts}
    for one in needs:
        there.setdefault(one.host, set()).add(one.config.gpu)
    called = "gres" if found.gres == "untyped" else "gpu_types"
    untold = "Slurm is not told which of them it is to give"
    for one in needs:
        if mixed := _called_as(one.config.gpu, there[one.host], found):
            message = f"`{one.host}` has {listed(mixed)}, and {untold}"
            step = f"{_APART[called]}, or plan with an inventory without `{one.host}`"
            raise Rejected([Diagnostic("E0943", message, site.place("slurm", called), help=step)])
    lets = {"nodes": found.nodes == "any", "scale_out": found.scale_out > 0}
    anywhere = [key for key in _ANYWHERE if lets[key]]
    for one in needs if anywhere else ():
        if mixed := _called_as(one.config.gpu, set().union(*there.values()), found):
            message = f"the inventory has {listed(mixed)}, and {untold}: {_ANYWHERE[anywhere[0]][0]}"
            step = f"{' and '.join(_ANYWHERE[key][1] for key in anywhere)}, or {_APART[called]}"
            raise Rejected([Diagnostic("E0943", message, site.place("slurm", anywhere[0]), help=step)])


def _called_as(gpu: str, types: Iterable[str], found: SlurmSite) -> list[str]:
    """The types that Slurm is asked for as it is for this one; none where that is the only one."""
    same = sorted(other for other in types if asked_type(other, found) == asked_type(gpu, found))
    return same if len(same) > 1 else []


def waits_for_its_own_nodes(found: SlurmSite, site: Site | None) -> list[Diagnostic]:
    """A warning where a successor can only start once the job that it is to take over from has ended."""
    if site is None or not found.handover_s or found.nodes != "named" or not found.exclusive:
        return []
    message = "the successor is to have the very nodes that the service has for itself: it starts when that has ended"
    step = (
        'set `nodes = "any"` where as many others are free, or `exclusive = false` where the nodes have as much again;'
        " or leave it so, and the service is away in between"
    )
    return [Diagnostic("W0939", message, site.place("slurm", "handover"), help=step)]


def _check_together(found: SlurmSite, site: Site, findings: Findings) -> None:
    """What each value allows, and two of them do not."""
    if not found.submit_from_nodes:
        for key, why in (("scale_out", "more replicas are further jobs"), ("handover", "a successor is a further job")):
            if getattr(found, _TIMES.get(key, key)):
                message = f"`{key}` needs nodes that may submit jobs, and here `submit_from_nodes` is false: {why}"
                step = f"leave `{key}` out, or set `submit_from_nodes = true` where `sbatch` works on a node"
                findings.add("E0933", message, site.place("slurm", key), help=step)
    if found.wall_time_s and found.drain_s > MOST_NOTICE_S:
        message = f"`drain` is {found.drain_s} s, and Slurm tells a job of its end {MOST_NOTICE_S} s before at most"
        findings.add("E0932", message, site.place("slurm", "drain"), help="say 18:12:15 or less")
    for name in sorted(found.gpu_types.keys() - GPU_TYPES.keys()):
        message = f"`gpu_types` names `{name}`, which no inventory has"
        step = suggestion(name, sorted(GPU_TYPES), f"there are {listed(sorted(GPU_TYPES))}")
        findings.add("E0931", message, site.place("slurm", "gpu_types"), help=step)
    ends = found.drain_s + found.handover_s
    if found.wall_time_s and ends >= found.wall_time_s:
        message = f"`drain` and `handover` take {ends} s together, and `wall_time` is {found.wall_time_s} s"
        findings.add("E0932", message, site.place("slurm", "wall_time"), help="give the job more time, or them less")
    if found.handover_s and not found.wall_time_s:
        step = "say `wall_time`, or leave `handover` out"
        findings.add(
            "E0932", "`handover` is counted back from a `wall_time`", site.place("slurm", "handover"), help=step
        )


def _seconds(value: object) -> int | None:
    """`HH:MM:SS` or `D-HH:MM:SS` in seconds; None where it is neither, or more than a year."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return total if total <= 31_536_000 else None
