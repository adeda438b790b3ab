"""The measurements of a benchmark, as a table and a plot: throughput, latency, memory."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from sentiment_hf.benchmark.systems import Predict, System
from sentiment_hf.data.tokenization import encode
from sentiment_hf.evaluation.plots import new_figure
from sentiment_hf.inference.scorer import TEXTS_AT_ONCE, TextScorer
from sentiment_hf.utils.hardware import peak_memory_mb

if TYPE_CHECKING:
    from rich.table import Table

LENGTHS = (16, 32, 64, 128)
CALLS = 60
WARM_UP = 8


def use_threads(count: int) -> None:
    """So many processor threads for everything that follows, in this process and in those it starts."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)


def throughput(
    predictors: Mapping[str, Predict], texts: Sequence[str], rounds: int
) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Reviews a second of each, strings in and labels out: the median of rounds in which all of them take turns.

    A machine's noise lasts, and would hit one of them alone if they ran one after the other; the first round warms up
    and does not count.

    Returns:
        name -> reviews a second, and name -> the predictions of the first round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    predictions = {}
    with tqdm(total=(rounds + 1) * len(predictors), unit="run", desc="Throughput") as bar:
        for name, predict in predictors.items():
            predictions[name] = predict(texts)
            bar.update()
        for _ in range(rounds):
            for name, predict in predictors.items():
                start = time.perf_counter()
                predict(texts)
                seconds[name].append(time.perf_counter() - start)
                bar.update()
    return {name: len(texts) / statistics.median(times) for name, times in seconds.items()}, predictions


def texts_of_length(scorer: TextScorer, texts: Sequence[str], tokens: int, count: int = 20) -> list[str]:
    """Real texts cut so that the model reads exactly `tokens` of them, special tokens counted; fewer where few fit."""
    cut = []
    for text in texts:
        low, high = 1, len(text)
        while low < high:
            middle = (low + high) // 2
            if _length(scorer, text[:middle]) < tokens:
                low = middle + 1
            else:
                high = middle
        if _length(scorer, text[:low]) == tokens:
            cut.append(text[:low])
        if len(cut) == count:
            break
    return cut


def _length(scorer: TextScorer, text: str) -> int:
    return len(encode(scorer.tokenizer, [text], scorer.settings)["input_ids"][0])


