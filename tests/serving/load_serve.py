"""Load on `sentiment-hf serve`: many users, one request after the other each, with batching and one at a time.

    python tests/serving/load_serve.py --model starter-reviews --backend int8 --users 50 --seconds 60

starts a server for each batch size on this machine, and prints throughput and latency as a table. Each user keeps one
connection and asks for one short review at a time; an answer counts when it repeats its own text with a label.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import psutil

PARTS = ("房间很干净，", "早餐也不错。", "就是隔音差了一点，", "前台服务非常好！", "电池不耐用，", "下次还会考虑。")
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/docs")


@dataclass
class Outcome:
    """What the users saw: seconds of each right answer, and what else came."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def milliseconds(self) -> np.ndarray:
        return 1000 * np.array(self.seconds)


async def user(port: int, seed: int, until: float, outcome: Outcome) -> None:
    """Ask, wait for the answer, ask again."""
    draw = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.monotonic() < until:
            text = f"{seed}号：" + "".join(draw.choices(PARTS, k=draw.randint(1, 4)))
            start = time.perf_counter()
            status, answer = await ask(reader, writer, text)
            if status != 200 or answer["answers"][0]["text"] != text or answer["answers"][0]["label"] is None:
                outcome.errors.append(f"status {status}: {answer}")
            else:
                outcome.seconds.append(time.perf_counter() - start)
    except (OSError, asyncio.IncompleteReadError) as error:
        outcome.errors.append(repr(error))
    finally:
        writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> tuple[int, dict]:
    """One request on an open connection; plain HTTP/1.1, which costs the two processors next to nothing."""
    body = json.dumps({"texts": text}).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", answer)[1])
    return int(answer.split()[1]), json.loads(await reader.readexactly(length))


async def measure(port: int, users: int, seconds: float) -> Outcome:
    """All users at once."""
    outcome, until = Outcome(), time.monotonic() + seconds
    await asyncio.gather(*(user(port, seed, until, outcome) for seed in range(users)))
    return outcome


def start_server(words: list[str]) -> tuple[subprocess.Popen, int]:
    """A server on a free port, ready to answer; its log goes to the process's standard error."""
    command = [sys.executable, "-m", "sentiment_hf.cli", "serve", "--port", "0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    seen = []
    for line in process.stderr:
        seen.append(line)
        if address := ADDRESS.search(line):
            return process, int(address[1])
    raise RuntimeError("".join(seen))


def cpu_seconds(process: subprocess.Popen) -> float:
    """What the server has used of the processors, which others that run beside it change little."""
    times = psutil.Process(process.pid).cpu_times()
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
        "| texts read together | answers | errors | answers/s | p50 ms | p99 ms | CPU ms/answer |",
        "|---|" + "---|" * 6,
    ]
    lost = 0
    for size in args.max_batch:
        words = ["--model", args.model, "--backend", args.backend, "--provider", args.provider]
        process, port = start_server([*words, "--max_batch", str(size), "--max_wait_ms", str(args.max_wait_ms)])
        try:
            # The first requests find cold caches.
            asyncio.run(measure(port, args.users, min(2.0, args.seconds)))
            start, before = time.monotonic(), cpu_seconds(process)
            outcome = asyncio.run(measure(port, args.users, args.seconds))
            elapsed, busy = time.monotonic() - start, cpu_seconds(process) - before
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        lost += len(outcome.errors)
        sys.stderr.writelines(f"{error}\n" for error in outcome.errors[:5])
        middle, late = np.percentile(outcome.milliseconds, [50, 99])
        answers = len(outcome.seconds)
        figures = f"{answers / elapsed:.0f} | {middle:.1f} | {late:.1f} | {1000 * busy / answers:.2f}"
        lines.append(f"| {size} | {answers:,} | {len(outcome.errors)} | {figures} |")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
