"""What came of a run of a sweep, read from its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sentiment_hf.evaluation.report import read_metrics
from sentiment_hf.files import read_json
from sentiment_hf.studies.plan import Run

FINISHED, FAILED, PENDING = "finished", "failed", "pending"
# Before the command in a log, once for every time that the run was started.
ATTEMPT = "$ "


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        run: whose.
        status: `finished`, `failed` or `pending`.
        reason: why it failed.
        metrics: what its `metrics.json` holds; empty unless it is finished.
        seconds: of training; None where it is not known, as for a run that was stopped in between.
    """

    run: Run
    status: str
    reason: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float | None = None


def read_outcome(run: Run, reason: str = "") -> Outcome:
    """Read a run as its folder shows it; an unfinished one has failed if there is a `reason`."""
    if not run.is_finished:
        return Outcome(run, FAILED if reason else PENDING, reason)
    attempts = 0
    if run.log.is_file():
        lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
        attempts = sum(line.startswith(ATTEMPT) for line in lines)
    # A run records the seconds since it was last started, which are too few if it went on from a checkpoint.
    seconds = read_json(run.folder / "run.json")["training_seconds"] if attempts <= 1 else None
    return Outcome(run, FINISHED, "", read_metrics(run.folder), seconds)
