"""A hub on this machine, as far as the real client asks one for a model: its files, their sizes, sums and contents."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """One model under one commit. `token` is asked for where there is one.

    `cuts` says of a file after how many bytes its next answer breaks off, `lies` what it holds in place of its content,
    `pretends` how large it is said to be, `holds` until when nothing of it is sent.
    """

    name: str
    files: Mapping[str, bytes]
    token: str = ""
    cuts: dict[str, int] = field(default_factory=dict)
    lies: dict[str, bytes] = field(default_factory=dict)
    pretends: dict[str, int] = field(default_factory=dict)
    holds: dict[str, threading.Event] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    url: str = ""

    def sent(self, path: str) -> list[str]:
        """The ranges under which a file's content was asked for."""
        return [
            ranged for method, asked, ranged in self.asked if method == "GET" and asked.endswith(f"/{COMMIT}/{path}")
        ]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The same, as long as this lasts, at `url`."""

    class Handler(_Handler):
        model = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.model, urlsplit(self.path).path
        hub.asked.append((self.command, self.path, self.headers.get("Range", "")))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._send(401, b'{"error": "Access to this model is restricted"}', {"X-Error-Code": "GatedRepo"})
        elif path in (f"/api/models/{hub.name}/revision/{COMMIT}", f"/api/models/{hub.name}"):
            self._send(200, json.dumps(self._about()).encode(), {"Content-Type": "application/json"})
        elif path.startswith(f"/api/models/{hub.name}/tree/{COMMIT}"):
            self._send(200, json.dumps(self._tree()).encode(), {"Content-Type": "application/json"})
        elif path.startswith(f"/{hub.name}/resolve/{COMMIT}/") and path.split("/", 5)[5] in hub.files:
            self._send_file(path.split("/", 5)[5])
        elif f"/{hub.name}/" in f"{path}/":
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _about(self) -> dict[str, object]:
        siblings = [{"rfilename": name, **self._facts(name)} for name in self.model.files]
        return {"_id": "1", "id": self.model.name, "sha": COMMIT, "siblings": siblings}

    def _tree(self) -> list[dict[str, object]]:
        return [{"type": "file", "path": name, **self._facts(name, "oid")} for name in self.model.files]

    def _facts(self, name: str, identity: str = "blobId") -> dict[str, object]:
        content = self.model.files[name]
        size = self.model.pretends.get(name, len(content))
        found: dict[str, object] = {"size": size, identity: hashlib.sha1(content).hexdigest()}
        if name.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            found["lfs"] = {"oid": digest, "sha256": digest, "size": size, "pointerSize": 130}
        return found

    def _send_file(self, name: str) -> None:
        hub = self.model
        content = hub.lies.get(name, hub.files[name])
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        headers = {
            "ETag": f'"{hashlib.sha256(hub.files[name]).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        cut = hub.cuts.pop(name, None) if self.command == "GET" else None
        if self.command == "GET" and name in hub.holds:
            hub.holds[name].wait(30)
        self._send(206 if begin else 200, content[begin:], headers, cut)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            # Whoever asked may have gone.
            with suppress(ConnectionError):
                self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