def latency(predictors: Mapping[str, Predict], texts: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Milliseconds of one call with one text, median and 99th percentile, all of them in turns."""
    times: dict[str, list[float]] = {name: [] for name in predictors}
    for call in range(WARM_UP + CALLS):
        for name, predict in predictors.items():
            start = time.perf_counter()
            predict([texts[call % len(texts)]])
            if call >= WARM_UP:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: (float(np.median(ms)), float(np.percentile(ms, 99))) for name, ms in times.items()}


def peak_megabytes(system: System, texts: Sequence[str]) -> float | None:
    """Measure the peak MB of a fresh process that loads the system and reads the texts, Python and libraries too."""
    # forked, it would count what this process holds.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_of_process, system, list(texts)).result()


def _peak_of_process(system: System, texts: list[str]) -> float | None:
    system.open()(texts)
    return peak_memory_mb()


@dataclass(frozen=True)
class Limit:
    """What the multiplications alone would take at this machine's rate for a bare product.

    Attributes:
        gflops: measured rate by precision, 10^9 multiplications and additions a second.
        precision: the fastest.
    """

    gflops: dict[str, float]

    @property
    def precision(self) -> str:
        return max(self.gflops, key=lambda name: self.gflops[name])

    def milliseconds(self, operations: float) -> float:
        return operations / self.gflops[self.precision] / 1e6


def measured_limit(hidden: int, intermediate: int, rows: int = 2048, rounds: int = 15) -> Limit:
    """Time `[rows, hidden] x [hidden, intermediate]` in FP32 and bfloat16, the best of some rounds."""
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = torch.randn(rows, hidden).to(dtype), torch.randn(hidden, intermediate).to(dtype)
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            left @ right
            times.append(time.perf_counter() - start)
        rates[name] = 2 * rows * hidden * intermediate / min(times) / 1e9
    return Limit(rates)


def operations_of(config: Any, lengths: Sequence[int]) -> float:
    """Multiplications and additions that a BERT of this config needs for a text, the mean over texts of these lengths.

    Products with weights, and those inside attention; what is not a product is left out.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    # A model of ours without some of its heads says how wide the rest is.
    head_size = getattr(config, "attention_head_size", hidden // config.num_attention_heads)
    width = head_size * config.num_attention_heads
    weights = layers * (4 * hidden * width + 2 * hidden * config.intermediate_size)
    tokens = np.array(lengths, dtype=float)
    return float((2 * weights * tokens + 4 * layers * width * tokens**2).mean())


def padding_share(scorer: TextScorer, texts: Sequence[str]) -> float:
    """How much of what the model reads is padding, with this scorer's batches."""
    lengths = [len(ids) for ids in encode(scorer.tokenizer, texts, scorer.settings)["input_ids"]]
    size, bucket = scorer.batch_size, scorer.pad_to_multiple_of
    read = 0
    for first in range(0, len(lengths), TEXTS_AT_ONCE):
        block = sorted(lengths[first : first + TEXTS_AT_ONCE], reverse=True)
        for start in range(0, len(block), size):
            padded = min(-(-block[start] // bucket) * bucket, scorer.settings.max_length)
            read += len(block[start : start + size]) * padded
    return 1 - sum(lengths) / read


BASELINE = "transformers pipeline, FP32, batch 32"
_COLUMNS = ("system", "reviews/s", "ms/review", "× pipeline")
_LAST = ("size MB", "peak MB", "accuracy", "share of limit")
_MARKERS = "osD^v"


def result_table(result: dict[str, Any]) -> Table:
    """One line a system, with its speed against transformers' pipeline at batch 32."""
    from rich.table import Table

    limit = result["limit"]
    title = (
        f"{result['texts']} texts, {result['tokens']:.0f} tokens on average, {result['threads']} threads, "
        f"{result['padding_share']:.1%} padding in our batches. "
        f"The products alone would take {limit['ms_per_review']:.2f} ms a review in {limit['precision']}"
    )
    table = Table(title=title)
    for place, name in enumerate((*_COLUMNS, *(f"p50 ms, {length}" for length in LENGTHS), *_LAST)):
        table.add_column(name, justify="right" if place else "left", overflow="fold", min_width=None if place else 26)
    speed = {row["name"]: row["reviews_per_s"] for row in result["rows"]}
    for row in result["rows"]:
        if row["reviews_per_s"] is None:
            table.add_row(row["name"], f"did not run: {row['reason']}")
            continue
        figures = [f"{row['reviews_per_s']:.0f}", f"{1000 / row['reviews_per_s']:.2f}"]
        base = speed.get(BASELINE)
        figures.append(f"{row['reviews_per_s'] / base:.1f}" if base else "–")
        figures += [f"{row['p50_ms'][str(length)]:.2f}" if str(length) in row["p50_ms"] else "–" for length in LENGTHS]
        peak = f"{row['peak_mb']:.0f}" if row["peak_mb"] else "–"
        figures += [f"{row['size_mb']:.1f}", peak, f"{row['accuracy']:.2%}"]
        table.add_row(row["name"], *figures, f"{row['share_of_limit']:.0%}")
    return table


def accuracy_latency_plot(result: dict[str, Any], path: Path) -> None:
    """Accuracy against milliseconds a review, one point a system.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(figsize=(8, 5))
    from matplotlib.ticker import LogLocator  # after new_figure, which says what to install where it is missing

    axes = figure.subplots()
    rows = [row for row in result["rows"] if row["reviews_per_s"] is not None]
    for place, row in enumerate(rows):
        # Ten colours, then the same in another shape.
        look = {"color": f"C{place % 10}", "marker": _MARKERS[place // 10 % len(_MARKERS)], "label": row["name"]}
        axes.scatter(1000 / row["reviews_per_s"], 100 * row["accuracy"], s=60, **look)
    axes.axvline(result["limit"]["ms_per_review"], linestyle=":", color="grey", label="products alone")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("milliseconds a review, strings in and labels out")
    axes.set_ylabel("accuracy, %")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(path, dpi=110)
