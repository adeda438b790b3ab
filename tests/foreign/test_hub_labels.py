"""Datasets as the Hub has them: named classes, numbers alone, test splits without labels."""

import datasets
import pytest

from sentiment_hf.data.columns import Columns
from sentiment_hf.data.sources import load_hub_dataset
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.setup import load_data, read_splits
from sentiment_hf.utils.exceptions import InputError

TEXTS = [f"第{row}条评论" for row in range(12)]


@pytest.fixture
def dataset(tmp_path):
    """Write a dataset folder as the Hub stores one; `-1` in test, and `names` for its classes where given."""

    def write(names: list[str] | None, train: list, test: list | None = None) -> str:
        label = datasets.Value("int64") if names is None else datasets.ClassLabel(names=names)
        features = datasets.Features({"text": datasets.Value("string"), "label": label})
        for split, labels in (("train", train), ("test", test)):
            if labels is not None:
                rows = {"text": TEXTS[: len(labels)], "label": labels}
                path = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
                path.parent.mkdir(exist_ok=True)
                datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
        return str(tmp_path)

    return write


def read(name: str, tmp_path, *words: str):
    return read_splits(parse_run_arguments([f"--dataset={name}", f"--output_dir={tmp_path / 'run'}", *words]))


def test_class_names_are_the_labels(dataset, tmp_path):
    name = dataset(["差评", "好评"], [0, 1, 0, 1])
    assert load_hub_dataset(name, None, Columns())["train"]["label"].tolist() == ["差评", "好评", "差评", "好评"]
    _, task = read(name, tmp_path)
    assert task.labels == ("好评", "差评")
    _, reviews = read(name, tmp_path, "--task=reviews")
    assert reviews.space.read(["差评"]).ids == [0]


def test_a_recipe_may_map_the_numbers(dataset, tmp_path):
    splits, task = read(dataset(["a", "b"], [0, 1, 0, 1]), tmp_path, "--labels={0: bad, 1: good}")
    assert task.space.read(splits["train"]["label"]).ids == [0, 1, 0, 1]
    splits, task = read(dataset(["a", "b"], [0, 1, 0, 1]), tmp_path, "--labels={a: bad, b: good}")
    assert task.space.read(splits["train"]["label"]).ids == [0, 1, 0, 1]


@pytest.mark.parametrize("names", [None, ["bad", "good"]])
def test_a_split_without_labels_is_unlabelled_text(dataset, tmp_path, caplog, names):
    caplog.set_level("INFO", "sentiment_hf")
    name = dataset(names, [0, 1] * 6, [-1, -1, -1])
    splits = load_hub_dataset(name, None, Columns())
    assert list(splits) == ["train"]
    assert "its 3 rows have no labels" in caplog.text
    data = load_data(parse_run_arguments([f"--dataset={name}", f"--output_dir={tmp_path / 'run'}"]))
    assert data.made_splits == ("test", "validation")
    # As texts they are of use.
    assert len(load_hub_dataset(name, None, Columns(labelled=False))["test"]) == 3


def test_some_missing_labels_are_left_out(dataset, tmp_path):
    data = load_data(
        parse_run_arguments([f"--dataset={dataset(['a', 'b'], [0, 1, -1] * 4)}", f"--output_dir={tmp_path / 'run'}"])
    )
    assert sum(map(len, data.splits.values())) == 8
    assert data.left_out["unlabelled"] == 4


def test_emotions_of_other_sets_are_refused(dataset, tmp_path):
    with pytest.raises(InputError, match="all 6 numbers"):
        read(dataset(None, [0, 1, 2, 3]), tmp_path, "--task=emotion")
    with pytest.raises(InputError, match="'喜悦' in row 1"):
        load_data(
            parse_run_arguments(
                [
                    f"--dataset={dataset(['喜悦', '愤怒'], [0, 1] * 6)}",
                    "--task=emotion",
                    f"--output_dir={tmp_path / 'r'}",
                ]
            )
        )
