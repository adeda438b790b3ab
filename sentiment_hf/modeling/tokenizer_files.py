r"""Tokenizer files that include text cleaning as a normalizer, so that every loader applies it.

In this package texts are cleaned before they are tokenized, by all of `clean`, and the tokenizer is the one that the
model was trained with: the cleaning is put in where a model is saved and taken out where it is loaded.

A normalizer is a list of replacements that runs once. Its patterns are read by Oniguruma (tokenizers, TEI) and by
JavaScript (transformers.js, with the flags `gu`), which know other classes than Python under `\w` and `\s`; so they
name theirs, and nothing in them belongs to one engine alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.utils.files import read_json, write_json, write_text

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


Step = dict[str, Any]

# Python's \s and \w.
_SPACES = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD = r"\p{L}\p{N}_"
# Of the text: to Oniguruma ^ and $ are those of a line.
_BEGINNING, _END = r"(?<![\s\S])", r"(?![\s\S])"
_LOCAL = r"[A-Za-z0-9._%+\-]"
# The entities that scraped reviews are full of; each costs a pass over the text, so the other two thousand stay.
_ENTITIES = {
    " ": "nbsp|#160",
    "<": "lt|#60",
    ">": "gt|#62",
    '"': "quot|#34",
    "'": "apos|#39",
    "·": "middot|#183",
    "…": "hellip|#8230",
    "“": "ldquo|#8220",
    "”": "rdquo|#8221",
}


def cleaning_steps(cleaning: Cleaning) -> list[Step]:
    """Build normalizers that clean as `clean` does, as `tokenizer.json` spells them, in the order of `clean`."""
    steps: list[Step] = []
    if cleaning.nfkc:
        steps.append({"type": "NFKC"})
    if cleaning.short_links:
        steps.append(_replace(rf"(?:(?:[Hh][Tt][Tt][Pp][Ss]?:)?(?://)?(?<![{_WORD}])t\.cn/[A-Za-z0-9]+|网页链接)", " "))
    if cleaning.retweets != "keep":
        # Parts of a chain without words go with their mark, then the mark of one that has become the first; what is
        # left of the marks stands between parts with words.
        mark = rf"//[{_SPACES}]*@[{_WORD}\-·.]{{1,30}}[{_SPACES}]*[:：]?"
        no_words = rf"(?:转发微博|轉發微博|转发|[Rr][Ee][Pp][Oo][Ss][Tt]|[{_SPACES}。.,，!！…])*"
        steps.append(_replace(rf"{mark}{no_words}(?={mark}|{_END})", ""))
        steps.append(_replace(rf"{_BEGINNING}{no_words}{mark}", ""))
        steps.append(_replace(rf"{mark}[\s\S]*", "") if cleaning.retweets == "cut" else _replace(mark, " "))
    if cleaning.topics == "remove":
        steps.append(_replace(r"#[^#\n]{1,60}#", " "))
    if cleaning.html:
        steps.append(_replace(r"&(?:amp;)+", "&"))
        for character, names in _ENTITIES.items():
            # NFKC has been.
            plain = normalize("NFKC", character) if cleaning.nfkc else character
            steps.append(_replace(f"&(?:{names});", plain))
        steps.append(_replace(r"</?[a-zA-Z][^<>]{0,200}>", " "))
    if cleaning.urls:
        address = r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+"
        steps.append(_replace(rf"(?:[Hh][Tt][Tt][Pp][Ss]?://|[Ww][Ww][Ww]\.){address}", " "))
    if cleaning.emails:
        steps.append(_replace(rf"(?<!{_LOCAL}){_LOCAL}+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+", " "))
    mention = _replace(rf"@[{_WORD}\-]{{1,30}}[:：]?", " ")
    if cleaning.mentions:
        steps.append(mention)
    if cleaning.whitespace:
        # Control and invisible characters but for white space and the joiner that builds emoji.
        steps.append(_replace(rf"(?![{_SPACES}\u200d])[\p{{Cc}}\p{{Cf}}\p{{Co}}]", ""))
        if cleaning.mentions:
            # Those that an invisible character hid; `clean` finds them in its next pass.
            steps.append(mention)
        steps.append(_replace(rf"[{_SPACES}]+", " "))
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
    if cleaning.repeats:
        # A replacement cannot name what it found. Whatever stands before three more of its own goes: three are left.
        steps.append(_replace(rf"([^\p{{Nd}}{_SPACES}])(?=\1\1\1)", ""))
    return steps


def _replace(pattern: str, content: str) -> Step:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def left_out(cleaning: Cleaning) -> list[str]:
    """List what of `clean` no normalizer can do, in words for a card; empty where they do all."""
    parts = {
        "rare HTML entities": cleaning.html,
        "traditional characters to simplified ones (OpenCC)": cleaning.simplified,
        "#topics# without their marks": cleaning.topics == "words",
        f"emoji ({cleaning.emoji})": cleaning.emoji != "keep",
        "marks within marks, which are cleaned in several passes": cleaning != Cleaning.none(),
    }
    return [name for name, is_left_out in parts.items() if is_left_out]
