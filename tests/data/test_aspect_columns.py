import json

import pandas as pd
import pytest

from sentiment_hf.data.labelled import load_labelled
from sentiment_hf.data.preparation import prepare_splits
from sentiment_hf.tasks import AspectTask, aspect_columns
from sentiment_hf.tasks.aspects import ASAP_ASPECTS, cell_value, star_value
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.utils.exceptions import InputError

TASK = AspectTask(aspect_columns(["taste", "noise"]), "ordinal")


def write(path, rows):
    pd.DataFrame(rows, dtype=object).to_csv(path, index=False)
    return path


def test_values_mean_what_asap_says():
    assert [cell_value(raw) for raw in ("1", 0, -1.0, "-2", "", None, float("nan"))] == [2, 1, 0, 3] + [MISSING] * 3
    assert [cell_value(raw) for raw in ("2", 0.5, "good", -100)] == [None] * 4
    assert [star_value(raw) for raw in ("5.0", 1, "", 7, "4.5", 0)] == [5, 1, MISSING, None, None, None]


@pytest.mark.parametrize("spelling", [0, 1])
def test_both_spellings_of_asap(tmp_path, spelling):
    names = [(name, *others)[spelling] for name, others in ASAP_ASPECTS.items()]
    row = {"reviewbody": "菜好吃", "star": "4.0"} | dict.fromkeys(names, "-2") | {names[15]: "1", names[0]: "-1"}
    frame = load_labelled(write(tmp_path / "asap.csv", [row]), AspectTask(aspect_columns(None), "ordinal"))
    label = frame["label"][0]
    assert label[0] == 0
    assert label[15] == 2
    assert label[-1] == 4
    assert label.count(3) == 16


def test_ai_challenger_rows_hold_one_mapping(tmp_path):
    cells = {(name, *others)[-1] if name == "location_traffic" else name: -2 for name, others in ASAP_ASPECTS.items()}
    cells |= {"others_overall_experience": 1, "dish_taste": 1, "location_traffic_convenience": 0}
    (tmp_path / "aic.jsonl").write_text(json.dumps({"text": "好吃", "label": cells}), encoding="utf-8")
    label = load_labelled(tmp_path / "aic.jsonl", AspectTask(aspect_columns(None)))["label"][0]
    assert len(label) == 18
    assert (label[0], label[15]) == (1, 2)


def test_columns_named_in_a_recipe_come_back_from_what_was_saved(tmp_path):
    task = AspectTask(aspect_columns({"taste": "味道", "noise": "吵不吵"}), "regression", "几星")
    rows = [
        {"text": "好", "味道": "1", "吵不吵": "", "几星": "5"},
        {"text": "差", "味道": "-1", "吵不吵": "0", "几星": ""},
    ]
    frame = load_labelled(write(tmp_path / "own.csv", rows), task)
    assert frame["label"].tolist() == [(2, MISSING, 5), (0, 1, MISSING)]
    task.name_labels(frame).to_json(tmp_path / "saved.jsonl", orient="records", lines=True, force_ascii=False)
    assert load_labelled(tmp_path / "saved.jsonl", task)["label"].tolist() == frame["label"].tolist()


GOOD = {"text": "好", "taste": "1", "noise": "-2", "star": "5"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (GOOD | {"taste": "3"}, "Expected 1, 0, -1, -2 or an empty cell in column taste .* found '3' in row 2"),
        (GOOD | {"star": "7"}, "Expected 1 to 5 stars .* found '7' in row 2"),
        ({"text": "好", "taste": "1", "star": "5"}, "'noise' column .*found the columns text, taste, star"),
    ],
)
def test_bad_cells_are_refused_with_row_and_column(tmp_path, row, message):
    rows = [GOOD, row] if "noise" in row else [row]
    with pytest.raises(InputError, match=message):
        load_labelled(write(tmp_path / "bad.csv", rows), TASK)


def test_a_file_without_stars_is_evaluated_but_not_trained_on(tmp_path):
    from sentiment_hf.data.labelled import columns_of
    from sentiment_hf.data.sources import load_file

    path = write(tmp_path / "plain.csv", [{"text": "好", "taste": "1", "noise": "0"}])
    assert load_labelled(path, TASK)["label"].tolist() == [(2, 1, MISSING)]
    with pytest.raises(InputError, match="rating column"):
        load_file(path, columns_of(TASK))


def frame(*labels):
    return pd.DataFrame(
        {"doc_id": range(len(labels)), "text": [f"第{i}家" for i in range(len(labels))], "label": labels}
    )


def test_splits_are_made_by_stars_and_silent_aspects_are_named(caplog):
    labels = [(2, 3, 5), (0, 3, 1)] * 50
    data = prepare_splits({"train": frame(*labels)}, TASK)
    assert {split: len(rows) for split, rows in data.splits.items()} == {"train": 80, "validation": 10, "test": 10}
    assert [label[-1] for label in data.splits["test"]["label"]].count(5) == 5
    assert "no training row mentions noise" in caplog.text
    assert data.audit["train"]["labels"]["taste: positive"] == 50
    with pytest.raises(InputError, match="an aspect with two values"):
        prepare_splits({"train": frame(*[(2, 3, 5)] * 40), "validation": frame((2, 3, 5))}, TASK, "published")


def test_recipe_aspects():
    assert len(aspect_columns(None)) == 18
    with pytest.raises(InputError, match="different aspects"):
        aspect_columns(["a", "a"])
    with pytest.raises(InputError, match="different aspects"):
        aspect_columns([])


def test_an_aspect_does_not_take_the_name_of_the_rating():
    assert AspectTask(aspect_columns(["stars"])).aspects == ("stars",)
    with pytest.raises(InputError, match="no aspect called 'stars' beside a rating"):
        AspectTask(aspect_columns(["stars"]), "ordinal")
