"""Whether a document costs as much as its chunks, whatever its length, and whether memory stays as it is.

    python recipes/topics/linear_cost.py sogou_mini/all.jsonl.gz fudan_long/all.jsonl.gz --output_dir runs/cost

reads all documents of the files, then documents of exactly 1,000, 10,000 and 100,000 characters made of their texts, as
many of each length as have the same number of characters together. Without `--model` it is the starter's shape with
random weights and chunks of 512 tokens that share 128: what a chunk takes does not depend on the weights.

The last chunk of a document is short, which short documents have more often: `expected` is what the tokens in a
chunk, compared with those of the longest documents, let one expect of the seconds in a chunk.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm
from transformers import BertForSequenceClassification, set_seed

from sentiment_hf.benchmark.measure import peak_megabytes, use_threads
from sentiment_hf.benchmark.systems import System
from sentiment_hf.compression.export import export_model
from sentiment_hf.compression.quantization import Quantization
from sentiment_hf.data.chunks import encode_chunks
from sentiment_hf.data.sources import load_texts
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.inference.onnx_session import ONNX_FOLDER
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.inference.scorer import DOCUMENTS_AT_ONCE
from sentiment_hf.modeling.config_io import record_settings
from sentiment_hf.modeling.loading import load_config, load_tokenizer
from sentiment_hf.tasks import BUILT_IN_TASKS
from sentiment_hf.training.folder import save_model
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly
from sentiment_hf.utils.files import write_json, write_text
from sentiment_hf.utils.hardware import usable_threads


def make_model(encoder: str, folder: Path, max_length: int, stride: int) -> None:
    """Save a classifier of topics of the encoder's shape, with random weights, with sliding windows."""
    config, tokenizer, task = load_config(encoder), load_tokenizer(encoder), BUILT_IN_TASKS["topics"]
    config.id2label = dict(enumerate(task.labels))
    record_settings(config, tokenizer, task, TextSettings(max_length=max_length, truncation="sliding", stride=stride))
    set_seed(42)
    save_model(folder, BertForSequenceClassification(config), tokenizer)


def documents_of(texts: list[str], lengths: list[int], total: int) -> dict[int, list[str]]:
    """Documents of exactly these lengths in characters, those of each length `total` characters together."""
    joined = "\n".join(texts)[:total]
    if len(joined) < total:
        raise InputError(f"{total:,} characters of text", f"{len(joined):,}", "Give more files, or a smaller --total.")
    return {length: [joined[start : start + length] for start in range(0, total, length)] for length in lengths}


@exits_cleanly
def main() -> int:
    log_to_stderr()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="files with documents")
    parser.add_argument("--model", help="a classifier with sliding windows")
    parser.add_argument("--backend", choices=("torch", "onnx", "int8"), default="onnx")
    parser.add_argument("--encoder", default="starter", help="without --model: whose shape (starter)")
    parser.add_argument("--max_length", type=int, default=512)
    parser.add_argument("--stride", type=int, default=128)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 10_000, 100_000], help="in characters, rising")
    parser.add_argument("--total", type=int, default=200_000, help="characters of all documents of one length")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--threads", type=int, help="processor threads (all)")
    parser.add_argument("--output_dir", type=Path, required=True)
    args = parser.parse_args()
    if any(args.total % length for length in args.lengths) or sorted(args.lengths) != args.lengths:
        raise InputError("rising lengths that divide --total", str(args.lengths), "200000 has many divisors.")
    use_threads(args.threads or usable_threads())
    texts = {file: [text for text in load_texts(file) if text] for file in args.files}
    made = documents_of([text for some in texts.values() for text in some], args.lengths, args.total)
    model = Path(args.model or args.output_dir / "model")
    if args.model is None:
        make_model(args.encoder, model, args.max_length, args.stride)
        if args.backend != "torch" and not (model / ONNX_FOLDER).is_dir():
            # Random weights have no score to lose: whatever the gate reads, it has to let INT8 pass.
            rows = pd.DataFrame({"text": [text[:200] for text in made[args.lengths[0]][:20]]}).assign(label=0)
            export_model(model, rows, Quantization("dynamic" if args.backend == "int8" else "none", max_drop=100))
    scorer = SentimentClassifier.from_pretrained(model, args.backend).scorer
    if not scorer.settings.is_sliding:
        raise InputError("a model with sliding windows", str(model), "Train one with `truncation: sliding`.")
    groups = {Path(file).parent.name or file: some for file, some in texts.items()}
    groups |= {f"{length:,} characters": some for length, some in made.items()}
    rows = measured(scorer, groups, list(made.values())[-1], args.rounds)
    system = System("chunks", str(model), args.backend)
    for name, some in tqdm(groups.items(), unit="process", desc="Peak memory"):
        rows[name]["peak_mb"] = peak_megabytes(system, [max(some, key=len)])
    write_json(args.output_dir / "cost.json", rows)
    write_text(args.output_dir / "table.md", table(rows))
    show(table(rows).rstrip())
    return 0


def measured(scorer: Any, groups: dict[str, list[str]], longest: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds in a chunk of each group of documents, in turns, beside those of the longest documents."""
    seconds: dict[str, list[float]] = {name: [] for name in groups}
    # The first round warms up. The sets themselves are read once: they take long, and it is the predictions that count.
    for turn in tqdm(range(rounds + 1), unit="round", desc="Reading"):
        for name, some in groups.items():
            if turn == 1 or (turn > 1 and name.endswith("characters")):
                start = time.perf_counter()
                scorer.documents(some, judge_chunks=False)
                seconds[name].append(time.perf_counter() - start)
            elif turn == 0:
                scorer.documents(some[:1], judge_chunks=False)
    rows = {}
    for name, some in groups.items():
        chunks = tokens_in_chunks(scorer, some)
        rows[name] = {
            "documents": len(some),
            "longest": max(map(len, some)),
            "chunks": len(chunks),
            "tokens_per_chunk": statistics.mean(chunks),
            "ms_per_chunk": 1000 * statistics.median(seconds[name]) / len(chunks),
        }
    last = next(row for name, row in rows.items() if groups[name] is longest)
    for row in rows.values():
        row["measured"] = row["ms_per_chunk"] / last["ms_per_chunk"]
        row["expected"] = row["tokens_per_chunk"] / last["tokens_per_chunk"]
    return rows


def tokens_in_chunks(scorer: Any, texts: list[str]) -> list[int]:
    """How many tokens each chunk of some documents has, special ones included."""
    counts: list[int] = []
    for start in range(0, len(texts), DOCUMENTS_AT_ONCE):
        block = encode_chunks(scorer.tokenizer, texts[start : start + DOCUMENTS_AT_ONCE], scorer.settings)
        counts += map(len, block.fields["input_ids"])
    return counts


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Format the figures as a Markdown table."""
    header = ["documents", "number", "longest, characters", "chunks", "tokens/chunk"]
    lines = [[*header, "ms/chunk", "ratio", "expected", "peak MB"]]
    lines.append(["---"] * len(lines[0]))
    for name, row in rows.items():
        cells = [name, *(f"{row[key]:,}" for key in ("documents", "longest", "chunks"))]
        cells += [f"{row['tokens_per_chunk']:.0f}", f"{row['ms_per_chunk']:.1f}"]
        cells += [f"{row['measured']:.2f}", f"{row['expected']:.2f}"]
        lines.append([*cells, f"{row['peak_mb']:.0f}" if row["peak_mb"] else "–"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
