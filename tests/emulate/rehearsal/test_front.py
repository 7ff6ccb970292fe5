"""Another system in front of the emulated replicas: it gets the requests, and what it answers is what is reported."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from harmonia_compiler.emulate.rehearsal.child import command, wait_for
from harmonia_compiler.emulate.rehearsal.front import Behind, Fronted, is_ready
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.report.document import Decision
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.runtime.actuators.supervision.ports import free_port
from harmonia_compiler.workload.arrivals import constant, until

WINDOW = Window(0.0, 2000.0)
#: Answers every second request, and refuses the others.
SYSTEM = """
import http.server, itertools, subprocess, sys
count = itertools.count()
subprocess.Popen([sys.executable, "-c", "while True: pass"]) if len(sys.argv) > 2 else None

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(*((200, b'{"value": "x"}') if next(count) % 2 else (503, b'{"error": {"code": "full"}}')))

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


#: The same in a stream of texts, as the systems that are measured beside ours answer.
STREAMING = SYSTEM.replace('{"value": "x"}', r'data: {"type": "text", "text": "x"}\n\ndata: [DONE]\n\n').replace(
    '"application/json"', '"text/event-stream" if status == 200 else "application/json"'
)


@pytest.mark.parametrize("system", [SYSTEM, STREAMING])
def test_its_answers_and_refusals_are_reported_as_ours_are(planned: Scenario, system: str) -> None:
    behind_it: list[Behind] = []

    @contextmanager
    def front(behind: Behind) -> Iterator[Fronted]:
        behind_it.append(behind)
        port = free_port(())
        with command(behind.folder, "other", [sys.executable, "-c", system, str(port)]) as started:
            wait_for(started, lambda: is_ready(f"http://127.0.0.1:{port}"), 20.0)
            done = (Decision(1.0, "other", "it felt like it"),)
            yield Fronted(f"http://127.0.0.1:{port}", {"other": started}, lambda _: (done, "It is content."))

    arrivals = until(constant(8.0), WINDOW.to_ms)
    rehearsed = rehearse(planned, arrivals, WINDOW, {}, Wishes(factor=1.0, front=front), lambda _: None)
    report = rehearsed.report
    assert rehearsed.fullest.keys() == {"engines", "other", "sender"}
    assert all(0.0 <= part < 1.5 for part in rehearsed.fullest.values())
    (behind,) = behind_it
    assert {one.replica for one in behind.replicas} == {one.id for one in planned.plan.replicas}
    assert behind.service.programs == planned.service.programs
    outcomes = report.groups[0].figures.outcomes
    assert abs(outcomes[Outcome.OK] - outcomes[Outcome.REFUSED]) <= 1
    assert outcomes[Outcome.OK] >= 7
    assert [one.why for one in report.decisions] == ["it felt like it"]
    assert "It is content." in report.notes
    assert any("other" in note for note in report.notes if note.startswith("Cores that"))


def test_the_time_of_what_a_system_has_started_is_its_own(tmp_path: Path) -> None:
    port = free_port(())
    with command(tmp_path, "busy", [sys.executable, "-c", SYSTEM, str(port), "busy"]) as started:
        wait_for(started, lambda: sum(started.cpu_s().values()) > 1.0, 30.0)
        own = psutil.Process(started.process.pid)
        (busy,) = own.children()
        assert own.cpu_times().user < 0.9
        busy.kill()
