"""The models of the demo page, and the limit on concurrent use."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from sentiment_hf.data.labelled import task_with_rows
from sentiment_hf.explain.explainer import Explainer
from sentiment_hf.explain.explanation import Explanation
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.names import STARTER_REVIEWS
from sentiment_hf.tasks import AspectPrediction, Prediction
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json


class FairLock:
    """A lock for threads of which some come again and again, and some once.

    A plain lock goes to whichever thread is quickest, which is the one that has just released it: a file of many blocks
    would keep all sentences waiting. Here one waits at the lock and the others behind a door, the one that comes again
    among them.
    """

    def __init__(self) -> None:
        self._door, self._lock = threading.Lock(), threading.Lock()

    @property
    def is_awaited(self) -> bool:
        """Whether a thread is next in turn."""
        return self._door.locked()

    def __enter__(self) -> None:
        with self._door:
            self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


SPACE_KEYS = ("model", "revision", "topics_model", "topics_revision", "aspects_model", "aspects_revision")
# More chunks than any text that the page takes has.
ALL_CHUNKS = 100_000


@dataclass
class PageModel:
    """A classifier that many visitors share.

    Attributes:
        name: shown on the page: an id, or the name of a folder without where it lies.
        classifier: used by one thread at a time; a file takes turns block by block, so that sentences get in between.
    """

    name: str
    classifier: SentimentClassifier
    _turns: FairLock = field(default_factory=FairLock)

    def labels(self, texts: Sequence[str], top_k: int, chunks: bool = False) -> list[Prediction]:
        """Predict with a model of one label, with all chunks where asked for."""
        with self._turns:
            predictions = self.classifier(texts, top_k, ALL_CHUNKS if chunks else 0)
        return [prediction for prediction in predictions if isinstance(prediction, Prediction)]

    def aspects(self, texts: Sequence[str]) -> list[AspectPrediction]:
        """Predictions of a model of aspects."""
        with self._turns:
            predictions = self.classifier(texts)
        return [prediction for prediction in predictions if isinstance(prediction, AspectPrediction)]

    def explain(self, text: str, label: str) -> Explanation:
        """Which words speak for a label; of a long text in the chunk that speaks most for it."""
        classifier = self.classifier
        explainer = Explainer(
            task_with_rows(classifier.task),
            classifier.scorer,
            classifier.backend,
            temperature=classifier.calibration.temperature,
        )
        with self._turns:
            return explainer.explain(text, label=label, top_chunks=1)[0]

    @property
    def has_aspects(self) -> bool:
        return bool(self.classifier.task.label_columns())

    @property
    def reads_chunks(self) -> bool:
        """Whether it reads articles and can say which of their chunks count."""
        return self.classifier.scorer.settings.is_sliding and not self.has_aspects


@dataclass(frozen=True)
class PageModels:
    """The models behind the tabs; a tab without one is not shown.

    Attributes:
        sentence: of one label.
        article: of one label, with sliding windows.
        review: of aspects.
    """

    sentence: PageModel | None = None
    article: PageModel | None = None
    review: PageModel | None = None

    @property
    def all(self) -> list[PageModel]:
        """Each model once."""
        given = [model for model in (self.sentence, self.article, self.review) if model is not None]
        return [model for place, model in enumerate(given) if model not in given[:place]]

    @classmethod
    def load(
        cls,
        model: str = STARTER_REVIEWS,
        topics_model: str | None = None,
        aspects_model: str | None = None,
        backend: str = "auto",
        provider: str = "cpu",
        revision: str | None = None,
        topics_revision: str | None = None,
        aspects_revision: str | None = None,
    ) -> PageModels:
        """Load the models.

        Args:
            model: of any kind; it serves the tabs that it can.
            topics_model: for the article tab, in place of `model`.
            aspects_model: for the review tab, in place of `model`.
            backend: see `SentimentClassifier.from_pretrained`, as for the other arguments.
            provider: where all of them run.
            revision: of `model` on the Hub.
            topics_revision: of `topics_model`.
            aspects_revision: of `aspects_model`.

        Raises:
            InputError: a model that does not load, or is not of the kind that its tab needs.
        """
        first = PageModel(_shown(model), SentimentClassifier.from_pretrained(model, backend, provider, revision))
        task_with_rows(first.classifier.task)
        sentence = None if first.has_aspects else first
        article = first if first.reads_chunks else None
        review = first if first.has_aspects else None
        if topics_model is not None:
            loaded = SentimentClassifier.from_pretrained(topics_model, backend, provider, topics_revision)
            article = PageModel(_shown(topics_model), loaded)
            if not article.reads_chunks:
                remedy = "Train one with `truncation: sliding`."
                raise InputError("a topics_model of one label with sliding windows", topics_model, remedy)
        if aspects_model is not None:
            loaded = SentimentClassifier.from_pretrained(aspects_model, backend, provider, aspects_revision)
            review = PageModel(_shown(aspects_model), loaded)
            if not review.has_aspects:
                raise InputError(
                    "an aspects_model of task aspects", aspects_model, "Give a model of one label as --model."
                )
        return cls(sentence, article, review)

    @classmethod
    def of_space(cls, pin: Path) -> PageModels:
        """Load the models that a Space names in `space.json`; without that file the one that comes with the package.

        Raises:
            InputError: the file is malformed, names something unknown, or a model does not load.
        """
        if not pin.is_file():
            return cls.load()
        try:
            wanted = read_json(pin)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"JSON in {pin.name}", str(error), 'Write {"model": "user/model"}.') from None
        if not isinstance(wanted, dict) or not set(wanted) <= set(SPACE_KEYS):
            found = ", ".join(wanted) if isinstance(wanted, dict) else type(wanted).__name__
            raise InputError(f"{', '.join(SPACE_KEYS)} in {pin.name}", found, 'Write {"model": "user/model"}.')
        return cls.load(**{key: value for key, value in wanted.items() if value is not None})


def _shown(model: str) -> str:
    return Path(model).resolve().name if Path(model).is_dir() else model
