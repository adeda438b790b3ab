"""Options of the verbs that ask a language model."""

from __future__ import annotations

import argparse


def add_judging_options(parser: argparse.ArgumentParser) -> None:
    text = "{label: its word in the prompt}; default: Chinese words for the built-in tasks, else the names"
    parser.add_argument("--label_words", metavar="YAML", help=text)
    text = "Jinja file with the variables labels, examples and text; default: the one that comes with the package"
    parser.add_argument("--prompt", metavar="FILE", help=text)


def add_llm_options(parser: argparse.ArgumentParser) -> None:
    """Which language model, and how it is asked."""
    group = parser.add_argument_group("language model")
    text = "Hub id, folder or .gguf file of a causal model; with --base_url the endpoint's name for it"
    group.add_argument("--llm", metavar="MODEL", help=text)
    text = "a local model's weights in 4 bits as they are loaded (bitsandbytes), which a GPU wants"
    group.add_argument("--load_in_4bit", action="store_true", help=text)
    group.add_argument("--base_url", metavar="URL", help="OpenAI-compatible endpoint, such as http://localhost:8000/v1")
    text = "environment variable with the endpoint's key (OPENAI_API_KEY)"
    group.add_argument("--api_key_variable", default="OPENAI_API_KEY", metavar="NAME", help=text)
    text = "requests under way at a time, or texts that a local model writes together (8)"
    group.add_argument("--concurrency", type=int, default=8, metavar="N", help=text)
    group.add_argument("--requests_per_minute", type=float, metavar="N", help="at most; default: no limit")
    group.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="for one reply (60)")
    group.add_argument("--retries", type=int, default=4, metavar="N", help="after 429, 5xx and silence (4)")
    text = "price of a million tokens read and written, for the bill"
    group.add_argument("--prices", type=float, nargs=2, metavar=("READ", "WRITTEN"), help=text)
    text = "cache of replies, of which none is asked for again; default: replies.jsonl in the output folder"
    group.add_argument("--cache", metavar="FILE", help=text)
