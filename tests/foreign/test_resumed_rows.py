"""A run goes on with the rows and labels that its checkpoint was trained on, or not at all."""

import json

import pandas as pd
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.utils.files import read_json

OPTIONS = ["--save_strategy=steps", "--eval_strategy=steps", "--eval_steps=4", "--save_steps=4", "--max_steps=8"]
OPTIONS += ["--baseline=false", "--save_total_limit=3"]


@pytest.fixture
def stopped(tiny_arguments, tmp_path):
    """A run as it lies there after it was killed at the end of its training, and its words."""
    words = [word for word in tiny_arguments if not word.startswith("--num_train_epochs")] + OPTIONS
    assert main(["train", *words]) == 0
    folder = tmp_path / "run"
    for name in ("run.json", "metrics.json", "config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).unlink()
    return folder, words


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_other_rows_and_labels_are_refused(stopped, train_file, tmp_path, capsys):
    folder, words = stopped
    record = read_json(folder / "rows.json")
    assert record["labels"] == ["negative", "positive"]
    assert set(record["splits"]) == {"train", "validation", "test"}
    rows = pd.read_csv(train_file)
    swapped = rows.copy()
    different = rows.index[rows["label"] != rows["label"].iloc[0]][0]
    swapped.loc[[0, different], "label"] = swapped.loc[[different, 0], "label"].to_numpy()
    changed = rows.copy()
    changed.loc[5, "text"] = "这条评论是后来写的,和别的都不一样。"
    another = pd.DataFrame({"text": ["完全不同的一句话,一点也不像。", "再来一条谁也没见过的评论!"]})
    another["label"] = ["negative", "positive"]
    cases = {
        "swapped": (swapped, []),
        "one more": (pd.concat([rows, another]), []),
        "one less": (rows[:-1], []),
        "another text": (changed, []),
        "another order": (rows[::-1], []),
        "another mapping": (rows, ["--task=mine", "--labels={negative: bad, positive: good}"]),
        "another order of labels": (rows, ["--task=mine", "--labels={positive: positive, negative: negative}"]),
        "fewer rows": (rows, ["--max_train_rows=100"]),
    }
    before = files(folder)
    for name, (table, more) in cases.items():
        path = tmp_path / f"{name}.csv"
        table.to_csv(path, index=False)
        given = [word for word in words if not word.startswith("--train_file")] + [f"--train_file={path}", *more]
        assert main(["train", *given, "--resume_from_checkpoint=true"]) == 2, name
        error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(error) == 1
        assert "checkpoint-8" in error[0]
        assert "the same files and labels" in error[0]
        assert files(folder) == before, name


def test_the_same_rows_go_on_also_from_another_file_and_folder(stopped, train_file, tmp_path):
    folder, words = stopped
    same = tmp_path / "the same.jsonl"
    same.write_text(
        "".join(json.dumps(row) + "\n" for row in pd.read_csv(train_file).to_dict("records")), encoding="utf-8"
    )
    given = [word for word in words if not word.startswith(("--train_file", "--output_dir", "--max_steps"))]
    given += [f"--train_file={same}", f"--output_dir={tmp_path / 'new'}", "--max_steps=12"]
    assert main(["train", *given, f"--resume_from_checkpoint={folder / 'checkpoint-8'}"]) == 0
    history = read_json(tmp_path / "new" / "run.json")["history"]
    assert [entry["step"] for entry in history if "eval_loss" in entry] == [4, 8, 12]


def test_a_record_that_is_damaged_or_not_there(stopped, capsys, caplog):
    folder, words = stopped
    (folder / "rows.json").write_text('{"labels": 3}', encoding="utf-8")
    assert main(["train", *words, "--resume_from_checkpoint=true"]) == 2
    assert "rows.json" in capsys.readouterr().err
    # Of a version that wrote none.
    (folder / "rows.json").unlink()
    assert main(["train", *words, "--resume_from_checkpoint=true"]) == 0
    assert "they are not compared" in (capsys.readouterr().err + caplog.text)
