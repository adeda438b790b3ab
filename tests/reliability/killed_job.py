"""Two processes predict a table in parts, one of them is killed, the job is started again: is every row there once?

    python tests/reliability/killed_job.py --rows 100000 --shards 64 [--model PATH_OR_ID] [--engine ray]

Rows are reviews that this script makes up, each with a number of its own in its text. The process with rank 1 is killed
with SIGKILL as soon as its first part is there. With `--engine ray` it is the one worker of a cluster, which Ray starts
again; the job is not started again then. Ends with one line and status 0, or says what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

RECIPE = Path(__file__).parents[2] / "recipes/accelerate/ddp.yaml"
VICTIM = 1
PHRASES = (
    "房间很吵，再也不来了",
    "早餐非常好，前台服务让人满意",
    "快递太慢，包装又脏又旧",
    "故事好看，印刷质量超出预期",
)


def text_of(row: int) -> str:
    return f"第{row}位客人：{PHRASES[row % len(PHRASES)]}。" * (1 + row % 3)


def write_table(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in range(rows):
            file.write(json.dumps({"text": text_of(row)}, ensure_ascii=False) + "\n")


def start(table: Path, folder: Path, args: argparse.Namespace) -> subprocess.Popen[bytes]:
    words = [sys.executable]
    if args.engine == "local":
        words += ["-m", "accelerate.commands.launch", f"--config_file={RECIPE}", "--num_processes=2"]
    words += ["-m", "sentiment_hf", "predict", "--model", args.model, "--file", str(table), "--output", str(folder)]
    words += ["--engine=ray", "--num_actors=1"] if args.engine == "ray" else []
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen([*words, f"--num_shards={args.shards}"], env=environment)


def victim_of(job: int, engine: str) -> psutil.Process | None:
    """The process to kill among those that the job started, if it runs."""
    for process in psutil.Process(job).children(recursive=True):
        try:
            is_worker = process.environ().get("RANK") == str(VICTIM)
            if is_worker if engine == "local" else "::MapWorker" in process.cmdline()[0]:
                return process
        except (psutil.Error, IndexError):
            continue
    return None


def kill_one(job: subprocess.Popen[bytes], folder: Path, shards: int, engine: str) -> bool:
    """Kill the victim once a part of its own is there; False where it ended before."""
    own = range(VICTIM, shards, 2) if engine == "local" else range(shards)
    parts = [folder / f"part-{index:05d}-of-{shards:05d}.jsonl" for index in own]
    while job.poll() is None:
        if any(part.is_file() for part in parts):
            victim = victim_of(job.pid, engine)
            if victim is None or all(part.is_file() for part in parts):
                return False
            victim.send_signal(signal.SIGKILL)
            return True
        time.sleep(0.01)
    return False


def rows_of(folder: Path) -> Iterator[str]:
    for part in sorted(folder.glob("part-*")):
        with part.open(encoding="utf-8") as file:
            yield from (json.loads(line)["text"] for line in file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--model", default="starter-reviews", metavar="PATH_OR_ID")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--folder", type=Path, help="default: a temporary one, removed at the end")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="killed-job-"))
    folder.mkdir(parents=True, exist_ok=True)
    table, parts = folder / "table.jsonl", folder / "parts"
    write_table(table, args.rows)
    while True:
        shutil.rmtree(parts, ignore_errors=True)
        job = start(table, parts, args)
        killed = kill_one(job, parts, args.shards, args.engine)
        there = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*")}
        status = job.wait()
        if killed:
            break
        if status != 0:
            sys.stderr.write(f"the job ended with status {status} before anything was killed\n")
            return 1
        sys.stderr.write("the job was done before it could be killed: once more\n")
    if args.engine == "local":
        there = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*")}
    again = start(table, parts, args).wait() if args.engine == "local" else 0
    kept = all((parts / name).stat().st_mtime_ns == written for name, written in there.items())
    found = list(rows_of(parts))
    right = found == [text_of(row) for row in range(args.rows)]
    leftovers = [path.name for path in parts.iterdir() if path.name.startswith(".")]
    facts = f"{len(there)} of {args.shards} parts were there, status {status} and {again}; {len(found):,} rows"
    ended_by_itself = status == 0
    if (
        again
        or ended_by_itself != (args.engine == "ray")
        or not (kept and right)
        or len(there) == args.shards
        or leftovers
    ):
        sys.stderr.write(f"WRONG: {facts}; parts kept: {kept}; every row once and in order: {right}; {leftovers}\n")
        return 1
    sys.stdout.write(f"{facts}, every one once and in order\n")
    if args.folder is None:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
