"""What a client is told of each call of its request."""

import msgspec

from harmonia_compiler.contract.launch import Usage
from harmonia_compiler.policy.events import Path


class Stage(msgspec.Struct, omit_defaults=True):
    """What one call of a request took, in milliseconds; `start_ms` counts from the request's own start.

    `path` are the rounds and items that it was in, from the outermost on.
    """

    component: str
    start_ms: float
    replica: str | None = None
    queue_ms: float | None = None
    service_ms: float | None = None
    ttft_ms: float | None = None
    total_ms: float | None = None
    sends: int = 0
    usage: Usage = Usage()
    path: Path = ()
