"""`harmoniac bench` against a service that answers, refuses, breaks off and hangs as it is told."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE, INTERRUPTED, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.runtime.load import exchange
from harmonia_compiler.runtime.load import run as load
from harmonia_compiler.runtime.load.bodies import Room
from harmonia_compiler.runtime.load.routes import ChatRoute
from harmonia_compiler.runtime.load.sender import session
from harmonia_compiler.runtime.load.target import Target
from harmonia_compiler.workload.request import Arrival
from tests.cli.bench_service import FIRST_S, REST_S, Service, running
from tests.gateway.fakes import ENGINES
from tests.gateway.processes import SAY, model_server, started, write_bundle
from tests.workload.test_traces import MOONCAKE, RAGPULSE

SHORT = ("--rate", "40", "--for", "500ms", "--warmup", "1ms", "--bursty", "0")


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with running(service) as found:
        yield found


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The report of a run that went well, as JSON."""
    code = run(["bench", *arguments, "--format", "json"])
    out, err = capsys.readouterr()
    assert code == FINE, out + err
    document: dict[str, Any] = json.loads(out)
    return document


def test_what_is_pressed_afterwards_ends_the_command(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    bench(capsys, url, "--model", "fine", *SHORT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_came_back_is_reported(url: str, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    report = bench(capsys, url, "--model", "fine", *SHORT)
    (group,) = report["groups"]
    found = group["figures"]
    # Even gaps: one after each 25 ms, those before 500 ms.
    assert found["requests"] == len(service.seen) == 19
    assert found["outcomes"] == {"ok": 19, "refused": 0, "failed": 0, "late": 0, "cancelled": 0}
    assert found["ttft"]["p50"] >= FIRST_S * 1000
    assert found["latency"]["p50"] >= (FIRST_S + REST_S) * 1000
    assert found["ttft"]["p50"] < found["latency"]["p50"]
    assert found["attainment"] == 1.0
    assert report["settings"]["held to"] == "nothing"
    assert report["machine"]["lateness"]["count"] > 19
    _, body = service.seen[0]
    assert body["stream_options"] == {"include_usage": True}
    assert len(body["messages"][0]["content"].split()) == 32
    assert len({body["messages"][0]["content"] for _, body in service.seen}) == 19


@pytest.mark.parametrize(
    ("model", "outcome", "reason"),
    [
        ("full", "refused", "503 queue_full"),
        ("limited", "refused", "429"),
        ("late", "late", "504 deadline_exceeded"),
        ("crashing", "failed", "500 internal_error"),
        ("broken", "failed", "the stream ended without [DONE]"),
        ("halfway", "failed", "component_failed, in mid-answer"),
        ("overdue", "late", "deadline_exceeded, in mid-answer"),
        ("wrong", "failed", "the answer is not of this route"),
        ("hanging", "failed", "no end within 0.2 s"),
        # What it says at its end is not read.
        ("large error", "failed", "500"),
        ("nothing", "failed", "the answer is not of this route"),
        ("nothing streamed", "failed", "the answer is not of this route"),
        ("counting", "failed", "the answer is not of this route, at `$.usage.completion_tokens`"),
    ],
)
def test_every_way_to_fail_is_told_apart(
    url: str, capsys: pytest.CaptureFixture[str], model: str, outcome: str, reason: str
) -> None:
    # What fails in any other way may take long to do so on a busy machine.
    patience = "200ms" if model == "hanging" else "60s"
    report = bench(capsys, url, "--model", model, *SHORT, "--timeout", patience, "--slo", "p95 latency <= 60 s")
    found = report["groups"][0]["figures"]
    assert found["outcomes"][outcome] == found["requests"] == 19
    assert found["reasons"] == [[outcome, reason, 19]]
    assert (found["attainment"], found["goodput_rps"], found["latency"]) == (0.0, 0.0, None)
    assert not found["kept"][0]["met"]


@pytest.mark.parametrize(
    ("pipeline", "place"),
    [
        ("untold", ""),
        ("endless", ", at `$.timings.stages[0].service_ms`"),
        ("backwards", ", at `$.timings.stages[0].service_ms`"),
        ("counted", ", at `$.usage.prompt_tokens`"),
    ],
)
def test_what_no_gateway_answers_is_no_answer(
    url: str, capsys: pytest.CaptureFixture[str], pipeline: str, place: str
) -> None:
    found = bench(capsys, url, "--model", pipeline, *SHORT, "--native")["groups"][0]["figures"]
    assert found["reasons"] == [["failed", f"the answer is not of this route{place}", 19]]


@pytest.mark.parametrize("model", ["large", "large event"])
def test_an_answer_may_be_as_large_as_a_gateway_reads_one(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    found = bench(capsys, url, "--model", model, *SHORT)["groups"][0]["figures"]
    assert found["outcomes"]["ok"] == 19
    monkeypatch.setattr(exchange, "ANSWER_LIMIT", 1 << 19)
    ((outcome, reason, count),) = bench(capsys, url, "--model", model, *SHORT)["groups"][0]["figures"]["reasons"]
    assert (outcome, count) == ("failed", 19)
    assert "is larger than 524288 bytes" in reason


@pytest.mark.parametrize("model", ["large", "large event"])
async def test_answers_that_are_read_at_once_are_held_as_far_as_there_is_room(url: str, model: str) -> None:
    room = Room(3 << 19)
    body = json.dumps({"model": model, "stream": True}).encode()
    asking = exchange.Asking(f"{url}/v1/chat/completions", body, {}, 60.0)
    async with session({}) as client:

        async def asked() -> str:
            return (await exchange.ask(client, ChatRoute(), asking, time.perf_counter, room)).reason

        assert await asked() == ""
        with room.part() as hold:
            hold(1 << 20)
            assert await asked() == "this machine: no room for all answers that are read at once"
        assert await asked() == ""
    assert room == Room(3 << 19)


async def test_nothing_of_what_follows_the_end_of_an_answer_is_kept(url: str) -> None:
    asking = exchange.Asking(f"{url}/v1/chat/completions", b'{"model": "chattering", "stream": true}', {}, 60.0)
    async with session({}) as client:
        tracemalloc.start()
        try:
            seen = await exchange.ask(client, ChatRoute(), asking, time.perf_counter, Room())
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert seen.outcome is Outcome.OK
    assert most < 16 << 20


def test_an_answer_that_is_asked_for_in_one_piece_has_no_first_piece(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = bench(capsys, url, "--model", "fine", *SHORT, "--no-stream")["groups"][0]["figures"]
    assert found["outcomes"]["ok"] == 19
    assert found["ttft"] is None
    assert found["tokens_out_per_s"] > 0


def test_an_answer_that_comes_in_one_piece_is_its_own_first_text(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As what a pipeline of ours gives as a whole, for which a bound on the first text holds too."""
    slo = ("--slo", "p95 ttft <= 60 s")
    found = bench(capsys, url, "--model", "plain", *SHORT, *slo)["groups"][0]["figures"]
    assert found["outcomes"]["ok"] == found["ttft"]["count"] == 19
    assert found["ttft"]["p50"] == pytest.approx(found["latency"]["p50"], rel=0.1)
    assert (found["attainment"], found["kept"][0]["share"]) == (1.0, 1.0)
    assert found["token"] is None


def test_nothing_is_promised_of_a_first_text_that_is_not_asked_for(
    url: str, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["bench", url, "--model", "fine", *SHORT, "--no-stream", "--slo", "p95 latency <= 1 s, p95 ttft <= 1 s"]
    assert run(asked) == USAGE
    assert "leave out --no-stream" in capsys.readouterr().err
    assert not service.seen


def test_waiting_that_a_service_causes_is_not_left_out(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One at a time and 50 ms each, at 40 a second: a client that waited for each answer would see 110 ms for all."""
    found = bench(capsys, url, "--model", "line", *SHORT)["groups"][0]["figures"]
    assert found["outcomes"]["ok"] == 19
    # The last one comes after 475 ms, and 18 are before it.
    assert found["latency"]["max"] >= 19 * 50 - 475


async def test_a_late_sender_counts_its_lateness_and_says_so(url: str) -> None:
    def arrivals() -> Iterator[Arrival]:
        for number in range(10):
            if number == 5:
                time.sleep(0.3)
            yield Arrival(10.0 * number)

    sending = load.Sending(Target(url, "fine"), ChatRoute(), lambda *_: "why?", lambda _: None, 10.0)
    async with session({}) as client:
        ran = await load.run(client, sending, arrivals(), asyncio.Event(), lambda _: None)
    late = [one for one in ran.observed if one.sent_ms - one.arrived_ms > 200]
    # The one before was handed out, but had not left yet.
    assert len(late) in {5, 6}
    assert all(one.latency_ms >= one.sent_ms - one.arrived_ms + (FIRST_S + REST_S) * 1000 for one in late)
    machine = ran.watch.found(None, ran_out=False)
    assert machine.lateness is not None
    assert machine.lateness.max > 200
    assert machine.is_limit


def test_connections_are_used_again(url: str, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the end of a response comes a little after `[DONE]`."""
    bench(capsys, url, "--model", "lingering", "--rate", "5", "--bursty", "0", "--for", "1200ms", "--warmup", "1ms")
    assert len(service.seen) == 5
    # On a machine that has much else to do one may begin before the last has ended, and has a connection of its own.
    assert len(service.ports) < 5


def test_a_pipeline_is_held_to_its_own_deadline(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = bench(
        capsys, url, "--model", "pipeline", *SHORT, "--class", "urgent=1", "--class", "slow=1", "--set", "limit=3"
    )
    by_class = {group["request_class"]: group["figures"]["attainment"] for group in report["groups"]}
    # Answers take 60 ms: urgent ones may take 5 s, the others the pipeline's own 40 ms.
    assert (by_class["urgent"], by_class["slow"]) == (1.0, 0.0)
    assert report["settings"]["held to"] == "the service's own deadline: 40 ms, urgent 5 s"


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("pipeline", "--class urgnt: `pipeline` has no such class; did you mean `urgent`?"),
        ("untold", "--class urgnt: `untold` has no such class; there are none"),
    ],
)
def test_a_class_that_the_gateway_does_not_list_is_refused_before_anything_is_sent(
    url: str, service: Service, capsys: pytest.CaptureFixture[str], pipeline: str, said: str
) -> None:
    assert run(["bench", url, "--model", pipeline, *SHORT, "--class", "urgnt=1"]) == USAGE
    assert said in capsys.readouterr().err
    assert not service.seen


def test_a_model_that_lists_no_classes_is_told_of_any(
    url: str, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(capsys, url, "--model", "fine", *SHORT, "--class", "urgent=1")
    assert service.seen


@pytest.mark.parametrize(
    "slos", [("p90 latency <= 20 s, p50 ttft <= 10 s",), ("p90 latency <= 20 s", "p50 ttft <= 10 s")]
)
def test_an_objective_goes_before_the_services_own(
    url: str, capsys: pytest.CaptureFixture[str], slos: tuple[str, ...]
) -> None:
    given = [word for slo in slos for word in ("--slo", slo)]
    report = bench(capsys, url, "--pipeline", "pipeline", *SHORT, *given)
    found = report["groups"][0]["figures"]
    assert [(kept["objective"]["metric"], kept["met"]) for kept in found["kept"]] == [("latency", True), ("ttft", True)]
    assert found["attainment"] == 1.0


def test_the_native_route_tells_the_stages(url: str, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    one = ("--rate", "20", "--for", "60ms", "--warmup", "1ms", "--bursty", "0")
    report = bench(capsys, url, "--model", "pipeline", *one, "--native", "--set", "limit=3", "--max-tokens", "9")
    stages = {stage["component"]: stage for stage in report["stages"]}
    assert stages["answer"]["service"]["p50"] == 30.0
    assert stages["answer"]["calls_per_request"] == 1.0
    found = report["groups"][0]["figures"]
    assert found["requests"] == 1
    # Five tokens in all, of which three are the answer's: two gaps between its first piece and its end.
    gaps_ms = found["latency"]["p50"] - found["ttft"]["p50"]
    assert found["token"]["p50"] == pytest.approx(gaps_ms / 2)
    _, body = service.seen[0]
    assert (body["inputs"]["limit"], body["max_tokens"], body["stream"]) == (3, 9, True)
    assert isinstance(body["inputs"]["question"], str)


def test_a_conversation_is_asked_for_its_first_turn_and_by_a_class(
    url: str, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ("--rate", "20", "--for", "60ms", "--warmup", "1ms", "--bursty", "0")
    bench(capsys, url, "--model", "turns", *one, "--native", "--set", "class=slow")
    inputs = service.seen[0][1]["inputs"]
    assert (inputs["history"], inputs["class"]) == ([], "slow")
    assert inputs["question"]


def test_what_is_sent(
    url: str,
    service: Service,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("why?\n\nhow?\n", encoding="utf-8")
    monkeypatch.setenv("BENCH_KEY", "secret")
    arguments = ("--questions", str(questions), "--set", "temperature=0", "--set", "user=me", "--class", "urgent")
    bench(capsys, f"{url}/v1/", "--model", "fine", *SHORT, *arguments, "--api-key-env", "BENCH_KEY")
    assert {body["messages"][0]["content"] for _, body in service.seen} == {"why?", "how?"}
    headers, body = service.seen[0]
    assert (headers["authorization"], headers["x-request-class"]) == ("Bearer secret", "urgent")
    assert (body["temperature"], body["user"]) == (0, "me")


def test_a_recorded_prompt_is_for_a_model_and_not_for_a_pipeline(
    url: str, service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(RAGPULSE.replace('"output_length": 30', '"output_length": 0'), encoding="utf-8")
    report = bench(capsys, url, "--model", "fine", "--trace", str(trace), "--compress", "10", "--warmup", "1ms")
    assert [len(body["messages"][0]["content"].split()) for _, body in service.seen] == [900, 500]
    assert [body["max_tokens"] for _, body in service.seen] == [20, 1], "an answer of no token cannot be asked for"
    assert report["settings"]["trace"] == "trace.jsonl (ragpulse)"
    bench(capsys, url, "--model", "pipeline", "--trace", str(trace), "--rate", "20", "--warmup", "1ms")
    assert [len(body["messages"][0]["content"].split()) for _, body in service.seen[2:]] == [32, 32]


def test_a_trace_is_cut_and_multiplied(
    url: str, service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(MOONCAKE, encoding="utf-8")
    bench(capsys, url, "--model", "fine", "--trace", str(trace), "--from", "100ms", "--scale", "3", "--warmup", "1ms")
    assert len(service.seen) == 3
    assert run(["bench", url, "--model", "fine", "--trace", str(trace), "--from", "1h"]) == DIAGNOSTICS
    assert "error[E1307]" in capsys.readouterr().err
    trace.write_text(MOONCAKE.partition("\n")[0], encoding="utf-8")
    assert run(["bench", url, "--model", "fine", "--trace", str(trace), "--rate", "3"]) == DIAGNOSTICS
    assert "E1307" in capsys.readouterr().err
    assert run(["bench", url, "--model", "fine", "--trace", str(trace)]) == DIAGNOSTICS
    assert "--warmup 0s" in capsys.readouterr().err, "all that comes is warm-up"


def test_a_broken_trace_is_told_by_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(MOONCAKE + "{", encoding="utf-8")
    assert run(["bench", "http://127.0.0.1:9", "--trace", str(trace)]) == DIAGNOSTICS
    assert "trace.jsonl:3:" in capsys.readouterr().err


def test_text_and_page(url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run(["bench", url, "--model", "fine", *SHORT, "--html", str(page)]) == FINE
    out = capsys.readouterr().out
    assert "What came of the requests" in out
    assert "This machine:" in out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--model", "fnie"], "E1323"),
        ([], "E1323"),
        (["--model", "pipeline", "--set", "limits=3"], "E1104"),
        (["--model", "fine", "--questions", "nowhere.txt"], "E1322"),
        (["--model", "fine", "--questions", os.devnull], "E1322"),
        (["--model", "fine", "--html", "/nowhere/report.html"], "E1133"),
        (["--model", "fine", "--api-key-env", "WRONG"], "E1321"),
    ],
    ids=str,
)
def test_mistakes(
    url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: str,
) -> None:
    monkeypatch.setenv("WRONG", "wrong")
    assert run(["bench", url, *SHORT, *arguments]) == DIAGNOSTICS
    assert f"error[{code}]" in capsys.readouterr().err


@pytest.mark.parametrize("around", ["\r", "\n", " \r\n"], ids=["return", "line", "both"])
def test_a_key_may_have_the_end_of_its_line(
    url: str, service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    monkeypatch.setenv("KEY", f"secret{around}")
    bench(capsys, url, "--model", "fine", *SHORT, "--api-key-env", "KEY")
    assert service.seen[0][0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "key", ["sec\nret", "sec\r\nx-other: 1", "sec ret", "sec\x01ret", "sécret", "sec\udcffret"], ids=ascii
)
def test_what_no_header_holds_is_no_key_and_not_shown(
    url: str, service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("KEY", key)
    assert run(["bench", url, "--model", "fine", *SHORT, "--api-key-env", "KEY"]) == DIAGNOSTICS
    out, err = capsys.readouterr()
    assert "error[E1324]: what the environment's variable KEY holds" in err
    assert "sec" not in out + err
    assert not service.seen


@pytest.mark.parametrize("key", ["unread", "file"])
def test_where_a_service_redirects_to_is_not_what_was_given(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("KEY", key)
    assert run(["bench", url, *SHORT, "--api-key-env", "KEY"]) == DIAGNOSTICS
    assert f"error[E1321]: {url}/v1/models redirects to what is no address" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("--model", "xxx")], ids=["any", "one"])
def test_names_of_any_length_are_told_as_far_as_they_are_names(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("KEY", "long")
    assert run(["bench", url, *SHORT, "--api-key-env", "KEY", *arguments]) == DIAGNOSTICS
    err = capsys.readouterr().err
    assert "error[E1323]" in err
    assert "xxx" in err
    assert len(err) < 1000


def test_a_list_of_models_is_read_as_far_as_it_may_be_one(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "large")
    assert run(["bench", url, *SHORT, "--api-key-env", "KEY"]) == DIAGNOSTICS
    assert f"error[E1321]: {url}/v1/models lists more than 16 MiB of models" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9", "http://127.0.0.1:99999", "http://[", "http://", "nowhere", f"http://{'a' * 300}"],
    ids=lambda address: address[:24],
)
def test_nobody_there(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", address, *SHORT]) == DIAGNOSTICS
    assert "error[E1" in capsys.readouterr().err
    assert run(["ask", "--service", address, "Who is there?"]) == DIAGNOSTICS
    assert "error[E1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--rate", "0"],
        ["--rate", "5", "--compress", "2"],
        ["--rate", "5", "--for", "soon"],
        ["--rate", "5", "--for", "2s", "--warmup", "2s"],
        ["--trace", "x", "--bursty", "2"],
        ["--trace", "x", "--rate", "2", "--compress", "2"],
        ["--rate", "5", "--class", "a=0"],
        ["--rate", "5", "--class", "a=\u0665"],
        ["--rate", "5", "--class", "a", "--class", "a"],
        ["--rate", "5", "--class", "a\nb=1"],
        ["--rate", "5", "--class", "a\x01b=1"],
        ["--rate", "5", "--slo", "fast"],
        ["--rate", "5", "--slo", "p\u0669\u0665 latency <= 1 s"],
        ["--rate", "5", "--api-key-env", "NO_SUCH_VARIABLE"],
    ],
    ids=" ".join,
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "http://127.0.0.1:9", *arguments]) == USAGE
    assert "Usage: harmoniac bench" in capsys.readouterr().err


def test_the_native_route_is_for_pipelines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", url, "--model", "fine", *SHORT, "--native"]) == USAGE
    assert "--native is for gateways of harmonia" in capsys.readouterr().err


def test_a_gateway_of_ours_by_the_folder_of_its_bundle(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The real gateway says what it promises; answers of the model behind it take 300 ms."""
    promised = msgspec.structs.replace(SAY, deadline_ms=20_000.0)
    with model_server() as port:
        write_bundle(tmp_path, [promised], ENGINES, port)
        with started(tmp_path) as gateway:
            # What other measuring tools ask first.
            urllib.request.urlopen(f"{gateway.url}/health", timeout=5).close()
            even = ("--rate", "8", "--bursty", "0", "--for", "1s", "--warmup", "1ms")
            by_chat = bench(capsys, str(tmp_path), *even)
            by_name = bench(capsys, str(tmp_path), *even, "--native", "--pipeline", "say")
    for report in (by_chat, by_name):
        assert report["groups"][0]["figures"]["outcomes"]["ok"] == 7
        assert report["groups"][0]["figures"]["attainment"] == 1.0
        assert report["settings"]["held to"] == "the service's own deadline: 20 s"
    (stage,) = by_name["stages"]
    assert (stage["component"], stage["calls_per_request"]) == ("say", 1.0)
    assert stage["service"]["p50"] >= 200


def test_an_interrupt_ends_the_run_with_a_report(url: str, service: Service) -> None:
    command = [str(Path(sys.executable).parent / "harmoniac"), "bench", url, "--model", "hanging", "--rate", "50"]
    process = subprocess.Popen(
        [*command, "--warmup", "50s", "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while len(service.seen) < 5 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED, err
    report = json.loads(out)
    assert report["groups"][0]["figures"]["outcomes"]["cancelled"] >= 5
    assert report["window_ms"][0] == 0.0
    assert "The run was ended after" in report["notes"][0]
    assert "within its warm-up of 50 s" in report["notes"][1]
