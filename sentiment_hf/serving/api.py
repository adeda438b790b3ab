"""The HTTP API: `POST /predict`, `/health`, `/metrics`, and OpenAPI docs at `/docs`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from sentiment_hf.config.values import check_positive
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.serving.batching import Batcher, BatchLimits, ClosedError, QueueFullError
from sentiment_hf.serving.middleware import BodyLimit, Traffic
from sentiment_hf.tasks import TOP_K, AnyPrediction

# What the log of a web server calls a request whose client did not wait; nobody reads the response.
CLIENT_GONE = 499
# Seconds after which a client that was turned away may come back.
RETRY_AFTER = "1"
JSON = "application/json"


@dataclass(frozen=True)
class RequestLimits:
    """What one request may hold.

    Attributes:
        max_texts: texts of a request.
        max_body_bytes: bytes of its body.

    Raises:
        InputError: a limit below 1.
    """

    max_texts: int = 256
    max_body_bytes: int = 1_000_000

    def __post_init__(self) -> None:
        check_positive("max_texts", self.max_texts)
        check_positive("max_body_bytes", self.max_body_bytes)


class PredictRequest(BaseModel):
    """Texts to classify."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"texts": ["房间很吵，再也不来了"], "top_k": 2}]}
    )

    texts: str | Annotated[list[str], Field(min_length=1)] = Field(description="one text, or a list of them")
    top_k: int = Field(TOP_K, ge=1, le=100, description="labels listed under `top`")


class LabelProbability(BaseModel):
    """A label and how probable it is."""

    label: str
    probability: float


class PredictedLabel(BaseModel):
    """The prediction of a model of one label."""

    text: str
    label: str | None = Field(description="null where the model gives none; `reason` says why")
    probability: float | None
    top: list[LabelProbability]
    reason: str | None = None


class PredictedAspects(BaseModel):
    """The prediction of a model of aspects: those that are mentioned, and stars where it knows them."""

    text: str
    aspects: dict[str, LabelProbability]
    rating: int | None = None
    expected_rating: float | None = None
    reason: str | None = None


class PredictedLabels(BaseModel):
    """The prediction of a model from elsewhere that judges each label for itself."""

    text: str
    labels: list[str] = Field(description="those with a probability above 0.5, the most probable first")
    probabilities: dict[str, float]
    reason: str | None = None


class PredictedScores(BaseModel):
    """The prediction of a model from elsewhere that gives a score, or several."""

    text: str
    score: float | None = None
    scores: dict[str, float] | None = None
    reason: str | None = None


class PredictResponse(BaseModel):
    """What `/predict` returns."""

    predictions: list[PredictedLabel | PredictedAspects | PredictedLabels | PredictedScores] = Field(
        description="one for each text, in order"
    )


class Health(BaseModel):
    """What runs: the model's task and labels, and the backend and providers that it really runs on."""

    status: str
    task: str
    labels: list[str]
    backend: str
    providers: list[str]
    waiting: int = Field(description="texts in the queue")


def build_api(
    classifier: SentimentClassifier, batch: BatchLimits | None = None, limits: RequestLimits | None = None
) -> FastAPI:
    """Build the HTTP API of a classifier, as an ASGI application whose `state.traffic` counts what goes through it.

    Args:
        classifier: is called by one thread, which reads the texts of concurrent requests together.
        batch: how texts are gathered.
        limits: what one request may hold.
    """
    limits = limits or RequestLimits()
    traffic = Traffic()
    batcher = Batcher(classifier, batch or BatchLimits(), traffic.batch)
    traffic.watch_queue(lambda: batcher.waiting)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        # The server has waited for its open requests; this waits for what their clients left behind.
        await asyncio.to_thread(batcher.close)

    app = FastAPIOffline(
        redoc_url=None, title="sentiment_hf", version=version("sentiment_hf"), summary=__doc__, lifespan=lifespan
    )
    app.state.traffic = traffic
    app.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes)
    app.add_middleware(traffic.middleware)
    app.add_exception_handler(RequestValidationError, _without_input)

    @app.post(
        "/predict",
        response_model=PredictResponse,
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": PredictRequest.model_json_schema()}}}
        },
        responses={
            413: {"description": "the body is too large"},
            415: {"description": "the body is not JSON"},
            422: {"description": "wrong types, unknown fields or too many texts"},
            503: {"description": "too many texts wait"},
        },
    )
    async def predict(request: Request) -> Response:
        """Labels with probabilities for one text or many."""
        wanted = await _read(request)
        texts = [wanted.texts] if isinstance(wanted.texts, str) else wanted.texts
        if len(texts) > limits.max_texts:
            detail = f"Expected at most {limits.max_texts:,} texts, found {len(texts):,}. Send several requests."
            raise HTTPException(422, detail)
        try:
            futures = batcher.submit(texts, wanted.top_k)
        except (QueueFullError, ClosedError) as error:
            detail = "The server stops." if isinstance(error, ClosedError) else "Too many texts wait. Try again."
            raise HTTPException(503, detail, {"Retry-After": RETRY_AFTER}) from None
        predictions = await _predictions_or_hang_up(request, futures)
        if predictions is None:
            traffic.texts_dropped(sum(future.cancelled() for future in futures))
            return Response(status_code=CLIENT_GONE)
        # Written at once: they are ours, and checking them against PredictResponse costs more than predicting does.
        return Response(to_json({"predictions": [prediction.to_dict() for prediction in predictions]}), media_type=JSON)

    @app.get("/health", response_model=Health)
    async def health(response: Response) -> Health:
        """Tell what runs here; status 503 where it predicts no more."""
        response.status_code = 200 if batcher.is_working else 503
        return Health(
            status="ok" if batcher.is_working else "stopped",
            task=classifier.task.name,
            labels=list(classifier.task.labels),
            backend=classifier.backend,
            providers=list(classifier.providers),
            waiting=batcher.waiting,
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        """Report requests, texts, batches and times, as Prometheus reads them."""
        content, media_type = traffic.exposition()
        return Response(content, media_type=media_type)

    return app


async def _read(request: Request) -> PredictRequest:
    """Parse and check the body in one step.

    Raises:
        HTTPException: status 415, where the body says that it is something else.
        RequestValidationError: status 422, with what is wrong and where.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A page of another site could send a form or plain text here without asking first, but not this.
    if kind != JSON:
        raise HTTPException(415, f"Expected Content-Type: {JSON}, found {kind[:80] or 'none'}.")
    try:
        return PredictRequest.model_validate_json(await request.body())
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from None


async def _predictions_or_hang_up(
    request: Request, futures: Sequence[Future[AnyPrediction]]
) -> list[AnyPrediction] | None:
    """Await the predictions in order; None where the client hung up, and what was not read by then is cancelled."""
    loop, is_over = asyncio.get_running_loop(), asyncio.Event()
    # Texts are classified in the order of the queue, so that with the last of a request all of them are there.
    futures[-1].add_done_callback(lambda _: loop.call_soon_threadsafe(is_over.set))
    # The body has been read: the next message of this request is that its client is gone.
    gone = asyncio.ensure_future(request.receive())
    gone.add_done_callback(lambda _: is_over.set())
    await is_over.wait()
    if futures[-1].done():
        gone.cancel()
        return [future.result() for future in futures]
    for future in futures:
        future.cancel()
    return None


async def _without_input(_: Request, error: Exception) -> JSONResponse:
    """Status 422 as FastAPI gives it, without the input, which may be long."""
    assert isinstance(error, RequestValidationError)
    detail = [{name: item[name] for name in ("type", "loc", "msg")} for item in error.errors()]
    return JSONResponse({"detail": detail}, 422)
