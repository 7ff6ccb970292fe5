"""The services of a compose file: what each container runs, is given, and may do. Pure.

Every container runs as somebody who is not root, on a file system that it cannot write, without capabilities, within
limits of memory and processes, and publishes on 127.0.0.1 alone. None sees the socket of a container runtime: replicas
are started and stopped by a process of the host (`runtime/actuators/compose`).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import ReplicaLaunch
from harmonia_compiler.contract.card import is_added
from harmonia_compiler.contract.compose import ComposeReplica, ComposeSite
from harmonia_compiler.contract.launch import FOR_GATEWAY, Fill, Launch, Probe
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emit.targets.compose_places import memory_limit
from harmonia_compiler.emit.targets.compose_text import Variable
from harmonia_compiler.kinds.milvus import STANDALONE_DATA, STANDALONE_PORT, is_standalone, standalone

LOOPBACK = "127.0.0.1"

#: Variables that whoever starts the bundle may set: who the processes are, and the gateway's port on the host.
USER, PORT = "HARMONIA_USER", "HARMONIA_PORT"
#: Somebody who owns nothing, where nobody says who the processes are.
NOBODY = "10001:10001"

#: Where things are in a container.
BUNDLE, DATA, WEIGHTS, SECRETS = "/bundle", "/data", "/weights", "/run/secrets"
#: What the gateway and the controller write, and where the controller asks for more or fewer replicas.
INSIDE, CONTROL = "run/service", "run/control"

#: The only folder in a container that its process may write, unless it keeps data; it ends with the container.
_SCRATCH = "/tmp"  # noqa: S108

GATEWAY, CONTROLLER = "gateway", "controller"
#: Memory of the two, in MiB.
_FRONT_MIB = {GATEWAY: 1024, CONTROLLER: 768}

#: How often a container is asked whether it is well, how long that may take, and how often it may fail, in seconds.
_ASK_EVERY_S, _ANSWER_S, _RETRIES = 5, 10, 6
_PIDS = 4096

#: How the etcd within Milvus itself runs: in the bundle, and in the container.
ETCD, _ETCD_INSIDE = "compose/etcd.yaml", f"{BUNDLE}/etcd.yaml"
#: Where Milvus itself says that it is well, and the folder for its process number.
_MILVUS_WELL, _MILVUS_RUN = "http://127.0.0.1:9091/healthz", "/run/milvus"
#: Who may run what is in its images: root's group in most releases, and in the latest its own. What lies in a container
#: of ours is nobody else's.
_MILVUS_GROUPS = ("0", "999")


def replica_service(
    launch: ReplicaLaunch,
    planned: Replica,
    given: ComposeReplica,
    site: ComposeSite,
    *,
    cpus: str = "",
    after: Sequence[str] = (),
) -> dict[str, Any]:
    """The service of one replica. `cpus` are those it is held to; `after` are the services that must answer first."""
    own = launch.launch
    slots = {
        "python": "python3",
        "host": LOOPBACK if site.network == "host" else "0.0.0.0",  # noqa: S104 - within the container's own network
        "port": str(given.port),
        "weights": WEIGHTS,
        "data": DATA,
        "code": f"{BUNDLE}/code",
    }
    service = _container(given.image, [*_secrets_first(own), *_looked_at_first(launch), *_filled(own, slots)], own)
    service["healthcheck"] = healthcheck(own.probe, str(given.port))
    if is_standalone(own):
        service = _of_milvus_image(service, str(given.port))
    service["cpuset" if cpus and site.cpuset else "cpus"] = (
        cpus if cpus and site.cpuset else max(0.01, round(launch.cores, 2))
    )
    service["mem_limit"] = memory_limit(planned)
    service["shm_size"] = _shared_memory(planned)
    service |= _listening(given.port, str(given.port), site, given.address)
    mounts = []
    if given.data:
        mounts.append(_mount(f"./data/{given.data}", STANDALONE_DATA if is_standalone(own) else DATA))
    mounts += [_mount(f"./{ETCD}", _ETCD_INSIDE, read_only=True)] if is_standalone(own) else []
    mounts += [_mount("./code", f"{BUNDLE}/code", read_only=True)] if "code" in _slots(own) else []
    if given.weights:
        # `harmoniac up` sets it to the model's folder; whoever starts the file otherwise is told what is not there.
        weights = Variable(given.weights, f"./{given.weights}-is-not-set")
        mounts.append(_mount(weights, WEIGHTS, read_only=True))
    service |= {"volumes": mounts} if mounts else {}
    if after:
        service["depends_on"] = _healthy(after)
    if not launch.devices:
        # Where the engine shows every container all GPUs, this one takes none that the plan gave away.
        service["environment"]["NVIDIA_VISIBLE_DEVICES"] = "void"
    else:
        service["deploy"] = {"resources": {"reservations": {"devices": [_gpus(launch)]}}}
    if given.further:
        service["profiles"] = ["further"]
    return service


def gateway_service(launch: Launch, image: str, site: ComposeSite, after: Sequence[str]) -> dict[str, Any]:
    """The gateway, which starts once every replica of its host answers."""
    port = Variable(PORT, str(site.first_port))
    inner: Any = port if site.network == "host" else str(site.first_port)
    slots = {
        "python": "python3",
        "host": LOOPBACK if site.network == "host" else "0.0.0.0",  # noqa: S104 - within the container's own network
        "port": inner,
    }
    service = _container(image, [*_secrets_first(launch), *_filled(launch, slots)], launch)
    service["healthcheck"] = healthcheck(launch.probe, inner)
    service["environment"] |= {name: Variable(name, default) for name, default in FOR_GATEWAY.items()}
    service |= _front(GATEWAY, "service.json")
    if site.network == "bridge":
        service["ports"] = [Variable(PORT, str(site.first_port), prefix=f"{LOOPBACK}:", suffix=f":{site.first_port}")]
    else:
        service["network_mode"] = "host"
    service["stop_grace_period"] = "15s"
    return service | ({"depends_on": _healthy(after)} if after else {})


def controller_service(launch: Launch, image: str, site: ComposeSite) -> dict[str, Any]:
    """The controller, which the others do without: nobody waits for it."""
    service = _container(image, _filled(launch, {"python": "python3"}), launch)
    service |= _front(CONTROLLER, "bundle.json", "plan.json", "service.json", "compose/services.json")
    service["volumes"].append(_mount(f"./{CONTROL}", f"{BUNDLE}/control"))
    service |= {"network_mode": "host"} if site.network == "host" else {}
    return service | {"depends_on": _healthy([GATEWAY])}


def healthcheck(probe: Probe, port: Any) -> dict[str, Any]:
    """A check that needs nothing but the Python of the image. Failures do not count while a process may still start."""
    if probe.transport == "milvus":
        # The first words of HTTP/2, to which a gRPC server answers with its settings (frames of type 4). A real client
        # would take seconds to load on a busy core, each time.
        ask = (
            "import socket,sys;c=socket.create_connection(('127.0.0.1',int(sys.argv[1])),8);"
            "c.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'+bytes(3)+bytes([4])+bytes(5));"
            "a=c.recv(9);sys.exit(0 if a[3:4]==bytes([4]) else 'answers no gRPC')"
        )
        words = ["python3", "-I", "-S", "-c", ask, port]
    else:
        ask = (
            "import socket,sys;c=socket.create_connection(('127.0.0.1',int(sys.argv[1])),8);"
            "c.sendall(f'GET {sys.argv[2]} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n'.encode());"
            "a=c.makefile('rb').readline().decode('latin-1').strip();"
            "sys.exit(0 if ' 200 ' in a+' ' else 'answers '+a)"
        )
        words = ["python3", "-I", "-S", "-c", ask, port, probe.path]
    return {
        "test": ["CMD", *words],
        "interval": f"{_ASK_EVERY_S}s",
        "timeout": f"{_ANSWER_S}s",
        "retries": _RETRIES,
        "start_period": f"{max(1, round(probe.timeout_s))}s",
    }


def build_of(arguments: Mapping[str, str]) -> dict[str, Any]:
    """How our own image is made where it is not there."""
    return {"context": "./compose/worker", "args": dict(arguments)}


def secret_names(launch: Launch) -> list[str]:
    """The variables that a process is handed as files."""
    return sorted(set(launch.late.values()))


def secret_file(name: str) -> dict[str, Any]:
    """Where the host keeps one of them, for as long as the service runs."""
    return {"file": f"./run/secrets/{name}"}


def _container(image: str, command: Sequence[Any], launch: Launch) -> dict[str, Any]:
    """What all have alike."""
    service: dict[str, Any] = {
        "image": image,
        # What an image starts by itself is not what the plan starts.
        "entrypoint": [],
        "command": list(command),
        "environment": {
            "HOME": _SCRATCH,
            "TMPDIR": _SCRATCH,
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",
            **launch.environment,
        },
        "working_dir": _SCRATCH,
        "user": Variable(USER, NOBODY),
        "init": True,
        "read_only": True,
        "tmpfs": [f"{_SCRATCH}:mode=1777,exec,size=2g"],  # libraries that an engine compiles are loaded from there
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "pids_limit": _PIDS,
        "restart": "unless-stopped",
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
    }
    return service | ({"secrets": names} if (names := secret_names(launch)) else {})


def milvus_itself(one: ReplicaLaunch) -> ReplicaLaunch:
    """The replica of a store that runs Milvus itself."""
    return msgspec.structs.replace(one, launch=standalone(one.launch, _ETCD_INSIDE))


def _of_milvus_image(service: Mapping[str, Any], port: str) -> dict[str, Any]:
    """The same as Milvus's own image has it: no Python to check with, and what it reads lies where the image starts."""
    asks = ["CMD", "curl", "--silent", "--show-error", "--fail", "--output", "/dev/null", _MILVUS_WELL]
    return {
        **{key: value for key, value in service.items() if key != "working_dir"},
        "environment": {**service["environment"], STANDALONE_PORT: port},
        "healthcheck": {**service["healthcheck"], "test": asks},
        "tmpfs": [*service["tmpfs"], f"{_MILVUS_RUN}:mode=1777,size=1m"],
        "group_add": [*_MILVUS_GROUPS],
    }


