"""A model that was added from a folder is known by what the folder holds, and looked at before it is loaded."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emit import emission
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime import model_contents
from harmonia_compiler.runtime.actuators.actuator import found_actuator
from harmonia_compiler.runtime.bundle import read_local_processes, read_service
from harmonia_compiler.runtime.fetching import fetch
from harmonia_compiler.runtime.model_contents import REMEMBERED, files_of, is_digest, revision_of
from harmonia_compiler.runtime.model_folder import add_to_store, read_model_folder
from harmonia_compiler.runtime.staging import staged
from harmonia_compiler.runtime.weights import locate, stored_folder, wanted
from tests.cards.test_weights import model_folder
from tests.ingest.bundles import write_bundle
from tests.ingest.fakes import RECORD

APP = """
component own = embedder("tiny")
component search = milvus("notes", embedder: own)
pipeline find(question: text) -> [passage] { return search(question) }
"""
INVENTORY = '[[hosts]]\nname = "here"\ncpus = 8\nmemory_gib = 64\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A model that was added as `tiny`."""
    folder = model_folder(tmp_path / "tiny")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    add(folder)
    return folder


def add(folder: Path, *, copy: bool = False) -> None:
    add_to_store(read_model_folder(folder, name="tiny", role="embedder", licence="mit"), folder, copy=copy)


def refused(model: str) -> str:
    with pytest.raises(Rejected) as caught:
        locate(model)
    [found] = caught.value.found
    assert (found.code, bool(found.help)) == ("E0812", True)
    return found.message


def change_a_weight(folder: Path) -> None:
    """Write another value over one in place, and leave size and time of change as they were."""
    path = folder / "model.safetensors"
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b"\x01")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_revision_says_all_that_an_engine_may_read_and_nothing_else(tiny: Path) -> None:
    first = revision_of(tiny)
    assert is_digest(first)
    assert [*files_of(tiny)] == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    for name in ("README.md", ".hidden", "onnx/model.onnx"):
        (tiny / name).parent.mkdir(exist_ok=True)
        (tiny / name).write_text("for people, or other engines")
    (tiny / "1_Pooling" / "above").symlink_to(tiny, target_is_directory=True)
    os.mkfifo(tiny / "pipe.json")
    assert revision_of(tiny) == first
    seen = {first}
    for name in ("tokenizer.json", "1_Pooling/config.json", "chat_template.jinja", "vocab.txt"):
        (tiny / name).write_text(name)
        seen.add(revision_of(tiny))
    # The same contents under other names are another model.
    (tiny / "vocab.txt").rename(tiny / "merges.txt")
    seen.add(revision_of(tiny))
    change_a_weight(tiny)
    seen.add(revision_of(tiny))
    assert len(seen) == 7


def test_a_name_that_is_not_utf_8_is_one_of_the_names(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = os.fsdecode(b"vocab\xe9.txt")
    (tiny / "vocab\u00e9.txt").write_text("")
    names = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files_of(tiny).items()}
    # As of any other name, whose digest is that of the text.
    digest = hashlib.sha256(msgspec.json.encode([*names.items()])).hexdigest()
    assert revision_of(tiny) == f"local-{digest[:16]}"
    (tiny / "vocab\u00e9.txt").rename(tiny / strange)
    assert f"local-{digest[:16]}" != revision_of(tiny)
    refused("tiny")
    add(tiny)
    monkeypatch.setattr(model_contents, "_YOUNG_NS", -(10**15))
    locate("tiny")
    remembered = stored_folder(wanted("tiny")) / REMEMBERED
    assert len(json.loads(remembered.read_bytes())) == len(names)
    (tiny / strange).rename(tiny / os.fsdecode(b"vocab\xe8.txt"))
    refused("tiny")


def test_a_folder_behind_a_link_is_read(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "config.json").write_text("{}")
    shutil.rmtree(tiny / "1_Pooling")
    (tiny / "1_Pooling").symlink_to(tmp_path / "pooling", target_is_directory=True)
    before = revision_of(tiny)
    (tmp_path / "pooling" / "config.json").write_text("{ }")
    assert revision_of(tiny) != before


def test_a_folder_that_was_edited_is_not_loaded(tiny: Path) -> None:
    place = locate("tiny")
    change_a_weight(tiny)
    assert "does not hold any more what it held when it was added" in refused("tiny")
    add(tiny)
    assert locate("tiny") != place


