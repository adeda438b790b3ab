"""The runs of a sweep, each in a process of its own; what is finished is never repeated."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sentiment_hf.exceptions import ended_by_sigterm
from sentiment_hf.studies.jobs import Job, Seats
from sentiment_hf.studies.outcome import ATTEMPT, Outcome, read_outcome
from sentiment_hf.studies.plan import Run
from sentiment_hf.studies.table import METRIC, write_results

logger = logging.getLogger(__name__)

# Seconds between two looks at the processes; a run takes minutes.
_LOOK = 0.1


@dataclass(frozen=True)
class _AtWork:
    place: int
    run: Run
    job: Job
    seat: int
    has_baseline: bool


def run_sweep(
    name: str,
    runs: Sequence[Run],
    folder: Path,
    keep_models: bool,
    before: Sequence[Outcome] = (),
    chosen: Collection[str] | None = None,
    jobs: int = 1,
) -> list[Outcome]:
    """Do what is left of a sweep; `results.csv` and `table.md` are rewritten after every run.

    Args:
        name: of the sweep, for the table.
        runs: from `plan_runs`.
        folder: of the sweep.
        keep_models: whether the weights of a run stay after it was scored.
        before: what came of earlier runs, which stand in the table as well.
        chosen: names of the settings to run; the others stand in the table as they are. None for all.
        jobs: runs at work at a time, on one part of the machine each (see `Seats`).

    Returns:
        What came of each run, those of `before` first. A failed one is among them and stops no other.
    """
    outcomes = [*before, *(read_outcome(run) for run in runs)]
    write_results(folder, name, outcomes)
    wanted = [run for run in runs if chosen is None or run.setting.name in chosen]
    for run in runs:
        _tidy(run, weights=False)
    waiting = deque(
        (place, run) for place, run in _in_turns(runs, len(before)) if run in wanted and not run.is_finished
    )
    seats = Seats(jobs)
    with (
        ended_by_sigterm(),
        logging_redirect_tqdm([logging.getLogger("sentiment_hf")]),
        tqdm(total=len(wanted), initial=len(wanted) - len(waiting), unit="run") as bar,
        _stopped_at_the_end() as at_work,
    ):
        while waiting or at_work:
            while waiting and len(at_work) < jobs:
                place, run = waiting.popleft()
                seat = min(set(range(jobs)) - {other.seat for other in at_work})
                # One baseline for each set of rows: it does not depend on anything else.
                baselines = {outcome.run.data for outcome in outcomes if "baseline" in outcome.metrics}
                baselines |= {other.run.data for other in at_work if other.has_baseline}
                has_baseline = run.baseline and run.data not in baselines
                at_work.append(_AtWork(place, run, Job(run, has_baseline, seats.environment(seat)), seat, has_baseline))
                bar.set_description(" | ".join(other.run.name for other in at_work))
            ended, status = _next_ended(at_work)
            at_work.remove(ended)
            outcomes[ended.place] = _outcome(ended.run, status, keep_models)
            write_results(folder, name, outcomes)
            bar.update()
    return outcomes


@contextmanager
def _stopped_at_the_end() -> Iterator[list[_AtWork]]:
    """Yield a list of what is at work; whatever interrupts the waiting stops all of it first."""
    at_work: list[_AtWork] = []
    try:
        yield at_work
    finally:
        for item in at_work:
            item.job.stop()
        for item in at_work:
            item.job.join()


def _next_ended(at_work: Sequence[_AtWork]) -> tuple[_AtWork, int]:
    """Wait for one of them; it comes with its exit status."""
    while True:
        for item in at_work:
            status = item.job.poll()
            if status is not None:
                return item, status
        time.sleep(_LOOK)


def _in_turns(runs: Sequence[Run], start: int) -> list[tuple[int, Run]]:
    """Order runs, with their places in the table: all settings of a seed before the next seed.

    They take turns on a machine whose pace changes, and what a stopped sweep has can be compared.
    """
    seeds = list(dict.fromkeys(run.seed for run in runs))
    return sorted(enumerate(runs, start), key=lambda placed: seeds.index(placed[1].seed))


def _outcome(run: Run, status: int, keep_models: bool) -> Outcome:
    if not run.is_finished:
        failed = read_outcome(run, reason=_reason(run.log, status))
        logger.warning("%s failed: %s", run.name, failed.reason)
        return failed
    _tidy(run, weights=not keep_models)
    outcome = read_outcome(run)
    score = outcome.metrics["fp32"]["validation"][METRIC]
    logger.info("%s: validation %s %.4f, see %s", run.name, METRIC, score, run.folder)
    return outcome


def _reason(log: Path, status: int) -> str:
    """Why a run failed: its last line, which is the error's, or the signal that ended it."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    lines = [line.strip() for line in re.split(r"[\r\n]+", log.read_text(encoding="utf-8", errors="replace"))]
    said = [line for line in lines if line and not line.startswith(ATTEMPT)]
    return said[-1].removeprefix("error: ") if said else f"exit status {status}"


def _tidy(run: Run, weights: bool) -> None:
    """Delete what a finished run no longer needs; a sweep of thirty models fills a disk."""
    if not run.is_finished:
        return
    for checkpoint in run.folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    for file in run.folder.glob("*.safetensors") if weights else ():
        file.unlink()
