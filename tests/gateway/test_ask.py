"""`harmoniac ask` against a running gateway."""

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import msgspec
import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.bundle import Contents
from harmonia_compiler.contract.document import encode_document
from harmonia_compiler.contract.program import Apply, MakeRecord, Parameter, ProgramParameter, RequestClass
from harmonia_compiler.contract.types import Field, Labels, ListOf, Message, Number, Record
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import Status
from harmonia_compiler.runtime.actuators.supervision.pids import identify
from harmonia_compiler.runtime.actuators.supervision.rundir import STATE, RunDirectory, State
from harmonia_compiler.runtime.gateway.client import GatewayClient, find_gateway
from harmonia_compiler.runtime.gateway.transport import INGEST_MAKES_IT
from tests.gateway.fakes import ENGINES, TEXT, program
from tests.gateway.processes import OTHER, SAY, Running, model_server, started, write_bundle
from tests.ports import free_port

#: Of a bundle that holds nothing else.
LISTING = encode_document(Contents("local", ()))
URGENCY = Labels(("now", "later"))
#: It says how many turns came before, and of which class the request is.
CHAT = program(
    "chat",
    (
        Parameter("history"),
        Apply("count", (0,)),
        Parameter("urgency"),
        MakeRecord(("turns", "urgency"), (1, 2)),
    ),
    parameters=(
        ProgramParameter("history", ListOf(Message())),
        ProgramParameter("question", TEXT),
        ProgramParameter("urgency", URGENCY),
    ),
    result_type=Record((Field("turns", Number()), Field("urgency", URGENCY))),
    streams=False,
    classes=(RequestClass("now"), RequestClass("later")),
    class_parameter="urgency",
)

