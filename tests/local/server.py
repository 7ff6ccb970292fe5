"""A tiny real HTTP server that stands in for an engine or the gateway; its arguments say how to behave.

Answers 200 on /health and its environment as JSON on /environment; POSTs are written to stdout, as are its children.
"""

import argparse
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

kept: dict[str, bytes] = {}


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path in kept:
            self._answer(200, kept[self.path])
        elif self.path == "/environment":
            said = {"environment": dict(os.environ), "cpus": sorted(os.sched_getaffinity(0)), "cwd": str(Path.cwd())}
            self._answer(200, json.dumps(said).encode())
        elif self.server.status == 200:  # type: ignore[attr-defined]
            self._answer(200, b"ok")
        else:
            self._answer(self.server.status, b"the model is still loading")  # type: ignore[attr-defined]

    def do_PUT(self) -> None:
        """What is to be answered from now on under the same path."""
        kept[self.path] = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._answer(200, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/v1/call":
            time.sleep(self.server.pause_s)  # type: ignore[attr-defined]
            self._answer(200, json.dumps({"result": self.server.result}).encode())  # type: ignore[attr-defined]
            return
        print("warmed up by", self.path, body.decode(), flush=True)
        self._answer(200, b"{}")

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """One whose log is not spoilt where a probe hangs up before it is answered, as on a machine under load."""

    def handle_error(self, *about: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*about)


def end_with(child: subprocess.Popen[bytes]) -> None:
    """As engines do that serve what a process of theirs computes: they notice its end, tidy up and leave."""
    child.wait()
    time.sleep(0.5)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--status", type=int, default=200, help="what /health answers")
    parser.add_argument("--says", default="", help="a line on stderr before anything else")
    parser.add_argument("--exits", type=int, default=None, help="ends with this code instead of serving")
    parser.add_argument("--slow-s", type=float, default=0.0, help="listens only after so many seconds")
    parser.add_argument("--child", action="store_true", help="starts a process of its own that ignores SIGTERM")
    parser.add_argument("--ends-with-child", action="store_true", help="starts a process, and ends well when that ends")
    parser.add_argument("--result", default="", help="what its function gives")
    parser.add_argument("--pause-s", type=float, default=0.0, help="how long that takes")
    arguments = parser.parse_args()
    if arguments.says:
        print(arguments.says, file=sys.stderr, flush=True)
    if arguments.exits is not None:
        sys.exit(arguments.exits)
    if arguments.child:
        forever = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        print("child", subprocess.Popen([sys.executable, "-c", forever]).pid, flush=True)
    if arguments.ends_with_child:
        threading.Thread(target=end_with, args=[subprocess.Popen(["sleep", "600"])], daemon=True).start()
    time.sleep(arguments.slow_s)
    server = Server((arguments.host, arguments.port), Answers)
    server.status = arguments.status  # type: ignore[attr-defined]
    server.result, server.pause_s = arguments.result, arguments.pause_s  # type: ignore[attr-defined]
    server.serve_forever()


main()
