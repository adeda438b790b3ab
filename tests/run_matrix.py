"""Run the tests in every environment that the Makefile made, one after the other, and write what happened as a table.

python tests/run_matrix.py --output docs/results/test-matrix.md     # or: make test-matrix
"""

from __future__ import annotations

import argparse
import datetime
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
# A file or two for every package that the project stands on; all tests run with `make test` on the versions of its own.
CORE = [
    "tests/data/test_sources.py",
    "tests/data/test_cleaning.py",
    "tests/data/test_tokenization.py",
    "tests/modeling/test_loading.py",
    "tests/modeling/test_heads.py",
    "tests/training/test_trainer.py",
    "tests/evaluation/test_metrics.py",
    "tests/evaluation/test_calibration.py",
    "tests/compression/test_export.py",
    "tests/serving/test_predictor.py",
    "tests/serving/test_api.py",
    "tests/enrich/test_confident.py",
    "tests/studies/test_search.py",
    "tests/publishing/test_card.py",
]
SHOWN = ("python", "torch", "transformers", "datasets", "huggingface_hub", "numpy", "pandas", "onnxruntime")
VERSIONS = """
import platform
from importlib.metadata import PackageNotFoundError, version
for name in {names}:
    try:
        print(platform.python_version() if name == "python" else version(name))
    except PackageNotFoundError:
        print("–")
"""


@dataclass(frozen=True)
class Environment:
    """A row: what it is, its folder beside the project's, and what is run in it."""

    name: str
    folder: str
    tests: tuple[str, ...] = tuple(CORE)
    from_sources: bool = True


ENVIRONMENTS = [
    Environment("transformers 4.57, every extra", ".venv"),
    Environment("transformers 5, without ONNX and the page", ".venv-transformers5"),
    Environment("lowest versions, every extra", ".venv-lowest"),
    Environment("a newer Python, every extra", ".venv-newer"),
    Environment("the wheel alone, no extra", ".venv-wheel", ("tests/installed",), from_sources=False),
]


def versions_in(python: Path) -> list[str]:
    code = VERSIONS.format(names=SHOWN)
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def run_tests(environment: Environment, python: Path, log: Path) -> str:
    """Run them and say what happened: `812 passed, 3 skipped in 210 s`, and what failed."""
    settings = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    settings.pop("PYTHONPATH", None)
    if environment.from_sources:
        settings["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as elsewhere:
        report = Path(elsewhere) / "report.xml"
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", f"--rootdir={ROOT}"]
        command += [str(ROOT / test) for test in environment.tests]
        with log.open("w", encoding="utf-8") as file:
            # From a folder of its own: what is not installed cannot be found by chance.
            subprocess.run(command, cwd=elsewhere, env=settings, stdout=file, stderr=subprocess.STDOUT)
        if not report.is_file():
            return f"not run: pytest wrote no report, see {log.name}"
        suite = ElementTree.parse(report).getroot().find("testsuite")
        assert suite is not None
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    skipped = int(suite.attrib["skipped"])
    passed = int(suite.attrib["tests"]) - failed - skipped
    said = f"{passed} passed" + (f", {failed} failed" if failed else "") + (f", {skipped} skipped" if skipped else "")
    return f"{said} in {float(suite.attrib['time']):.0f} s"


def row_of(environment: Environment, logs: Path) -> list[str]:
    python = ROOT / environment.folder / "bin/python"
    if not python.exists():
        return [environment.name, *["–"] * len(SHOWN), "not run: no such environment"]
    log = logs / f"{environment.folder.removeprefix('.')}.log"
    return [environment.name, *versions_in(python), run_tests(environment, python, log)]


def table_of(rows: list[list[str]]) -> str:
    header = ["environment", *SHOWN, "outcome"]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="the page whose table is replaced")
    parser.add_argument("--logs", type=Path, default=ROOT / "runs/test-matrix", help="folder for pytest's output")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="FOLDER", help="environments to run; others keep theirs"
    )
    args = parser.parse_args()
    args.logs.mkdir(parents=True, exist_ok=True)
    page = args.output.read_text(encoding="utf-8")
    before = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    rows, broken = [], False
    for environment in ENVIRONMENTS:
        if args.only and environment.folder not in args.only:
            kept = before.get(environment.name, f"| {environment.name}{' | –' * len(SHOWN)} | not run |")
            rows.append(kept.removeprefix("| ").removesuffix(" |").split(" | "))
            continue
        sys.stderr.write(f"{environment.name} …\n")
        rows.append(row_of(environment, args.logs))
        sys.stderr.write(f"  {rows[-1][-1]}\n")
        broken |= " failed" in rows[-1][-1] or "no report" in rows[-1][-1]
    dated = re.sub(r"Run on \d{4}-\d\d-\d\d", f"Run on {datetime.date.today()}", page)
    args.output.write_text(re.sub(r"(?m)(^\|.*\n)+", lambda _: table_of(rows), dated, count=1), encoding="utf-8")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
