"""Reads compose files back and compares what each container is, takes and may do with the plan."""

from collections.abc import Iterator, Mapping
from typing import Any

from harmonia_compiler.contract.bundle import ReplicaLaunch
from harmonia_compiler.contract.compose import ComposeReplica, ComposeServices
from harmonia_compiler.contract.launch import Fill
from harmonia_compiler.contract.plan import Plan, Replica
from harmonia_compiler.emit import yaml_text
from harmonia_compiler.emit.targets.compose_places import memory_limit
from harmonia_compiler.emit.targets.compose_text import replaced
from harmonia_compiler.kinds.milvus import STANDALONE_PORT, is_standalone

#: All that may stand in a service; anything else would be a text that has become a key.
_KEYS = {
    *("image", "build", "entrypoint", "command", "environment", "working_dir", "user", "init", "read_only", "tmpfs"),
    *("cap_drop", "security_opt", "pids_limit", "restart", "logging", "secrets", "healthcheck", "cpuset", "cpus"),
    *("mem_limit", "shm_size", "network_mode", "ports", "networks", "volumes", "depends_on", "deploy", "profiles"),
    *("stop_grace_period", "group_add"),
}
#: What every container must say of itself, whatever it runs.
_HARDENED: dict[str, Any] = {
    "init": True,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}


def misplaced(plan: Plan, made: ComposeServices, written: Mapping[str, bytes]) -> list[str]:
    """Where the files, by host, say something else than the plan."""
    wrong: list[str] = []
    for host, content in written.items():
        found = yaml_text.load(content)["services"]
        planned = {one.id: one for one in plan.replicas if one.host == host}
        own = {one.replica: one for one in made.services if one.host == host}
        extra = {"gateway", "controller"} if host == made.front else set()
        if found.keys() != own.keys() | extra or planned.keys() - own.keys():
            wrong.append(f"the services of `{host}` are {sorted(found)}")
            continue
        launches = {one.replica: one for one in made.replicas}
        for name, service in found.items():
            wrong += [f"`{name}`: {why}" for why in _loosened(service, made)]
        for name, one in planned.items():
            wrong += [f"`{name}`: {why}" for why in _differing(found[name], one, launches[name], own[name])]
    return wrong


def _loosened(service: Mapping[str, Any], made: ComposeServices) -> Iterator[str]:
    """What a container may do and must not, or the other way round."""
    if unknown := sorted(service.keys() - _KEYS):
        yield f"it has {', '.join(unknown)}"
    for key, value in _HARDENED.items():
        if service.get(key) != value:
            yield f"its {key} is {service.get(key)}"
    if "mem_limit" not in service or "pids_limit" not in service:
        yield "it has no limits"
    if service.get("network_mode", "") not in ("", made.site.network):
        yield f"its network is {service['network_mode']}"
    yield from (f"it publishes {port}" for port in service.get("ports", ()) if not port.startswith("127.0.0.1:"))
    for mount in service.get("volumes", ()):
        source = str(mount["source"])
        inside = source.startswith("./") and ".." not in source.split("/")
        if not (inside or source.startswith("${HARMONIA_WEIGHTS_")):
            yield f"it mounts {source}"


def _differing(
    service: Mapping[str, Any], planned: Replica, launch: ReplicaLaunch, given: ComposeReplica
) -> Iterator[str]:
    """What a replica's service says otherwise than the plan."""
    reserved = service.get("deploy", {"resources": {"reservations": {"devices": [{"device_ids": []}]}}})
    (devices,) = reserved["resources"]["reservations"]["devices"]
    if devices["device_ids"] != [str(device) for device in planned.devices]:
        yield f"it reserves the GPUs {devices['device_ids']} and the plan has {list(planned.devices)}"
    if service["mem_limit"] != memory_limit(planned):
        yield f"its memory is {service['mem_limit']}"
    command = [replaced(word) for word in service["command"]]
    words = [word for word in launch.launch.command if not isinstance(word, Fill)]
    literal = iter(command)
    environment = {name: replaced(value) for name, value in service["environment"].items()}
    ports = [environment.get(STANDALONE_PORT)] if is_standalone(launch.launch) else command
    if not all(word in literal for word in words) or str(given.port) not in ports:
        yield "its command is another one"
    if any(environment.get(name) != value for name, value in launch.launch.environment.items()):
        yield "its environment is another one"
    if "group_add" in service and not is_standalone(launch.launch):
        yield "it is in further groups"
    if service["image"] != given.image:
        yield f"its image is {service['image']}"
