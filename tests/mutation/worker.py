"""A process that has imported what takes seconds and runs tests in forks of itself: `python worker.py HOME`.

It reads one job a line, `{"tests": [node ids], "options": [of pytest], "timeout": seconds}`, and replies in one line
with `code`, pytest's exit status (None where the time was over), and `output`. Nothing of the package is imported here:
each fork sees its files as they are then.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

# A test whose part is missing is skipped without it: they are imported here for speed alone.
HEAVY = (
    *("accelerate", "datasets", "evaluate", "fastapi.testclient", "httpx", "hypothesis", "jinja2", "matplotlib.pyplot"),
    *("onnxruntime", "openpyxl", "optimum.onnxruntime", "pandas", "pyarrow.parquet", "pytest", "rich.table"),
    *("safetensors.torch", "scipy.optimize", "scipy.stats", "sklearn.dummy", "sklearn.feature_extraction.text"),
    *("sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection", "sklearn.svm", "transformers.trainer"),
)


def run(job: dict[str, Any], output: Path) -> int | None:
    """Fork, let pytest run there, and kill it with all that it started where it takes too long."""
    child = os.fork()
    if child == 0:
        # What it starts is in its group.
        os.setsid()
        written = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(written, 1)
        os.dup2(written, 2)
        code = 3
        try:
            code = int(importlib.import_module("pytest").main([*job["options"], *job["tests"]]))
        finally:
            sys.stdout.flush()
            os._exit(code)
    end = time.monotonic() + job["timeout"]
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main() -> None:
    home = Path(sys.argv[1])
    # Read once, when they are imported.
    os.environ["HF_HOME"] = str(home)
    for name in HEAVY:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    sys.path.remove(str(Path(__file__).parent))
    for line in sys.stdin:
        # Tokens that a wrong change left in a cache would be the next one's.
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        output = home / "output.txt"
        code = run(json.loads(line), output)
        text = output.read_text(encoding="utf-8", errors="replace") if output.is_file() else ""
        sys.stdout.write(json.dumps({"code": code, "output": text}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
