"""What an aspect task is: its aspects, their four values and a star rating, and how one array holds the answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sentiment_hf.exceptions import InputError

ASPECTS_TASK = "aspects"
RATINGS = ("none", "ordinal", "regression")

# The values of a cell in the order of their ids, and as ASAP and AI Challenger write them.
VALUES = ("negative", "neutral", "positive", "not mentioned")
RAW_VALUES = {-1: 0, 0: 1, 1: 2, -2: 3}
NOT_MENTIONED = 3
# What torch's cross-entropy, too, calls a target that does not count.
MISSING = -100
STARS = (1, 2, 3, 4, 5)

# ASAP's aspects (Bu et al. 2021, arXiv 2103.06605) by their names in its csv files, with the names of its paper and
# those of AI Challenger 2018 where they differ.
ASAP_ASPECTS: dict[str, tuple[str, ...]] = {
    "location_traffic": ("Location#Transportation", "location_traffic_convenience"),
    "location_distance_from_business_district": ("Location#Downtown",),
    "location_easy_to_find": ("Location#Easy_to_find",),
    "service_wait_time": ("Service#Queue",),
    "service_waiters_attitude": ("Service#Hospitality",),
    "service_parking_convenience": ("Service#Parking",),
    "service_serving_speed": ("Service#Timely",),
    "price_level": ("Price#Level",),
    "price_cost_effective": ("Price#Cost_effective",),
    "price_discount": ("Price#Discount",),
    "environment_decoration": ("Ambience#Decoration",),
    "environment_noise": ("Ambience#Noise",),
    "environment_space": ("Ambience#Space",),
    "environment_cleaness": ("Ambience#Sanitary",),
    "dish_portion": ("Food#Portion",),
    "dish_taste": ("Food#Taste",),
    "dish_look": ("Food#Appearance",),
    "dish_recommendation": ("Food#Recommend",),
}


@dataclass(frozen=True)
class AspectTask:
    """Several aspects of one text, each with one of `VALUES`, and optionally a rating of one to five stars.

    A row's label is a tuple of integers: the id of each aspect's value, then the stars where there is a rating;
    `MISSING` stands for a cell that says nothing. A model's answer is one row of floats: four logits an aspect, then
    the rating's.

    Attributes:
        columns: aspect -> the columns of a file that may hold it, in the order of the label and of the logits.
        rating: `none`, `ordinal` (four logits, of more than 1, 2, 3 and 4 stars) or `regression` (the stars).
        rating_column: the column with the stars; None: the first with a usual name.
        name: saved with the model.
        metric: the score that picks the best checkpoint and that INT8 is gated by.
    """

    columns: Mapping[str, tuple[str, ...]]
    rating: str = "none"
    rating_column: str | None = None
    name: str = ASPECTS_TASK
    metric: str = "macro_f1"

    @property
    def aspects(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of one aspect."""
        return VALUES

    @property
    def id2label(self) -> dict[int, str]:
        return dict(enumerate(VALUES))

    @property
    def label2id(self) -> dict[str, int]:
        return {value: index for index, value in enumerate(VALUES)}

    @property
    def has_rating(self) -> bool:
        return self.rating != "none"

    def unpack(self, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """`[rows, width]` -> logits `[rows, aspects, 4]` and, where there is a rating, its logits `[rows, 4 or 1]`."""
        cells = len(self.aspects) * len(VALUES)
        logits = answers[:, :cells].reshape(len(answers), len(self.aspects), len(VALUES))
        return logits, answers[:, cells:] if self.has_rating else None


def stars_of(rating: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stars out of a rating head.

    Args:
        rating: `[rows, 4]`, logits of more than 1, 2, 3 and 4 stars, or `[rows, 1]`, the stars themselves.

    Returns:
        The most plausible whole number of stars and the expected one, both `[rows]`.
    """
    if rating.shape[1] == 1:
        expected = rating[:, 0].clip(STARS[0], STARS[-1])
        return np.rint(expected).astype(int), expected
    more = 1 / (1 + np.exp(-rating.astype(np.float64)))
    # The median of the distribution, as ordinal regression answers.
    return STARS[0] + (more > 0.5).sum(axis=1), STARS[0] + more.sum(axis=1)


def cell_value(raw: Any) -> int | None:
    """The id of a raw cell, `MISSING` for an empty one, None for one that means nothing here."""
    number = _whole_number(raw)
    return number if number is None or number == MISSING else RAW_VALUES.get(number)


def star_value(raw: Any) -> int | None:
    """The stars of a raw cell, `MISSING` for an empty one, None for one that means nothing here."""
    number = _whole_number(raw)
    return number if number == MISSING or number in STARS else None


def _whole_number(raw: Any) -> int | None:
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        return MISSING
    try:
        number = float(raw)
    except (TypeError, ValueError):
        return None
    if math.isnan(number):
        return MISSING
    # -100 in a file is no value, although it means one here.
    return int(number) if number.is_integer() and number != MISSING else None


def aspect_columns(aspects: Mapping[str, str] | list[str] | None) -> dict[str, tuple[str, ...]]:
    """Aspect -> the columns that may hold it, first come first served.

    Args:
        aspects: as in a recipe: aspect -> column, names of columns, or None for ASAP's.

    Raises:
        InputError: none, or one twice.
    """
    if isinstance(aspects, Mapping):
        columns = {str(name): tuple(dict.fromkeys((str(column), str(name)))) for name, column in aspects.items()}
    else:
        names = ASAP_ASPECTS if aspects is None else [str(name) for name in aspects]
        columns = {name: (name, *ASAP_ASPECTS.get(name, ())) for name in names}
    if not columns or (aspects is not None and len(columns) != len(aspects)):
        raise InputError("different aspects in `aspects:`", str(aspects), "Leave it out for ASAP's eighteen.")
    return columns
