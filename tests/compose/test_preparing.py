"""What the host prepares before containers start: folders that are mounted, weights, documents and secrets."""

import os
import stat
from pathlib import Path

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime import secret_files
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.reading import read_compose_bundle
from tests.compose.test_files import services_in, written
from tests.emit.sweep import planned_for


def test_weights_that_are_links_elsewhere_are_not_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blob").write_text("weights")
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    monkeypatch.setattr(preparing, "locate", lambda _: folder)
    with pytest.raises(Rejected) as rejected:
        preparing.weights_of("small")
    assert [finding.code for finding in rejected.value.found] == ["E0920"]
    (folder / "model.safetensors").unlink()
    (folder / "circle").symlink_to("circle")
    assert preparing.weights_of("small") == folder


@pytest.mark.parametrize("name", ["it's", "a\nb"])
def test_weights_in_a_folder_that_no_compose_file_can_name_are_refused_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(preparing, "locate", lambda _: tmp_path / name)
    with pytest.raises(Rejected) as rejected:
        preparing.weights_of("small")
    (found,) = rejected.value.found
    assert (found.code, repr(str(tmp_path / name)) in found.message, "links" in found.message) == ("E0920", True, False)


def test_weights_that_root_alone_reads_are_there_for_the_containers_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir(mode=0o700)
    weights = tmp_path / "inner/model.safetensors"
    weights.touch(mode=0o600)
    monkeypatch.setattr(preparing, "locate", lambda _: tmp_path / "inner")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    preparing.weights_of("small")
    assert stat.S_IMODE(weights.stat().st_mode) == 0o644
    assert stat.S_IMODE(weights.parent.stat().st_mode) == 0o755


def test_documents_that_root_alone_reads_are_there_for_the_containers_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, before = tmp_path / "bundle", os.umask(0o077)
    try:
        files = written(planned_for("corrective", "laptop"), bundle, '[compose]\nmilvus_image = "milvus:v2.6.5"\n')
        secret = bundle / "run" / preparing.SECRETS / "KEY"
        secret.parent.mkdir(parents=True)
        secret.write_text("secret")
    finally:
        os.umask(before)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *_, **__: None)
    preparing.prepare_folders(bundle, read_compose_bundle(bundle))
    mounts = [mount for service in services_in(files).values() for mount in service["volumes"]]
    sources = {mount["source"] for mount in mounts if mount.get("read_only")}
    mounted = [bundle / source for source in sources if source.startswith("./")]
    assert len(mounted) == 6
    for path in (inner for one in mounted for inner in (one, *one.rglob("*"))):
        needed = 0o055 if path.is_dir() else 0o044
        assert stat.S_IMODE(path.stat().st_mode) & needed == needed, path
    assert {stat.S_IMODE(path.stat().st_mode) for path in (secret, bundle / "compose.yaml")} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (secret.parent, bundle / "run")} == {0o700}


def test_containers_never_run_as_root() -> None:
    assert 0 not in preparing.owner()


def test_secrets_come_from_files_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("s$cret\n")
    assert secret_files.with_secrets(tmp_path, {"ANSWERS_KEY": "KEY"}, {"A": "1"}) == {
        "A": "1",
        "ANSWERS_KEY": "s$cret\n",
    }
    with pytest.raises(FileNotFoundError):
        secret_files.with_secrets(tmp_path, {"OTHER": "OTHER"}, {})
