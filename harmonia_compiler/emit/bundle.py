"""From a plan to a bundle: the folder that holds everything a target needs to start it."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.document import encode_document
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import Plan, encode_plan
from harmonia_compiler.contract.requirements import LOCK
from harmonia_compiler.contract.site import Site
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.emit.code import CODE, source_folders, user_code
from harmonia_compiler.emit.emission import Emission, make_emission
from harmonia_compiler.emit.folder import write_files
from harmonia_compiler.emit.manifest import Manifest, described_targets, read_manifest, target_names, targets_folder
from harmonia_compiler.emit.targets import target_module
from harmonia_compiler.emit.templates import render_all
from harmonia_compiler.flow.graph import Application

PLAN, SERVICE, README = "plan.json", "service.json", "README.md"

#: What names processes, logs, jobs and containers; no target has to quote it.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_target(target: str, site: Site | None) -> None:
    """Raise `Rejected` for what is wrong with a target and its site profile whatever the plan, before there is one."""
    read_manifest(target)
    if site is not None:
        site.check_tables(described_targets(), target_names())
    target_module(target).check_site(site)


def write_bundle(
    plan: Plan,
    application: Application,
    *,
    target: str,
    out: Path,
    root: Path,
    site: Site | None = None,
    hosts: Sequence[Host] = (),
    check: Callable[[], None] = lambda: None,
) -> list[Diagnostic]:
    """Write the bundle of a plan for a target into the folder `out`, and give what to warn of.

    `application` is the one that was planned; `root` the folder that the user's own modules must lie
    under; `site` what the target is told of the place where the bundle is started; `hosts` those of the inventory that
    was planned for. `check` is called before anything in `out` changes, once nobody else may write it. Raises
    `Rejected` where the target cannot hold the plan or use the site, a module is missing, or `out` is not for
    writing; then an earlier bundle in it is as it was.
    """
    manifest = read_manifest(target)
    _check_fits(plan, manifest)
    emission = make_emission(plan, application, root, site, hosts)
    files = _files(emission, target)
    if wrong := _faults(emission, target, files):
        raise RuntimeError("the bundle differs from the plan: " + "; ".join(wrong))
    code = user_code(emission.replicas, application, source_folders(application, root), root)
    if emission.requires:
        code[f"{CODE}/{LOCK}"] = emission.requires
    write_files(out, {**files, **code}, target, check)
    return [*_unused(site, target), *target_module(target).warnings(emission)]


def _unused(site: Site | None, target: str) -> list[Diagnostic]:
    """A warning where a site profile says nothing of the target."""
    if site is None or target in site.document.values:
        return []
    message = f"`{site.source.name}` says nothing of target `{target}`, and is not used"
    return [Diagnostic("W0940", message, help="leave --site out, or name with --target what it is for")]


def _files(emission: Emission, target: str) -> dict[str, bytes]:
    return {
        PLAN: encode_plan(emission.plan),
        SERVICE: encode_document(emission.service),
        **target_module(target).files(emission),
        **render_all(targets_folder() / target, emission),
    }


def _faults(emission: Emission, target: str, written: Mapping[str, bytes]) -> list[str]:
    """Where the files, parsed back, do not say what the plan says."""
    names = [*(replica.id for replica in emission.plan.replicas), *emission.service.programs]
    wrong = [f"`{name}` is no name for a process" for name in names if _NAME.fullmatch(name) is None]
    if encode_plan(msgspec.json.decode(written[PLAN], type=Plan)) != encode_plan(emission.plan):
        wrong.append(f"{PLAN} does not read back as the plan")
    service = msgspec.json.decode(written[SERVICE], type=Service)
    if encode_document(service) != encode_document(emission.service):
        wrong.append(f"{SERVICE} does not read back as what was written")
    if lacking := {replica.engine for replica in emission.plan.replicas} - service.engines.keys():
        wrong.append(f"{SERVICE} lacks engines of the plan: {sorted(lacking)}")
    readme = written[README].decode()
    wrong += [f"{README} does not name `{name}`" for name in names if f"`{name}`" not in readme]
    return wrong + target_module(target).faults(emission, written)


def _check_fits(plan: Plan, manifest: Manifest) -> None:
    hosts = sorted({replica.host for replica in plan.replicas})
    if len(hosts) > 1 and not manifest.capabilities.multi_host:
        shown = ", ".join(f"`{host}`" for host in hosts[:4]) + (", …" if len(hosts) > 4 else "")
        message = f"the plan uses {len(hosts)} hosts ({shown}) and target `{manifest.name}` starts processes on one"
        raise Rejected([Diagnostic("E0902", message, help="plan with an inventory of one host")])
