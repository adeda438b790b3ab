import pandas as pd
import pytest

from sentiment_hf.enrich.confident import COLUMNS
from sentiment_hf.enrich.review import apply_decisions, read_decisions, review_table
from sentiment_hf.tasks import BUILT_IN_TASKS, AspectTask, aspect_columns
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.utils.exceptions import InputError

TASK = AspectTask(aspect_columns(["taste", "noise"]), "ordinal")


@pytest.fixture
def frame():
    labels = [(2, 0, 5), (1, MISSING, MISSING), (0, 0, 1)]
    return pd.DataFrame({"doc_id": range(3), "text": ["好吃但吵", "味道一般", "都不行"], "label": labels})


def suspects(*cells):
    rows = [(row, cell, "x", "y", 0.1, 0.9, 0.1, True, False, "why") for row, cell in cells]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_decisions_about_aspects_and_stars(frame):
    table = review_table(suspects((0, "noise"), (0, "stars"), (1, "taste"), (2, "taste"), (2, "noise")), frame)
    assert table["text"].tolist() == ["好吃但吵", "好吃但吵", "味道一般", "都不行", "都不行"]
    assert table["id"].is_unique is False
    table["decision"] = ["positive", "3", "drop", " keep ", "drop"]
    decisions = read_decisions(table, frame, TASK, "review.csv")
    assert decisions == [(0, "noise", "positive"), (0, "stars", "3"), (1, "taste", "drop"), (2, "noise", "drop")]
    mended = apply_decisions(frame, decisions, TASK)
    # The second row had one label only, and is gone with it.
    assert mended["text"].tolist() == ["好吃但吵", "都不行"]
    assert mended["label"].tolist() == [(2, 2, 3), (0, MISSING, 1)]
    assert frame["label"].tolist()[0] == (2, 0, 5)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("cell", "price", "an aspect of the task in review.csv, found 'price' in row 1"),
        ("decision", "6", "among keep, drop, 1, 2, 3, 4, 5 or an empty one"),
        ("id", "1-00000000", "ids of the training rows in review.csv, found '1-00000000' in row 1"),
    ],
)
def test_edits_that_cannot_be_meant(frame, column, value, message):
    table = review_table(suspects((0, "stars")), frame)
    table.loc[0, column] = value
    with pytest.raises(InputError, match=message):
        read_decisions(table, frame, TASK, "review.csv")


def test_a_review_of_rows_that_changed_since_is_refused(frame):
    table = review_table(suspects((0, "stars")), frame)
    relabelled = frame.assign(label=[(2, 0, 4), *frame["label"][1:]])
    other_text = frame.assign(text=["好吃", *frame["text"][1:]])
    for changed in (other_text, relabelled, frame.iloc[::-1].reset_index(drop=True)):
        with pytest.raises(InputError, match="ids of the training rows"):
            read_decisions(table, changed, TASK, "review.csv")
    with pytest.raises(InputError, match="a column 'decision' in review.csv"):
        read_decisions(table.drop(columns="decision"), frame, TASK, "review.csv")


def test_labels_of_one_kind():
    task = BUILT_IN_TASKS["reviews"]
    frame = pd.DataFrame({"doc_id": range(3), "text": ["一", "二", "三"], "label": [0, 1, 0]})
    mended = apply_decisions(frame, [(0, "", "positive"), (2, "", "drop")], task)
    assert mended["label"].tolist() == [1, 1]
    assert mended["text"].tolist() == ["一", "二"]
