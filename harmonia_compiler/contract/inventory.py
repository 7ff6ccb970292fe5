"""The inventory: which hosts there are, with which devices, at which price."""

import msgspec


class Gpu(msgspec.Struct, frozen=True):
    """GPUs of one type in a host; types bear aiconfigurator's system names (`h100_sxm`)."""

    type: str
    count: int = 1


class Host(msgspec.Struct, frozen=True, omit_defaults=True):
    """One machine. Price is per hour for the whole machine, in whatever currency the user thinks."""

    name: str
    cpus: int
    memory_gib: float
    gpus: tuple[Gpu, ...] = ()
    price_per_hour: float = 0.0
    network_gbps: float = 10.0
    labels: dict[str, str] = {}


class Inventory(msgspec.Struct, frozen=True):
    """Hosts with distinct names, host ranges already written out."""

    hosts: tuple[Host, ...]