def test_a_copy_in_the_store_stays_when_the_folder_is_edited(tiny: Path) -> None:
    add(tiny, copy=True)
    change_a_weight(tiny)
    change_a_weight(locate("tiny"))
    refused("tiny")


@pytest.mark.parametrize("link", [False, True])
def test_a_copy_that_was_edited_in_the_store_is_a_copy_of_its_own_when_it_is_added(
    tiny: Path, tmp_path: Path, *, link: bool
) -> None:
    """It can be removed with what it was a copy of, and no link leads from the store to itself."""
    add(tiny, copy=True)
    place = locate("tiny")
    change_a_weight(place)
    edited = revision_of(place)
    if link:
        (tmp_path / "link").symlink_to(place, target_is_directory=True)
    add(tmp_path / "link" if link else place)
    assert (locate("tiny").is_symlink(), revision_of(locate("tiny"))) == (False, edited)
    shutil.rmtree(place.parent)
    locate("tiny")


def test_what_was_read_is_remembered_as_long_as_it_cannot_have_changed(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = stored_folder(wanted("tiny")) / REMEMBERED
    # As if it were written a moment ago, and might be again in the same step of the clock; and then long ago.
    monkeypatch.setattr(model_contents, "_YOUNG_NS", 10**15)
    locate("tiny")
    assert not remembered.exists()
    monkeypatch.setattr(model_contents, "_YOUNG_NS", -(10**15))
    locate("tiny")
    known = json.loads(remembered.read_bytes())
    assert {*known} == {*files_of(tiny)}
    known["config.json"]["digest"] = "another"
    remembered.write_text(json.dumps(known))
    refused("tiny")
    for damaged in ("[]", "{", '{"config.json": {"stat": [1], "digest": 2}}'):
        remembered.write_text(damaged)
        locate("tiny")
    (tiny / "config.json").write_text((tiny / "config.json").read_text() + " ")
    refused("tiny")


def test_a_file_that_nobody_may_read_is_said(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny / "tokenizer.json").write_text("{}")
    add(tiny)

    def unreadable(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(model_contents, "open_regular", unreadable)
    assert "cannot be read: Permission denied" in refused("tiny")
    with pytest.raises(Rejected, match=r"E0805.*cannot be read"):
        read_model_folder(tiny, licence="mit")


def test_folders_that_lie_too_deep_are_said(tiny: Path) -> None:
    deep = "/".join(["d"] * (sys.getrecursionlimit() + 1))
    # Neither Python's own way of making them nor that of clearing them away goes so deep.
    subprocess.run(["mkdir", "-p", deep], cwd=tiny, check=True)
    try:
        assert "cannot be read: folders in it lie too deep" in refused("tiny")
        with pytest.raises(Rejected, match=r"E0805.*lie too deep"):
            read_model_folder(tiny, licence="mit")
    finally:
        subprocess.run(["rm", "-r", "d"], cwd=tiny, check=True)


def test_what_an_earlier_version_added_is_added_again(tiny: Path) -> None:
    stored = stored_folder(wanted("tiny"))
    old = stored.with_name("tiny@local-0a1b2c3d")
    stored.rename(old)
    card = (old / "card.toml").read_text().replace(wanted("tiny").revision, "local-0a1b2c3d")
    (old / "card.toml").write_text(card)
    assert "an earlier version of harmoniac added `tiny`" in refused("tiny")
    add(tiny)
    assert [one.name for one in old.parent.iterdir()] == [f"tiny@{revision_of(tiny)}"]


def test_what_a_name_meant_before_stays_for_who_names_its_revision(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(tiny, copy=True)
    revisions = [revision_of(tiny)]
    bundle = compiled(tmp_path)
    for number in range(4):
        change_a_weight(tiny) if number == 0 else (tiny / "vocab.txt").write_text(f"{number}")
        add(tiny, copy=True)
        revisions.append(revision_of(tiny))
        assert wanted("tiny").revision == revisions[-1]
    # By their digests they would come in another order.
    assert revisions != sorted(revisions)
    assert [revision_of(locate(f"tiny@{one}")) for one in revisions] == revisions
    assert "E0812" not in [one.code for one in found_actuator(bundle).preflight(bundle, port=None)]
    # Whoever adds an earlier one again has it under the name again, and its place once.
    kept = locate(f"tiny@{revisions[1]}")
    add(kept, copy=True)
    assert (wanted("tiny").revision, locate("tiny")) == (revisions[1], kept)
    assert len([*kept.parent.parent.iterdir()]) == len(revisions)
    assert not kept.is_symlink()
    capsys.readouterr()
    assert run(["models", "add", str(kept), "--name", "tiny", "--role", "embedder"]) == 0
    said = capsys.readouterr().out.splitlines()[1:]
    others = {one for one in revisions if one != revisions[1]}
    # It is the store's own copy, to which no link can lead.
    assert (revision_of(locate("tiny")), kept.is_symlink()) == (revisions[1], False)
    assert {line.rpartition("@")[2] for line in said} == others
    assert all(Path(line.rpartition(": ")[2]).is_dir() for line in said)
    assert run(["models", "list", "--format", "json"]) == 0
    (row,) = [one for one in json.loads(capsys.readouterr().out) if one["name"] == "tiny"]
    assert {one["revision"] for one in row["earlier"]} == others
    assert run(["models", "list"]) == 0
    shown = capsys.readouterr().out
    assert [one for one in others if f"tiny@{one}" not in shown] == []


@pytest.mark.parametrize("name", ["[/x]", "mi[n]e"])
def test_a_name_with_brackets_is_listed_as_it_is(tiny: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(["models", "add", str(tiny), "--name", name, "--role", "embedder"]) == 0
    capsys.readouterr()
    assert run(["models", "list"]) == 0
    assert name in capsys.readouterr().out


def test_a_link_to_a_folder_that_was_edited_goes_when_it_is_added_again(tiny: Path, tmp_path: Path) -> None:
    other = model_folder(tmp_path / "other")
    add(other)
    (tiny / "vocab.txt").write_text("")
    add(tiny)
    revisions = {one.name.partition("@")[2] for one in stored_folder(wanted("tiny")).parent.iterdir()}
    assert revisions == {revision_of(other), revision_of(tiny)}


def test_names_that_are_written_alike_are_two_models(tmp_path: Path) -> None:
    names = ["a/b", "a--b", "a/-b", "a-/b", "a---b"]
    for _ in range(2):
        for name in names:
            folder = tmp_path / str(names.index(name))
            if not folder.exists():
                model_folder(folder)
            add_to_store(read_model_folder(folder, name=name, role="embedder", licence="mit"), folder, copy=False)
    assert [locate(name).resolve() for name in names] == [tmp_path / str(number) for number in range(5)]


def test_a_card_that_cannot_be_read_is_mended_by_adding_the_model_again(tiny: Path, tmp_path: Path) -> None:
    add(tiny, copy=True)
    before = stored_folder(wanted("tiny"))
    (before / "card.toml").write_text("name =")
    (tiny / "vocab.txt").write_text("")
    add(tiny)
    assert wanted("tiny").revision == revision_of(tiny)
    assert locate(before.name) == before / "weights"


@pytest.mark.parametrize("copy", [False, True])
def test_a_folder_that_is_not_there_is_to_be_put_back(tiny: Path, *, copy: bool) -> None:
    add(tiny, copy=copy)
    place = stored_folder(wanted("tiny"))
    if copy:
        shutil.rmtree(place / "weights")
    else:
        tiny.rename(tiny.with_name("moved"))
    for model in ("tiny", place.name):
        with pytest.raises(Rejected) as caught:
            fetch(model, {"HF_ENDPOINT": "http://127.0.0.1:9"}, lambda _: None)
        (found,) = caught.value.found
        assert found.code == "E0803"
        again = "`harmoniac models add DIR --name tiny`"
        folder = f"put the folder back at `{tiny}`, or add it again with {again}"
        assert found.help == (f"add the folder that holds it with {again}" if copy else folder)


def test_nobody_added_what_a_pipeline_names_by_a_digest() -> None:
    with pytest.raises(Rejected, match=r"E0803: no folder that was added as `.*MiniLM.*at the revision local-12345678"):
        locate("all-MiniLM-L6-v2@local-12345678")


def test_no_hub_is_asked_for_what_was_added(tiny: Path) -> None:
    compiled = f"tiny@{wanted('tiny').revision}"
    change_a_weight(tiny)
    add(tiny)
    with pytest.raises(Rejected, match=r"E0812.*was added again since") as caught:
        fetch(compiled, {"HF_ENDPOINT": "http://127.0.0.1:9"}, lambda _: None)
    # A pipeline that names the revision would be compiled to the same again.
    assert caught.value.found[0].help.startswith("leave `revision` out of the pipeline where it says local-")


def test_a_copy_on_another_disk_that_was_edited_is_made_anew(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "pooling").mkdir()
    (tmp_path / "pooling" / "config.json").write_text("{}")
    (tiny / "2_Pooling").symlink_to(tmp_path / "pooling", target_is_directory=True)
    add(tiny)
    never, told = threading.Event(), list[str]()
    place = staged("tiny", tmp_path / "disk", told.append, never)
    said = len(told)
    assert staged("tiny", tmp_path / "disk", told.append, never) == place
    assert len(told) == said
    change_a_weight(place)
    assert revision_of(staged("tiny", tmp_path / "disk", told.append, never)) == wanted("tiny").revision
    assert len(told) > said
    change_a_weight(tiny)
    change_a_weight(place)
    (place / "config.json").write_text("{}")
    with pytest.raises(Rejected, match=r"E0812"):
        staged("tiny", tmp_path / "disk", told.append, never)


def compiled(tmp_path: Path, target: str = "local") -> Path:
    (tmp_path / "app.rag").write_text(APP)
    (tmp_path / "site.toml").write_text(INVENTORY)
    bundle = tmp_path / "bundle"
    command = ["compile", str(tmp_path / "app.rag"), "--inventory", str(tmp_path / "site.toml")]
    assert run([*command, "--target", target, "--out", str(bundle)]) == 0
    return bundle


def record_of(bundle: Path) -> CollectionRecord:
    return read_service(bundle).collections["notes"]


def test_a_kind_that_names_its_model_by_the_name_alone_starts_that_revision_too(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kind of another distribution may, which embeds; also in what is started where an engine is not here."""
    known = kinds()

    def by_name(engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
        assert known["embedder"].launch is not None
        made = known["embedder"].launch(engine, card, configuration)
        alone = msgspec.structs.replace(made, model="tiny")
        return msgspec.structs.replace(alone, otherwise=alone)

    changed = {**known, "embedder": msgspec.structs.replace(known["embedder"], launch=by_name)}
    monkeypatch.setattr(emission, "kinds", lambda: changed)
    (made,) = [one.launch for one in read_local_processes(compiled(tmp_path)).replicas if one.launch.model is not None]
    assert made.otherwise is not None
    assert {made.model, made.otherwise.model} == {f"tiny@{revision_of(tiny)}"}


def test_a_bundle_starts_the_model_that_its_collection_is_recorded_with(tiny: Path, tmp_path: Path) -> None:
    bundle = compiled(tmp_path)
    launches = [one.launch.model for one in read_local_processes(bundle).replicas if one.launch.model is not None]
    record = record_of(bundle)
    assert launches == [f"tiny@{record.revision}"]
    assert found_actuator(bundle).models(bundle) == launches
    # The same name stands for another model now, of the same size.
    other = model_folder(tmp_path / "other")
    change_a_weight(other)
    add(other)
    found = found_actuator(bundle).preflight(bundle, port=None)
    assert [one.code for one in found if one.code in ("E0803", "E0812")] == []
    assert locate(launches[0]).resolve() == tiny
    again = record_of(compiled(tmp_path))
    assert again.revision != record.revision
    assert msgspec.structs.replace(again, revision=record.revision) == record


@pytest.mark.parametrize(
    ("target", "name"),
    [("local", "local/processes.json"), ("compose", "compose/services.json"), ("slurm", "slurm/job.json")],
)
@pytest.mark.parametrize("revision", ["", "@main"])
def test_a_bundle_of_an_earlier_version_is_compiled_again(
    tiny: Path, tmp_path: Path, target: str, name: str, revision: str
) -> None:
    """It named its embedder by its name alone, or followed a branch."""
    bundle = compiled(tmp_path, target)
    codes = [one.code for one in found_actuator(bundle).preflight(bundle, port=None)]
    assert "E0813" not in codes
    own = wanted("tiny").revision
    path, service = bundle / name, bundle / "service.json"
    path.write_text(path.read_text().replace(f"tiny@{own}", f"tiny{revision}"))
    service.write_text(service.read_text().replace(own, revision.removeprefix("@") or own))
    found = [one for one in found_actuator(bundle).preflight(bundle, port=None) if one.code == "E0813"]
    assert len(found) == 1
    assert ("no revision" in found[0].message) == (revision == "")
    assert str(found[0].help).startswith("compile the bundle again")


def test_a_container_looks_at_the_folder_each_time_that_it_starts(tiny: Path, tmp_path: Path) -> None:
    """Docker starts it again by itself. vLLM's image holds nothing of ours."""
    bundle = compiled(tmp_path, "compose")
    revision = wanted("tiny").revision
    text = (bundle / "compose.yaml").read_text()
    words = ["python3", "-m", "harmonia_compiler.runtime.model_contents", "/weights", revision]
    at = text.index("harmonia_compiler.runtime.model_contents")
    assert [one for one in words if one not in text[max(0, at - 200) : at + 200]] == []
    assert text.count("runtime.model_contents") == 1

    def started() -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", words[2], str(tiny), revision, "echo", "started"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert started().stdout == "started\n"
    change_a_weight(tiny)
    refused = started()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "does not hold any more what it was compiled for" in refused.stderr


def test_nothing_is_ingested_by_a_model_whose_folder_was_edited(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check comes before anything is asked of the embedder, which nobody runs here."""
    record = msgspec.structs.replace(RECORD, embedder="tiny", revision=wanted("tiny").revision)
    bundle = write_bundle(tmp_path / "bundle", record=record)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").write_text("one")
    command = ["ingest", str(tmp_path / "docs"), "--component", "search", "--service", str(bundle)]
    change_a_weight(tiny)
    assert run(command) == 1
    assert "error[E0812]" in capsys.readouterr().err
    # Who ingests on a machine without the model has nothing to look at: there Milvus is what does not answer.
    shutil.rmtree(tmp_path / "home")
    assert run(command) == 1
    assert "error[E1012]" in capsys.readouterr().err
    # Nor where the name is that of a model that is shipped, and somebody added another under it elsewhere.
    write_bundle(bundle, record=msgspec.structs.replace(record, embedder="all-MiniLM-L6-v2"))
    assert run(command) == 1
    assert "error[E1012]" in capsys.readouterr().err


def test_another_model_under_a_shipped_name_takes_nothing_from_what_was_compiled_before(tmp_path: Path) -> None:
    shipped = wanted("all-MiniLM-L6-v2")
    pinned = f"{shipped.name}@{shipped.revision}"
    folder = model_folder(tmp_path / "mine")
    add_to_store(read_model_folder(folder, name=shipped.name, role="embedder", licence="mit"), folder, copy=False)
    assert wanted(pinned) == shipped
    assert wanted(f"all-MiniLM-L6-v2@{shipped.revision}") == shipped
    assert wanted(shipped.name).revision == revision_of(folder)
    # Of what no card is of, none says in which package it lies.
    other = wanted(f"{shipped.name}@{'0' * 40}")
    assert (other.revision, other.weights, other.layers) == ("0" * 40, None, shipped.layers)


def test_a_bundle_that_starts_another_embedder_than_its_collection_is_of_is_refused(tiny: Path, tmp_path: Path) -> None:
    bundle = compiled(tmp_path)
    path = bundle / "local" / "processes.json"
    path.write_text(path.read_text().replace(f"tiny@{wanted('tiny').revision}", f"tiny@{'0' * 40}"))
    with pytest.raises(Rejected, match=r"E0905.*it starts `tiny@0000.*and `notes` holds vectors of tiny@local-"):
        found_actuator(bundle).preflight(bundle, port=None)


def test_a_bundle_whose_models_folder_was_edited_is_not_started(tiny: Path, tmp_path: Path) -> None:
    bundle = compiled(tmp_path)
    assert "E0812" not in [one.code for one in found_actuator(bundle).preflight(bundle, port=None)]
    change_a_weight(tiny)
    assert "E0812" in [one.code for one in found_actuator(bundle).preflight(bundle, port=None)]
