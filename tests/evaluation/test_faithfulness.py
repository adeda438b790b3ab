import json

import numpy as np
import pytest

from sentiment_hf.cli.main import main
from sentiment_hf.data.chunks import Chunk
from sentiment_hf.explain.explanation import Target
from sentiment_hf.explain.faithfulness import RANDOM, SHARES, erased_rows, faithfulness, summarize

TARGET = Target("positive", 1, 0, 2)
WORD = 99


def chunk_of(ids):
    fields = {"input_ids": np.array([[2, *ids, 3]]), "attention_mask": np.ones((1, len(ids) + 2), dtype=np.int64)}
    return Chunk(fields, (None, *((place, place + 1) for place in range(len(ids))), None), 0)


def judge(rows):
    """Positive where the word stands, negative without it."""
    return np.array([[0.0, 4.0 if WORD in ids else -4.0] for ids in rows["input_ids"]])


def test_shares_are_taken_out_and_kept_alone():
    chunk = chunk_of(range(10, 30))
    rows = erased_rows(chunk, chunk.content[::-1])
    without, alone = rows["input_ids"][: len(SHARES)], rows["input_ids"][len(SHARES) :]
    assert [len(row) for row in without] == [21, 21, 20, 18, 12]
    assert without[2] == [2, *range(10, 28), 3]
    assert alone[2] == [2, 28, 29, 3]
    assert all(len(mask) == len(ids) for mask, ids in zip(rows["attention_mask"], rows["input_ids"], strict=True))


def test_who_names_the_word_is_faithful_and_who_does_not_is_not():
    chunks = [chunk_of([*range(10, 10 + place), WORD, *range(40, 70 - place)]) for place in range(20)]
    found = []
    for chunk in chunks:
        is_word = (chunk.fields["input_ids"][0] == WORD).astype(float)
        scores = {"right": is_word, "wrong": -is_word}
        found.append(faithfulness(judge, chunk, TARGET, scores, np.random.default_rng(0)))
    fall = 1 / (1 + np.exp(-4.0)) - 1 / (1 + np.exp(4.0))
    assert found[0]["right"] == pytest.approx((fall, 0))
    assert found[0]["wrong"] == pytest.approx((0, fall))
    summary = summarize(found)
    assert summary["right"]["comprehensiveness_gain"]["low"] > 0 < summary["right"]["sufficiency_gain"]["low"]
    assert summary["wrong"]["comprehensiveness_gain"]["high"] < 0 > summary["wrong"]["sufficiency_gain"]["high"]
    assert summary["right"]["comprehensiveness"]["mean"] == pytest.approx(fall)
    assert "sufficiency_gain" not in summary[RANDOM]


def test_the_command(model_folder, tmp_path, reviews, capsys):
    reviews.head(12).to_csv(tmp_path / "rows.csv", index=False)
    words = [
        "explain",
        "--faithfulness",
        "--model",
        str(model_folder),
        "--data",
        str(tmp_path / "rows.csv"),
        "--rows",
        "6",
    ]
    methods = ["--methods", "occlusion", "grad_x_input", "attention"]
    report = tmp_path / "report.json"
    assert main([*words, *methods, "--output", str(report)]) == 0
    shown = capsys.readouterr().out
    assert "on 6 texts" in shown
    figures = json.loads(report.read_text(encoding="utf-8"))
    assert list(figures["methods"]) == ["occlusion", "grad_x_input", "attention", RANDOM]
    assert figures["rows"] == 6
    for gain in ("comprehensiveness_gain", "sufficiency_gain"):
        assert figures["methods"]["occlusion"][gain]["low"] <= figures["methods"]["occlusion"][gain]["mean"]
    assert main([*words[:-1], "1"]) == 2
    (tmp_path / "blank.csv").write_text("text,label\n ,0\n ,1\n", encoding="utf-8")
    assert main([*words[:5], str(tmp_path / "blank.csv")]) == 2
