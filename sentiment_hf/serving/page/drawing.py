"""Render predictions as HTML; every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sentiment_hf.explain.explanation import Explanation
from sentiment_hf.explain.explanation_views import FAINT, split_by_score
from sentiment_hf.serving.page.wording import ASPECTS, Wording
from sentiment_hf.tasks import AspectPrediction, Prediction
from sentiment_hf.utils.html_templates import HTML_TEMPLATES

# Chunks of an article that are shown with their text.
SHOWN_CHUNKS = 5

_MACROS: Any = HTML_TEMPLATES.get_template("serving/page/predictions.html.jinja").module
_GROUPS = {name: group for group, names in ASPECTS.items() for name in names}


def notice(message: str, kind: str = "warning") -> str:
    """Draw a message in a box; `kind` is `warning` or `note`."""
    return str(_MACROS.notice(message, kind))


def label_prediction(prediction: Prediction, threshold: float | None, wording: Wording) -> str:
    """Draw the label with the three most probable as bars; where the model gives none, say why."""
    return str(_MACROS.label_prediction(prediction, threshold, wording))


def coloured_words(explanation: Explanation, wording: Wording) -> str:
    """Draw the text with what speaks for the label on one colour and what speaks against it on another."""
    return str(_MACROS.coloured_words(explanation, split_by_score(explanation), FAINT, wording))


def top_chunks(prediction: Prediction, wording: Wording) -> str:
    """Draw the chunks of an article as a strip, and those that speak most for its label with their text."""
    if not prediction.chunks or prediction.label is None:
        return ""
    logits = {chunk.chunk_idx: chunk.logit for chunk in prediction.chunks}
    low, high = min(logits.values()), max(logits.values())
    spread = high - low
    strengths = {place: 0.12 + 0.88 * (logit - low) / spread if spread else 1.0 for place, logit in logits.items()}
    return str(_MACROS.top_chunks(prediction, strengths, SHOWN_CHUNKS, wording))


def aspect_prediction(prediction: AspectPrediction, aspects: Sequence[str], wording: Wording) -> str:
    """Draw every aspect as a bar to the left (negative) or to the right (positive), and the stars."""
    groups = [(group, list(names)) for group, names in groupby(aspects, _GROUPS.get)]
    return str(_MACROS.aspect_prediction(prediction, groups, len(aspects), wording))
