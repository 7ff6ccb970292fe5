"""The vector store as Milvus itself, in an image that the site names, in place of milvus-lite's server in ours."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.compose import COMPOSE, ComposeServices
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emit import yaml_text
from harmonia_compiler.emit.emission import make_emission
from harmonia_compiler.emit.targets import compose
from harmonia_compiler.emit.targets.compose_site import compose_site
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus, Status
from harmonia_compiler.runtime.actuators.compose import ACTUATOR, preparing
from harmonia_compiler.runtime.actuators.compose.containers import life_of
from harmonia_compiler.runtime.actuators.compose.keeper import Keeper
from harmonia_compiler.runtime.actuators.compose.reading import read_compose_bundle
from harmonia_compiler.runtime.actuators.supervision import kept, pids, rundir
from harmonia_compiler.runtime.actuators.supervision.store import Expected, Opened
from harmonia_compiler.runtime.bundle import read_service
from tests.compose.conftest import compose_config
from tests.compose.test_files import services_in, site, written
from tests.compose.test_hostile import HOSTILE
from tests.compose.test_keeping import inspected, with_docker
from tests.emit.conftest import ROOT, Planned
from tests.ingest.conftest import MilvusServer

IMAGE = "registry.example/milvus:v2.6.5"
SITE = f'[compose]\nmilvus_image = "{IMAGE}"\n'
STORE = "search-0"


def made_of(files: dict[str, str]) -> ComposeServices:
    return msgspec.json.decode(files["compose/services.json"], type=ComposeServices)


def test_the_store_is_milvus_itself_and_all_else_is_as_it_was(quickstart: Planned, tmp_path: Path) -> None:
    files, without = written(quickstart, tmp_path / "with", SITE), written(quickstart, tmp_path / "without")
    store = services_in(files)[STORE]
    assert (store["image"], store["command"]) == (IMAGE, ["milvus", "run", "standalone"])
    assert store["healthcheck"]["test"][:2] == ["CMD", "curl"]
    # Its configuration lies where the image starts.
    assert "working_dir" not in store
    before = services_in(without)[STORE]
    alike = store.keys() - {"image", "command", "healthcheck", "environment", "tmpfs", "volumes", "group_add"}
    assert before.keys() | {"group_add"} == store.keys() | {"working_dir"}
    assert {key: store[key] for key in alike} == {key: before[key] for key in alike}
    assert store["healthcheck"] | {"test": []} == before["healthcheck"] | {"test": []}
    # Its program is for its owner's group, of which nobody is who runs it.
    assert store["group_add"] == ["0", "999"]
    others = {name: one for name, one in services_in(files).items() if name != STORE}
    assert not any("group_add" in one for one in others.values())
    # What milvus-lite needs is not in our image then, which bears another name.
    ours = {one["image"] for one in others.values()}
    assert len(ours) == 1
    assert "milvus" not in others["gateway"]["build"]["args"]["HARMONIA"]
    assert ours.isdisjoint(one["image"] for one in services_in(without).values())


def test_it_is_told_where_to_listen_and_to_keep_everything_below_one_folder(
    quickstart: Planned, tmp_path: Path
) -> None:
    files = written(quickstart, tmp_path / "bundle", SITE)
    store, (given,) = services_in(files)[STORE], [one for one in made_of(files).services if one.replica == STORE]
    assert store["environment"]["PROXY_PORT"] == str(given.port)
    assert store["ports"] == [f"127.0.0.1:{given.port}:{given.port}"]
    data, etcd = store["volumes"]
    # milvus-lite's own are in another folder of the bundle, and neither reads the other's.
    assert (data["source"], data["target"]) == ("./data/milvus-standalone", "/var/lib/milvus")
    assert (etcd["source"], etcd["target"]) == ("./compose/etcd.yaml", store["environment"]["ETCD_CONFIG_PATH"])
    assert ("read_only" in data, etcd["read_only"]) == (False, True)
    kept = [store["environment"][name] for name in ("ETCD_DATA_DIR", "LOCALSTORAGE_PATH", "ROCKSMQ_PATH")]
    assert all(folder.startswith(f"{data['target']}/") for folder in kept)
    assert len({*kept}) == 3
    assert yaml_text.load(files["compose/etcd.yaml"].encode())["auto-compaction-mode"] == "revision"
    assert "compose/etcd.yaml" not in written(quickstart, tmp_path / "without")
    assert store["tmpfs"][-1].startswith("/run/milvus:")
    preparing.prepare_folders(tmp_path / "bundle", read_compose_bundle(tmp_path / "bundle"))
    assert (tmp_path / "bundle/data/milvus-standalone").is_dir()


@pytest.mark.docker
def test_compose_itself_reads_it(docker_compose: None, quickstart: Planned, tmp_path: Path) -> None:
    written(quickstart, tmp_path / "bundle", SITE)
    done = compose_config(tmp_path / "bundle", COMPOSE)
    assert done.returncode == 0, done.stderr
    store = json.loads(done.stdout)["services"][STORE]
    assert (store["image"], store["environment"]["ETCD_USE_EMBED"]) == (IMAGE, "true")


def test_over_hosts_it_is_where_the_plan_has_it(quickstart: Planned, tmp_path: Path) -> None:
    files = written(quickstart.on_hosts("a", "b"), tmp_path / "bundle", SITE)
    (host,) = [one.host for one in quickstart.on_hosts("a", "b").plan.replicas if one.id == STORE]
    assert services_in(files, f"compose.{host}.yaml")[STORE]["image"] == IMAGE


def refused(text: str) -> Any:
    with pytest.raises(Rejected) as rejected:
        compose_site(site(text))
    (found,) = rejected.value.found
    assert found.span is not None
    assert found.span.source.text[found.span.start : found.span.end].startswith("milvus_image")
    return found


def test_on_the_hosts_own_network_it_is_refused_before_anything_is_written(quickstart: Planned, tmp_path: Path) -> None:
    """It listens on every address of wherever it is."""
    text = f'{SITE}network = "host"\n'
    found = refused(text)
    assert (found.code, "all addresses" in found.message) == ("E0932", True)
    with pytest.raises(Rejected):
        written(quickstart, tmp_path / "bundle", text)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    "image",
    [
        *("milvus", "registry.example:5000/milvus", "milvus:latest", "registry.example/milvus:latest", "milvus:"),
        # Of the others one could be an image, of a registry at a port.
        *(text for text in HOSTILE if text != "12:30:45"),
    ],
)
def test_an_image_that_is_none_or_may_change_is_refused(image: str) -> None:
    said = json.dumps(image, ensure_ascii=False).replace("\x7f", r"\u007f")
    found = refused(f"[compose]\nmilvus_image = {said}\n")
    assert found.code == "E0932"
    assert "not `latest`" in found.help


@pytest.mark.parametrize(
    "image", [IMAGE, f"milvus@sha256:{'0a' * 32}", f"milvus:latest@sha256:{'0a' * 32}", "milvus:latest-2.6", "latest:1"]
)
def test_an_image_that_stays_what_it_is_is_taken(image: str) -> None:
    assert compose_site(site(f'[compose]\nmilvus_image = "{image}"\n')).milvus_image == image


def test_the_site_profile_of_the_documentation_is_taken_as_it_stands() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/compose.md").read_text("utf-8"), re.DOTALL)
    found = compose_site(site(example))
    assert (found.network, found.milvus_image, found.scale_out) == ("bridge", IMAGE, 2)


def test_it_is_not_told_to_listen_where_it_listens_for_something_else(quickstart: Planned, tmp_path: Path) -> None:
    made = made_of(written(quickstart, tmp_path / "usual", SITE))
    (number,) = (one.port - made.site.first_port for one in made.services if one.replica == STORE)
    with pytest.raises(Rejected) as rejected:
        written(quickstart, tmp_path / "bundle", f"{SITE}first_port = {9091 - number}\n")
    (found,) = rejected.value.found
    assert (found.code, "9091" in found.message) == ("E0932", True)
    # In its own container milvus-lite has the port for itself.
    written(quickstart, tmp_path / "lite", f"[compose]\nfirst_port = {9091 - number}\n")


@pytest.mark.parametrize("name", ["PROXY_PORT", "ETCD_DATA_DIR"])
def test_a_file_that_tells_it_something_else_is_noticed(quickstart: Planned, name: str) -> None:
    emission = make_emission(quickstart.plan, quickstart.application, quickstart.root, site(SITE))
    files = compose.files(emission)
    document = yaml_text.load(files[COMPOSE])
    document["services"][STORE]["environment"][name] = "1"
    assert compose.faults(emission, {**files, COMPOSE: yaml_text.dump(document)})


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {}},
        {"image": "other:1"},
        {"command": ["sh"]},
        {"read_only": False},
        {"cap_drop": []},
        {"volumes": [{"type": "bind", "source": "/var", "target": "/data"}]},
    ],
)
def test_a_file_that_says_something_else_is_noticed(quickstart: Planned, change: dict[str, Any]) -> None:
    emission = make_emission(quickstart.plan, quickstart.application, quickstart.root, site(SITE))
    files = compose.files(emission)
    assert compose.faults(emission, files) == []
    document = yaml_text.load(files[COMPOSE])
    service = document["services"][STORE]
    service |= change
    assert compose.faults(emission, {**files, COMPOSE: yaml_text.dump(document)})


#: Docker in which nothing runs but this.
NO_PYTHON = """#!/bin/sh
case "$1" in exec) touch "$(dirname "$0")/executed"; exit 127 ;; esac
"""


@pytest.mark.engines
def test_its_collections_are_opened_from_the_host_since_its_image_has_nothing_of_ours(
    quickstart: Planned, tmp_path: Path, milvus_server: MilvusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    written(quickstart, bundle, SITE)
    monkeypatch.setenv("PATH", f"{with_docker(tmp_path / 'bin', NO_PYTHON)['PATH']}:{os.environ['PATH']}")
    run, me = rundir.RunDirectory(bundle), pids.identify(os.getpid())
    run.prepare()
    assert me is not None
    store = Keeper(bundle, run, rundir.Asked(), me)._watched[STORE]
    store.port = milvus_server.port
    life = life_of(inspected("running", "healthy"))
    store._prepare(life)
    store.look(life)
    assert store.is_ready
    (collection,) = read_service(bundle).collections
    assert store.status.absent == (collection,)
    assert not (tmp_path / "bin/executed").exists()
    store.close()


def test_what_a_store_lacks_is_asked_again_over_its_port_on_this_host(
    quickstart: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, asked = tmp_path / "bundle", list[tuple[int, list[str]]]()
    written(quickstart, bundle)
    (store,) = (one for one in read_compose_bundle(bundle).here if one.data)
    run, said = rundir.RunDirectory(bundle), [Opened(absent=("docs",)), Opened(), Opened(("it is away",))]
    run.prepare()

    async def opens(
        port: int, expected: Sequence[Expected], _environment: Mapping[str, str], log: Path | None
    ) -> Opened:
        # Whoever only asks writes nothing: the folder of the logs may just have been removed.
        assert log is None
        asked.append((port, [one.collection for one in expected if one.may_differ]))
        return said[len(asked) - 1]

    monkeypatch.setattr(kept, "open_on", opens)
    lock, me = run.lock(), pids.identify(os.getpid())
    assert lock is not None
    assert me is not None
    try:
        run.sign(lock, me)
        process = ProcessStatus(store.replica, store.engine, "ready", 0.0, port=store.port, absent=("docs",))
        state = rundir.State(me, Status("running", (process,)), folder=run.identity)
        run.write(rundir.STATE, msgspec.json.encode(state))
        # Where it does not say, it is as it was.
        assert [ACTUATOR.absent(bundle) for _ in said] == [{"docs"}, frozenset(), {"docs"}]
    finally:
        os.close(lock)
    assert asked == [(store.port, ["docs"])] * 3
