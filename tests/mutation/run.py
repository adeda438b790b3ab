"""Break the package on purpose, one small wrong change at a time, and see whether the tests that ought to notice do.

    make mutation
    python tests/mutation/run.py --only gate --output runs/mutation

Tools that mutate by themselves turn operators and constants over; which rows a gate reads is a name, and no such
change. So the changes are written down (`changes/*.toml`), each with the tests that ought to see it. The work is done
on copies of the tree. Results are appended to `results.jsonl` and are not repeated as long as change, code and tests
stay the same: a run that was stopped goes on. First of all the tests have to pass as things are, or their failing would
prove nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from changes import ROOT, Change, read_changes
from tqdm import tqdm

from sentiment_hf.utils.console import show

PAGE = ROOT / "docs/results/reliability.md"
START, END = "<!-- mutations: written by tests/mutation/run.py -->\n", "<!-- end of mutations -->\n"
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
SECONDS = itertools.count(1_000_000_000)
# A change may make a loop endless.
TIMEOUT = 600
NOTICED, UNNOTICED, TOO_LONG, NO_TEST = "noticed", "unnoticed", "noticed (never ended)", "no test"
# Of pytest: passed, and failed. Whatever else it ends with proves nothing.
PASSED, FAILED = 0, 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="changes whose kind, name or file contains this")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/mutation", help="folder of results.jsonl")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="changes at work at a time")
    parser.add_argument("--trust_tests", action="store_true", help="do not run the tests on the unchanged tree first")
    parser.add_argument("--write", action="store_true", help="put the table into docs/results/reliability.md")
    args = parser.parse_args()
    listed = read_changes()
    changes = [change for change in listed if args.only in f"{change.kind} {change.what} {change.file}"]
    results = args.output / "results.jsonl"
    args.output.mkdir(parents=True, exist_ok=True)
    known = read_results(results)
    left = [change for change in changes if digest(change) not in known]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        workers: SimpleQueue[Worker] = SimpleQueue()
        count = min(args.workers, len(left))
        for number in range(count):
            workers.put(Worker(Path(folder) / str(number)))
        if left and not args.trust_tests:
            check_tests(left, workers, count)
        with ThreadPoolExecutor(max(count, 1)) as pool, tqdm(total=len(left), unit="change") as bar:
            for change, result in zip(left, pool.map(lambda change: attempt(change, workers), left), strict=True):
                line = {"digest": digest(change), "what": change.what, **result}
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                known[line["digest"]] = line
                bar.update()
                if not result["outcome"].startswith(NOTICED):
                    bar.write(f"{result['outcome']}: {change.what} ({change.file})")
        for _ in range(count):
            workers.get().close()
    log(f"{len(left)} changes in {time.perf_counter() - started:.0f} s; results are in {results}")
    outcomes = {change.what: known[digest(change)] for change in changes}
    text = report(changes, outcomes)
    show(text)
    if args.write:
        if args.only:
            parser.error("--write is for the whole list, without --only")
        write_page(text)
    bad = [change for change in changes if not survived_as_said(change, outcomes[change.what]["outcome"])]
    return 1 if bad else 0


def log(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def copy_of_the_tree(folder: Path) -> Path:
    """The tree without environments and runs, with the same folder of shared data beside it."""
    copy = folder / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)
    shared = ROOT.parent / "shared"
    if shared.is_dir():
        (folder / "shared").symlink_to(shared)
    return copy


class Worker:
    """A copy of the tree and a process that runs tests in it, see `worker.py`."""

    def __init__(self, folder: Path) -> None:
        self.copy = copy_of_the_tree(folder)
        paths = {"PYTHONPATH": str(self.copy), "TOKENIZERS_PARALLELISM": "false"}
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **paths}
        command = [sys.executable, str(self.copy / "tests/mutation/worker.py"), str(folder / "home")]
        self.process = subprocess.Popen(
            command, cwd=self.copy, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def pytest(self, tests: Sequence[str], *options: str, timeout: int = TIMEOUT) -> dict[str, Any]:
        """Run tests; `code` of the reply is pytest's status, None where the time was over."""
        given = ["-q", "-p", "no:cacheprovider", *options]
        self.process.stdin.write(json.dumps({"tests": [*tests], "options": given, "timeout": timeout}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def check_tests(changes: Sequence[Change], workers: SimpleQueue[Worker], count: int) -> None:
    """End here where a test fails without any change; name those that are skipped, which cannot see one."""
    tests = sorted({test for change in changes for test in change.tests})

    def run(share: Sequence[str]) -> dict[str, Any]:
        worker = workers.get()
        try:
            return worker.pytest(share, "-rs", timeout=10 * TIMEOUT)
        finally:
            workers.put(worker)

    with ThreadPoolExecutor(count) as pool:
        for done in pool.map(run, [share for number in range(count) if (share := tests[number::count])]):
            if done["code"] != PASSED:
                sys.exit(f"tests fail without any change:\n{done['output'][-4000:]}")
            for line in done["output"].splitlines():
                if line.startswith("SKIPPED"):
                    log(f"cannot see a change here: {line}")


def attempt(change: Change, workers: SimpleQueue[Worker]) -> dict[str, Any]:
    """Make a change in a copy, run its tests until one fails, and take it back."""
    worker = workers.get()
    path = worker.copy / change.file
    unchanged = path.read_bytes()
    started, by = time.perf_counter(), ""
    try:
        write(path, change.apply(worker.copy).encode())
        done = worker.pytest(change.tests, "-x")
        outcome = {PASSED: UNNOTICED, FAILED: NOTICED, None: TOO_LONG}.get(done["code"], NO_TEST)
        if outcome == NO_TEST:
            by = done["output"][-2000:]
        elif outcome == NOTICED:
            by = next((line for line in done["output"].splitlines() if line.startswith("FAILED")), "")
    finally:
        write(path, unchanged)
        workers.put(worker)
    return {"outcome": outcome, "by": by, "seconds": round(time.perf_counter() - started, 1)}


def write(path: Path, content: bytes) -> None:
    """Write a file with a time of its own: by time and size Python tells whether its byte code is still the file's."""
    path.write_bytes(content)
    os.utime(path, (second := next(SECONDS), second))


def digest(change: Change) -> str:
    """Tells whether a result is still of this change, this code and these tests."""
    hashed = hashlib.sha256(repr((change.old, change.new, change.tests)).encode())
    for file in sorted({change.file, *(test.partition("::")[0] for test in change.tests)}):
        path = ROOT / file
        hashed.update(path.read_bytes() if path.is_file() else b"")
    return hashed.hexdigest()[:16]


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {line["digest"]: line for line in map(json.loads, lines)}


def survived_as_said(change: Change, outcome: str) -> bool:
    return outcome == UNNOTICED if change.survives else outcome.startswith(NOTICED)


def report(changes: Sequence[Change], outcomes: dict[str, dict[str, Any]]) -> str:
    """Kinds with their changes and how many were noticed, then each change that is not, with its reason."""
    lines = ["| what is broken | changes | noticed when the list was begun | noticed now |", "|---|---|---|---|"]
    kinds = list(dict.fromkeys(change.kind for change in changes))
    rows = [(kind, [change for change in changes if change.kind == kind]) for kind in kinds]
    for kind, own in [*rows, ("**all**", list(changes))]:
        now = sum(outcomes[change.what]["outcome"].startswith(NOTICED) for change in own)
        lines.append(f"| {kind} | {len(own)} | {sum(change.before for change in own)} | {now} |")
    missed = [change for change in changes if not outcomes[change.what]["outcome"].startswith(NOTICED)]
    if missed:
        lines += ["", "Not noticed:"]
        lines += [f"- {change.what} (`{change.file}`): {change.survives or 'no reason known'}" for change in missed]
    return "\n".join(lines) + "\n"


def write_page(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    if not rest or END not in page:
        sys.exit(f"{PAGE.name} has no place for the table: {START.strip()} … {END.strip()}")
    PAGE.write_text(f"{before}{START}{text}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
