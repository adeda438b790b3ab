"""Cleaning of what is particular to Weibo posts: retweet chains, topics, emoji in brackets, short links."""

from __future__ import annotations

import re

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
