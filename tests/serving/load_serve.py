"""Load on `sentiment-hf serve`: many users, one request after the other each, with batching and one at a time.

    python tests/serving/load_serve.py --model starter-reviews --backend int8 --users 50 --seconds 60

starts a server for each batch size on this machine, and prints throughput, latency and what a response costs the server
and the users in processor time as a table. Each user keeps one
connection and asks for one short review at a time; a response counts when it repeats its own text with a label.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import psutil
import uvloop

PARTS = ("房间很干净，", "早餐也不错。", "就是隔音差了一点，", "前台服务非常好！", "电池不耐用，", "下次还会考虑。")
HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
LENGTH = re.compile(rb"content-length: (\d+)")
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/docs")


@dataclass
class Outcome:
    """What the users saw: seconds of each right response, and what else came."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def milliseconds(self) -> np.ndarray:
        return 1000 * np.array(self.seconds)


class User(asyncio.Protocol):
    """Asks, waits for the response, asks again, on one connection.

    Bytes go in and out without a client library: the users share the processors with the server, and what they cost
    would be taken for its own.
    """

    def __init__(self, seed: int, until: float, outcome: Outcome) -> None:
        self._seed, self._until, self._outcome = seed, until, outcome
        self._draw = random.Random(seed)
        self._received = b""
        self.finished = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._text = f"{self._seed}号：" + "".join(self._draw.choices(PARTS, k=self._draw.randint(1, 4)))
        body = json.dumps({"texts": self._text}).encode()
        self._start = time.perf_counter()
        self._transport.write(HEAD % len(body) + body)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, is_whole, body = self._received.partition(b"\r\n\r\n")
        if not is_whole or len(body) < int(LENGTH.search(head)[1]):
            return
        self._received = b""
        taken = time.perf_counter() - self._start
        status, response = int(head.split(None, 2)[1]), json.loads(body)
        if (
            status != 200
            or response["predictions"][0]["text"] != self._text
            or response["predictions"][0]["label"] is None
        ):
            self._outcome.errors.append(f"status {status}: {response}")
        else:
            self._outcome.seconds.append(taken)
        if time.monotonic() < self._until:
            self._ask()
        else:
            self.finished.set_result(None)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.finished.done():
            self._outcome.errors.append(f"the connection was lost: {error!r}")
            self.finished.set_result(None)


async def measure(port: int, users: int, seconds: float) -> Outcome:
    """All users at once."""
    outcome, until, loop = Outcome(), time.monotonic() + seconds, asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda seed=seed: User(seed, until, outcome), "127.0.0.1", port)
        for seed in range(users)
    ]
    await asyncio.gather(*(user.finished for _, user in made))
    return outcome


def start_server(words: list[str]) -> tuple[subprocess.Popen, int]:
    """A server on a free port, ready to answer; its log goes to the process's standard error."""
    command = [sys.executable, "-m", "sentiment_hf", "serve", "--port", "0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    seen = []
    for line in process.stderr:
        seen.append(line)
        if address := ADDRESS.search(line):
            return process, int(address[1])
    raise RuntimeError("".join(seen))


def cpu_seconds(process: int) -> float:
    """What a process has used of the processors, which others that run beside it change little."""
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter-reviews")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--max_batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--max_wait_ms", type=float, default=2.0)
    args = parser.parse_args()
    lines = [
        "| texts in a batch | responses | errors | responses/s | p50 ms | p99 ms | server ms | users ms |",
        "|---|" + "---|" * 7,
    ]
    lost = 0
    for size in args.max_batch:
        words = ["--model", args.model, "--backend", args.backend, "--provider", args.provider]
        process, port = start_server([*words, "--max_batch", str(size), "--max_wait_ms", str(args.max_wait_ms)])
        try:
            # The first requests find cold caches.
            uvloop.run(measure(port, args.users, min(2.0, args.seconds)))
            start, before, own = time.monotonic(), cpu_seconds(process.pid), cpu_seconds(os.getpid())
            outcome = uvloop.run(measure(port, args.users, args.seconds))
            elapsed, busy = time.monotonic() - start, cpu_seconds(process.pid) - before
            users = cpu_seconds(os.getpid()) - own
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        lost += len(outcome.errors)
        sys.stderr.writelines(f"{error}\n" for error in outcome.errors[:5])
        middle, late = np.percentile(outcome.milliseconds, [50, 99])
        responses = len(outcome.seconds)
        figures = " | ".join(
            [f"{responses / elapsed:.0f}", f"{middle:.1f}", f"{late:.1f}"]
            + [f"{1000 * spent / responses:.2f}" for spent in (busy, users)]
        )
        lines.append(f"| {size} | {responses:,} | {len(outcome.errors)} | {figures} |")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
