"""Options of the verbs that use a language model."""

from __future__ import annotations

import argparse


def add_judging_options(parser: argparse.ArgumentParser) -> None:
    text = "{label: word for it in the prompt} (default: Chinese words for built-in tasks, else the label names)"
    parser.add_argument("--label_words", metavar="YAML", help=text)
    text = "Jinja template with the variables labels, examples and text (default: the package's own)"
    parser.add_argument("--prompt", metavar="FILE", help=text)


def add_llm_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a language model and how it is called."""
    group = parser.add_argument_group("language model")
    text = "Hub id, folder or .gguf file of a causal model; with --base_url its name at the endpoint"
    group.add_argument("--llm", metavar="MODEL", help=text)
    text = "load a local model's weights in 4 bits (bitsandbytes; needs a GPU)"
    group.add_argument("--load_in_4bit", action="store_true", help=text)
    group.add_argument("--base_url", metavar="URL", help="OpenAI-compatible endpoint, such as http://localhost:8000/v1")
    text = "environment variable with the endpoint's key (default: OPENAI_API_KEY)"
    group.add_argument("--api_key_variable", default="OPENAI_API_KEY", metavar="NAME", help=text)
    text = "concurrent requests, or batch size of a local model (default: 8)"
    group.add_argument("--concurrency", type=int, default=8, metavar="N", help=text)
    group.add_argument(
        "--requests_per_minute", type=float, metavar="N", help="maximum requests per minute (default: no limit)"
    )
    group.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS", help="seconds to wait for a reply (default: 60)"
    )
    group.add_argument(
        "--retries", type=int, default=4, metavar="N", help="retries after 429, 5xx or a timeout (default: 4)"
    )
    text = "price of a million input and output tokens, to report the cost"
    group.add_argument("--prices", type=float, nargs=2, metavar=("READ", "WRITTEN"), help=text)
    text = "file that caches replies (default: replies.jsonl in the output folder)"
    group.add_argument("--cache", metavar="FILE", help=text)
