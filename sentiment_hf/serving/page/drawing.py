"""Predictions as HTML: every text in it is escaped, and colours come from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sentiment_hf.evaluation.explanation import Explanation
from sentiment_hf.serving.page.wording import ASPECTS, Wording
from sentiment_hf.tasks import AspectPrediction, ChunkScore, Prediction
from sentiment_hf.tasks.aspects import VALUES

# Chunks of an article that are shown with their text.
SHOWN_CHUNKS = 5
# Below this share of the strongest score a word is left uncoloured.
FAINT = 0.05


def notice(message: str, kind: str = "warning") -> str:
    """Draw a message in a box; `kind` is `warning` or `note`."""
    return f'<div class="shf-notice shf-{kind}" role="status">{escape(message)}</div>'


def label_prediction(prediction: Prediction, threshold: float | None, wording: Wording) -> str:
    """Draw the label with the three most probable as bars; where the model gives none, say why."""
    if not prediction.top:
        return notice(wording.reason(prediction.reason))
    if prediction.label is None:
        shown = wording.abstains.format(probability=prediction.top[0][1], threshold=threshold or 0.0)
        head = notice(shown, "note")
    else:
        head = (
            f'<div class="shf-label">{escape(wording.label(prediction.label))}'
            f'<span class="shf-share">{prediction.probability:.1%}</span></div>'
        )
    bars = "".join(_bar(wording.label(label), probability) for label, probability in prediction.top)
    return f'<div class="shf-card">{head}<div class="shf-bars">{bars}</div></div>'


def _bar(name: str, probability: float) -> str:
    return (
        f'<div class="shf-name">{escape(name)}</div>'
        f'<div class="shf-track"><div class="shf-fill" style="width:{100 * probability:.1f}%"></div></div>'
        f'<div class="shf-number">{probability:.1%}</div>'
    )


def coloured_words(explanation: Explanation, wording: Wording) -> str:
    """Draw the text with what speaks for the label on one colour and what speaks against it on another."""
    strongest = max((abs(span.score) for span in explanation.spans), default=0.0) or 1.0
    parts, place = [], explanation.start
    for span in explanation.spans:
        parts.append(escape(explanation.text[place : span.start]))
        share = span.score / strongest
        if abs(share) < FAINT:
            parts.append(escape(span.text))
        else:
            side = "for" if share > 0 else "against"
            parts.append(
                f'<mark class="shf-{side}" style="--share:{abs(share):.2f}" title="{span.score:+.2f}">'
                f"{escape(span.text)}</mark>"
            )
        place = span.end
    parts.append(escape(explanation.text[place : explanation.end]))
    legend = (
        f'<mark class="shf-for" style="--share:1">{escape(wording.speaks_for)}</mark> '
        f'<mark class="shf-against" style="--share:1">{escape(wording.speaks_against)}</mark>'
    )
    title = wording.why.format(label=wording.label(explanation.label))
    note = wording.log_odds
    if explanation.num_chunks > 1:
        note = f"{note} ({wording.chunk(explanation.chunk_idx, explanation.num_chunks)})"
    return (
        f'<div class="shf-card"><h4>{escape(title)}</h4><p class="shf-text">{"".join(parts)}</p>'
        f'<p class="shf-legend">{legend} <span>{escape(note)}</span></p></div>'
    )


def top_chunks(prediction: Prediction, wording: Wording) -> str:
    """Draw the chunks of an article as a strip, and those that speak most for its label with their text."""
    if not prediction.chunks or prediction.label is None:
        return ""
    logits = [chunk.logit for chunk in prediction.chunks]
    low, high = min(logits), max(logits)

    def strength(chunk: ChunkScore) -> float:
        return 1.0 if high == low else 0.12 + 0.88 * (chunk.logit - low) / (high - low)

    cells = "".join(
        f'<div style="--share:{strength(chunk):.2f}" title="{escape(_place(chunk, prediction, wording))}"></div>'
        for chunk in sorted(prediction.chunks, key=lambda chunk: chunk.chunk_idx)
    )
    ranked = "".join(
        f'<li><div class="shf-place">{escape(_place(chunk, prediction, wording))}'
        f'<div class="shf-track"><div class="shf-fill" style="width:{100 * strength(chunk):.0f}%"></div></div></div>'
        f'<p class="shf-text">{escape(chunk.text.strip())}</p></li>'
        for chunk in prediction.chunks[:SHOWN_CHUNKS]
    )
    title = wording.top_chunks.format(label=wording.label(prediction.label))
    strip_note = wording.chunks_read.format(count=prediction.num_chunks_read)
    return (
        f'<div class="shf-card"><h4>{escape(title)}</h4><p class="shf-legend">{escape(strip_note)}</p>'
        f'<div class="shf-strip">{cells}</div><ol class="shf-chunks">{ranked}</ol></div>'
    )


def _place(chunk: ChunkScore, prediction: Prediction, wording: Wording) -> str:
    where = wording.chunk(chunk.chunk_idx, prediction.num_chunks or 1)
    return f"{where} ({wording.characters.format(start=chunk.start + 1, end=chunk.end)}, logit {chunk.logit:.2f})"


def aspect_prediction(prediction: AspectPrediction, aspects: Sequence[str], wording: Wording) -> str:
    """Every aspect as a bar to the left (negative) or to the right (positive), and the stars."""
    if prediction.reason is not None:
        return notice(wording.reason(prediction.reason))
    head = ""
    if prediction.rating is not None:
        stars = "★" * prediction.rating + "☆" * (5 - prediction.rating)
        said = wording.stars.format(rating=prediction.rating, expected=prediction.expected_rating)
        head = f'<div class="shf-stars"><span aria-hidden="true">{stars}</span> {escape(said)}</div>'
    groups = {name: group for group, names in ASPECTS.items() for name in names}
    rows, seen = [], None
    for name in aspects:
        group = groups.get(name)
        if group is not None and group != seen:
            rows.append(f'<div class="shf-group">{escape(wording.groups[group])}</div>')
        seen = group
        rows.append(_aspect_row(name, prediction, wording))
    mentioned = wording.mentioned.format(count=len(prediction.aspects), all=len(aspects))
    return (
        f'<div class="shf-card">{head}<p class="shf-legend">{escape(mentioned)}</p>'
        f'<div class="shf-aspects">{"".join(rows)}</div></div>'
    )


def _aspect_row(name: str, prediction: AspectPrediction, wording: Wording) -> str:
    shown = escape(wording.aspects.get(name, name))
    value = prediction.aspects.get(name)
    if value is None:
        return (
            f'<div class="shf-name shf-silent">{shown}</div><div class="shf-axis"></div><div class="shf-number">–</div>'
        )
    side = VALUES.index(value["label"])
    kind = ("negative", "neutral", "positive")[side]
    probability = value["probability"]
    return (
        f'<div class="shf-name">{shown}</div>'
        f'<div class="shf-axis"><div class="shf-{kind}" style="width:{50 * probability:.1f}%"></div></div>'
        f'<div class="shf-number">{escape(wording.label(value["label"]))} {probability:.0%}</div>'
    )
