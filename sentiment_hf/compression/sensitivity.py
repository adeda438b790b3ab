"""Which products cost most in INT8: each is kept in FP32 once, and validation says what that wins."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from sentiment_hf.compression.gate import Judge
from sentiment_hf.compression.graph import weighted_nodes
from sentiment_hf.compression.static import StaticQuantizer

logger = logging.getLogger(__name__)

SENSITIVITY_FILE = "sensitivity.csv"
# With more of them in FP32 there is little left to win in speed.
MAX_EXCLUDED = 8


def sensitivity(quantizer: StaticQuantizer, judge: Judge, folder: Path) -> pd.DataFrame:
    """Measure what each product with weights costs, the costliest first.

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


def quantize_until(
    quantizer: StaticQuantizer, judge: Judge, max_drop: float, folder: Path, resolution: float = 0.0
) -> tuple[Path, pd.DataFrame]:
    """Make the INT8 file with as few products in FP32 as the gate asks for, and the table they were chosen by.

    At most `MAX_EXCLUDED` are kept; whether that was enough is for the gate to say.
    """
    table = sensitivity(quantizer, judge, folder)
    order = [node for node, gain in zip(table["node"][1:], table["gain"][1:], strict=True) if gain > 0]
    for count in range(min(len(order), MAX_EXCLUDED) + 1):
        file = quantizer.quantize(folder, order[:count])
        verdict = judge.verdict(file, max_drop, resolution)
        if verdict.passed or count == min(len(order), MAX_EXCLUDED):
            break
        file.unlink()
    logger.info("in FP32 stay %s: %s", ", ".join(order[:count]) or "none", verdict)
    table["kept_in_fp32"] = [node in order[:count] for node in table["node"]]
    return file, table