NEEDY = program(
    "needy",
    (Parameter("question"), Parameter("limit")),
    parameters=(ProgramParameter("question", TEXT), ProgramParameter("limit", Number())),
    result_type=Number(),
    streams=False,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    bundle = tmp_path_factory.mktemp("ask") / "bundle"
    with model_server() as port:
        write_bundle(bundle, [SAY, OTHER, CHAT, NEEDY], ENGINES, port)
        with started(bundle) as found:
            yield found


def test_ask_prints_the_answer_and_the_stages(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", "how many?", "--service", str(running.bundle), "--pipeline", "say"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("One two [31mthree\n")
    assert "Time of each stage" in out
    assert "llm-1" in out


@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.parametrize("printed", ["", "/", "/v1", "/v1/"])
def test_ask_in_json_holds_everything(
    running: Running, capsys: pytest.CaptureFixture[str], scheme: str, printed: str
) -> None:
    arguments = [
        "ask",
        "how many?",
        "--service",
        f"{scheme}{running.url.removeprefix('http://')}{printed}",
        "--pipeline",
        "other",
        "--set",
        "limit=5",
        "--format",
        "json",
    ]
    assert run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["value"] == "One two \x1b[31mthree"
    assert [stage["component"] for stage in document["timings"]["stages"]] == ["say"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--pipeline", "sya"], "E1103", "did you mean `say`?"),
        ([], "E1103", "the service has 4 pipelines: `say`, `other`, `chat`, `needy`"),
        (["--pipeline", "other", "--set", "limits=3"], "E1104", "did you mean `limit`?"),
        (["--pipeline", "other", "--set", "limit=three"], "E1104", "`limit` takes number"),
        (["--pipeline", "other", "--set", 'limit="3"'], "E1105", "`limit` takes number"),
        (["--pipeline", "say", "--set", "question=x"], "E1104", "the question fills one text parameter"),
        (["--pipeline", "say", "--set", "class=later"], "E1104", "`say` takes no `class`"),
        (["--pipeline", "chat", "--set", "class=latr"], "E1104", "did you mean `later`?"),
        (["--pipeline", "chat", "--set", "urgency=latr"], "E1105", "did you mean `later`?"),
        (["--pipeline", "needy"], "E1104", "`needy` also needs `limit` (number)"),
        (["--pipeline", "needy", "--set", "question=y"], "E1104", "open are none"),
    ],
)
def test_ask_says_what_is_wrong(
    running: Running, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str, says: str
) -> None:
    assert run(["ask", "x", "--service", str(running.bundle), *arguments]) == 1
    err = capsys.readouterr().err
    assert f"error[{code}]" in err
    assert says in err


@pytest.mark.parametrize(
    ("given", "turns", "urgency"),
    [
        ([], 0, "now"),
        (["--set", "class=later"], 0, "later"),
        (["--set", "urgency=later"], 0, "later"),
        (["--set", 'history=[{"role": "user", "text": "Hello"}]'], 1, "now"),
    ],
)
def test_the_first_turn_has_none_before_it_and_a_class_may_be_said(
    running: Running, capsys: pytest.CaptureFixture[str], given: list[str], turns: int, urgency: str
) -> None:
    arguments = ["ask", "x", "--service", running.url, "--pipeline", "chat", "--format", "json"]
    assert run([*arguments, *given]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == {"turns": turns, "urgency": urgency}


def test_a_text_that_is_given_by_name_is_a_first_turn_too(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ask", "", "--service", running.url, "--set", "question=x", "--format", "json", "--pipeline"]
    assert run([*arguments, "chat"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == {"turns": 0, "urgency": "now"}
    assert run([*arguments, "needy"]) == 1
    assert "`needy` also needs `limit` (number)" in capsys.readouterr().out


@pytest.mark.parametrize("question", ["", " \t\n"])
def test_a_question_of_no_words_is_asked_only_where_the_text_is_given_by_name(
    running: Running, capsys: pytest.CaptureFixture[str], question: str
) -> None:
    arguments = ["ask", question, "--service", str(running.bundle), "--pipeline", "say"]
    assert run(arguments) == 1
    assert capsys.readouterr().err.startswith("error[E1104]: the question is empty\n")
    assert run([*arguments, "--set", "question=how many?"]) == 0
    assert capsys.readouterr().out.startswith("One two [31mthree\n")
    assert run([*arguments, "--set", "questoin=how many?"]) == 1
    assert "error[E1104]" in capsys.readouterr().err


def test_ask_says_where_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    dead = f"http://127.0.0.1:{free_port()}"
    for service, code in (
        (tmp_path / "nowhere", "E1101"),
        (tmp_path, "E1101"),
        (dead, "E1102"),
        (dead.replace("http", "HTTP"), "E1102"),
    ):
        assert run(["ask", "x", "--service", str(service)]) == 1
        assert f"error[{code}]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("service", "wrong"),
    [
        ("http://a:b", "is no address"),
        ("http://[::1", "is no address"),
        ("http://:8000", "is no address"),
        ("ftp://127.0.0.1:8000", "is no address"),
        ("http://127.0.0.1:0", "is no address"),
        ("HTTP://127.0.0.1:99999", "is no address: Port out of range 0-65535"),
        ("127.0.0.1:99999", "is no address: Port out of range 0-65535"),
        ("127.0.0.1:8000000", "is no address: Port out of range 0-65535"),
        ("localhost", "is a host, and says no port"),
        ("127.0.0.1", "is a host, and says no port"),
        ("[::1]", "is a host, and says no port"),
        ("127.0.0.1:", "is a host, and says no port"),
        ("http://127.0.0.1:", "says no port"),
        ("http://[::1]:/v1", "says no port"),
    ],
)
def test_ask_says_how_an_address_is_written(
    service: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["ask", "x", "--service", service]) == 1
    said = capsys.readouterr().err
    assert "error[E1102]" in said
    assert f"{service}` {wrong}" in said
    assert "write it as http://HOST:PORT" in said


def test_a_folder_may_be_called_as_a_host_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "localhost").mkdir()
    (tmp_path / "localhost" / "bundle.json").write_bytes(LISTING)
    assert run(["ask", "x", "--service", "localhost"]) == 1
    assert "error[E1101]: no service runs from `localhost`" in capsys.readouterr().err


def test_a_folder_with_a_space_is_one_word_of_the_command_that_is_offered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my bundle"
    assert run(["ask", "x", "--service", str(folder)]) == 1
    assert f"--target local --out '{folder}'`" in capsys.readouterr().err
    (folder / "run").mkdir(parents=True)
    assert run(["ask", "x", "--service", str(folder)]) == 1
    assert "--target local --out DIR`" in capsys.readouterr().err
    (folder / "bundle.json").write_bytes(LISTING)
    assert run(["ask", "x", "--service", str(folder)]) == 1
    assert f"`harmoniac up '{folder}'`" in capsys.readouterr().err
    (folder / "run" / "gateway.json").write_text("{")
    assert run(["ask", "x", "--service", str(folder)]) == 1
    assert f"`harmoniac status '{folder}'`" in capsys.readouterr().err


def test_a_service_that_starts_is_not_to_be_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bundle.json").write_bytes(LISTING)
    directory = RunDirectory(tmp_path)
    directory.prepare()
    held = directory.lock()
    assert held is not None
    me = identify(os.getpid())
    assert me is not None
    directory.sign(held, me)
    state = State(me, Status("starting", ()), folder=directory.identity)
    (directory.path / STATE).write_bytes(msgspec.json.encode(state))
    assert run(["ask", "x", "--service", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"error[E1101]: the service in `{tmp_path}` is still starting" in said
    assert f"`harmoniac status {tmp_path}`" in said
    os.close(held)


STREAM = (
    b'data: {"type":"text","text":"One"}\n\n: keep-alive\n\ndata: {"type":"text","text":" two"}\n\ndata: [DONE]\n\n'
)


def streamed(answer: bytes) -> list[dict[str, object]]:
    """What the client makes of a stream."""

    class Streaming(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    with ThreadingHTTPServer(("127.0.0.1", 0), Streaming) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            return [*GatewayClient(f"http://127.0.0.1:{server.server_port}", "none").ask("p", {})]
        finally:
            server.shutdown()


def test_a_proxy_may_say_that_it_is_still_there() -> None:
    assert [event["text"] for event in streamed(STREAM)] == ["One", " two"]


@pytest.mark.parametrize(
    "event", [b"oh", b"{}", b"[1]", b'{"type":"result"}', b'{"type":"text","text":3}', b'{"type":"other"}', b"\xff"]
)
def test_what_streams_something_else_is_no_gateway(event: bytes) -> None:
    with pytest.raises(Rejected) as rejected:
        streamed(b"data: " + event + b"\n\ndata: [DONE]\n\n")
    assert [one.code for one in rejected.value.found] == ["E1102"]


@pytest.mark.parametrize(
    ("status", "code", "finding", "step"),
    [
        (500, "component_error", "E1105", "`harmoniac logs 'my bundle'` shows what its replicas wrote"),
        (502, "component_error", "E1105", "then ask again: `harmoniac ingest PATH... --service 'my bundle'`"),
        (503, "component_busy", "E1105", "ask again in a moment; `harmoniac status 'my bundle'` tells what runs"),
        (400, "component_refused", "E1105", "ask something shorter or simpler"),
        (400, "answer_cut_off", "E1105", "compile with a larger `max_tokens`"),
        (500, "internal", "E1105", "`harmoniac logs 'my bundle' gateway` may tell more"),
        (504, "deadline_exceeded", "E1106", "compile with a wider `slo … latency`"),
        (504, "deadline_exceeded", "E1106", "`harmoniac logs 'my bundle' gateway` may tell more"),
    ],
)
def test_a_failed_answer_leads_to_where_more_is_known(
    status: int, code: str, finding: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"its engine answered {status}{f': no collection; {INGEST_MAKES_IT}' if status == 502 else ''}"
    body = json.dumps({"error": {"message": said, "code": code}}).encode()

    class Failing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.chdir(tmp_path)
        Path("my bundle/run").mkdir(parents=True)
        Path("my bundle/run/gateway.json").write_text(f'{{"host": "127.0.0.1", "port": {server.server_port}}}')
        with pytest.raises(Rejected) as rejected:
            [*find_gateway("my bundle").ask("p", {})]
        server.shutdown()
    (found,) = rejected.value.found
    assert (found.code, step in found.help) == (finding, True)
