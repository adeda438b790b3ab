"""Replies kept in a file that is only ever added to, so that an interrupted run asks nothing twice."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from sentiment_hf.enrich.questions import Question, Reply
from sentiment_hf.exceptions import InputError
from sentiment_hf.files import lock


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
