"""Reads the `[compose]` table of a site profile: every mistake at once, each at its line."""

from typing import Any

import msgspec

from harmonia_compiler.contract.compose import MOST_FURTHER, ComposeSite
from harmonia_compiler.contract.site import Site
from harmonia_compiler.contract.toml_document import shown
from harmonia_compiler.diagnostics.diagnostic import Findings, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion

_IMAGE = 'an image such as "registry.example/harmonia:1.2", in lower case, with a tag'

#: By key, how its value is written.
_WORDS = {
    "network": '"bridge" or "host"',
    "first_port": "a whole number from 1024 to 60000",
    "worker_image": _IMAGE,
    "vllm_image": _IMAGE,
    "scale_out": f"a whole number from 0 to {MOST_FURTHER}",
    "cpuset": "`true` or `false`",
}


def compose_site(site: Site | None) -> ComposeSite:
    """What the profile says of docker-compose, and what it leaves out as it usually is; raises `Rejected`."""
    if site is None:
        return ComposeSite()
    findings, values = Findings(), dict[str, Any]()
    for key, value in site.table("compose").items():
        where = site.place("compose", key)
        if key not in _WORDS:
            step = suggestion(key, sorted(_WORDS), f"there are {listed(sorted(_WORDS))}")
            findings.add("E0931", f"`{key[:64]}` is no key of a site profile for docker-compose", where, help=step)
            continue
        try:
            msgspec.convert({key: value}, ComposeSite)
        except msgspec.ValidationError:
            findings.add("E0932", f"`{key}` cannot be {shown(value)}", where, help=f"it takes {_WORDS[key]}")
        values[key] = value
    if findings.failed:
        raise Rejected(findings.items)
    return ComposeSite(**values)
