"""An OpenAI-compatible server on loopback that counts what it is asked and misbehaves where a test says so."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = re.compile(r"<text>(.*?)</text>", re.DOTALL)
GOOD = re.compile("好|满意|超出|推荐|舒服|没得")
KEY = "sk-a-secret-of-the-test"


def verdict_of(body: dict) -> str:
    """What a well-behaved judge replies: by the words of the last text of the prompt, whatever it asks for."""
    text = TEXT.findall(body["messages"][-1]["content"])[-1]
    words = {"verdict": "正面" if GOOD.search(text) else "负面", "confidence": 0.9, "reason": "看用词\n就知道"}
    return json.dumps(words, ensure_ascii=False)


class LlmServer:
    """Responds to `POST /v1/chat/completions`.

    Args:
        reply: request body -> the content of the reply.
        delay: seconds before every response.
        wanted_key: refuse requests without it.

    Attributes:
        misdeeds: part of a text -> what to do wrong the first times that it is asked about, one after the other.
        asked: text -> requests about it.
        bodies: of all requests.
        keys: `Authorization` headers.
        usage: the tokens that every response says it took.
        most_at_once: requests under way at the same time, at most.
    """

    def __init__(self, reply: Callable[[dict], str] = verdict_of, delay: float = 0.0, wanted_key: str | None = None):
        self.reply, self.delay, self.wanted_key = reply, delay, wanted_key
        self.misdeeds: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict] = []
        self.keys: list[str | None] = []
        self.most_at_once = self._now = 0
        self.usage: object = {"prompt_tokens": 100, "completion_tokens": 20}
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                server.handle(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        text = (TEXT.findall(body["messages"][-1]["content"]) or [body["messages"][-1]["content"]])[-1]
        with self._lock:
            self.asked[text] += 1
            self.bodies.append(body)
            self.keys.append(request.headers.get("Authorization"))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            part = next((part for part, left in self.misdeeds.items() if part in text and left), None)
            misdeed = "" if part is None else self.misdeeds[part].pop(0)
        time.sleep(self.delay)
        with self._lock:
            self._now -= 1
        if request.path != "/v1/chat/completions":
            self._send(request, 404, "no such path")
        elif self.wanted_key and request.headers.get("Authorization") != f"Bearer {self.wanted_key}":
            self._send(request, 401, f"Incorrect key provided: {request.headers.get('Authorization')}")
        else:
            self._behave(request, misdeed, self.reply(body))

    def _behave(self, request: BaseHTTPRequestHandler, misdeed: str, content: str) -> None:
        if misdeed.startswith("echo"):
            # Where the key begins, 10 characters before what is shown of it ends.
            said = f"Bad request: {request.headers.get('Authorization')}, {KEY}".rjust(190 + len(KEY), ".")
            self._send(request, int(misdeed.removeprefix("echo ")), said)
            return
        if misdeed.isdigit():
            headers = {"Retry-After": "0.2"} if misdeed == "429" else {}
            self._send(request, int(misdeed), "not now", headers)
            return
        if misdeed == "hang":
            time.sleep(3.0)
            return
        said = {
            "truncated": content[: len(content) // 2],
            "wrong schema": json.dumps({"verdict": "也许", "confidence": 7}),
            "empty": "",
        }.get(misdeed, content)
        choices = [{"message": {"role": "assistant", "content": said}}]
        reply = json.dumps({"choices": choices, "usage": self.usage})
        headers = {"Content-Encoding": "gzip"} if misdeed == "no gzip" else {}
        self._send(request, 200, reply[:30] if misdeed == "broken" else reply, headers)

    def _send(self, request: BaseHTTPRequestHandler, status: int, text: str, headers: dict | None = None) -> None:
        try:
            request.send_response(status)
            for name, value in (headers or {}).items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(text.encode())
        except OSError:
            pass
