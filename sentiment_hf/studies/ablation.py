"""The runs of a sweep, one after the other, each in a process of its own; what is finished is never repeated."""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

import yaml
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from sentiment_hf.exceptions import ended_by_sigterm
from sentiment_hf.files import write_text
from sentiment_hf.processes import environment_of_child
from sentiment_hf.studies.outcome import ATTEMPT, Outcome, read_outcome
from sentiment_hf.studies.plan import SETTING_FILE, Run
from sentiment_hf.studies.table import METRIC, write_results
from sentiment_hf.training.folder import RECIPE_FILE, newest_checkpoint

logger = logging.getLogger(__name__)

# Seconds that a stopped child gets to end before it is killed.
_PATIENCE = 10


def run_sweep(
    name: str,
    runs: Sequence[Run],
    folder: Path,
    keep_models: bool,
    before: Sequence[Outcome] = (),
    chosen: Collection[str] | None = None,
) -> list[Outcome]:
    """Do what is left of a sweep; `results.csv` and `table.md` are rewritten after every run.

    Args:
        name: of the sweep, for the table.
        runs: from `plan_runs`.
        folder: of the sweep.
        keep_models: whether the weights of a run stay after it was scored.
        before: what came of earlier runs, which stand in the table as well.
        chosen: names of the settings to run; the others stand in the table as they are. None for all.

    Returns:
        What came of each run, those of `before` first. A failed one is among them and stops no other.
    """
    outcomes = [*before, *(read_outcome(run) for run in runs)]
    write_results(folder, name, outcomes)
    wanted = [run for run in runs if chosen is None or run.setting.name in chosen]
    finished = sum(run.is_finished for run in wanted)
    with (
        ended_by_sigterm(),
        logging_redirect_tqdm([logging.getLogger("sentiment_hf")]),
        tqdm(total=len(wanted), initial=finished, unit="run") as bar,
    ):
        for place, run in _in_turns(runs, len(before)):
            if not run.is_finished and run in wanted:
                bar.set_description(run.name)
                # One floor for each set of rows: it does not depend on anything else.
                floors = {outcome.run.data for outcome in outcomes if "floor" in outcome.metrics}
                outcomes[place] = _do(run, run.floor and run.data not in floors, keep_models)
                write_results(folder, name, outcomes)
                bar.update()
            _tidy(run, weights=False)
    return outcomes


def _in_turns(runs: Sequence[Run], start: int) -> list[tuple[int, Run]]:
    """Runs with their places in the table, all settings of a seed before the next seed.

    They take turns on a machine whose pace changes, and what a stopped sweep has can be compared.
    """
    seeds = list(dict.fromkeys(run.seed for run in runs))
    return sorted(enumerate(runs, start), key=lambda placed: seeds.index(placed[1].seed))


def _do(run: Run, floor: bool, keep_models: bool) -> Outcome:
    status = _start(run, floor)
    if not run.is_finished:
        failed = read_outcome(run, reason=_reason(run.log, status))
        logger.warning("%s failed: %s", run.name, failed.reason)
        return failed
    _tidy(run, weights=not keep_models)
    outcome = read_outcome(run)
    score = outcome.metrics["fp32"]["dev"][METRIC]
    logger.info("%s: dev %s %.4f, see %s", run.name, METRIC, score, run.folder)
    return outcome


def _start(run: Run, floor: bool) -> int:
    """Run it to its end and return its exit status; whatever interrupts the waiting stops the process first."""
    write_text(run.folder.with_name(SETTING_FILE), yaml.safe_dump(run.recipe, allow_unicode=True, sort_keys=False))
    command = run.command(floor)
    goes_on = run.is_begun and newest_checkpoint(run.folder, "true") is not None
    if not run.is_begun and run.folder.is_dir():
        # A run that was cut off before it wrote its recipe leaves half of that; the run itself refuses anything else.
        run.folder.joinpath(f"{RECIPE_FILE}.partial").unlink(missing_ok=True)
    with run.log.open("ab" if goes_on else "wb") as log:
        log.write(f"{ATTEMPT}{shlex.join(command)}\n".encode())
        log.flush()
        with subprocess.Popen(
            command, env=environment_of_child(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        ) as process:
            try:
                return process.wait()
            except BaseException:
                process.terminate()
                try:
                    process.wait(_PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                raise


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
