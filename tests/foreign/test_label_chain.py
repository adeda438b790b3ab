"""Train, export, every verb that reads labelled rows: the run's own score everywhere, whatever labels are called."""

import argparse
import importlib.util
import json

import pandas as pd
import pytest
import transformers

from sentiment_hf.benchmark import bench
from sentiment_hf.cli import calibrate
from sentiment_hf.cli.main import main
from sentiment_hf.data.labelled import load_labelled
from sentiment_hf.enrich import verdicts
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import task_of
from sentiment_hf.modeling.loading import load_config

# Optimum's exporter, which comes with transformers 4.57 alone; without it the chain is that of torch.
EXPORTS = importlib.util.find_spec("optimum") is not None and transformers.__version__.startswith("4.")
BACKENDS = [("torch", "fp32"), ("onnx", "onnx"), ("int8", "int8")][: 3 if EXPORTS else 1]
# What stands in the file, class by class, and `labels:` where the recipe has it.
LABEL_SETS = {
    "stars": ([1, 2, 3, 4, 5], None),
    "signs": ([-1, 0, 1], None),
    "many": ([*range(119)], None),
    "floats": (["1.0", "2.0", "3.0"], None),
    "full width": (["０", "１"], None),
    "booleans": ([True, False], None),
    "json truth": (["true", "false"], {"true": "yes", "false": "no"}),
    "spaces": (["very good", " not bad ", "bad"], None),
    "invisible": (["好评\u200b", "\ufeff差评", "中评\u3000"], None),
    "two to one": ([1, 2, 4, 5], {"1": "0", "2": "0", "4": "1", "5": "1"}),
    "crossed": (["a", "b"], {"a": "b", "b": "a"}),
    "codes of others": (["1", "2", "3"], {"1": "3", "2": "1", "3": "2"}),
    "late first": (["z", "a", "m"], ["z", "m", "a"]),
}
# Of few labels, and of many.
LEARNING = {
    False: ["--num_train_epochs=8", "--learning_rate=3e-3"],
    True: ["--num_train_epochs=14", "--learning_rate=2e-3"],
}
# Their raw values are names of other classes: without a word on it such a file has two meanings.
AMBIGUOUS = ("crossed", "codes of others")


def rows_of(labels: list, each: int, seed: int) -> pd.DataFrame:
    """Rows whose words tell the class, but for some that carry another one's, so that no score is perfect."""
    rows = []
    for place, label in enumerate(labels):
        for row in range(each):
            told = (place + 1) % len(labels) if row % 3 == 2 else place
            word = chr(0x4E00 + 7 * told) + chr(0x5F00 + 3 * told)
            rows.append({"text": f"{word}{word}，第{seed}{chr(0x7530 + row)}行。", "label": label})
    return pd.DataFrame(rows).sample(frac=1, random_state=seed).reset_index(drop=True)


@pytest.fixture(scope="module", params=LABEL_SETS, ids=lambda name: name.replace(" ", "_"))
def trained(request, tmp_path_factory):
    """A run on one set of labels: its name, folder, and the files that it was given."""
    folder = tmp_path_factory.mktemp("chain")
    labels, mapping = LABEL_SETS[request.param]
    each, few = (6, 3) if len(labels) > 50 else (25, 6)
    files = {}
    for seed, (split, many) in enumerate((("train", each), ("validation", few), ("test", few)), start=1):
        files[split] = folder / f"{split}.jsonl"
        rows_of(labels, many, seed).to_json(files[split], orient="records", lines=True, force_ascii=False)
    words = [f"--{split}_file={path}" for split, path in files.items()]
    words += [] if mapping is None else [f"--labels={json.dumps(mapping)}"]
    words += [f"--output_dir={folder / 'run'}", f"--cache_dir={folder / 'cache'}", "--model=scratch"]
    words += [
        "--config_overrides={hidden_size: 64, num_attention_heads: 2, intermediate_size: 64, vocab_size: 600, "
        "hidden_dropout_prob: 0, attention_probs_dropout_prob: 0}"
    ]
    words += ["--num_hidden_layers=2", "--max_length=32", *LEARNING[len(labels) > 50]]
    words += ["--precision=fp32", "--disable_tqdm=true", "--baseline=false", "--max_drop=100"]
    words += [f"--quantize={'dynamic' if EXPORTS else 'none'}"]
    assert main(["train", *words]) == 0
    return request.param, folder / "run", files, words


