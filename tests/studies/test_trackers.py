"""What TensorBoard and W&B were told of a run is read back from their own files, whole or cut off."""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("tensorboard", reason="needs the trackers extra")
pytest.importorskip("wandb", reason="needs the trackers extra")

from sentiment_hf.evaluation.report import METRICS_FILE
from sentiment_hf.exceptions import InputError, MissingExtraError
from sentiment_hf.files import read_json, write_json
from sentiment_hf.studies.findings import find_out
from sentiment_hf.studies.findings_page import write_findings
from sentiment_hf.studies.found_runs import find_runs, group
from sentiment_hf.studies.trackers import disagreement, last_words, tracked
from sentiment_hf.training.arguments import parse_run_arguments


@pytest.fixture(scope="module")
def trained(tmp_path_factory, reviews):
    """A run that logged to both, W&B without a network, as a user starts it: W&B is set up once a process."""
    folder = tmp_path_factory.mktemp("tracked")
    reviews.to_csv(folder / "reviews.csv", index=False)
    shape = "{hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, vocab_size: 400}"
    words = ["--task=reviews", "--model=scratch", f"--config_overrides={shape}", "--num_hidden_layers=1"]
    words += ["--num_train_epochs=2", "--logging_steps=5", "--floor=false", "--report_to=tensorboard,wandb"]
    words += [f"--train_file={folder / 'reviews.csv'}", f"--cache_dir={folder / 'cache'}", "--max_length=32"]
    command = [sys.executable, "-m", "sentiment_hf.cli", "train", *words, f"--output_dir={folder / 'run'}"]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run(
        command, env=quiet | {"WANDB_MODE": "offline"}, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "wandb").exists(), "it lies in the run's folder, not where the command was called"
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def page_of(folder):
    runs, skipped = find_runs([folder])
    write_findings(find_out("x", group(runs), skipped), folder.parent / "findings.md", examples=0)
    return (folder.parent / "findings.md").read_text(encoding="utf-8")


def test_a_run_is_read_back_from_either(run):
    history = read_json(run / "run.json")["history"]
    logged = tracked(run)
    assert list(logged) == ["TensorBoard", "W&B"], "both lie in the run's folder"
    for records in logged.values():
        for name in ("loss", "eval_loss", "eval_macro_f1"):
            own = {record["step"]: record[name] for record in history if name in record}
            told = {record["step"]: record[name] for record in records if name in record}
            assert len(own) >= 2
            assert told == pytest.approx(own, rel=1e-5)
        assert disagreement(history, records) == ""
    page = page_of(run)
    assert "1 of 1 runs also logged to TensorBoard. 1 of 1 runs also logged to W&B." in page
    assert "Their scores on dev are those of the runs' own records." in page


def test_a_log_of_something_else_is_told(run):
    record = read_json(run / "run.json")
    scored = next(entry for entry in record["history"] if "eval_macro_f1" in entry)
    scored["eval_macro_f1"] = 0.25
    write_json(run / "run.json", record)
    assert f"on dev at step {scored['step']:,}, the run's record 25.00" in page_of(run)


def test_curves_of_a_run_without_a_history_come_from_a_tracker(run):
    record = read_json(run / "run.json")
    del record["history"]
    write_json(run / "run.json", record)
    runs, _ = find_runs([run])
    assert {"loss", "eval_loss"} <= {name for entry in runs[0].history for name in entry}
    assert "The loss curves of 1 of them come from there." in page_of(run)


def test_how_far_a_stopped_run_came(run, tmp_path):
    finished = tmp_path / "both" / "finished"
    shutil.copytree(run, finished)
    (run / METRICS_FILE).unlink()
    shutil.copytree(run, tmp_path / "both" / "stopped")
    own = last_words(run)
    assert own.startswith("reached step ")
    assert own.endswith("(own log)")
    assert f"no metrics.json; {own}" in dict(find_runs([tmp_path / "both"])[1])["stopped"]
    (run / "metrics.jsonl").unlink()
    assert last_words(run) == own.replace("own log", "TensorBoard")
    shutil.rmtree(run / "runs")
    assert last_words(run) == own.replace("own log", "W&B")
    # Cut off anywhere, a file still says what stands before.
    file = next(run.glob("**/*.wandb"))
    content = file.read_bytes()
    first = min(record["step"] for record in tracked(run)["W&B"])
    for share in (0.3, 0.6, 0.9):
        file.write_bytes(content[: int(len(content) * share)])
        assert all(record["step"] >= first for record in tracked(run).get("W&B", []))
    file.write_bytes(b"something else")
    assert tracked(run) == {}
    shutil.rmtree(run / "wandb")
    assert last_words(run) == ""


LONG_LOG = """
import sys, wandb
with wandb.init(mode="offline", dir=sys.argv[1], project="x") as logged:
    for step in range(1, 40):
        logged.log({"train/global_step": step, "train/loss": 1 / step, "train/note": "x" * (step * 97 % 5000)})
"""


def test_records_that_span_blocks_are_whole(tmp_path):
    """32 KB are a block of W&B's file: some of these lines lie in two."""
    # A process of its own: the file is whole when that has ended.
    subprocess.run([sys.executable, "-c", LONG_LOG, str(tmp_path)], check=True, capture_output=True)
    records = tracked(tmp_path)["W&B"]
    assert [record["step"] for record in records] == list(range(1, 40))
    assert [len(record["note"]) for record in records] == [step * 97 % 5000 for step in range(1, 40)]
    assert records[-1]["loss"] == pytest.approx(1 / 39)


def test_names_of_trackers(tmp_path, monkeypatch):
    def told(value):
        words = ["--task=reviews", f"--output_dir={tmp_path / 'run'}", "--train_file=x.csv", f"--report_to={value}"]
        return parse_run_arguments(words)

    both = told("wandb, tensorboard")
    assert both.training.report_to == ["wandb", "tensorboard"]
    # What a run writes down can be read again.
    assert told(both.as_recipe()["report_to"]).training.report_to == both.training.report_to
    assert told("none").as_recipe()["report_to"] == "none"
    with pytest.raises(InputError, match="report_to: tensorboard, wandb, all or none, found 'papyrus'"):
        told("tensorboard,papyrus")
    monkeypatch.setattr("sentiment_hf.training.arguments.get_available_reporting_integrations", lambda: [])
    with pytest.raises(MissingExtraError, match=r"pip install 'sentiment_hf\[trackers\]'"):
        told("wandb")
