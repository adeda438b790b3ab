import json

import numpy as np
import pandas as pd
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.evaluation.errors import (
    MARKS,
    MIN_SLICE_ROWS,
    confusion,
    predictions_frame,
    slices,
    surest_mistakes,
    top_confusions,
)

LABELS = ("a", "b", "c")


@pytest.fixture
def frame():
    # Ten texts of each true label: all of a right, b taken for c four times and for a once, c right but once.
    predictions = [0] * 10 + [1] * 5 + [2] * 4 + [0] + [2] * 9 + [1]
    rows = pd.DataFrame(
        {
            "text": [f"第{n}条" + ("不好" if n % 2 else "") * (n + 1) for n in range(30)],
            "label": [0] * 10 + [1] * 10 + [2] * 10,
        }
    )
    probabilities = np.full((30, 3), 0.1)
    probabilities[np.arange(30), predictions] = 0.8
    probabilities[19] = [0.98, 0.01, 0.01]
    return predictions_frame(rows.assign(source=["x", "y"] * 15), probabilities, LABELS)


def test_confusions_by_hand(frame):
    assert frame["right"].sum() == 24
    matrix = confusion(frame, LABELS)
    assert matrix.to_numpy().tolist() == [[10, 0, 0], [1, 5, 4], [0, 1, 9]]
    pairs = top_confusions(frame, count=2, examples=2)
    assert [(pair["truth"], pair["prediction"], pair["rows"]) for pair in pairs] == [("b", "c", 4), ("b", "a", 1)]
    assert pairs[0]["share_of_truth"] == 0.4
    assert len(pairs[0]["examples"]) == 2
    assert pairs == top_confusions(frame, count=2, examples=2)
    assert surest_mistakes(frame, 1)["confidence"].tolist() == [0.98]


def test_every_row_is_in_one_slice_of_each_kind(frame):
    parts = slices(frame, "source")
    for by in ("characters", "negation", "source"):
        assert sum(part["rows"] for part in parts if part["by"] == by) == 30, by
    whole = sum(part["rows"] * part["difference"] for part in parts if part["by"] == "characters")
    assert whole == pytest.approx(0, abs=1e-9)
    assert [part["rows"] for part in parts if part["by"] == "negation"] == [15, 15]
    assert {part["slice"] for part in parts if part["by"] == "source"} == {"x", "y"}


def test_a_slice_says_how_far_it_is_from_all_rows(frame):
    parts = slices(frame, "source")
    marked = next(part for part in parts if (part["by"], part["slice"]) == ("negation", "with"))
    assert (marked["accuracy"], marked["difference"]) == pytest.approx((11 / 15, 11 / 15 - 24 / 30))
    # The worst first, but what chance alone moves comes last.
    few = [part["rows"] < MIN_SLICE_ROWS for part in parts]
    assert few == sorted(few)
    accuracies = [part["accuracy"] for part in parts if part["rows"] < MIN_SLICE_ROWS]
    assert accuracies == sorted(accuracies)
    assert accuracies[0] < accuracies[-1]


@pytest.mark.parametrize(
    ("mark", "text", "has"),
    [
        ("negation", "不怎么样", True),
        ("negation", "很好", False),
        ("contrast", "便宜，但是很吵", True),
        ("question", "好吗", True),
        ("emoji", "真好😀", True),
        ("emoji", "难过[泪]", True),
        ("emoji", "第[1]章", False),
    ],
)
def test_marks(mark, text, has):
    assert MARKS[mark](text) is has


def test_the_command(model_folder, tmp_path, reviews, capsys):
    rows = reviews.head(120).assign(kind=["酒店", "书"] * 60)
    rows.loc[3, "text"] = "很|差<b>`x`"
    rows.to_csv(tmp_path / "rows.csv", index=False)
    words = ["evaluate", "--errors", "--model", str(model_folder), "--data", str(tmp_path / "rows.csv")]
    out = tmp_path / "report"
    assert main([*words, "--category", "kind", "--output_dir", str(out)]) == 0
    page = (out / "errors.md").read_text(encoding="utf-8")
    assert "| column kind | 书 | 60 |" in page
    assert "share of the prediction" in page
    assert "<b>" not in page
    figures = json.loads((out / "errors.json").read_text(encoding="utf-8"))
    wrong = sum(pair["rows"] for pair in figures["confusions"])
    assert len(pd.read_csv(out / "mistakes.csv")) == wrong == round(120 * (1 - figures["accuracy"]))
    table = pd.read_csv(out / "confusion.csv", index_col=0)
    assert table.to_numpy().sum() == 120
    np.testing.assert_allclose(pd.read_csv(out / "confusion_by_truth.csv", index_col=0).sum(axis=1), 1)
    for name in ("label", "truth", "right"):
        rows.assign(**{name: rows["label"]}).to_csv(tmp_path / "named.csv", index=False)
        named = [word.replace("rows.csv", "named.csv") for word in words]
        assert main([*named, "--category", name, "--output_dir", str(tmp_path / name)]) == 0
        assert f"| column {name} | positive |" in (tmp_path / name / "errors.md").read_text(encoding="utf-8")
    assert main([*words, "--category", "shop", "--output_dir", str(out)]) == 2
    assert main([*words, "--top_k", "0", "--output_dir", str(out)]) == 2


def test_names_that_no_font_can_draw_become_numbers(tmp_path, monkeypatch, caplog):
    pytest.importorskip("matplotlib", reason="needs the plots extra")
    from sentiment_hf.evaluation import plots

    table = pd.DataFrame([[3, 1], [0, 2]], index=["体育", "财经"], columns=["体育", "财经"])
    monkeypatch.setattr(plots, "han_font", lambda: None)
    plots.confusion_plot(table, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert "0 = 体育, 1 = 财经" in caplog.text
    assert plots.drawable_names(["good", "bad"]) == (["good", "bad"], {})
    monkeypatch.setattr(plots, "han_font", lambda: "DejaVu Sans")
    assert plots.drawable_names(["naïve"]) == (["naïve"], {"fontname": "DejaVu Sans"})
    # A font that has other glyphs, but not this one: numbers again, and no empty box.
    assert plots.drawable_names(["体育"]) == (["0"], {})
    assert "DejaVu Sans lacks a glyph: in the picture 0 = 体育" in caplog.text