def score(folder, system: str = "fp32") -> float:
    return json.loads((folder / "metrics.json").read_text())[system]["accuracy"]


def reading(name: str) -> list[str]:
    return ["--label_values", "raw"] if name in AMBIGUOUS else []


def test_every_verb_has_the_score_of_the_run(trained, tmp_path, capsys):
    name, run, files, _ = trained
    data, own = str(files["test"]), score(run)
    assert 1.2 / len(LABEL_SETS[name][0]) < own < 0.97
    if reading(name):
        assert main(["evaluate", "--model", str(run), "--data", data, "--output_dir", str(tmp_path / "e")]) == 2
        assert "one way" in capsys.readouterr().err
    said = [*reading(name), "--data", data]
    for backend, system in BACKENDS:
        words = ["--model", str(run), "--backend", backend, *said, "--output_dir", str(tmp_path / backend)]
        assert main(["evaluate", *words]) == 0
        assert score(tmp_path / backend, system) == pytest.approx(score(run, system), abs=1e-9)
    assert score(run, BACKENDS[-1][1]) == pytest.approx(own, abs=0.15)
    assert (
        main(
            [
                "evaluate",
                "--errors",
                "--model",
                str(run),
                "--backend",
                "torch",
                *said,
                "--output_dir",
                str(tmp_path / "w"),
            ]
        )
        == 0
    )
    assert json.loads((tmp_path / "w" / "errors.json").read_text())["accuracy"] == pytest.approx(own)
    assert (
        main(
            [
                "evaluate",
                "--model",
                str(run),
                "--compare",
                str(run),
                "--backend",
                "torch",
                *said,
                "--output_dir",
                str(tmp_path / "c"),
            ]
        )
        == 0
    )
    assert json.loads((tmp_path / "c" / "compare.json").read_text())["accuracy"]["a"] == pytest.approx(own)


def test_verbs_that_only_read_read_the_same_ids(trained, tmp_path):
    name, run, files, words = trained
    config = load_config(str(run))
    task, names = task_of(config), pd.read_json(files["train"], lines=True, dtype=False)["label"].tolist()
    ids = task.space.read(names, "raw").ids
    expected = [task.labels[index] for index in ids]
    classifier = SentimentClassifier.from_pretrained(run, "torch")
    options = {
        "text_column": None,
        "label_column": None,
        "encoding": "auto",
        "separator": None,
        "column_names": None,
        "labels": None,
        "label_values": "raw",
    }
    args = argparse.Namespace(data=str(files["train"]), **options)
    assert verdicts.classified_rows(classifier, task, args)["label"].tolist() == expected
    assert bench.labelled_rows(args, classifier)["name"].tolist() == expected
    assert calibrate._logits_and_labels(classifier, task, str(files["train"]), "validation", args)[1].tolist() == ids
    said = reading(name)
    pruned = ["--model", str(run), "--ffn=0.5", "--importance_file", str(files["train"]), *said]
    assert main(["compress", "prune", *pruned, "--output_dir", str(tmp_path / "pruned")]) == 0
    assert task_of(load_config(str(tmp_path / "pruned"))) == task
    faithful = ["--model", str(run), "--backend=torch", "--methods", "occlusion", "--rows=2", *said]
    assert main(["explain", "--faithfulness", *faithful, "--data", str(files["test"])]) == 0
    kept = [word for word in words if not word.startswith(("--output_dir", "--validation", "--test_file"))]
    assert (
        main(["data", "clean", *kept, "--fast", "--action=drop", "--share=0.01", f"--output_dir={tmp_path / 'clean'}"])
        == 0
    )
    cleaned = load_labelled(tmp_path / "clean" / "train.jsonl", task)
    by_text = dict(zip(pd.read_json(files["train"], lines=True)["text"], ids, strict=True))
    assert [by_text[text] for text in cleaned["text"]] == cleaned["label"].tolist()


def test_saved_splits_read_back(trained):
    _, run, files, _ = trained
    task = task_of(load_config(str(run)))
    for split, saved in (("validation", "validation"), ("test", "test")):
        raw = pd.read_json(files[split], lines=True, dtype=False)["label"].tolist()
        assert (
            load_labelled(run / "splits" / f"{saved}.jsonl", task)["label"].tolist() == task.space.read(raw, "raw").ids
        )
    assert main(["evaluate", "--model", str(run), "--backend=torch", "--data", str(run / "splits" / "test.jsonl")]) == 0
    assert score(run / "evaluation" / "test") == pytest.approx(score(run))
