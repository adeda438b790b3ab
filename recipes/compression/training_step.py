"""What a step of training takes on a processor, by attention, dropout and precision.

    python recipes/compression/training_step.py --shapes 32x96 32x256 16x512

Forward and backward over random ids, in thousands of tokens a second; the ways take turns and their medians count.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import nullcontext

import torch
from transformers import BertForSequenceClassification, PreTrainedModel

from sentiment_hf.benchmark.measure import use_threads
from sentiment_hf.modeling.loading import load_config
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import exits_cleanly
from sentiment_hf.utils.hardware import usable_threads

# Precision, attention, dropout inside attention, dropout elsewhere.
WAYS = (
    ("fp32", "sdpa", 0.1, 0.1),
    ("bf16", "sdpa", 0.1, 0.1),
    ("bf16", "eager", 0.1, 0.1),
    ("bf16", "sdpa", 0.0, 0.0),
    ("bf16", "eager", 0.0, 0.0),
)


def make_model(encoder: str, attention: str, in_attention: float, elsewhere: float) -> PreTrainedModel:
    """Build a classifier of an encoder's shape with random weights, ready to learn."""
    config = load_config(encoder)
    config.attention_probs_dropout_prob, config.hidden_dropout_prob = in_attention, elsewhere
    config._attn_implementation = attention
    return BertForSequenceClassification(config).train()


def step(model: PreTrainedModel, precision: str, batch: dict[str, torch.Tensor]) -> float:
    """Seconds of one forward and backward."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
        loss = model(**batch).loss
    loss.backward()
    model.zero_grad()
    return time.perf_counter() - start


def speeds(encoder: str, shapes: list[str], rounds: int) -> dict[str, list[float]]:
    """Tokens a second of each way at each shape."""
    models = {way: make_model(encoder, *way[1:]) for way in WAYS}
    found: dict[str, list[float]] = {" ".join(map(str, way)): [] for way in WAYS}
    for shape in shapes:
        rows, tokens = map(int, shape.split("x"))
        ids = torch.randint(models[WAYS[0]].config.vocab_size, (rows, tokens))
        mask = torch.ones_like(ids)
        mask[0, tokens // 2 :] = 0  # a batch with padding, as most are
        batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(rows, dtype=torch.long)}
        seconds: dict[tuple[str, str, float, float], list[float]] = {way: [] for way in WAYS}
        for turn in range(rounds + 1):
            for way, model in models.items():
                took = step(model, way[0], batch)
                if turn:  # the first round warms up
                    seconds[way].append(took)
        for way, took_all in seconds.items():
            found[" ".join(map(str, way))].append(rows * tokens / statistics.median(took_all))
    return found


@exits_cleanly
def main() -> int:
    log_to_stderr()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="starter", help="whose shape (starter)")
    parser.add_argument("--shapes", nargs="+", default=["32x96", "32x256", "16x512"], metavar="ROWSxTOKENS")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (5)")
    parser.add_argument("--threads", type=int, help="processor threads (all)")
    args = parser.parse_args()
    use_threads(args.threads or usable_threads())
    lines = ["| precision, attention, dropout in it and elsewhere | " + " | ".join(args.shapes) + " |"]
    lines.append("|---" * (len(args.shapes) + 1) + "|")
    for way, found in speeds(args.encoder, args.shapes, args.rounds).items():
        lines.append(f"| {way} | {' | '.join(f'{speed / 1000:.1f}' for speed in found)} |")
    show("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
