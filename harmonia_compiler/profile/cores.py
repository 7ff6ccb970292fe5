"""What runs on CPU cores alone, by the core time of a call: vector search, the user's Python."""

from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.profile.assumptions import STORE_THREADS
from harmonia_compiler.profile.device import cpu_parts
from harmonia_compiler.profile.profiles import Asked, Offer, Option, Shortfall
from harmonia_compiler.profile.queueing import with_wait_ms

CORE_TIME = "analytic: stated core time"


def offer(asked: Asked, kind: Kind, inventory: Inventory) -> Offer:
    """So many cores as the engine's settings say, or any number; a call keeps one of them busy.

    A process has a thread for each whole core, so that the rest of 1.5 cores carries nothing. What is
    stateful is one server, whose calls go through `STORE_THREADS` of its cores at most.
    """
    settings = asked.engine.settings
    stated = kind.setting("memory")
    memory = float(settings.get("memory") or (stated.default if stated else 1.0))
    exactly = settings.get("cores")
    largest = max((host.memory_gib for host in inventory.hosts), default=0.0)
    most = max((host.cpus for host in inventory.hosts), default=0)
    if exactly is not None and exactly > most:
        return Offer((), (Shortfall("cores", float(exactly), float(most), "fewer `cores`"),))
    if memory > largest:
        return Offer((), (Shortfall("GiB of memory", memory, largest, "less `memory`"),))
    options = []
    for part in cpu_parts(inventory, None if exactly is None else float(exactly)):
        threads = max(1, int(part.cores))
        servers = min(threads, STORE_THREADS) if kind.stateful else threads
        alone = {name: work.core_ms / min(1.0, part.cores) for name, work in asked.work.items()}
        busy = {name: one / servers for name, one in alone.items()}
        latency = {name: with_wait_ms(one, servers) for name, one in alone.items()}
        options.append(Option(Configuration(part.cores, memory, batch=servers), busy, latency, latency, CORE_TIME))
    return Offer(tuple(options))
