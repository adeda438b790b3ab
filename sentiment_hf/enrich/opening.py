"""The language model that a command line names."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentiment_hf.enrich.cache import ReplyCache
from sentiment_hf.enrich.llm import LanguageModel
from sentiment_hf.enrich.questions import LlmBackend
from sentiment_hf.exceptions import InputError

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
