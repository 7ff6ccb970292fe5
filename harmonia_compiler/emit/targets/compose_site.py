"""Reads the `[compose]` table of a site profile: every mistake at once, each at its line."""

from collections.abc import Sequence

from harmonia_compiler.contract.compose import MOST_PORT, ComposeReplica, ComposeSite
from harmonia_compiler.contract.further import MOST_SCALE_OUT
from harmonia_compiler.contract.site import Site
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Rejected

_IMAGE = 'an image such as "registry.example/harmonia:1.2", in lower case, with a digest or a tag that is not `latest`'

#: Where Milvus listens besides: its health, its etcd, and its parts among each other.
_OF_MILVUS = {2379, 2380, 9091, 13_333, 19_529, 19_531, 21_121, 21_123, 21_124, 22_222, 53_100}

#: By key, how its value is written.
_WORDS = {
    "network": '"bridge" or "host"',
    "first_port": "a whole number from 1024 to 60000",
    "worker_image": _IMAGE,
    "vllm_image": _IMAGE,
    "milvus_image": _IMAGE,
    "scale_out": f"a whole number from 0 to {MOST_SCALE_OUT}",
    "cpuset": "`true` or `false`",
}


def check_hosts(found: ComposeSite, hosts: Sequence[str], site: Site | None) -> None:
    """Raise `Rejected` where the plan has several hosts, and each process is to listen on its own host's loopback."""
    if site is not None and len(hosts) > 1 and found.network == "host":
        message = (
            f'`network` is "host", so that each process is on 127.0.0.1 of its own host, and the plan has {len(hosts)}'
        )
        step = 'say "bridge", which a network that spans the hosts takes the place of, or plan with one host'
        raise Rejected([Diagnostic("E0932", message, site.place("compose", "network"), help=step)])


def check_ports(found: ComposeSite, services: Sequence[ComposeReplica], site: Site | None) -> None:
    """Raise `Rejected` where a replica's port is none, or one that Milvus takes for itself beside it."""
    if site is None:
        return
    findings, where = Findings(), site.place("compose", "first_port")
    if services and services[-1].port > MOST_PORT:
        message = f"`first_port` is {found.first_port}, and {len(services)} more ports are counted up from it"
        step = f"say {MOST_PORT - len(services)} at most, or less of `scale_out`"
        findings.add("E0932", message, where, help=step)
    for one in services:
        if found.milvus_image and one.image == found.milvus_image and one.port in _OF_MILVUS:
            message = f"`{one.replica}` would listen on {one.port}, which Milvus takes for something else"
            findings.add("E0932", message, where, help="say another `first_port`, such as 18100")
    if findings.failed:
        raise Rejected(findings.items)


def compose_site(site: Site | None) -> ComposeSite:
    """What the profile says of docker-compose, and what it leaves out as it usually is; raises `Rejected`."""
    if site is None:
        return ComposeSite()
    findings = Findings()
    found = ComposeSite(**site.values("compose", "docker-compose", ComposeSite, _WORDS, findings))
    if found.network == "host" and found.milvus_image:
        message = "`milvus_image` needs a network of its own: Milvus listens on all addresses, whatever it is told"
        step = 'say `network = "bridge"`, or leave it out: without it the store is milvus-lite, on 127.0.0.1 alone'
        findings.add("E0932", message, site.place("compose", "milvus_image"), help=step)
    if findings.failed:
        raise Rejected(findings.items)
    return found
