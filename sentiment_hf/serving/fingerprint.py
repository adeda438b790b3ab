"""What predictions depend on besides the text: the model's files, which of them runs, and this package's version."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sentiment_hf import __version__
from sentiment_hf.modeling.loading import TOKENIZER_FILES
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.modeling.onnx_session import HEAD_FILE, ONNX_FOLDER
from sentiment_hf.serving.hub import hub_file
from sentiment_hf.serving.predictor import SentimentClassifier

# What loading reads of a folder besides the weights.
_FILES = (
    "config.json",
    "adapter_config.json",
    *TOKENIZER_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_TORCH_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin")
_DOCUMENT_HEAD = (f"{ONNX_FOLDER}/{HEAD_FILE}",)


def fingerprint_of(classifier: SentimentClassifier, model: str) -> dict[str, Any]:
    """For the record beside predictions, to tell whether others would be the same.

    Args:
        classifier: that predicts.
        model: what it was loaded from.

    Returns:
        `model` (a hash of the folder's files that matter, or a Hub id with its commit), `weights` (the file in use, by
        name and content), `backend` and `version`.
    """
    folder = Path(resolve_model(model))
    weights = "" if classifier.file is None else f"{classifier.file.name} {_sha256(classifier.file)}"
    facts = {"backend": classifier.backend, "weights": weights, "version": __version__}
    if not folder.is_dir():
        # A file in the cache lies in a folder that is named after the commit.
        return {"model": f"{folder} {hub_file(str(folder), ['config.json'], None).parent.name}", **facts}
    patterns = (*_FILES, *(_TORCH_WEIGHTS if classifier.backend == "torch" else _DOCUMENT_HEAD))
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {_sha256(path)}\n".encode())
    return {"model": digest.hexdigest(), **facts}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