def _secrets_first(launch: Launch) -> list[str]:
    """Who reads secrets from files before it becomes the process that wants them in its environment."""
    if not launch.late:
        return []
    pairs = json.dumps(dict(sorted(launch.late.items())), separators=(",", ":"))
    return ["python3", "-m", "harmonia_compiler.runtime.secret_files", SECRETS, pairs]


def is_in_vllms_image(one: ReplicaLaunch) -> bool:
    """Whether a replica runs in vLLM's own image, as vLLM on GPUs does: nothing of ours is in there."""
    return one.launch.module == "vllm" and bool(one.devices)


def is_in_our_image(one: ReplicaLaunch) -> bool:
    """Whether a replica runs in an image that is built for bundles."""
    return not is_in_vllms_image(one) and not is_standalone(one.launch)


def _looked_at_first(one: ReplicaLaunch) -> list[str]:
    """Who looks at a folder that a user added before each start of a container, which starts again by itself."""
    revision = (one.launch.model or "").partition("@")[2]
    if not is_added(revision) or not is_in_our_image(one):
        return []
    return ["python3", "-m", "harmonia_compiler.runtime.model_contents", WEIGHTS, revision]


def _filled(launch: Launch, slots: Mapping[str, Any]) -> list[Any]:
    return [_word(word, slots) for word in launch.command]


