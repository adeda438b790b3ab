"""Cleaning as a normalizer of `tokenizers`, so that whoever loads the saved tokenizer cleans as this package does.

A normalizer is a list of replacements that runs once. Its patterns are read by Oniguruma (tokenizers, TEI) and by
JavaScript (transformers.js, with the flags `gu`), which know other classes than Python under `\\w` and `\\s`; so they
name theirs, and nothing in them belongs to one engine alone.
"""

from __future__ import annotations

from typing import Any
from unicodedata import normalize

from sentiment_hf.data.cleaning import Cleaning

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
