"""A client for language models: concurrent requests with a cache, a rate limit and a cost report."""

from __future__ import annotations

import argparse
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from tqdm import tqdm

from sentiment_hf.enrich.prompts import BatchLlmBackend, LlmBackend, Question, Reply, fields_of
from sentiment_hf.utils.exceptions import InputError, ended_by_sigterm
from sentiment_hf.utils.files import lock

logger = logging.getLogger(__name__)

# A reply that does not follow its schema is asked for again so often.
MALFORMED_RETRIES = 2
MALFORMED = "the reply does not follow the schema"
# So many questions in a row without any reply: the fault is not with the questions.
FAILURES_IN_A_ROW = 10
_WARMER = 0.3


@dataclass
class Usage:
    """What was asked and what it took.

    Attributes:
        asked: questions put to the model.
        from_cache: different questions whose replies were in the cache.
        abstained: questions without a usable reply.
        prompt_tokens: read by the model.
        completion_tokens: written by it.
    """

    asked: int = 0
    from_cache: int = 0
    abstained: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def report(self, prices: Sequence[float] | None) -> dict[str, Any]:
        """Report the figures and, with prices of a million tokens read and written, the cost."""
        report = asdict(self)
        if prices is not None:
            tokens = (self.prompt_tokens, self.completion_tokens)
            report["cost"] = sum(price * count / 1e6 for price, count in zip(prices, tokens, strict=True))
        return report


class StoppedError(Exception):
    """The run was stopped while a question waited for its turn."""


class LanguageModel:
    """Asks an `LlmBackend` many questions at a time.

    Ctrl-C and SIGTERM stop it gently: nothing new is asked, and replies that are under way are waited for and kept.

    Args:
        backend: who is asked.
        cache: where replies are kept and looked up.
        concurrency: questions under way at a time; of a local model those that are written to together.
        per_minute: questions a minute at most; None for no limit.
    """

    def __init__(
        self, backend: LlmBackend, cache: ReplyCache, concurrency: int = 8, per_minute: float | None = None
    ) -> None:
        self.backend, self.cache, self.usage = backend, cache, Usage()
        self.concurrency = min(concurrency, backend.concurrency)
        self.batch_size = concurrency if backend.takes_batches else 1
        self._interval = 0.0 if per_minute is None else 60 / per_minute
        self._next_turn = 0.0
        self._failures = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def ask_all(self, questions: Sequence[Question], desc: str) -> list[Reply]:
        """Return replies in the order of the questions; a question that comes twice is asked once.

        A question that failed has a reply with `failed`, and the next run asks it again, unless the model did
        reply and would not follow the schema.

        Raises:
            InputError: no endpoint, a wrong key, or no reply many times in a row.
        """
        different = list(questions_by_key(questions, self.backend.name).values())
        open_questions = [question for question in different if self.cache.get(question) is None]
        self.usage.from_cache += len(different) - len(open_questions)
        failed: dict[str, Reply] = {}
        bar = tqdm(total=len(different), initial=len(different) - len(open_questions), desc=desc, unit="question")
        with bar, ended_by_sigterm(), ThreadPoolExecutor(self.concurrency) as pool:
            try:
                futures = {pool.submit(self._ask, batch): batch for batch in self._batches(open_questions)}
                for future in as_completed(futures):
                    for question, reply in zip(futures[future], future.result(), strict=True):
                        if reply.failed:
                            failed[question.key(self.backend.name)] = reply
                        bar.update()
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        replies = [self.cache.get(question) or failed[question.key(self.backend.name)] for question in questions]
        self.usage.abstained += sum(bool(reply.failed) for reply in replies)
        return replies

    def _batches(self, questions: Sequence[Question]) -> list[list[Question]]:
        """Single questions, or those that a backend takes together: of like length, so that none waits for long."""
        size = self.batch_size
        alone = [size == 1 or bool(question.words) or question.schema is not None for question in questions]
        batches = [[question] for question, single in zip(questions, alone, strict=True) if single]
        together = [question for question, single in zip(questions, alone, strict=True) if not single]
        together.sort(key=lambda question: len(question.prompt))
        return batches + [together[start : start + size] for start in range(0, len(together), size)]

    def _ask(self, batch: Sequence[Question]) -> list[Reply]:
        if len(batch) == 1:
            replies = [self._ask_one(batch[0])]
        else:
            self._take_turn()
            replies = cast(BatchLlmBackend, self.backend).ask_batch(batch)
        hopeless = [self._keep(question, reply) for question, reply in zip(batch, replies, strict=True)]
        if any(hopeless):
            found = f"{FAILURES_IN_A_ROW} x {replies[hopeless.index(True)].failed}"
            remedy = "The replies so far are kept; start again when it is mended."
            raise InputError(f"replies from {self.backend.name}", found, remedy)
        return replies

    def _keep(self, question: Question, reply: Reply) -> bool:
        """Count a reply, and keep it if it is one; whether too many in a row were none."""
        with self._lock:
            self.usage.asked += 1
            self.usage.prompt_tokens += reply.prompt_tokens
            self.usage.completion_tokens += reply.completion_tokens
            # A reply of the wrong form is a reply of this model all the same.
            replied = reply.failed in ("", MALFORMED)
            self._failures = 0 if replied else self._failures + 1
            hopeless = self._failures >= FAILURES_IN_A_ROW
        if replied:
            self.cache.add(question, reply)
        return hopeless

    def _ask_one(self, question: Question) -> Reply:
        """One question until its reply follows its schema, or too often."""
        read = written = 0
        reply = Reply()
        for attempt in range(MALFORMED_RETRIES + 1):
            # The same words once more would be the same reply.
            warmer = max(question.temperature, _WARMER * attempt)
            self._take_turn()
            reply = self.backend.ask(replace(question, temperature=warmer, seed=question.seed + attempt), self._pause)
            read, written = read + reply.prompt_tokens, written + reply.completion_tokens
            reply = replace(reply, prompt_tokens=read, completion_tokens=written)
            if reply.failed or question.schema is None or fields_of(reply.text, question.schema) is not None:
                return reply
        return replace(reply, failed=MALFORMED)

    def _take_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next_turn)
            self._next_turn = turn + self._interval
        self._wait(turn - now)

    def _pause(self, seconds: float) -> None:
        """Before a request that is sent again, which counts against the limit like any other."""
        self._wait(seconds)
        self._take_turn()

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(max(seconds, 0.0)):
            raise StoppedError


