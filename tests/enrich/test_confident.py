import argparse
import itertools
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sentiment_hf.cli.clean import _add_options
from sentiment_hf.cli.main import main
from sentiment_hf.data.splits import matching_key
from sentiment_hf.enrich.confident import (
    JudgedCell,
    assign_folds,
    baseline_learner,
    cells_of,
    find_suspects,
    out_of_fold,
    rank_cell,
    remembered,
)
from sentiment_hf.tasks import BUILT_IN_TASKS, AspectTask, Cell, aspect_columns
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.utils.exceptions import InputError

pytest.importorskip("cleanlab", reason="needs the clean extra")
REVIEWS = BUILT_IN_TASKS["reviews"]
ROOT = Path(__file__).parents[2]
STUDY = runpy.run_path(str(ROOT / "recipes/enrich/cleaning.py"))
CLEAN, CORRUPTED, JUDGED, CONFIRMED = (STUDY[name] for name in ("CLEAN", "CORRUPTED", "JUDGED", "CONFIRMED"))
cleaning_protocol, flip_labels, protocol_table = (
    STUDY[name] for name in ("cleaning_protocol", "flip_labels", "protocol_table")
)


@pytest.fixture
def rows(reviews):
    labels = [REVIEWS.label2id[label] for label in reviews["label"]]
    return pd.DataFrame({"doc_id": range(len(reviews)), "text": reviews["text"], "label": labels}, dtype=object)


def test_equal_texts_share_a_fold_and_labels_are_spread(rows):
    doubled = pd.concat([rows, rows.assign(text=rows["text"] + "！！")], ignore_index=True)
    folds = assign_folds(doubled, REVIEWS, 4, seed=1)
    by_key = pd.Series(folds).groupby([matching_key(text) for text in doubled["text"]]).nunique()
    assert by_key.max() == 1
    counts = pd.crosstab(folds, doubled["label"].astype(int))
    assert counts.shape == (4, 2)
    assert counts.to_numpy().max() - counts.to_numpy().min() <= 6
    assert (folds != assign_folds(doubled, REVIEWS, 4, seed=2)).any()
    with pytest.raises(InputError, match="at least 2 folds"):
        assign_folds(rows, REVIEWS, 1, seed=1)
    with pytest.raises(InputError, match="3 different texts for 3 folds"):
        assign_folds(rows.head(2), REVIEWS, 3, seed=1)


def test_no_row_is_judged_by_a_model_that_learned_from_it(rows):
    folds = assign_folds(rows, REVIEWS, 3, seed=1)
    allowed = np.arange(len(rows)) % 2 == 0
    judged = []

    def learner(learned, asked):
        assert not set(learned["doc_id"]) & set(asked["doc_id"])
        assert all(doc % 2 == 0 for doc in learned["doc_id"])
        judged.extend(asked["doc_id"])
        return asked["doc_id"].to_numpy(dtype=float)[:, None]

    logits = out_of_fold(rows, folds, learner, allowed)
    assert sorted(judged) == list(range(len(rows)))
    assert logits[:, 0].tolist() == list(range(len(rows)))


def test_flipped_labels_come_first(rows):
    noisy = flip_labels(rows["label"].to_numpy(dtype=int), 0.1, 2, seed=3)
    wrong = set(np.flatnonzero(noisy != rows["label"].to_numpy(dtype=int)))
    assert len(wrong) == round(0.1 * len(rows))
    frame = rows.assign(label=noisy)
    ranked = find_suspects(frame, REVIEWS, assign_folds(frame, REVIEWS, 4, 0), baseline_learner(REVIEWS), rounds=2)
    assert len(wrong & set(ranked["row"].head(len(wrong)))) >= 0.9 * len(wrong)
    worst = ranked.iloc[0]
    assert {worst["given"], worst["proposed"]} == set(REVIEWS.labels)
    assert worst["p_given"] < 0.5 < worst["p_proposed"]
    assert worst["proposed"] in worst["reason"]
    assert ranked["score"].is_monotonic_increasing


def test_decision_values_are_calibrated_before_they_are_called_probabilities(rows):
    """Right in nine of ten rows and hardly sure of any: nine in ten is how sure they are taken to be."""
    given = rows["label"].to_numpy(dtype=int)
    predictions = np.where(np.arange(len(rows)) % 10 == 0, 1 - given, given)
    (cell,) = cells_of(rows, REVIEWS, np.eye(2)[predictions] * 0.2)
    assert cell.probabilities.max(axis=1) == pytest.approx(np.full(len(rows), 0.9), abs=0.005)


