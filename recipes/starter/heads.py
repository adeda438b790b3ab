"""How fast the starter's shape is with another number of attention heads, where nothing else differs.

    python recipes/starter/heads.py --data validation.tsv --heads 12 6 --output_dir runs/heads

Random weights will do: what a product takes does not depend on them. For every number of heads there is a model as
torch, FP32 ONNX and INT8; all take turns on the same texts, sorted and batched as `predict` does, then one text at a
time of exactly 16, 32, 64 and 128 tokens. A model that is there already is not made again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from transformers import BertForSequenceClassification, set_seed

from sentiment_hf.benchmark.measure import LENGTHS, latency, texts_of_length, throughput, use_threads
from sentiment_hf.benchmark.systems import System
from sentiment_hf.compression.export import export_model
from sentiment_hf.compression.quantization import Quantization
from sentiment_hf.data.labelled import load_labelled
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.inference.onnx_session import ONNX_FOLDER
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.modeling.loading import load_config, load_tokenizer
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.training.folder import save_model
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly
from sentiment_hf.utils.files import write_json, write_text
from sentiment_hf.utils.hardware import usable_threads

BACKENDS = ("torch", "onnx", "int8")
REVIEWS = BUILT_IN_TASKS["reviews"]


def make_model(encoder: str, heads: int, rows: pd.DataFrame, folder: Path) -> None:
    """Save a classifier of the encoder's shape with random weights and so many heads, with its ONNX files."""
    config, tokenizer = load_config(encoder), load_tokenizer(encoder)
    if config.hidden_size % heads:
        raise InputError(f"heads that divide the hidden size, {config.hidden_size}", str(heads), "Choose others.")
    config.num_attention_heads, config.id2label = heads, dict(enumerate(REVIEWS.labels))
    record_settings(config, tokenizer, REVIEWS, TextSettings(max_length=min(128, config.max_position_embeddings - 2)))
    set_seed(42)
    save_model(folder, BertForSequenceClassification(config), tokenizer)
    # Random weights predict at random, and so does their INT8 file.
    export_model(folder, rows, Quantization(max_drop=100))


@exits_cleanly
def main() -> int:
    log_to_stderr()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="labelled reviews; their texts are what is timed")
    parser.add_argument("--encoder", default="starter", help="whose shape and tokenizer (starter)")
    parser.add_argument("--heads", type=int, nargs="+", default=[12, 6])
    parser.add_argument("--max_texts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts")
    parser.add_argument("--threads", type=int, help="processor threads (all)")
    parser.add_argument("--output_dir", type=Path, required=True)
    args = parser.parse_args()
    use_threads(args.threads or usable_threads())
    rows = load_labelled(args.data, REVIEWS)
    systems = []
    for heads in args.heads:
        folder = args.output_dir / f"heads-{heads}"
        if not (folder / ONNX_FOLDER).is_dir():
            make_model(args.encoder, heads, rows[:64], folder)
        systems += [System(f"{heads} heads, {backend}", str(folder), backend) for backend in BACKENDS]
    predictors = {system.name: system.open() for system in systems}
    speed, _ = throughput(predictors, rows["text"][: args.max_texts].tolist(), args.rounds)
    scorer = SentimentClassifier.from_pretrained(systems[0].model).scorer
    times: dict[int, dict[str, tuple[float, float]]] = {}
    for tokens in LENGTHS:
        cut = texts_of_length(scorer, rows["text"].tolist(), tokens)
        if cut:
            times[tokens] = latency(predictors, cut)
    lines = [f"| model | ms/review, sorted batches |{''.join(f' one of {tokens} tokens, ms |' for tokens in times)}"]
    lines.append("|---" * (len(times) + 2) + "|")
    for name in predictors:
        medians = "".join(f" {by_name[name][0]:.2f} |" for by_name in times.values())
        lines.append(f"| {name} | {1000 / speed[name]:.2f} |{medians}")
    write_json(args.output_dir / "heads.json", {"reviews_per_s": speed, "p50_p99_ms": times})
    write_text(args.output_dir / "table.md", "\n".join(lines) + "\n")
    show("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
