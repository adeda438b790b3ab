"""Clean web text and Weibo posts; each step has its own switch.

The switches are saved with the model, so that prediction cleans exactly as training did.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

from sentiment_hf.utils.exceptions import InputError

# "own words //@user: forwarded words //@other: …"; the colon may be missing where the chain was cut off.
_RETWEET = re.compile(r"//\s*@[\w\-·.]{1,30}\s*[:：]?")
_TOPIC = re.compile(r"#([^#\n]{1,60})#")
_BRACKETED = re.compile(r"\[([一-鿿A-Za-z]{1,8})\]")
_SHORT_LINK = re.compile(r"(?:https?:)?(?://)?\bt\.cn/[A-Za-z0-9]+|网页链接")
# What Weibo writes in the place of own words when a post is forwarded without any.
_NO_WORDS = re.compile(r"^(?:转发微博|轉發微博|转发|repost|[\s。.,，!！…])*$", re.IGNORECASE)

RETWEETS = ("keep", "cut", "own_first")
TOPICS = ("keep", "words", "remove")
EMOJI = ("keep", "words", "remove")


def unchain(text: str, how: str) -> str:
    """Reduce a retweet chain to one text.

    Args:
        text: a post.
        how: `keep`: as it is; `cut`: the poster's own words only; `own_first`: own words, then the forwarded ones
            without the names. Where the poster added no words, the nearest forwarded ones take their place.
    """
    if how == "keep":
        return text
    parts = [part.strip() for part in _RETWEET.split(text)]
    said = [part for part in parts if not _NO_WORDS.match(part)]
    if len(parts) == 1:
        return text
    if not said:
        return parts[0]
    return said[0] if how == "cut" else " ".join(said)


def topics(text: str, how: str) -> str:
    """`#topic#`: `keep`, its `words` without the marks, or `remove`."""
    return text if how == "keep" else _TOPIC.sub(r"\1 " if how == "words" else " ", text)


def emoji(text: str, how: str) -> str:
    """`[泪]` and Unicode emoji: `keep`, as Chinese `words` (`[泪]` → 泪, 😂 → 笑哭了), or `remove`."""
    if how == "keep":
        return text
    # Names by the megabyte, needed by this switch alone.
    from emoji import config, replace_emoji

    if how == "remove":
        return replace_emoji(_BRACKETED.sub(" ", text), " ")
    config.load_language("zh")
    return replace_emoji(_BRACKETED.sub(r"\1", text), lambda sign, names: _chinese_name(names) or sign)


def _chinese_name(names: dict[str, str]) -> str:
    return names.get("zh", "").strip(":").replace("_", "")


def short_links(text: str) -> str:
    """Without `t.cn/…` links, also those without http, and the words that Weibo shows for them."""
    return _SHORT_LINK.sub(" ", text)


_NESTED_AMPERSAND = re.compile(r"&(?:amp;)+")
# Python refuses to read whole numbers of more than 4300 digits; no character has so high a number.
_HUGE_ENTITY = re.compile(r"&#[0-9]{1000,};?")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
# Web addresses end where Chinese text or its punctuation begins, so \S would be far too greedy.
_URL = re.compile(r"(?:https?://|www\.)[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", re.IGNORECASE)
# Tried once for a run of characters: tried at each of them, a megabyte of letters would take a day.
_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+\-])[A-Za-z0-9._%+\-]++@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+")
_MENTION = re.compile(r"@[\w\-]{1,30}[:：]?")
_SPACE = re.compile(r"\s+")
# Control, format (zero-width and direction marks; the joiner that builds emoji stays), surrogate, private use.
_KEEP_FORMAT = "\u200d"
_REPEAT = re.compile(r"([^\w\s])\1{3,}|([^\W\d])\2{3,}")

_MAX_PASSES = 20
# What entities, tags, addresses, mentions, topics and emoji are made of.
_MARKS = re.compile(r"[<>&@#\[\]/]")
# Switches with more than two positions.
CHOICES = {"retweets": RETWEETS, "topics": TOPICS, "emoji": EMOJI}


@dataclass(frozen=True)
class Cleaning:
    """Switches of `clean`, in the order in which the steps run.

    Attributes:
        nfkc: Unicode NFKC: full-width letters and digits become plain ones.
        html: entities (`&nbsp;`) become characters, tags are removed.
        urls: web addresses are removed.
        emails: e-mail addresses are removed.
        mentions: `@name` is removed.
        whitespace: runs of white space become one space; control and invisible characters are removed.
        repeats: a letter or mark that stands more than three times in a row stands three times; digits stay.
        simplified: traditional characters become simplified ones (OpenCC, t2s).
        retweets: Weibo's `//@user:` chains: `keep`, `cut` (own words only), `own_first` (then the others').
        topics: Weibo's `#topic#`: `keep`, `words` (without the marks) or `remove`.
        emoji: `[泪]` and Unicode emoji: `keep`, `words` (as Chinese words) or `remove`.
        short_links: Weibo's `t.cn` links are removed, also those without http.
    """

    nfkc: bool = True
    html: bool = True
    urls: bool = True
    emails: bool = True
    mentions: bool = True
    whitespace: bool = True
    repeats: bool = True
    simplified: bool = False
    retweets: str = "keep"
    topics: str = "keep"
    emoji: str = "keep"
    short_links: bool = False

    @classmethod
    def from_dict(cls, switches: dict[str, Any] | None) -> Cleaning:
        """Switches from a recipe or a saved config; those left out keep their default.

        Raises:
            InputError: an unknown switch, or a value that it does not have.
        """
        known = [field.name for field in fields(cls)]
        for name, value in (switches or {}).items():
            if name not in known:
                raise InputError(f"cleaning switches {', '.join(known)}", repr(name), "Remove or rename it.")
            if name in CHOICES:
                if value not in CHOICES[name]:
                    expected = f"cleaning.{name} {' | '.join(CHOICES[name])}"
                    raise InputError(expected, repr(value), "Use one of these.")
            elif not isinstance(value, bool):
                raise InputError(f"true or false for cleaning.{name}", repr(value), "Write true or false.")
        return cls(**(switches or {}))

    @classmethod
    def none(cls) -> Cleaning:
        """Every switch off: what a model that records no cleaning gets."""
        off: dict[str, Any] = {field.name: False for field in fields(cls) if field.name not in CHOICES}
        return cls(**off)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def clean(text: str, switches: Cleaning) -> str:
    """Clean one text; cleaning what is clean already changes nothing.

    One step can make work for another (an entity may hide an address), so the steps repeat until none changes the
    text. Nobody writes marks within marks within marks by the dozen but to do harm: of a text that has not settled by
    then the marks go.
    """
    cleaned, settled = _settle(text, switches)
    return cleaned if settled else _settle(_MARKS.sub(" ", cleaned), switches)[0]


def _settle(text: str, switches: Cleaning) -> tuple[str, bool]:
    for _ in range(_MAX_PASSES):
        cleaned = _clean_once(text, switches)
        if cleaned == text:
            return text, True
        text = cleaned
    return text, False


def _clean_once(text: str, switches: Cleaning) -> str:
    if switches.nfkc:
        text = unicodedata.normalize("NFKC", text)
    if switches.short_links:
        text = short_links(text)
    # Before mentions are removed: a chain is told by them.
    text = topics(unchain(text, switches.retweets), switches.topics)
    if switches.html:
        text = _HUGE_ENTITY.sub("\ufffd", _NESTED_AMPERSAND.sub("&", text))
        text = _TAG.sub(" ", html.unescape(text))
    if switches.urls:
        text = _URL.sub(" ", text)
    if switches.emails:
        text = _EMAIL.sub(" ", text)
    if switches.mentions:
        text = _MENTION.sub(" ", text)
    text = emoji(text, switches.emoji)
    if switches.whitespace:
        text = "".join(char for char in _SPACE.sub(" ", text) if _is_visible(char)).strip()
        text = _SPACE.sub(" ", text)
    if switches.repeats:
        text = _REPEAT.sub(lambda match: (match[1] or match[2]) * 3, text)
    if switches.simplified:
        text = _to_simplified(text)
    return text


def _is_visible(char: str) -> bool:
    return char == _KEEP_FORMAT or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co")


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


def _to_simplified(text: str) -> str:
    # OpenCC takes UTF-8, which has no lone surrogates.
    return str(_converter().convert(text.encode("utf-8", "replace").decode("utf-8")))
