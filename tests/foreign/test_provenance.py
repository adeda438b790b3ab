"""What a run really read is what each of its records says, and no record gives a folder away."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sentiment_hf.publishing.card import ModelCard, render
from sentiment_hf.publishing.files import pushed_files
from sentiment_hf.publishing.push import model_card
from sentiment_hf.publishing.run import read_run
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.run import train

HUB_ID = "lansinuote/ChnSentiCorp"
SHORT = (
    "--max_steps=2",
    "--baseline=false",
    "--eval_strategy=no",
    "--save_strategy=no",
    "--load_best_model_at_end=false",
)


def card_of(run: Path) -> ModelCard:
    finished = read_run(run)
    return model_card(finished, "alice/mine", frozenset(file.path for file in pushed_files(finished, "")))


def published(card: ModelCard) -> list[str]:
    """The card, and the records that go out with it."""
    files = pushed_files(card.run, "")
    return [render(card), *(file.content.decode() for file in files if isinstance(file.content, bytes))]


def trained(words: list[str], *more: str) -> Path:
    args = parse_run_arguments([*words, *SHORT, *more])
    train(args)
    return args.training.folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"dataset: {HUB_ID}\ndataset_config: default\n", encoding="utf-8")
    return path


def test_a_file_that_wins_over_the_recipes_dataset_is_what_is_named(tiny_arguments, recipe, tmp_path, reviews):
    others = tmp_path / "zhangsan-private"
    others.mkdir()
    reviews[:60].to_csv(others / "held.csv", index=False)
    run = trained(tiny_arguments, f"--config={recipe}", f"--test_file={others / 'held.csv'}")
    card = card_of(run)
    records = [(run / name).read_text(encoding="utf-8") for name in ("recipe.yaml", "run.json", "train.log")]
    shown = [
        render(card),
        *(file.content.decode() for file in pushed_files(card.run, "") if type(file.content) is bytes),
    ]
    for text in (*records, *shown):
        assert "ChnSentiCorp" not in text
    for text in shown:
        assert str(tmp_path) not in text
        assert "zhangsan" not in text
    splits = json.loads((run / "run.json").read_text(encoding="utf-8"))["sources"]["splits"]
    assert {name: (entry["kind"], entry["name"]) for name, entry in splits.items()} == {
        "train": ("file", "reviews.csv"),
        "validation": ("made", "train"),
        "test": ("file", "held.csv"),
    }
    assert splits["test"]["rows"] == 60
    front = yaml.safe_load(shown[0].split("---")[1])
    assert "datasets" not in front
    assert "base_model" not in front
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == "held.csv"
    assert "- test: the file held.csv, 60 rows" in shown[0]


def test_a_test_made_here_is_not_called_that_of_the_dataset(tiny_arguments):
    run = trained(tiny_arguments)
    result = yaml.safe_load(render(card_of(run)).split("---")[1])["model-index"][0]["results"][0]["dataset"]
    assert result["split"] == "train"
    assert result["args"]["rows"] == "test, made here of the training rows"


def test_second_sources_and_teachers_are_named_without_their_folders(
    tiny_arguments, tmp_path, monkeypatch, make_model, model_folder
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lisi").mkdir()
    more = pd.DataFrame({"text": [f"又一条新的评论说第{i}天很好" for i in range(30)], "label": "positive"})
    more.to_csv(tmp_path / "lisi/more.csv", index=False)
    more.assign(text="无标签" + more["text"]).to_csv(tmp_path / "lisi/plain.csv", index=False)
    (tmp_path / "lisi/teacher").symlink_to(model_folder)
    run = trained(
        tiny_arguments,
        "--supplement={source: lisi/more.csv}",
        "--unlabelled=[lisi/plain.csv]",
        "--distill_from=lisi/teacher",
    )
    sources = json.loads((run / "run.json").read_text(encoding="utf-8"))["sources"]
    assert sources["supplement"]["name"] == "more.csv"
    assert sources["supplement"]["rows"] == 30
    assert sources["unlabelled"][0]["name"] == "plain.csv"
    assert sources["teachers"] == [{"kind": "folder", "name": "model"}]
    card = card_of(run)
    for text in published(card):
        assert "lisi" not in text
    assert "- more training rows: the file more.csv, 30 rows" in render(card)


def test_a_local_folder_that_looks_like_an_id_is_no_base_model(tiny_arguments, tmp_path, monkeypatch, model_folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wangwu").mkdir()
    model_folder.rename(tmp_path / "wangwu/encoder")
    words = [word for word in tiny_arguments if not word.startswith(("--model", "--config_overrides", "--num_hidden"))]
    run = trained(words, "--model=wangwu/encoder")
    # Pushed from elsewhere, after the folder has gone.
    (tmp_path / "wangwu/encoder").rename(tmp_path / "gone")
    text = render(card_of(run))
    assert "base_model" not in text
    assert "wangwu" not in text
    assert "from a model in the folder encoder" in text


def test_a_run_from_before_this_record_is_read_by_its_recipe(tiny_arguments, tmp_path):
    run = trained(tiny_arguments)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del record["sources"]
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    recipe = (run / "recipe.yaml").read_text(encoding="utf-8")
    (run / "recipe.yaml").write_text(f"dataset: {HUB_ID}\n{recipe}", encoding="utf-8")
    card = card_of(run)
    assert not any("ChnSentiCorp" in text for text in published(card))


def test_figures_of_other_rows_are_marked(tiny_arguments, tmp_path, reviews):
    first = read_run(trained(tiny_arguments))
    reviews[:90].to_csv(tmp_path / "other.csv", index=False)
    words = [*tiny_arguments, f"--test_file={tmp_path / 'other.csv'}", f"--output_dir={tmp_path / 'second'}"]
    second = read_run(trained(words))
    text = render(model_card(first, "alice/mine", frozenset(), None, [second]))
    assert "| clean | 42 | FP32 (torch)" in text
    assert r"| clean \* | 42 | FP32 (torch)" in text
    assert "Scored on other rows" in text
    assert "Scored on other rows" not in render(model_card(first, "alice/mine", frozenset(), None, [first]))
