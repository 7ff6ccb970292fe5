"""What the gateway does again and again beside its requests: it looks after replicas, reads what others write.

A turn that fails through a bug of ours is written down and counted, and the next one comes all the same. The gateway
does not end for it: no turn rests on what the one before it left half done, requests go on without it meanwhile, and a
new process would cut them all off only to have the same bug.
"""

import asyncio
import math
from collections.abc import Callable

from harmonia_compiler.runtime.gateway.logs import log_bug

#: How often one bug is written down, in seconds: a turn may fail each time that it comes, for days.
TOLD_EVERY_S = 60.0


async def again(name: str, turn: Callable[[], None], every_s: float, count: Callable[[], object]) -> None:
    """Do something every so often until cancelled; `count` is called each time that it fails."""
    loop = asyncio.get_running_loop()
    told_at, failed = -math.inf, 0
    while True:
        await asyncio.sleep(every_s)
        try:
            turn()
        except Exception as bug:  # noqa: BLE001 - whatever it is, the next turn may do without it
            failed += 1
            count()
            if loop.time() - told_at >= TOLD_EVERY_S:
                told_at = loop.time()
                log_bug("turn_failed", bug, turn=name, times=failed)
