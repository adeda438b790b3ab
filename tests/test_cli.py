"""The command line as a person uses it: verbs in processes of their own, and every bad input in one sentence."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from sentiment_hf.cli.main import main


def command(*words):
    return [sys.executable, "-m", "sentiment_hf", *map(str, words)]


def run(*words, **options):
    return subprocess.run(command(*words), capture_output=True, text=True, **options)


@pytest.fixture
def trained(tiny_arguments, tmp_path) -> Path:
    assert main(["train", *tiny_arguments]) == 0
    return tmp_path / "run"


def test_train_writes_a_whole_run(trained):
    names = {path.name for path in trained.iterdir()}
    assert names >= {"model.safetensors", "config.json", "tokenizer.json", "metrics.json", "audit.json", "recipe.yaml"}
    assert {path.name for path in (trained / "splits").iterdir()} == {"train.jsonl", "validation.jsonl", "test.jsonl"}
    assert not list(trained.glob("**/.staging-*")) + list(trained.glob("**/*.partial"))
    audit = json.loads((trained / "audit.json").read_text(encoding="utf-8"))
    assert audit["rows_of_this_run"]["train"]["rows"] == 344
    assert audit["rows_of_this_run"]["train"]["cut_by_max_length"] == 0
    log = (trained / "train.log").read_text(encoding="utf-8")
    for word in ("seed 42", "'torch':", "'learning_rate': 0.002", "eval_macro_f1="):
        assert word in log
    metrics = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    for system in ("baseline", "fp32"):
        assert metrics[system].keys() >= {"accuracy", "macro_f1", "size_mb", "ms_per_review"}
    assert metrics["rows"]["train"] == metrics["baseline"]["train_rows"]


def test_train_and_accelerate_launch_do_the_same(tiny_arguments, trained, tmp_path):
    words = [word for word in tiny_arguments if not word.startswith("--output_dir")]
    launched = tmp_path / "launched"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu"]
    # Sums over another number of threads differ in the last bit.
    launch += [f"--num_cpu_threads_per_process={torch.get_num_threads()}", "-m", "sentiment_hf.training.run"]
    subprocess.run([*launch, *words, f"--output_dir={launched}"], check=True, capture_output=True)
    assert (launched / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_a_run_is_not_overwritten_unasked(tiny_arguments, trained, capsys):
    before = (trained / "metrics.json").read_bytes()
    assert main(["train", *tiny_arguments]) == 2
    assert "--overwrite_output_dir" in capsys.readouterr().err
    assert (trained / "metrics.json").read_bytes() == before
    assert main(["train", *tiny_arguments, "--overwrite_output_dir"]) == 0


def test_a_folder_that_is_no_run_is_never_emptied(tiny_arguments, tmp_path, capsys):
    keep = tmp_path / "run" / "thesis.txt"
    keep.parent.mkdir()
    keep.write_text("mine")
    for force in ("--overwrite_output_dir", "--resume_from_checkpoint=true"):
        assert main(["train", *tiny_arguments, force]) == 2
        assert "thesis.txt" in capsys.readouterr().err
    assert keep.read_text() == "mine"


def test_evaluate_writes_the_same_format(trained, capsys):
    data = trained / "splits" / "test.jsonl"
    assert main(["evaluate", "--model", str(trained), "--data", str(data)]) == 0
    written = json.loads((trained / "evaluation/test/metrics.json").read_text(encoding="utf-8"))
    trained_metrics = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))
    assert written["fp32"]["accuracy"] == trained_metrics["fp32"]["accuracy"]
    assert written["fp32"]["confusion_matrix"] == trained_metrics["fp32"]["confusion_matrix"]


def test_baseline_and_report(tiny_arguments, tmp_path, capsys):
    words = [word for word in tiny_arguments if word.startswith(("--train_file", "--task"))]
    for protocol in ("clean", "published"):
        assert (
            main(["train", "--baseline_only", *words, f"--protocol={protocol}", f"--output_dir={tmp_path / protocol}"])
            == 0
        )
    capsys.readouterr()
    assert main(["evaluate", "--runs", str(tmp_path / "clean"), str(tmp_path / "published")]) == 0
    printed = capsys.readouterr().out
    assert "│ clean " in printed
    assert "│ published " in printed
    assert json.loads((tmp_path / "clean/metrics.json").read_text(encoding="utf-8"))["baseline"]["accuracy"] > 0.9


def test_audit_prints_json_and_writes_clean_splits(train_file, tmp_path, capsys):
    doubled = tmp_path / "doubled.csv"
    frame = pd.read_csv(train_file)
    pd.concat([frame, frame.head(10)]).to_csv(doubled, index=False)
    folder = tmp_path / "clean"
    assert main(["audit", "--train_file", str(doubled), "--json", "--write_clean", str(folder)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["train"]["rows"] == 442
    assert report["train"]["repeated_rows"] == 10
    assert len((folder / "train.jsonl").read_text(encoding="utf-8").splitlines()) == 432
    assert main(["audit", "--train_file", str(doubled)]) == 0
    assert "rows that repeat an earlier one" in capsys.readouterr().out


def test_predict_texts(model_folder, capsys):
    assert main(["predict", "--model", str(model_folder), "这个电影太好看了！", "房间很吵"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Text: 这个电影太好看了！"
    assert lines[1].startswith("Pred: ")
    assert lines[2].startswith("Top-2: ")
    assert main(["predict", "--model", str(model_folder), "--json", "房间很吵", ""]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first.keys() == {"text", "label", "probability", "top"}
    assert (second["label"], second["reason"]) == (None, "empty text")


def test_predict_reads_lines_where_no_text_is_given(model_folder):
    done = run("predict", "--model", model_folder, "--json", input="房间很吵\n早餐非常好\n\n不会读到\n")
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["房间很吵", "早餐非常好"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_predict_file(model_folder, tmp_path, suffix):
    source, output = tmp_path / "in.csv", tmp_path / f"out{suffix}"
    pd.DataFrame({"id": [1, 2, 3], "text": ["很好", "", '他说"差"，\n真的'], "label": [1, 0, 0]}).to_csv(
        source, index=False
    )
    assert main(["predict", "--model", str(model_folder), "--file", str(source), "--output", str(output)]) == 0
    assert not output.with_name(output.name + ".partial").exists()
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        # The label of the input stays; the prediction's has another name.
        assert [row["label"] for row in rows] == ["1", "0", "0"]
        assert [row["label_2"] is None for row in rows] == [False, True, False]
        return
    with output.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ","))
    assert [row["text"] for row in rows] == ["很好", "", '他说"差"，\n真的']
    assert [row["predicted_label"] == "" for row in rows] == [False, True, False]
    assert rows[1]["reason"] == "empty text"
    assert [row["label"] for row in rows] == ["1", "0", "0"]


def test_interrupted_prediction_leaves_whole_rows_under_a_partial_name(model_folder, tmp_path):
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    pd.DataFrame({"text": [f"第{number}间房间很吵，\n早餐非常好" for number in range(60_000)]}).to_csv(
        source, index=False
    )
    words = command("predict", "--model", model_folder, "--file", source, "--output", output)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    partial = tmp_path / "out.csv.partial"
    deadline = time.monotonic() + 90
    while (not partial.exists() or partial.stat().st_size == 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert not output.exists()
    with partial.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) < 60_000
    assert all(row["predicted_label"] and float(row["probability"]) > 0 for row in rows)


def test_an_interrupt_waits_for_the_check_and_a_second_one_does_not():
    from sentiment_hf.utils.exceptions import deferred_interrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as check:  # noqa: PT012 the order is what is tested
        check()
        signal.raise_signal(signal.SIGINT)
        check()
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def one_class(path):
    pd.DataFrame({"text": [f"很好{n}" for n in range(40)], "label": "positive"}).to_csv(path, index=False)


def unknown_label(path):
    pd.DataFrame({"text": ["很好", "很差", "一般"], "label": [1, 0, 7]}).to_csv(path, index=False)


BAD_TRAINING = [
    ("missing file", None, [], "nothing there"),
    ("empty file", lambda path: path.write_text(""), [], "an empty file"),
    ("missing column", lambda path: path.write_text("a,b\n1,2\n"), [], "found the columns a, b"),
    ("unknown label", unknown_label, [], "'7' in row 3"),
    (
        "wrong encoding",
        lambda path: path.write_bytes("text,label\n差,1\n".encode("gb18030")),
        ["--encoding=utf-8"],
        "gb18030",
    ),
    ("one class", one_class, [], "at least two classes"),
    ("blank texts", lambda path: path.write_text("text,label\n,1\n ,0\n"), [], "only blank ones"),
    ("unknown key", one_class, ["--rdrop_alfa=1"], "'rdrop_alpha'"),
    ("positions", lambda path: pd.DataFrame(GOOD_ROWS).to_csv(path, index=False), ["--max_length=65"], "at most 64"),
    (
        "no tokenizer",
        lambda path: pd.DataFrame(GOOD_ROWS).to_csv(path, index=False),
        ["--model={bare}"],
        "a tokenizer in",
    ),
]
GOOD_ROWS = [{"text": f"第{number}个{'好' if number % 2 else '坏'}", "label": number % 2} for number in range(60)]


@pytest.mark.parametrize(("name", "make", "words", "message"), BAD_TRAINING, ids=[case[0] for case in BAD_TRAINING])
def test_bad_training_input_is_one_sentence_and_nothing_written(
    tiny_arguments, tmp_path, make_model, name, make, words, message, capsys
):
    path = tmp_path / "bad.csv"
    if make:
        make(path)
    bare = tmp_path / "bare"
    make_model().save_pretrained(bare)
    arguments = [word for word in tiny_arguments if not word.startswith("--train_file")]
    words = [word.format(bare=bare) for word in words]
    if any(word.startswith("--model=") for word in words):
        arguments = [word for word in arguments if not word.startswith(("--model", "--config_over", "--num_hidden"))]
    assert main(["train", *arguments, f"--train_file={path}", *words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert errors[0].startswith("error: Expected ")
    assert message in errors[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "--model", "./none", "文本"], "nothing there"),
        (["predict", "--model", "{model}", "--file", "none.csv"], "nothing there"),
        (["predict", "--model", "{model}", "--file", "a.csv", "文本"], "Give one of them"),
        (["predict", "--model", "{model}", "--output", "a.csv", "文本"], "--file with --output"),
        (["predict", "--model", "{model}", "--backend", "int8", "文本"], "--quantize dynamic"),
        (["evaluate", "--model", "{model}", "--data", "none.csv"], "nothing there"),
        (["evaluate", "--runs", "none"], "no metrics.json"),
        (["evaluate", "--runs", "none", "--output_dir", "x"], "--runs alone, found --runs and --output_dir"),
        (["evaluate", "--calibrate", "--model", "{model}", "--output_dir", "x"], "found --calibrate and --output_dir"),
        (
            ["evaluate", "--model", "{model}", "--data", "none.csv", "--precision", "0.9"],
            "--calibrate with --precision",
        ),
        (["explain", "--model", "{model}", "--labels", "a", "文本"], "--faithfulness with --labels"),
        (["explain", "--model", "{model}", "--faithfulness", "--json", "--data", "x"], "--output with --faithfulness"),
        (["train", "x.csv", "--baseline_only", "--push_to_hub=true", "--hub_model_id=a/b"], "found baseline_only"),
        (["compress", "export", "--model", "{model}", "--quantize", "dynamic"], "--validation_file"),
        (["audit"], "neither a file nor a dataset"),
    ],
)
def test_bad_words_are_one_sentence(model_folder, words, message, capsys):
    assert main([word.format(model=model_folder) for word in words]) == 2
    assert message in capsys.readouterr().err


def test_options_may_be_written_with_hyphens(model_folder, capsys):
    assert main(["predict", "--model", str(model_folder), "--top-k=1", "--json", "--", "--top-k"]) == 0
    prediction = json.loads(capsys.readouterr().out)
    assert len(prediction["top"]) == 1
    # What stands behind the lone dashes is text.
    assert prediction["text"] == "--top-k"


def test_argparse_errors_are_one_line():
    done = run("predict", "--nonsense")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
