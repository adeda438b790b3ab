"""Search over recipe keys with Optuna; each trial is a setting of the sweep."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from sentiment_hf.sweeps.ablation import run_sweep
from sentiment_hf.sweeps.plan import FINISHED, Outcome, Run, plan_runs, read_outcome
from sentiment_hf.sweeps.sweep import Range, Search, Setting, Sweep
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

STORAGE_FILE = "search.journal"
# Under which a study keeps what it searches, and a trial why it failed, or why it was never run.
_SEARCH, _REASON, _REFUSED = "search", "reason", "refused"


def run_search(sweep: Sweep, folder: Path, overrides: Sequence[str], keep_models: bool, jobs: int = 1) -> list[Outcome]:
    """Do what is left of a search; the same call goes on with it after it was stopped.

    What is tried next depends on the sampler's seed, the number of the trial and the results before it alone, so a
    search that was stopped goes the way of one that was not. The sampler is Optuna's TPE (Bergstra et al. 2011); its
    first ten trials are drawn at random.

    Args:
        sweep: with `search`.
        folder: of the sweep; the study is kept in it as `search.journal`.
        overrides: `--key value …`, for every run.
        keep_models: whether the weights of a run stay after it was scored.
        jobs: runs of a trial, one a seed, that are at work at a time.

    Returns:
        What came of each run, in the order of the trials. A trial that failed is among them and stops no other; one
        whose arguments are refused, for example a stride beyond max_length, is only logged.

    Raises:
        MissingExtraError: Optuna is not installed.
        InputError: the base recipe is refused, or every trial, or the folder holds another search.
    """
    assert sweep.search is not None
    search = sweep.search
    # Whatever is wrong with every setting is refused before the folder is touched.
    plan_runs(replace(sweep, settings=[Setting(None, {}, {})]), folder, overrides)
    study = _open_study(folder, search)
    _queue_what_was_cut_off(study)
    done = [trial for trial in study.trials if _came_to_an_end(trial)]
    outcomes: list[Outcome] = []
    for trial in done:
        if _REFUSED not in trial.user_attrs:
            runs = _plan(sweep, _values(search, trial.params), folder, overrides)
            reason = trial.user_attrs.get(_REASON, "")
            outcomes = _without(outcomes, runs) + [read_outcome(run, reason) for run in runs]
    for number in range(len(done), search.trials):
        study.sampler = _import().samplers.TPESampler(seed=search.sampler_seed + number)
        asked = study.ask()
        values = _values(search, _suggest(asked, search))
        logger.info("trial %d of %d: %s", number + 1, search.trials, values)
        try:
            runs = _plan(sweep, values, folder, overrides)
        except InputError as error:
            logger.warning("trial %d is left out: %s", number + 1, error)
            asked.set_user_attr(_REFUSED, str(error))
            study.tell(asked, state=_failed())
            continue
        outcomes = run_sweep(sweep.name, runs, folder, keep_models, before=_without(outcomes, runs), jobs=jobs)
        own = outcomes[-len(runs) :]
        failed = next((outcome for outcome in own if outcome.status != FINISHED), None)
        if failed is None:
            scores = [outcome.metrics["fp32"]["validation"].get(search.metric) for outcome in own]
            if None in scores:
                known = [
                    name for name, value in own[0].metrics["fp32"]["validation"].items() if isinstance(value, float)
                ]
                remedy = f"Validation has {', '.join(known)}. Name one of them, with another --output_dir."
                raise InputError(f"a metric that these runs have in the search of {sweep.name}", search.metric, remedy)
            study.tell(asked, mean(scores))
        else:
            asked.set_user_attr(_REASON, failed.reason)
            study.tell(asked, state=_failed())
    if not outcomes:
        raise InputError("a setting that can be run", f"{search.trials} that were refused", "See the log for why.")
    return outcomes


def _import() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", "search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _failed() -> Any:
    return _import().trial.TrialState.FAIL


def _came_to_an_end(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether it was scored, or failed by itself; one that was cut off comes again."""
    return trial.value is not None or bool({_REASON, _REFUSED} & trial.user_attrs.keys())


def _open_study(folder: Path, search: Search) -> optuna.Study:
    optuna = _import()
    folder.mkdir(parents=True, exist_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / STORAGE_FILE))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(storage=storage, study_name=_SEARCH, direction="maximize", load_if_exists=True)
    before = study.user_attrs.get(_SEARCH)
    if before is not None and before != search.describe():
        remedy = "Choose another --output_dir; only `trials` may be raised in the same one."
        raise InputError(f"the search that {folder} was begun with", "another space, metric or seed", remedy)
    study.set_user_attr(_SEARCH, search.describe())
    return study


def _queue_what_was_cut_off(study: optuna.Study) -> None:
    """Let a trial in whose middle the search was stopped come again, with the same values; its finished runs are kept
    in their folders."""
    optuna = _import()
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=_failed())
        if trial.params:
            study.enqueue_trial(trial.params)


def _suggest(trial: optuna.Trial, search: Search) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for key, values in search.space.items():
        if not isinstance(values, Range):
            # Optuna takes plain values alone; a recipe's may be a mapping.
            params[key] = trial.suggest_categorical(key, [json.dumps(value) for value in values])
        elif isinstance(values.low, int) and isinstance(values.high, int) and isinstance(values.step, int | None):
            params[key] = trial.suggest_int(key, values.low, values.high, log=values.log, step=values.step or 1)
        else:
            params[key] = trial.suggest_float(key, values.low, values.high, log=values.log, step=values.step)
    return params


def _values(search: Search, params: dict[str, Any]) -> dict[str, Any]:
    """Convert what Optuna suggested to recipe keys; numbers have four digits, which is what a table shows."""
    values = {}
    for key, allowed in search.space.items():
        value = params[key]
        if isinstance(allowed, list):
            values[key] = json.loads(value)
        else:
            values[key] = float(f"{value:.4g}") if isinstance(value, float) else value
    return values


def _plan(sweep: Sweep, values: dict[str, Any], folder: Path, overrides: Sequence[str]) -> list[Run]:
    return plan_runs(replace(sweep, settings=[Setting(None, values, values)]), folder, overrides)


def _without(outcomes: Sequence[Outcome], runs: Sequence[Run]) -> list[Outcome]:
    """Earlier outcomes; of a setting that is tried once more, only the new ones are shown."""
    folders = {run.folder for run in runs}
    return [outcome for outcome in outcomes if outcome.run.folder not in folders]
