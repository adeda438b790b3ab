"""Run a sweep, each run in its own process; finished runs are not repeated."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sentiment_hf.sweeps.plan import ATTEMPT, SETTING_FILE, Outcome, Run, read_outcome
from sentiment_hf.sweeps.table import METRIC, write_results
from sentiment_hf.training.folder import RECIPE_FILE, newest_checkpoint
from sentiment_hf.utils.exceptions import ended_by_sigterm
from sentiment_hf.utils.files import write_text
from sentiment_hf.utils.hardware import environment_of_child, usable_threads

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


# Seconds that a stopped process gets to end before it is killed.
_PATIENCE = 10


def visible_gpus() -> tuple[str, ...]:
    """List the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip())
    import torch

    return tuple(str(number) for number in range(torch.cuda.device_count()))


@dataclass(frozen=True)
class Seats:
    """Where the runs that are at work together sit.

    Attributes:
        count: of runs at work at a time. Each gets an equal share of the processor's threads, and of several GPUs one,
            in turns; a single run gets the whole machine.
        gpus: what `CUDA_VISIBLE_DEVICES` may name.
    """

    count: int = 1
    gpus: tuple[str, ...] = field(default_factory=visible_gpus)

    def environment(self, seat: int) -> dict[str, str]:
        """Variables for the run on this seat, from 0."""
        if self.count == 1:
            return {}
        # Processes that take all cores each get in each other's way.
        variables = {"OMP_NUM_THREADS": str(max(1, usable_threads() // self.count))}
        if len(self.gpus) > 1:
            variables["CUDA_VISIBLE_DEVICES"] = self.gpus[seat % len(self.gpus)]
        return variables


class Job:
    """A run's process, from where the run stopped if it was begun.

    Started by the thread that waits for it: the process ends when that thread does.

    Args:
        run: what is done; its log gets what the process prints.
        baseline: whether the baseline is fitted along with it.
        variables: of the environment, beside those of this process.
    """

    def __init__(self, run: Run, baseline: bool, variables: dict[str, str]) -> None:
        write_text(run.folder.with_name(SETTING_FILE), yaml.safe_dump(run.recipe, allow_unicode=True, sort_keys=False))
        command = run.command(baseline)
        goes_on = run.is_begun and newest_checkpoint(run.folder, "true") is not None
        if not run.is_begun and run.folder.is_dir():
            # A run that was cut off before it wrote its recipe leaves half of it; the run refuses anything else.
            run.folder.joinpath(f"{RECIPE_FILE}.partial").unlink(missing_ok=True)
        with run.log.open("ab" if goes_on else "wb") as log:
            log.write(f"{ATTEMPT}{shlex.join(command)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                command,
                env=environment_of_child() | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def poll(self) -> int | None:
        """Its exit status, or None while it is at work."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask it to end; `join` waits for it."""
        if self._process.poll() is None:
            self._process.terminate()

    def join(self) -> None:
        """Wait until it has ended, and kill it where it does not."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