def questions_by_key(questions: Sequence[Question], model: str) -> dict[str, Question]:
    """Map keys to the different questions, in their order."""
    return {question.key(model): question for question in questions}


class ReplyCache:
    """Replies of one model, in memory and, line by line, in a file.

    The first line names the model. A last line that was cut off while it was written is removed.

    Args:
        path: of the file; made if it is not there.
        model: whose replies these are.

    Raises:
        InputError: the file holds replies of another model, is no such file, or another run is adding to it.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.model = path, model
        self._replies: dict[str, Reply] = {}
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        try:
            if not lock(self._file):
                remedy = "Wait for it, or name another file with --cache."
                raise InputError(f"one run at a time that adds to {path}", "another that is running", remedy)
            whole = self._read()
            self._file.truncate(whole)
            if whole == 0:
                self._write({"replies_of": model})
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, question: Question) -> Reply | None:
        return self._replies.get(question.key(self.model))

    def add(self, question: Question, reply: Reply) -> None:
        """Keep a reply; it is in the file when this returns. Any thread may call it."""
        key = question.key(self.model)
        with self._lock:
            self._write({"key": key, **asdict(reply)})
            self._replies[key] = reply

    def _write(self, record: dict[str, object]) -> None:
        rest = memoryview((json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        while rest:
            rest = rest[self._file.write(rest) :]

    def _read(self) -> int:
        """Take in what the file holds; returns the bytes of its whole lines."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        model = self.model
        for number, line in enumerate(data[:whole].split(b"\n")[:-1]):
            try:
                record = json.loads(line)
                if number == 0:
                    model = str(record["replies_of"])
                else:
                    key = record.pop("key")
                    self._replies[key] = Reply(**record | {"scores": tuple(record["scores"])})
            except (ValueError, KeyError, TypeError, AttributeError):
                found, remedy = f"something else in line {number + 1}", "Name another file with --cache."
                raise InputError(f"a cache of replies at {self.path}", found, remedy) from None
        if model != self.model:
            remedy = "Name another file with --cache, or go on with that model."
            raise InputError(f"replies of {self.model} in {self.path}", f"replies of {model}", remedy)
        return whole


CACHE_FILE = "replies.jsonl"


@contextmanager
def open_llm(args: argparse.Namespace, folder: Path) -> Iterator[LanguageModel]:
    """Open the client for `--llm` and `--base_url`, with its replies in `--cache` or in the folder.

    Raises:
        InputError: no model, values that cannot be meant, a cache of another model, or what the two kinds of model
            raise.
    """
    if not args.llm:
        remedy = "Name a Hub id, a folder or a .gguf file with --llm, or an endpoint's model with --base_url besides."
        raise InputError("a language model", "none", remedy)
    if args.concurrency < 1 or args.retries < 0 or args.timeout <= 0:
        found = f"--concurrency {args.concurrency} --retries {args.retries} --timeout {args.timeout:g}"
        remedy = "8, 4 and 60 are the defaults."
        raise InputError("concurrency of at least 1, retries of at least 0 and a timeout above 0", found, remedy)
    if args.requests_per_minute is not None and args.requests_per_minute <= 0:
        raise InputError("requests_per_minute above 0", f"{args.requests_per_minute:g}", "Leave it out for no limit.")
    if args.load_in_4bit and args.base_url:
        raise InputError("--load_in_4bit with a local model", "--base_url", "The endpoint has its own weights.")
    backend: LlmBackend
    if args.base_url:
        from sentiment_hf.enrich.endpoint import Endpoint

        backend = Endpoint(args.base_url, args.llm, args.api_key_variable, args.timeout, args.retries)
    else:
        from sentiment_hf.enrich.local_model import LocalModel

        backend = LocalModel.from_pretrained(args.llm, args.load_in_4bit)
    with ReplyCache(Path(args.cache) if args.cache else folder / CACHE_FILE, backend.name) as cache:
        yield LanguageModel(backend, cache, args.concurrency, args.requests_per_minute)
