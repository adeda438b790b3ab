"""HTTP in front of the Hub's responses: routes, tokens, large files with ranges, and faults on request."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from hub_server import api
from hub_server.store import Fault, Hub, Refused

REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<name>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", api.whoami),
    ("POST", "/api/validate-yaml", api.validate_yaml),
    ("POST", "/api/repos/create", api.create),
    ("GET", REPO, api.info),
    ("GET", f"{REPO}/revision/{REVISION}", api.info),
    ("GET", f"{REPO}/tree/{REVISION}", api.tree),
    ("GET", f"{REPO}/tree/{REVISION}/(?P<folder>.+)", api.tree),
    ("POST", f"{REPO}/paths-info/{REVISION}", api.paths_info),
    ("GET", f"{REPO}/refs", api.refs),
    ("GET", f"{REPO}/discussions", api.discussions),
    ("POST", f"{REPO}/preupload/{REVISION}", api.preupload),
    ("POST", f"{REPO}/commit/{REVISION}", api.commit),
    ("POST", r"/(?P<prefix>(?:spaces/|datasets/)?)(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", api.lfs_batch),
]
RESOLVE = re.compile(rf"/(spaces/|datasets/)?([^/]+/[^/]+)/resolve/{REVISION}/(.+)")
LARGE = re.compile(r"/_lfs/(?P<oid>[0-9a-f]{64})(?:/(?P<rest>verify|\d+))?")
KINDS = {None: "model", "spaces/": "space", "datasets/": "dataset"}
HTML = b"<!doctype html><html><body><h1>Welcome to the mirror</h1></body></html>"
BLOCK = 1 << 16


class Handler(BaseHTTPRequestHandler):
    """One request; `hub` and `endpoint` are set on the class that `serve` makes of it."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    endpoint: str

    def log_message(self, format: str, *args: Any) -> None:
        """The requests are in `hub.requests`."""

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/_control/"):
            return self._control(url.path)
        fault = self.hub.next_fault(f"{self.command} {url.path} {self.headers.get('Range', '')}".rstrip())
        if fault and fault.cut_at is not None and self.command != "GET":
            self._read(fault.cut_at)
            return self._cut()
        body = self._read()
        try:
            if fault and fault.status:
                if fault.status == 200:
                    return self._send(200, HTML, {"Content-Type": "text/html"})
                raise Refused(fault.status, f"Fault {fault.status}, as asked for")
            self._respond(url.path, dict(parse_qsl(url.query)), body, fault)
        except Refused as refused:
            headers = {"X-Error-Message": refused.message}
            if refused.code:
                headers["X-Error-Code"] = refused.code
            self._send(refused.status, json.dumps({"error": refused.message}).encode(), headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def _respond(self, path: str, query: dict[str, str], body: bytes, fault: Fault | None) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.accounts and not path.startswith("/_lfs/"):
            raise Refused(401, "Invalid credentials in Authorization header")
        asked = api.Asked(self.hub, self.endpoint, self.hub.accounts.get(token), query, body)
        if match := LARGE.fullmatch(path):
            return self._large(match["oid"], match["rest"], body, fault)
        if match := RESOLVE.fullmatch(path):
            prefix, name, revision, file = match.groups()
            return self._resolve(asked, KINDS[prefix], name, unquote(revision), unquote(file), fault)
        for method, route, function in ROUTES:
            if method == self.command and (match := re.fullmatch(route, path)):
                with self.hub.lock:
                    response = function(asked, **{name: unquote(value) for name, value in match.groupdict().items()})
                status, value = response if isinstance(response, tuple) else (200, response)
                return self._send(status, json.dumps(value).encode())
        raise Refused(404, f"No such route: {self.command} {path}")

    def _resolve(self, asked: api.Asked, kind: str, name: str, revision: str, path: str, fault: Fault | None) -> None:
        repository = asked.repository(kind, name)
        headers = {"X-Repo-Commit": repository.resolve(revision)}
        try:
            file = repository.file(revision, path)
        except Refused as refused:
            # The client keeps in its cache that this commit has no such file.
            headers |= {"X-Error-Code": str(refused.code), "X-Error-Message": refused.message}
            return self._send(404, b"", headers)
        if file.is_large:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
            # Another host, as on the Hub: the client asks the first one about the file and the second one for it.
            headers["Location"] = f"{self.endpoint.replace('127.0.0.1', 'localhost')}/_lfs/{file.sha256}"
            return self._send(302, b"", headers)
        self._send_ranged(file.content, headers | {"ETag": f'"{file.git_oid}"'}, fault)

    def _large(self, oid: str, rest: str | None, body: bytes, fault: Fault | None) -> None:
        if self.command in ("GET", "HEAD"):
            if oid not in self.hub.large_files:
                raise Refused(404, "No such object")
            return self._send_ranged(self.hub.large_files[oid], {"ETag": f'"{oid}"'}, fault)
        if self.command == "PUT" and rest is not None:
            self.hub.parts[oid, int(rest)] = body
            return self._send(200, b"", {"ETag": hashlib.md5(body).hexdigest()})
        if rest == "verify":
            if oid not in self.hub.large_files:
                raise Refused(404, "No such object")
            return self._send(200, b"{}")
        if self.command == "POST":
            count = len(json.loads(body)["parts"])
            body = b"".join(self.hub.parts.pop((oid, number)) for number in range(1, count + 1))
        if hashlib.sha256(body).hexdigest() != oid:
            raise Refused(400, "The content is not that of this hash")
        self.hub.large_files[oid] = body
        self._send(200, b"{}")

    def _control(self, path: str) -> None:
        """For use by hand: `POST /_control/faults` adds one, `DELETE` removes all, `GET /_control/requests` lists."""
        body = self._read()
        if path == "/_control/faults" and self.command == "POST":
            self.hub.faults.append(Fault(**json.loads(body)))
        elif path == "/_control/faults" and self.command == "DELETE":
            self.hub.faults.clear()
        self._send(200, json.dumps(self.hub.requests).encode())

    def _read(self, share: float = 1.0) -> bytes:
        """The body, or so much of it; sent with its length or in chunks."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        left = int(int(self.headers.get("Content-Length") or 0) * share)
        blocks = []
        while left and (block := self.rfile.read(min(BLOCK, left))):
            blocks.append(block)
            left -= len(block)
        return b"".join(blocks)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send_ranged(self, content: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        status, start, end = 200, 0, len(content)
        headers = {**headers, "Accept-Ranges": "bytes"}
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            status, start = 206, int(match[1])
            end = int(match[2]) + 1 if match[2] else end
            if start >= len(content):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        self._send(status, content[start:end], headers, None if fault is None else fault.cut_at)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, cut_at: float | None = None
    ) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut_at is not None:
            self.wfile.write(body[: int(len(body) * cut_at)])
            return self._cut()
        self.wfile.write(body)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serve(hub: Hub, port: int = 0) -> Iterator[str]:
    """Serve on loopback while the block runs; yields the endpoint, for `HF_ENDPOINT`."""
    server = ThreadingHTTPServer(("127.0.0.1", port), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    server.RequestHandlerClass.endpoint = endpoint  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
