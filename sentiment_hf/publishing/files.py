"""The files of a run that are published: an allow-list, without user texts or local paths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from sentiment_hf.evaluation.report import METRICS_FILE
from sentiment_hf.inference.onnx_session import FP32_FILE, HEAD_FILE, ONNX_FOLDER
from sentiment_hf.publishing.run import (
    AUDIT_FILE,
    CALIBRATION_FILE,
    CONFIG_FILE,
    ERRORS_FILE,
    HYPERPARAMETERS_FILE,
    NAMING_KEYS,
    RECIPE_FILE,
    WEIGHTS,
    FinishedFolder,
    file_names,
    published_keys,
)
from sentiment_hf.utils.exceptions import InputError

CARD_FILE = "README.md"
# As they lie in the run. Whatever is not named is not pushed: optimizer, random states and training_args.bin are
# pickles, which run code where they are loaded, and splits/ are texts of other people.
AS_THEY_ARE = (
    CONFIG_FILE,
    WEIGHTS,
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    f"{ONNX_FOLDER}/{FP32_FILE}",
    f"{ONNX_FOLDER}/{HEAD_FILE}",
    # INT8, one for each kind of processor.
    f"{ONNX_FOLDER}/model_*.onnx",
    "reliability.png",
    "errors/confusion.csv",
    "errors/confusion.png",
)
# Of a head of our own: the code that its config's auto_map names.
OWN_CODE = ("configuration_*.py", "modeling_*.py")
# Records, rewritten without texts and paths.
RECORDS = (METRICS_FILE, AUDIT_FILE, CALIBRATION_FILE, ERRORS_FILE, HYPERPARAMETERS_FILE)
# Pages of `sentiment-hf sweep report` and their pictures. They may show texts: they go out only where they are named.
FINDINGS = ("findings/*.md", "findings/*.png")
# Keys of records under which texts of the data stand.
TEXT_KEYS = ("conflicting_examples", "examples")
# Keys that only mean something on the machine of the run: transformers puts its name into the folder of its log, and
# advice for a run below the baseline has commands with the user's files.
LOCAL_KEYS = ("output_dir", "cache_dir", "data_dir", "logging_dir", "advice")


@dataclass(frozen=True)
class PushedFile:
    """A file as it goes out.

    Attributes:
        path: in the repository.
        content: a file of the run, or bytes where it is rewritten.
    """

    path: str
    content: Path | bytes

    def sha256(self) -> str:
        """How the Hub knows a large file."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        with self.content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def git_oid(self) -> str:
        """How git knows a small one."""
        content = self.content if isinstance(self.content, bytes) else self.content.read_bytes()
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def is_ours(path: str) -> bool:
    """Whether a path of a repository is one that a push writes, of whatever run."""
    return _matches(path, (*AS_THEY_ARE, *RECORDS, *OWN_CODE, *FINDINGS, RECIPE_FILE, CARD_FILE))


def _matches(path: str, patterns: Sequence[str]) -> bool:
    # fnmatch's * also stands for a slash.
    return any(path.count("/") == pattern.count("/") and fnmatch(path, pattern) for pattern in patterns)


def findings_files(page: Path) -> list[PushedFile]:
    """Collect a page of `sentiment-hf sweep report` and the pictures that are named after it.

    Raises:
        InputError: there is no such page.
    """
    if page.suffix != ".md" or not page.is_file():
        remedy = "Write one: sentiment-hf sweep report RUN … --output findings.md --examples 0"
        raise InputError("a page of findings ending in .md", str(page), remedy)
    files = [page, *sorted(page.parent.glob(f"{page.stem}-*.png"))]
    return [PushedFile(f"findings/{file.name}", file) for file in files]


def pushed_files(run: FinishedFolder, card: str, findings: Path | None = None) -> list[PushedFile]:
    """All files of a run's repository, in the order of their paths.

    Args:
        run: the finished run.
        card: the model card's text.
        findings: a page of findings that is to go along.
    """
    files = [PushedFile(CARD_FILE, card.encode()), PushedFile(RECIPE_FILE, recipe_text(run).encode())]
    if findings is not None:
        files += findings_files(findings)
    patterns = (*AS_THEY_ARE, *RECORDS, *(OWN_CODE if "auto_map" in run.config else ()))
    for path in sorted(run.folder.glob("*")) + sorted(run.folder.glob("*/*")):
        name = path.relative_to(run.folder).as_posix()
        if not path.is_file() or not _matches(name, patterns):
            continue
        if name in RECORDS:
            value = json.loads(path.read_text(encoding="utf-8"))
            if name == HYPERPARAMETERS_FILE:
                value = published_keys(run, value)
            value = without_texts_and_paths(value)
            text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
            files.append(PushedFile(name, text.encode()))
        else:
            files.append(PushedFile(name, path))
    return sorted(files, key=lambda file: file.path)


def recipe_text(run: FinishedFolder) -> str:
    """Return a run's recipe as it goes out: what repeats it, without the folders of this machine."""
    return str(
        yaml.safe_dump(without_texts_and_paths(published_keys(run, run.recipe)), allow_unicode=True, sort_keys=False)
    )


def without_texts_and_paths(value: Any) -> Any:
    """Strip a record of the texts of the data, and put the last part of each path in its place."""
    if isinstance(value, dict):
        left_out = (*TEXT_KEYS, *LOCAL_KEYS)
        kept = {key: file_names(item) if key in NAMING_KEYS else item for key, item in value.items()}
        return {key: without_texts_and_paths(item) for key, item in kept.items() if key not in left_out}
    if isinstance(value, list):
        return [without_texts_and_paths(item) for item in value]
    if isinstance(value, str) and (Path(value).is_absolute() or PureWindowsPath(value).is_absolute()):
        return PureWindowsPath(value).name
    return value
