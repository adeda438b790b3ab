"""Which products cost most in INT8: each is kept in FP32 once, and dev says what that wins."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from sentiment_hf.compression.graph import weighted_nodes
from sentiment_hf.compression.onnx import onnx_scorer_like
from sentiment_hf.compression.static import StaticQuantizer
from sentiment_hf.data.labelled import AnyTask
from sentiment_hf.evaluation.prediction import TextScorer
from sentiment_hf.evaluation.scores import task_scores

logger = logging.getLogger(__name__)

SENSITIVITY_FILE = "sensitivity.csv"
# With more of them in FP32 there is little left to win in speed.
MAX_EXCLUDED = 8


@dataclass(frozen=True)
class Judge:
    """How good a file is on dev.

    Attributes:
        scorer: of the model; its tokenizer and text settings.
        dev: `text` and `label`.
        task: with the metric.
        reference: FP32's answers on dev.
    """

    scorer: TextScorer
    dev: pd.DataFrame
    task: AnyTask
    reference: np.ndarray

    def __call__(self, file: Path) -> tuple[float, float]:
        """Points of the metric, and the mean distance of the answers from FP32's.

        The metric alone is a coarse judge: one product rarely moves more than a few answers of a thousand.
        """
        answers = onnx_scorer_like(self.scorer, file).logits(self.dev["text"])
        return self.points(answers), float(np.abs(answers - self.reference).mean())

    def points(self, answers: np.ndarray) -> float:
        """Points of the metric of these answers to dev."""
        return task_scores(answers, self.dev["label"], self.task)[self.task.metric] * 100


def sensitivity(quantizer: StaticQuantizer, judge: Judge, folder: Path) -> pd.DataFrame:
    """What each product with weights costs, the costliest first.

    Args:
        quantizer: with its ranges.
        judge: see `Judge`.
        folder: for the files that are judged; they do not stay.

    Returns:
        Columns `node` (the first row, `–`, has all of them in INT8), `points`, `distance` with that node in FP32, and
        `gain`, what that takes off the distance.
    """
    nodes = [name for name, is_weighted in weighted_nodes(quantizer.fp32_file).items() if is_weighted]
    rows = []
    for node in tqdm([None, *nodes], unit="node", desc="Weighing"):
        file = quantizer.quantize(folder, [] if node is None else [node])
        points, distance = judge(file)
        file.unlink()
        rows.append({"node": node or "–", "points": points, "distance": distance})
    table = pd.DataFrame(rows)
    table["gain"] = table["distance"][0] - table["distance"]
    return pd.concat([table[:1], table[1:].sort_values("gain", ascending=False)], ignore_index=True)


def quantize_until(quantizer: StaticQuantizer, judge: Judge, least: float, folder: Path) -> tuple[Path, pd.DataFrame]:
    """The INT8 file with as few products in FP32 as reach `least` points on dev, and the table they were chosen by.

    At most `MAX_EXCLUDED` are kept; whether that was enough is for the gate to say.
    """
    table = sensitivity(quantizer, judge, folder)
    order = [node for node, gain in zip(table["node"][1:], table["gain"][1:], strict=True) if gain > 0]
    for count in range(min(len(order), MAX_EXCLUDED) + 1):
        file = quantizer.quantize(folder, order[:count])
        points, _ = judge(file)
        if points >= least or count == min(len(order), MAX_EXCLUDED):
            break
        file.unlink()
    logger.info("in FP32 stay %s: %.2f points", ", ".join(order[:count]) or "none", points)
    table["kept_in_fp32"] = [node in order[:count] for node in table["node"]]
    return file, table