def test_a_text_with_two_labels_is_always_suspect():
    given = np.array([0, 1, 1, 0, 1, 0])
    sure = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.8, 0.2]])
    table = rank_cell(JudgedCell(Cell("", ("a", "b"), 0, 2), given, sure), ["x", "x", "x", "y", "z", "z"])
    assert table.loc[table["two_labels"].astype(bool), "row"].tolist() == [0, 1, 2, 4, 5]
    # Most of its rows say b; of z both labels have one row, and the two probabilities for b are 0.8 and 0.2.
    assert table["proposed"].tolist()[:3] == ["b"] * 3
    assert table.loc[4, "proposed"] == table.loc[5, "proposed"]
    assert "1 x a, 2 x b" in table.loc[0, "reason"]
    assert not table.loc[3, "suspect"]


def test_ratings_are_suspect_by_their_distance():
    stars = AspectTask(aspect_columns(["taste"]), "ordinal").cells[-1]
    cell = JudgedCell(stars, np.array([5, 5, MISSING, 2]), expected=np.array([4.6, 1.2, 3, 2.4]))
    table = rank_cell(cell, list("wxyz"), star_distance=1.5)
    assert table["row"].tolist() == [0, 1, 3]
    assert table["suspect"].tolist() == [False, True, False]
    assert table.loc[1, ["given", "proposed"]].tolist() == ["5", "1"]
    assert table.loc[1, "reason"] == "the text reads like 1.2 stars, 3.8 away"
    assert table["score"].tolist() == pytest.approx([1 - 0.4 / 4, 1 - 3.8 / 4, 1 - 0.4 / 4])


def test_aspects_are_judged_one_by_one():
    says = {0: "很差", 1: "一般", 2: "很好", 3: ""}
    cells = list(itertools.product(says, says)) * 12
    texts = [f"味道{says[taste]}，环境{says[noise]}，{number}" for number, (taste, noise) in enumerate(cells)]
    labels = [(taste, noise, 5 if taste == 2 else 1) for taste, noise in cells]
    labels[2] = (labels[2][0], MISSING, labels[2][2])
    labels[4] = (2 if labels[4][0] == 0 else 0, *labels[4][1:])
    task = AspectTask(aspect_columns(["taste", "noise"]), "regression")
    frame = pd.DataFrame({"doc_id": range(len(texts)), "text": texts, "label": labels})
    ranked = find_suspects(frame, task, assign_folds(frame, task, 4, 0), baseline_learner(task))
    assert len(ranked) == 3 * len(frame) - 1
    taste = ranked[ranked["cell"] == "taste"]
    assert taste["row"].iloc[0] == 4
    assert set(ranked["cell"]) == {"taste", "noise", "stars"}


def test_the_protocol_measures_what_review_regains(rows):
    train, test = rows.iloc[:300].reset_index(drop=True), rows.iloc[300:]
    result = cleaning_protocol(train, test, REVIEWS, baseline_learner(REVIEWS), noise=0.3, reviewed=(0.3, 1.0))
    scores = result["scores"]
    assert scores[CLEAN] > scores[CORRUPTED]
    assert scores["100% reviewed"] == scores[CLEAN]
    assert result["left"] == {"0.3": pytest.approx(0.3 - 0.3 * result["precision"]["0.3"]), "1": 0.0}
    table = protocol_table([result, result], "macro_f1")
    assert table.splitlines()[-2].startswith("| 100% reviewed |")
    assert "| 100% | 30.0% | 0.0% |" in table

    def judge(texts):
        true = dict(zip(train["text"], train["label"], strict=True))
        return [None if number == 0 else REVIEWS.labels[true[text]] for number, text in enumerate(texts)]

    judged = cleaning_protocol(train, test, REVIEWS, baseline_learner(REVIEWS), noise=0.3, reviewed=(), judge=judge)
    assert judged["judged"]["abstained"] == 1
    assert judged["judged"]["rows"] == judged["dropped"]["rows"] > 10
    assert judged["judged"]["right"] >= 1 - 1 / judged["judged"]["rows"]
    assert judged["scores"][JUDGED] > judged["scores"][CORRUPTED]
    assert CONFIRMED in protocol_table([judged], "macro_f1")
    with pytest.raises(InputError, match="between 0 and 1"):
        cleaning_protocol(train, test, REVIEWS, baseline_learner(REVIEWS), noise=0)