def _word(word: str | Fill, slots: Mapping[str, Any]) -> Any:
    if isinstance(word, str):
        return word
    value = slots[word.slot]
    if isinstance(value, Variable):
        assert not word.prefix, "a variable of ours stands alone"
        return value
    return word.prefix + value


def _slots(launch: Launch) -> set[str]:
    return {word.slot for word in launch.command if isinstance(word, Fill)}


def _front(name: str, *documents: str) -> dict[str, Any]:
    """What the gateway and the controller have alike: documents that they read, and one folder that they write."""
    return {
        "working_dir": BUNDLE,
        "mem_limit": f"{_FRONT_MIB[name]}m",
        "volumes": [
            *(_mount(f"./{document}", f"{BUNDLE}/{document}", read_only=True) for document in documents),
            _mount(f"./{INSIDE}", f"{BUNDLE}/run"),
        ],
    }


def _listening(port: int, published: str, site: ComposeSite, address: str) -> dict[str, Any]:
    if site.network == "host":
        return {"network_mode": "host"}
    # Also on the host, for whoever fills the collections from there.
    return {"ports": [f"{LOOPBACK}:{published}:{port}"], "networks": {"default": {"aliases": [address]}}}


def _mount(source: Any, target: str, *, read_only: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "bind", "source": source, "target": target}
    made |= {"read_only": True} if read_only else {}
    # A folder that Docker makes belongs to root.
    return made | {"bind": {"create_host_path": False}}


def _healthy(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"condition": "service_healthy"} for name in names}


def _gpus(launch: ReplicaLaunch) -> dict[str, Any]:
    return {"driver": "nvidia", "device_ids": [str(device) for device in launch.devices], "capabilities": ["gpu"]}


def _shared_memory(planned: Replica) -> str:
    """What the processes of one engine exchange: much between the GPUs of a group, little elsewhere."""
    return "8g" if planned.config.tensor_parallel > 1 else "1g"
