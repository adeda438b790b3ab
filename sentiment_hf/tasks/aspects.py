"""The aspect task: aspects with four values each, a star rating, and the layout of their logits."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from sentiment_hf.config.values import ASPECTS_TASK
from sentiment_hf.tasks.base import TOP_K, Cell, LabelColumn, Task
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.tasks.predictions import AnyPrediction, AspectPrediction, softmax
from sentiment_hf.utils.exceptions import InputError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from sentiment_hf.config.training_options import FineTuningOptions

logger = logging.getLogger(__name__)

# The values of a cell in the order of their ids, and as ASAP and AI Challenger write them.
VALUES = ("negative", "neutral", "positive", "not mentioned")
RAW_VALUES = {-1: 0, 0: 1, 1: 2, -2: 3}
NOT_MENTIONED = 3
STARS = (1, 2, 3, 4, 5)
# The model type of the head that such a model has.
ASPECTS_MODEL = "sentiment_hf_aspect_bert"
# What the cell of the rating is called, and the columns that hold it, the likeliest first.
STARS_CELL = "stars"
RATING_COLUMNS = ("star", "stars", "rating", "score", "评分", "星级", "打分", "star_rating")

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
class AspectTask(Task):
    """Several aspects of one text, each with one of `VALUES`, and optionally a rating of one to five stars.

    A row's label is a tuple of integers: the id of each aspect's value, then the stars where there is a rating;
    `MISSING` stands for a cell that says nothing. A model gives one row of floats: four logits an aspect, then
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

    space = None
    kind = "aspects"
    head = "aspects"
    unsaid = NOT_MENTIONED

    def __post_init__(self) -> None:
        if self.has_rating and STARS_CELL in self.columns:
            remedy = f"Give it another name, aspects: {{name: {STARS_CELL}}}, or set rating: none."
            raise InputError(f"no aspect called {STARS_CELL!r} beside a rating, which has that name", "one", remedy)

    @property
    def aspects(self) -> tuple[str, ...]:
        return tuple(self.columns)

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of one aspect."""
        return VALUES

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        width = len(VALUES)
        cells = [Cell(aspect, VALUES, place * width, width) for place, aspect in enumerate(self.aspects)]
        if self.has_rating:
            columns = 1 if self.rating == "regression" else len(STARS) - 1
            names = tuple(map(str, STARS))
            cells.append(Cell(STARS_CELL, names, len(cells) * width, columns, STARS[0], stars_of))
        return tuple(cells)

    @property
    def has_rating(self) -> bool:
        return self.rating != "none"

    def unpack(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """`[rows, width]` -> logits `[rows, aspects, 4]` and, where there is a rating, its logits `[rows, 4 or 1]`."""
        cells = len(self.aspects) * len(VALUES)
        aspects = logits[:, :cells].reshape(len(logits), len(self.aspects), len(VALUES))
        return aspects, logits[:, cells:] if self.has_rating else None

    def label_columns(self) -> tuple[LabelColumn, ...]:
        values = "1, 0, -1, -2 or an empty cell"
        columns = [LabelColumn(aspect, usual, cell_value, values) for aspect, usual in self.columns.items()]
        if self.has_rating:
            stars = "1 to 5 stars or an empty cell"
            columns.append(LabelColumn("rating", RATING_COLUMNS, star_value, stars, self.rating_column, required=False))
        return tuple(columns)

    def check_training(self, labels: Sequence[Any]) -> None:
        rows = self.references(labels)
        values = {aspect: set(rows[:, place].tolist()) - {MISSING} for place, aspect in enumerate(self.aspects)}
        if all(len(found) < 2 for found in values.values()):
            raise InputError("an aspect with two values in training", "none", "Check the columns named in `aspects:`.")
        silent = [aspect for aspect, found in values.items() if not found - {NOT_MENTIONED}]
        if silent:
            logger.warning("no training row mentions %s: the model cannot learn what is said of it", ", ".join(silent))

    def strata(self, labels: Iterable[Any]) -> list[Any]:
        """Return the stars of each row; 0 where the task has no rating."""
        return [label[-1] if self.has_rating else 0 for label in labels]

    def name_labels(self, frame: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        raw = {index: value for value, index in RAW_VALUES.items()}
        cells = pd.DataFrame(frame["label"].tolist(), index=frame.index)
        named = {aspect: cells[place].map(raw.get) for place, aspect in enumerate(self.aspects)}
        if self.has_rating:
            stars = cells[len(self.aspects)]
            named[self.rating_column or RATING_COLUMNS[0]] = stars.where(stars != MISSING)
        return pd.concat([frame.drop(columns="label"), pd.DataFrame(named, dtype=object)], axis=1)

    def loss(self, options: FineTuningOptions | None = None, class_weight: Any = None, log_prior: Any = None) -> Any:
        from sentiment_hf.losses.classification import ClassificationLoss
        from sentiment_hf.tasks.aspect_losses import AspectLoss, task_weights

        def of(place: int) -> ClassificationLoss:
            weight, prior = (None if each is None else each[place] for each in (class_weight, log_prior))
            return ClassificationLoss.from_options(options, weight, prior)

        weights = task_weights(None if options is None else options.task_weights)  # type: ignore[arg-type]
        return AspectLoss(self, tuple(map(of, range(len(self.aspects)))), weights)

    def check_options(self, options: FineTuningOptions) -> None:
        from sentiment_hf.tasks.aspect_losses import task_weights

        if options.sampler != "none":
            remedy = "A row has one value for each aspect. Use class_weights, which are taken aspect by aspect."
            raise InputError("sampler: none for aspects", options.sampler, remedy)
        task_weights(options.task_weights)  # type: ignore[arg-type]

    def class_weights(self, labels: Sequence[Any], setting: Any, beta: float) -> torch.Tensor | None:
        from sentiment_hf.tasks.aspect_losses import aspect_weights

        return aspect_weights(labels, self, setting, beta)

    def log_priors(self, labels: Sequence[Any]) -> torch.Tensor:
        from sentiment_hf.tasks.aspect_losses import aspect_priors

        return aspect_priors(labels, self)

    def config_fields(self) -> dict[str, Any]:
        return {"aspects": list(self.aspects), "rating": self.rating}

    def start_head(self, model: Any, labels: Sequence[Any]) -> None:
        """Set the thresholds of an ordinal rating to the shares of the stars."""
        if self.rating == "ordinal":
            import torch

            from sentiment_hf.tasks.aspect_losses import star_log_odds

            with torch.no_grad():
                model.thresholds.copy_(-star_log_odds(labels))

    def to_dict(self) -> dict[str, Any]:
        columns = {aspect: list(columns) for aspect, columns in self.columns.items()}
        return {"columns": columns, "rating_column": self.rating_column}

    @classmethod
    def from_config(cls, config: Any, saved: Mapping[str, Any]) -> Self:
        """Read the task of a saved model with the head of aspects."""
        columns = saved.get("columns") or aspect_columns(config.aspects)
        by_aspect = {aspect: tuple(columns[aspect]) for aspect in config.aspects}
        return cls(by_aspect, config.rating, saved.get("rating_column"))

    def scores(self, logits: np.ndarray, labels: Sequence[Any]) -> dict[str, Any]:
        from sentiment_hf.tasks.metrics import aspect_scores

        return aspect_scores(logits, self.references(labels), self)

    def predictions(
        self,
        texts: Sequence[str | None],
        logits: np.ndarray,
        top_k: int = TOP_K,
        temperature: float = 1.0,
        threshold: float | None = None,
    ) -> list[AnyPrediction]:
        """As `Task.predictions`; an aspect has one value, and neither temperature nor threshold."""
        cells, rating = self.unpack(logits)
        probabilities = softmax(cells)
        values = probabilities.argmax(axis=-1)
        stars, expected = (None, None) if rating is None else stars_of(rating)
        predictions: list[AnyPrediction] = []
        for row, text in enumerate(texts):
            mentioned = {}
            for place, aspect in enumerate(self.aspects):
                value = int(values[row, place])
                if value != NOT_MENTIONED:
                    mentioned[aspect] = {"label": VALUES[value], "probability": float(probabilities[row, place, value])}
            if stars is None or expected is None:
                predictions.append(AspectPrediction(text, mentioned))
            else:
                predictions.append(AspectPrediction(text, mentioned, int(stars[row]), float(expected[row])))
        return predictions

    def no_prediction(self, text: str | None, reason: str | None) -> AspectPrediction:
        return AspectPrediction(text, reason=reason)

    def prediction_columns(self) -> tuple[str, ...]:
        rating = ("predicted_rating", "expected_rating") if self.has_rating else ()
        return (*(f"predicted_{aspect}" for aspect in self.aspects), *rating, "reason")


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
    # The median of the distribution, as ordinal regression predicts.
    return STARS[0] + (more > 0.5).sum(axis=1), STARS[0] + more.sum(axis=1)


def cell_value(raw: Any) -> int | None:
    """Map a raw cell to its id: `MISSING` for an empty one, None for one that means nothing here."""
    number = _whole_number(raw)
    return number if number is None or number == MISSING else RAW_VALUES.get(number)


def star_value(raw: Any) -> int | None:
    """Map a raw cell to its stars: `MISSING` for an empty one, None for one that means nothing here."""
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
