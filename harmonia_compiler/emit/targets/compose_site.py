"""Reads the `[compose]` table of a site profile: every mistake at once, each at its line."""

from harmonia_compiler.contract.compose import ComposeSite
from harmonia_compiler.contract.further import MOST_SCALE_OUT
from harmonia_compiler.contract.site import Site
from harmonia_compiler.diagnostics.diagnostic import Findings, Rejected

_IMAGE = 'an image such as "registry.example/harmonia:1.2", in lower case, with a tag or a digest'

#: By key, how its value is written.
_WORDS = {
    "network": '"bridge" or "host"',
    "first_port": "a whole number from 1024 to 60000",
    "worker_image": _IMAGE,
    "vllm_image": _IMAGE,
    "scale_out": f"a whole number from 0 to {MOST_SCALE_OUT}",
    "cpuset": "`true` or `false`",
}


def compose_site(site: Site | None) -> ComposeSite:
    """What the profile says of docker-compose, and what it leaves out as it usually is; raises `Rejected`."""
    if site is None:
        return ComposeSite()
    findings = Findings()
    values = site.values("compose", "docker-compose", ComposeSite, _WORDS, findings)
    if findings.failed:
        raise Rejected(findings.items)
    return ComposeSite(**values)
