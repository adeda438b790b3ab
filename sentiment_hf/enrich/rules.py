"""Augmentation without a language model: synonyms, deletion, swaps and homophones.

After Wei & Zou 2019, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks",
with characters in the place of words and, for Chinese, a rule of its own: people write what sounds the same.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache

from sentiment_hf.utils.exceptions import MissingExtraError

# Share of the characters that a rule changes, at least one.
SHARE = 0.1
# Without these a sentence says the opposite.
_NEGATIONS = frozenset("不没沒未无無非别別莫勿否")
_HAN = re.compile("[一-鿿]")
# Words that mean the same and judge the same, none of one character: 差 stands in 差不多 and in 差价 as well.
_GROUPS = (
    ("酒店", "宾馆", "旅馆"),
    ("房间", "客房", "屋子"),
    ("前台", "总台"),
    ("服务员", "店员"),
    ("早餐", "早饭"),
    ("便宜", "实惠"),
    ("电脑", "计算机"),
    ("屏幕", "显示屏"),
    ("快递", "物流"),
    ("孩子", "小孩", "小朋友"),
    ("这本书", "此书"),
    ("作者", "笔者"),
    ("喜欢", "喜爱", "中意"),
    ("满意", "称心"),
    ("失望", "泄气"),
    ("推荐", "安利"),
    ("非常", "十分", "特别", "相当"),
    ("但是", "可是", "然而"),
    ("因为", "由于"),
    ("所以", "因此"),
    ("而且", "并且"),
    ("觉得", "感觉", "认为"),
    ("方便", "便利"),
    ("干净", "整洁"),
    ("很脏", "很邋遢"),
    ("很吵", "很嘈杂"),
    ("很差", "很糟糕"),
    ("太贵", "价钱太高"),
    ("好看", "漂亮", "美观"),
    ("马上", "立刻", "立即"),
    ("问题", "毛病"),
    ("总体", "整体", "总的来说"),
)
_SYNONYMS = {word: tuple(other for other in group if other != word) for group in _GROUPS for word in group}
# The longest first, so that 非常 is not taken for 常.
_WORD = re.compile("|".join(sorted(_SYNONYMS, key=len, reverse=True)))


def synonym(text: str, generator: random.Random) -> str:
    """One known word in its place by another that means the same."""
    matches = list(_WORD.finditer(text))
    if not matches:
        return text
    match = generator.choice(matches)
    return text[: match.start()] + generator.choice(_SYNONYMS[match[0]]) + text[match.end() :]


def delete(text: str, generator: random.Random) -> str:
    """Leave out some characters, never negations."""
    places = _free_places(text)
    gone = set(generator.sample(places, _count(places))) if len(places) > 1 else set()
    return "".join(char for place, char in enumerate(text) if place not in gone)


def swap(text: str, generator: random.Random) -> str:
    """Exchange some neighbouring characters, never negations."""
    chars = list(text)
    free = set(_free_places(text))
    pairs = [place for place in sorted(free) if place + 1 in free and chars[place] != chars[place + 1]]
    for place in generator.sample(pairs, _count(pairs)) if pairs else []:
        chars[place], chars[place + 1] = chars[place + 1], chars[place]
    return "".join(chars)


def homophone(text: str, generator: random.Random) -> str:
    """Replace some characters by common ones of the same sound and tone, never negations.

    Raises:
        MissingExtraError: pypinyin is not installed.
    """
    alike = _by_sound()
    places = [place for place in _free_places(text) if len(alike.get(_sound(text[place]), "")) > 1]
    chars = list(text)
    for place in generator.sample(places, _count(places)) if places else []:
        chars[place] = generator.choice([char for char in alike[_sound(chars[place])] if char != chars[place]])
    return "".join(chars)


RULES: dict[str, Callable[[str, random.Random], str]] = {
    "synonym": synonym,
    "delete": delete,
    "swap": swap,
    "homophone": homophone,
}


def _free_places(text: str) -> list[int]:
    return [place for place, char in enumerate(text) if _HAN.match(char) and char not in _NEGATIONS]


def _count(places: list[int]) -> int:
    return min(len(places), max(1, round(SHARE * len(places))))


@cache
def _by_sound() -> dict[str, str]:
    """Sound with tone -> the common characters that have it (level 1 of GB 2312, 3,755 characters)."""
    rows = [bytes([high, low]) for high in range(0xB0, 0xD8) for low in range(0xA1, 0xFF)]
    characters = b"".join(rows).decode("gb2312", errors="ignore")
    table: dict[str, str] = {}
    for char in characters:
        if char not in _NEGATIONS:
            table[_sound(char)] = table.get(_sound(char), "") + char
    return table


@cache
def _sound(char: str) -> str:
    try:
        from pypinyin import Style, pinyin
    except ImportError:
        raise MissingExtraError("pypinyin", "enrich") from None
    return str(pinyin(char, style=Style.TONE3, heteronym=False)[0][0])