def test_another_model_than_the_one_that_ranks_can_be_scored_and_logits_are_kept(rows, tmp_path):
    train, test = rows.iloc[:300].reset_index(drop=True), rows.iloc[300:]
    baseline, calls = baseline_learner(REVIEWS), []

    def counted(learned_from, judged):
        calls.append(len(judged))
        return baseline(learned_from, judged)

    def study(settings):
        ranks = remembered(counted, tmp_path / "logits", settings)
        return cleaning_protocol(train, test, REVIEWS, ranks, reviewed=(0.3,), folds=4, scored=baseline)

    first = study(["--seed=42"])
    assert calls == [75] * 4
    assert first == cleaning_protocol(train, test, REVIEWS, baseline, reviewed=(0.3,), folds=4)
    assert study(["--seed=42"]) == first
    assert len(calls) == 4
    study(["--seed=43"])
    assert len(calls) == 8


@pytest.fixture
def noisy_file(tmp_path, reviews):
    rows = reviews.head(160).copy()
    rows.loc[3, "label"] = "positive" if rows.loc[3, "label"] == "negative" else "negative"
    rows.loc[160] = {"text": rows.loc[7, "text"] + "!!", "label": "positive"}
    rows.loc[161] = {"text": rows.loc[7, "text"], "label": "negative"}
    rows.to_csv(tmp_path / "noisy.csv", index=False)
    return tmp_path / "noisy.csv"


