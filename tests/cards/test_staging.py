"""Weights that are copied onto a disk of this host before they are loaded."""

import asyncio
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.launch import Fill
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime import staging, weights
from harmonia_compiler.runtime.actuators.supervision.logs import Logs
from harmonia_compiler.runtime.actuators.supervision.managed import Managed
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.spec import Shared, Spec
from harmonia_compiler.runtime.model_folder import add_to_store, read_model_folder
from harmonia_compiler.runtime.staging import GivenUp, staged
from tests.cards.test_weights import model_folder
from tests.local.conftest import launch

NEVER = threading.Event()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the store, which links to a folder that lies elsewhere and has a folder of its own."""
    monkeypatch.setenv("HARMONIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    made = model_folder(tmp_path / "tiny")
    (made / "1_Pooling").mkdir()
    (made / "1_Pooling/config.json").write_text("{}")
    (made / "tokenizer.json").symlink_to(made / "config.json")
    add_to_store(read_model_folder(made, licence="mit"), made, copy=False)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_it_is_copied_once_and_holds_no_links(tmp_path: Path, folder: Path) -> None:
    told: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        places = {*pool.map(lambda _: staged("tiny", tmp_path / "disk", told.append, NEVER), range(4))}
    (place,) = places
    assert place.is_relative_to(tmp_path / "disk")
    assert contents(place) == contents(folder)
    assert not any(one.is_symlink() for one in place.rglob("*"))
    assert sum("of 0.0 GiB" in said for said in told) == len(contents(folder))
    shutil.rmtree(folder)
    assert staged("tiny", tmp_path / "disk", told.append, NEVER) == place


def test_what_does_not_fit_or_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Rejected) as caught:
        staged("tiny", tmp_path / "file", print, NEVER)
    assert [one.code for one in caught.value.found] == ["E0811"]
    assert "cannot be written: Not a directory" in caught.value.found[0].message
    monkeypatch.setattr(weights, "_SPARE_BYTES", 2**60)
    with pytest.raises(Rejected) as caught:
        staged("tiny", tmp_path / "disk", print, NEVER)
    assert "they need 0.0 GiB and one GiB to spare, and" in caught.value.found[0].message


def test_what_nobody_needs_any_more_is_not_gone_on_with(tmp_path: Path, folder: Path) -> None:
    given_up = threading.Event()
    with pytest.raises(GivenUp):
        staged("tiny", tmp_path / "disk", lambda _: given_up.set(), given_up)
    (kept,) = (tmp_path / "disk").iterdir()
    assert [one.name for one in kept.iterdir()] == [".lock"]
    # What one that was killed has left is begun anew.
    (kept / ".copying").mkdir()
    (kept / ".copying/model.safetensors").write_bytes(b"half")
    assert contents(staged("tiny", tmp_path / "disk", print, NEVER)) == contents(folder)


async def test_a_process_loads_the_copy_and_one_that_is_stopped_copies_no_more(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    run = RunDirectory(bundle)
    run.prepare()

    def made(name: str, disk: Path) -> Managed:
        spec = Spec(name, name, launch("--says", Fill("weights"), model="tiny"), bundle, data=name, stage=disk)
        return Managed(spec, Shared(run, Logs(run), {}, lambda: None))

    one = made("one", tmp_path / "disk")
    one.task = asyncio.create_task(one.run())
    async with asyncio.timeout(30):
        await one.was_ready.wait()
    await one.stop(5.0)
    said = run.log_of("one").read_text().splitlines()
    assert str(staged("tiny", tmp_path / "disk", print, NEVER)) in said
    # Another holds the lock, and the process waits for it until it is stopped.
    other = tmp_path / "other"
    held = staged("tiny", other, print, NEVER).parent
    shutil.rmtree(held / "weights")
    with staging._held(held / ".lock", print, NEVER):
        two = made("two", other)
        two.task = asyncio.create_task(two.run())
        async with asyncio.timeout(30):
            while "another replica brings" not in two.status.waiting_for:
                await asyncio.sleep(0.02)
        await two.stop(5.0)
    assert not (held / "weights").exists()


@pytest.mark.parametrize("name", [b"vocab\xe9.txt", None], ids=["no UTF-8", "unforeseen"])
async def test_whatever_a_folder_holds_ends_no_supervisor(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: bytes | None
) -> None:
    """A process that was ready is started again, and shows why it is not."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    run = RunDirectory(bundle)
    run.prepare()
    one = Managed(Spec("one", "one", launch(model="tiny"), bundle), Shared(run, Logs(run), {}, lambda: None))
    one.task = asyncio.create_task(one.run())
    async with asyncio.timeout(60):
        await one.was_ready.wait()
        if name is None:

            def broken(*_: object) -> None:
                raise RuntimeError("strange \udce9")

            monkeypatch.setattr(weights, "revision_of", broken)
        else:
            (folder / os.fsdecode(name)).write_text("")
        assert one.status.pid is not None
        os.kill(one.status.pid, signal.SIGKILL)
        why = "does not hold any more" if name else "its weights cannot be looked at: strange \\udce9"
        while why not in one.status.waiting_for:
            assert not one.task.done()
            await asyncio.sleep(0.02)
    msgspec.json.encode(one.status)
    await one.stop(5.0)
