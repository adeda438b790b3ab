"""A search over recipe keys. Only the training itself is stood in for: what it writes is what a run writes."""

import math
from statistics import mean
from types import SimpleNamespace

import pytest
import yaml

from sentiment_hf.sweeps import ablation
from sentiment_hf.sweeps.plan import FAILED, FINISHED, SETTING_FILE
from sentiment_hf.sweeps.search import STORAGE_FILE, _open_study as open_study, run_search
from sentiment_hf.sweeps.sweep import Range, read_sweep
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import write_json

pytest.importorskip("optuna", reason="needs the search extra")

BASE = {"task": "reviews", "model": "starter", "max_length": 32}
SPACE = {
    "learning_rate": {"low": 1.0e-5, "high": 1.0e-2, "log": True},
    "max_length": {"low": 16, "high": 64, "step": 16},
    "truncation": ["right", "left"],
}


@pytest.fixture
def sweep(tmp_path):
    """Write a sweep file with this search, and read it."""

    def sweep(seeds=(42, 43), **search):
        (tmp_path / "plain.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
        path = tmp_path / "search.yaml"
        keys = {"base": "plain.yaml", "seeds": list(seeds), "search": {"space": SPACE, "trials": 12} | search}
        path.write_text(yaml.safe_dump(keys), encoding="utf-8")
        return read_sweep(path)

    return sweep


def ended_job(status):
    return SimpleNamespace(poll=lambda: status, stop=lambda: None, join=lambda: None)


@pytest.fixture
def started(monkeypatch):
    """The runs that were started; each is scored by how near its learning rate is to 1e-3, and on test by how far."""
    names = []

    def start(run, baseline, variables):
        names.append(run.folder)
        keys = run.recipe
        score = 1 - abs(math.log10(keys["learning_rate"]) + 3) / 4 - 0.1 * (keys["truncation"] == "left")
        # Whoever looks at the held-out rows, or at another score than the search's, goes the other way.
        validation = {"macro_f1": score + run.seed / 1e6, "accuracy": 1 - score / 2}
        row = {"macro_f1": 1 - score, "accuracy": 1 - score / 3, "validation": validation}
        run.folder.mkdir(parents=True)
        write_json(run.folder.with_name(SETTING_FILE), keys)
        write_json(run.folder / "run.json", {"training_seconds": 1.0})
        write_json(run.folder / "metrics.json", {"split": "test", "fp32": row | {"per_class": {}}})
        return ended_job(0)

    monkeypatch.setattr(ablation, "Job", start)
    return names


def settings(outcomes):
    return [outcome.run.setting.keys for outcome in outcomes]


def test_a_search_tries_what_its_space_allows_and_comes_near(sweep, started, tmp_path, train_file):
    folder = tmp_path / "sweep"
    outcomes = run_search(sweep(trials=25), folder, [f"--train_file={train_file}"], keep_models=False)
    assert len(outcomes) == len(started) == 50
    for keys in settings(outcomes):
        assert 1e-5 <= keys["learning_rate"] <= 1e-2
        assert keys["max_length"] in (16, 32, 48, 64)
        assert keys["truncation"] in ("right", "left")
        assert keys["learning_rate"] == float(f"{keys['learning_rate']:.4g}")
    best = max(outcomes, key=lambda outcome: outcome.metrics["fp32"]["validation"]["macro_f1"]).run.setting.keys
    assert abs(math.log10(best["learning_rate"]) + 3) < 0.4
    assert best["truncation"] == "right"
    assert (folder / "table.md").read_text(encoding="utf-8").count("| 2 |") == 25
    assert told(folder) == pytest.approx(on_validation(outcomes, "macro_f1"))


def told(folder):
    """What Optuna was told of each trial."""
    optuna = pytest.importorskip("optuna")
    backend = optuna.storages.journal.JournalFileBackend(str(folder / STORAGE_FILE))
    study = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    return [trial.value for trial in study.trials]


def on_validation(outcomes, metric):
    """The mean validation score of each setting, over its two seeds."""
    scores = [outcome.metrics["fp32"]["validation"][metric] for outcome in outcomes]
    return [(first + second) / 2 for first, second in zip(scores[::2], scores[1::2], strict=True)]


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy"])
def test_a_trial_is_worth_its_mean_score_on_validation(sweep, started, tmp_path, train_file, metric):
    search = sweep(trials=2, metric=metric)
    outcomes = run_search(search, tmp_path / "sweep", [f"--train_file={train_file}"], keep_models=False)
    scores = [outcome.metrics["fp32"]["validation"][metric] for outcome in outcomes]
    trials = open_study(tmp_path / "sweep", search.search).trials
    assert [trial.value for trial in trials] == pytest.approx([mean(scores[:2]), mean(scores[2:])], rel=1e-12)


def test_a_search_that_was_cut_off_goes_the_way_of_one_that_was_not(sweep, started, tmp_path, train_file, monkeypatch):
    words = [f"--train_file={train_file}"]
    whole = run_search(sweep(), tmp_path / "whole", words, keep_models=False)
    start = ablation.Job
    calls = []

    def cut_off(run, baseline, variables):
        calls.append(run)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return start(run, baseline, variables)

    monkeypatch.setattr(ablation, "Job", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run_search(sweep(), tmp_path / "cut", words, keep_models=False)
    again = run_search(sweep(), tmp_path / "cut", words, keep_models=False)
    assert settings(again) == settings(whole)
    assert len(calls) == 24 + 1, "each run once, but for the one that was cut off"
    started.clear()
    # Asked for more, it goes on; asked for the same, there is nothing to do.
    assert settings(run_search(sweep(), tmp_path / "cut", words, False)) == settings(whole)
    assert started == []
    more = run_search(sweep(trials=13), tmp_path / "cut", words, False)
    assert settings(more)[:24] == settings(whole)
    assert len(more) == 26
    with pytest.raises(InputError, match="the search that .* was begun with, found another space, metric or seed"):
        run_search(sweep(sampler_seed=1), tmp_path / "cut", words, False)


def test_trials_that_fail_or_are_refused_stop_no_other(sweep, started, tmp_path, train_file, monkeypatch, caplog):
    start = ablation.Job

    def sometimes(run, baseline, variables):
        if run.recipe["truncation"] == "left":
            run.folder.parent.mkdir(parents=True, exist_ok=True)
            run.log.write_text("$ train\nerror: no luck\n", encoding="utf-8")
            return ended_job(2)
        return start(run, baseline, variables)

    monkeypatch.setattr(ablation, "Job", sometimes)
    space = {"truncation": ["left", "right"], "learning_rate": [1.0e-3, 1.0e-4], "stride": [4, 100]}
    search = sweep(seeds=[42], space=space, trials=10)
    outcomes = run_search(search, tmp_path / "sweep", [f"--train_file={train_file}"], False)
    assert "is left out: Expected a stride (overlap) from 0 to below" in caplog.text
    states = {outcome.run.setting.keys["truncation"]: outcome.status for outcome in outcomes}
    assert states == {"left": FAILED, "right": FINISHED}
    assert all(outcome.reason == "no luck" for outcome in outcomes if outcome.status == FAILED)
    folders = [outcome.run.folder for outcome in outcomes]
    assert len(set(folders)) == len(folders), "a setting that is tried twice has one line"
    assert sorted(map(str, run_folders(search, tmp_path, train_file))) == sorted(map(str, folders))


def run_folders(search, tmp_path, train_file):
    again = run_search(search, tmp_path / "sweep", [f"--train_file={train_file}"], False)
    return [outcome.run.folder for outcome in again]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"space": {}}, "keys in the search space of .*, found {}"),
        ({"space": {"max_lenght": [1]}}, "unknown key 'max_lenght'"),
        ({"space": {"seed": [1, 2]}}, "'seed', which a sweep sets itself"),
        ({"space": {"max_length": [16, 16]}}, "different values or a range for 'max_length'"),
        ({"space": {"learning_rate": {"low": "1e-5", "high": 1.0}}}, "a range for 'learning_rate' in .*"),
        ({"space": {"learning_rate": {"low": 2.0, "high": 1.0}}}, "numbers with low below high"),
        ({"space": {"learning_rate": {"low": 0, "high": 1.0, "log": True}}}, "log needs them above 0"),
        ({"space": {"learning_rate": {"low": 0.1, "high": 1.0, "steps": 1}}}, "unknown key 'steps'"),
        ({"space": {"learning_rate": {"low": 0.1, "high": 1.0, "log": True, "step": 0.1}}}, "log or a step"),
        ({"trials": 0}, "trials of at least 1 in the search of .*, found 0"),
        ({"metric": "loss"}, "a metric among accuracy, macro_f1, .*, found 'loss'"),
        ({"sampler_seed": -1}, "a whole sampler_seed"),
        ({"trails": 3}, "unknown key 'trails'. The nearest known key is 'trials'"),
    ],
)
def test_what_is_no_search_is_refused(sweep, search, message):
    with pytest.raises(InputError, match=message):
        sweep(**search)


def test_a_search_and_a_grid_are_two_files(tmp_path):
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    path = tmp_path / "both.yaml"
    keys = {"base": "plain.yaml", "seeds": [1], "grid": {"max_length": [16]}, "search": {"space": SPACE, "trials": 1}}
    path.write_text(yaml.safe_dump(keys), encoding="utf-8")
    with pytest.raises(InputError, match="a search, or a grid and a list, in .*, found both"):
        read_sweep(path)


def test_what_a_space_says_is_read(sweep):
    read = sweep(metric="accuracy").search
    assert read.space["learning_rate"] == Range(1e-5, 1e-2, log=True)
    assert read.space["max_length"] == Range(16, 64, step=16)
    assert (read.metric, read.trials, read.sampler_seed) == ("accuracy", 12, 42)