def test_review_and_back(noisy_file, tmp_path, capsys):
    words = ["data", "clean", "--fast", "--task=reviews", f"--train_file={noisy_file}"]
    assert main([*words, f"--output_dir={tmp_path / 'found'}"]) == 0
    review = pd.read_csv(tmp_path / "found" / "review.csv", dtype=str, keep_default_na=False)
    lines = {name.split("-")[0]: place for place, name in enumerate(review["id"])}
    assert {"4", "8", "161", "162"} <= set(lines)
    # What someone may have edited is never written over.
    assert main([*words, f"--output_dir={tmp_path / 'found'}"]) == 2
    assert "a folder without a review" in capsys.readouterr().err
    assert json.loads((tmp_path / "found" / "clean.json").read_text(encoding="utf-8"))["texts_with_two_labels"] == 1
    proposed = review.loc[lines["4"], "proposed"]
    review.loc[lines["4"], "decision"] = proposed
    review.loc[lines["162"], "decision"] = "drop"
    review.loc[lines["161"], "decision"] = "keep"
    review.to_csv(tmp_path / "edited.csv", index=False)
    mended = [*words, f"--reviewed={tmp_path / 'edited.csv'}", f"--output_dir={tmp_path / 'mended'}"]
    assert main(mended) == 0
    rows = pd.read_json(tmp_path / "mended" / "train.jsonl", lines=True)
    before = pd.read_csv(noisy_file)
    assert len(rows) == len(before) - 1
    assert rows.loc[3, "label"] == proposed != before.loc[3, "label"]
    assert (rows["label"] != before["label"].head(len(rows))).sum() == 1

    for column, value, message in (
        ("id", "4-00000000", "ids of the training rows"),
        ("id", review.loc[1, "id"], "each id once"),
        ("decision", "postive", "a decision among keep, drop, negative, positive"),
    ):
        changed = review.copy()
        changed.loc[0, column] = value
        changed.to_csv(tmp_path / "edited.csv", index=False)
        assert main([*mended[:-1], f"--output_dir={tmp_path / 'refused'}"]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()


def test_drop_relabel_and_share(noisy_file, tmp_path, capsys):
    words = ["data", "clean", "--fast", "--task=reviews", f"--train_file={noisy_file}"]
    assert main([*words, "--action=drop", f"--output_dir={tmp_path / 'dropped'}"]) == 0
    report = json.loads((tmp_path / "dropped" / "clean.json").read_text(encoding="utf-8"))
    rows = (tmp_path / "dropped" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == report["rows_left"] == 162 - report["suspects"]
    assert main([*words, "--action=relabel", "--share=0.5", f"--output_dir={tmp_path / 'relabelled'}"]) == 0
    report = json.loads((tmp_path / "relabelled" / "clean.json").read_text(encoding="utf-8"))
    assert 81 <= report["suspects"] <= 84
    relabelled = pd.read_json(tmp_path / "relabelled" / "train.jsonl", lines=True)
    assert relabelled.groupby(relabelled["text"].map(matching_key))["label"].nunique().max() == 1
    # However small the share, none of the rows of a text with two labels is left among the sure ones.
    assert main([*words, "--share=0.01", "--rounds=2", f"--output_dir={tmp_path / 'few'}"]) == 0
    few = pd.read_csv(tmp_path / "few" / "suspects.csv")
    # In the second round nothing is learned from what is suspect.
    both = few.merge(pd.read_csv(tmp_path / "dropped" / "suspects.csv"), on="id")
    assert (both["score_x"] != both["score_y"]).any()
    assert {"8", "161", "162"} <= set(few["id"].str.split("-").str[0])
    assert 3 <= len(few) <= 5
    for word, message in (("--share=0", "a share above 0"), ("--rounds=0", "1 round"), ("--folds=1", "2 folds")):
        assert main([*words, word, f"--output_dir={tmp_path / 'refused'}"]) == 2
        assert message in capsys.readouterr().err
    assert (
        main(["data", "clean", "--task=reviews", f"--train_file={noisy_file}", f"--output_dir={tmp_path / 'refused'}"])
        == 2
    )
    assert "or --fast" in capsys.readouterr().err


def test_every_option_acts(noisy_file, tmp_path, reviews):
    parser = argparse.ArgumentParser(add_help=False)
    _add_options(parser)
    # The others are seen above.
    others = {"output_dir", "fast", "action", "reviewed"}
    assert {action.dest for action in parser._actions} - others == {"folds", "rounds", "share", "star_distance"}
    stars = [5 if label == "positive" else 2 for label in reviews["label"][:120]]
    rows = reviews[["text"]][:120].assign(taste=[1 if star == 5 else -1 for star in stars], star=stars)
    rows.to_csv(tmp_path / "stars.csv", index=False)

    def found(*options):
        folder = tmp_path / "-".join(map(str, options)).replace("/", "")[-40:]
        assert main(["data", "clean", "--fast", *options, f"--output_dir={folder}"]) == 0
        return (folder / "suspects.csv").read_text(encoding="utf-8")

    plain = ["--task=reviews", f"--train_file={noisy_file}"]
    assert len({found(*plain, *more) for more in ([], ["--folds=3"], ["--rounds=2"], ["--share=0.3"])}) == 4
    aspects = ["--task=aspects", "--aspects=[taste]", f"--train_file={tmp_path / 'stars.csv'}"]
    assert found(*aspects) != found(*aspects, "--star_distance=0.05")


def test_folds_of_a_recipe(tiny_arguments, tmp_path):
    words = [word for word in tiny_arguments if not word.startswith("--output_dir")]
    assert main(["data", "clean", *words, "--folds=2", f"--output_dir={tmp_path / 'out'}"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"suspects.csv", "clean.json", "review.csv"}


def test_the_study_as_a_script_goes_on_where_it_was(tiny_arguments, train_file, tmp_path):
    folder = tmp_path / "study"
    words = [word for word in tiny_arguments if not word.startswith(("--output_dir", "--num_train"))]
    words += [f"--validation_file={train_file}", f"--test_file={train_file}", "--protocol=published", "--max_steps=2"]
    study = [str(ROOT / "recipes/enrich/cleaning.py"), *words, f"--output_dir={folder}", "--folds=2", "--seeds", "42"]
    done = subprocess.run([sys.executable, *study, "--fast_scores"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = (folder / "table.md").read_text(encoding="utf-8")
    assert "| 30% reviewed |" in table
    kept = {file: file.stat().st_mtime_ns for file in folder.glob("logits/*.npy")}
    assert len(kept) == 2
    assert not list(folder.glob(".staging*"))
    (folder / "seed-42.json").unlink()
    done = subprocess.run([sys.executable, *study, "--fast_scores"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "table.md").read_text(encoding="utf-8") == table
    assert {file: file.stat().st_mtime_ns for file in folder.glob("logits/*.npy")} == kept
