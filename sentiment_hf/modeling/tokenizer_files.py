"""The tokenizer that a model is saved with: it cleans by itself, so that stock loaders clean as this package does.

In this package texts are cleaned before they are tokenized, by all of `clean`, and the tokenizer is the one that the
model was trained with: the cleaning is put in where a model is saved and taken out where it is loaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.normalization import cleaning_steps
from sentiment_hf.files import read_json, write_json, write_text

# In tokenizer_config.json: the switches that tokenizer.json cleans by. Its presence says that the first of the
# tokenizer's normalizers is a sequence of ours.
CLEANS_BY = "sentiment_hf_cleaning"
# transformers 5 builds the normalizer of a tokenizer with a model's class from the class and drops what the file says.
STOCK_CLASS = "PreTrainedTokenizerFast"


def save_tokenizer(folder: Path, tokenizer: PreTrainedTokenizerBase, cleaning: Cleaning | None) -> None:
    """Save a fast tokenizer, with cleaning before its own normalizer; None, and switches that are all off, add none."""
    tokenizer.save_pretrained(folder)
    # As transformers writes it, half of the file is white space.
    written = tokenizer.backend_tokenizer.to_str()
    config = read_json(folder / "tokenizer_config.json")
    # Set on a tokenizer after it was made, transformers does not write them.
    config |= {"truncation_side": tokenizer.truncation_side, "padding_side": tokenizer.padding_side}
    steps = [] if cleaning is None else cleaning_steps(cleaning)
    if steps and cleaning is not None:
        state: dict[str, Any] = json.loads(written)
        own = [] if state["normalizer"] is None else [state["normalizer"]]
        ours = {"type": "Sequence", "normalizers": steps}
        state["normalizer"] = {"type": "Sequence", "normalizers": [ours, *own]}
        written = json.dumps(state, ensure_ascii=False, separators=(",", ":"))
        # What a class knows of itself, a stock one has to be told.
        config |= {"tokenizer_class": STOCK_CLASS, "model_input_names": tokenizer.model_input_names}
        config |= {CLEANS_BY: cleaning.to_dict()}
    write_json(folder / "tokenizer_config.json", config)
    write_text(folder / "tokenizer.json", written)


def take_cleaning_out(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a loaded tokenizer, in place, the one that `save_tokenizer` was given; others are left alone."""
    if tokenizer.init_kwargs.pop(CLEANS_BY, None) is None:
        return
    backend = tokenizer.backend_tokenizer
    state = json.loads(backend.to_str())
    parts = (state["normalizer"] or {}).get("normalizers", ())
    if parts and parts[0]["type"] == "Sequence":
        state["normalizer"] = parts[1] if len(parts) > 1 else None
        backend.normalizer = Tokenizer.from_str(json.dumps(state)).normalizer
