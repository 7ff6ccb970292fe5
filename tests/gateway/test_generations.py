"""Several generations of a service behind one gateway: who gets a new request, and where one that runs goes on."""

import asyncio
import json
import shutil
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaShare, Service
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.generations import GENERATIONS, Generations, Serving, folder_of
from harmonia_compiler.contract.program import Constant, Program
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.gateway.generations import GenerationsFile
from harmonia_compiler.runtime.gateway.http_transport import HttpTransport
from harmonia_compiler.runtime.gateway.service import Gateway
from tests.gateway.fakes import RECORD, program
from tests.gateway.processes import SAY, Running, model_server, started, write_bundle
from tests.gateway.test_ledger import scraped

NEW = program("say", (Constant("new"),), streams=False)
ONLY_NEW = program("only_new", (Constant("new"),), streams=False)
ENGINES = {"llm": Engine("llm", "llm", {"model": "tiny"})}


def write_generation(run: Path, number: int, port: int, *programs: Program) -> None:
    folder = folder_of(run, number)
    folder.mkdir(parents=True)
    service = Service({one.pipeline: one for one in programs}, ENGINES, {}, {"llm-1": ReplicaShare(4)})
    (folder / "service.json").write_bytes(msgspec.json.encode(service))
    endpoints = Endpoints((Endpoint("llm-1", "llm", "127.0.0.1", port),), 1)
    (folder / "endpoints.json").write_bytes(msgspec.json.encode(endpoints))


def serve(run: Path, epoch: int, *shares: tuple[int, float]) -> None:
    document = Generations(epoch, tuple(Serving(*one) for one in shares))
    (run / "draft").write_bytes(msgspec.json.encode(document))
    (run / "draft").replace(run / GENERATIONS)


def ask(url: str, pipeline: str = "say") -> str:
    body = b'{"inputs": {"question": "why?"}, "stream": true}'
    with urllib.request.urlopen(f"{url}/v1/pipelines/{pipeline}", body, timeout=10) as answer:
        *_, result, _ = [line[6:] for line in answer.read().split(b"\n") if line.startswith(b"data: ")]
    return str(json.loads(result)["value"])


def read(running: Running) -> Any:
    with urllib.request.urlopen(f"{running.url}/readings", timeout=10) as answer:
        return json.load(answer)


def awaited(running: Running, holds: Callable[[Any], bool]) -> Any:
    while not holds(found := read(running)):
        pass
    return found


@pytest.mark.timeout(60)
def test_a_request_ends_on_the_program_that_it_began_with(tmp_path: Path) -> None:
    with model_server() as port, ThreadPoolExecutor(40) as people:
        bundle = tmp_path / "bundle"
        write_bundle(bundle, [SAY], ENGINES, port)
        run = bundle / "run"
        write_generation(run, 1, port, SAY)
        write_generation(run, 2, port, NEW, ONLY_NEW)
        serve(run, 1, (1, 1.0))
        shutil.move(bundle / "service.json", bundle / "kept")
        shutil.copy(folder_of(run, 2) / "service.json", bundle / "service.json")
        with started(bundle) as running:
            assert read(running)["generations"] == [{"number": 1, "under_way": 0, "arrived": 0, "answered": 0}]
            asked = [people.submit(ask, running.url) for _ in range(40)]
            awaited(running, lambda found: found["generations"][0]["under_way"] == 40)
            serve(run, 2, (2, 1.0), (1, 0.0))
            awaited(running, lambda found: found["followed"] == 2)
            assert ask(running.url) == ask(running.url, "only_new") == "new"
            assert Counter(one.result() for one in asked) == {"One two \x1b[31mthree": 40}
            counts = [(2, 2, 0), (1, 40, 0)]
            awaited(
                running,
                lambda found: (
                    [(one["number"], one["answered"], one["under_way"]) for one in found["generations"]] == counts
                ),
            )
            serve(run, 3, (2, 1.0))
            awaited(running, lambda found: found["followed"] == 3)
            assert ask(running.url) == "new"
            # It is counted a moment after the client has its answer; the test has a time limit.
            while scraped(running.url)["completed"] != 42:
                pass


@pytest.mark.timeout(60)
def test_new_requests_are_divided_by_share_among_those_that_have_their_pipeline(tmp_path: Path) -> None:
    with model_server() as port:
        bundle = tmp_path / "bundle"
        write_bundle(bundle, [program("say", (Constant("old"),), streams=False)], ENGINES, port)
        run = bundle / "run"
        with started(bundle) as running:
            assert ask(running.url) == "old"
            write_generation(run, 1, port, program("say", (Constant("old"),), streams=False))
            write_generation(run, 2, port, NEW, ONLY_NEW)
            serve(run, 5, (1, 0.9), (2, 0.1))
            awaited(running, lambda found: found["followed"] == 5)
            found = Counter(ask(running.url) for _ in range(100))
            assert found == {"old": 90, "new": 10}
            assert {ask(running.url, "only_new") for _ in range(5)} == {"new"}
            (folder_of(run, 3)).mkdir()
            serve(run, 6, (3, 1.0))
            found = awaited(running, lambda found: bool(found["not_followed"]))
            assert "service.json` cannot be used" in found["not_followed"]
            serve(run, 7, (1, 1.0))
            awaited(running, lambda found: found["followed"] == 7)
            assert {ask(running.url) for _ in range(20)} == {"old"}


async def test_a_document_that_is_older_than_what_is_served_is_not_followed(tmp_path: Path) -> None:
    for number in (1, 2):
        write_generation(tmp_path, number, 1, SAY)
    serve(tmp_path, 5, (2, 1.0))
    transports, clock = {"http": HttpTransport()}, asyncio.get_running_loop().time
    file = GenerationsFile(tmp_path, lambda service: Gateway(service, kinds(), transports, lambda *_: RECORD, clock))
    front = file.begin(Service({}, {}, {}, {}), tmp_path / "endpoints.json")

    def served() -> tuple[int, list[int]]:
        file.look()
        return front.epoch, [member.number for member in front.members]

    assert served() == (5, [2])
    serve(tmp_path, 4, (1, 1.0))
    assert served() == (5, [2])
    # As old as what is served is a document that was written once more.
    serve(tmp_path, 5, (1, 0.5), (2, 0.5))
    assert served() == (5, [1, 2])
    serve(tmp_path, 6, (1, 1.0))
    assert served() == (6, [1])
    await front.close()
