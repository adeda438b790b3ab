"""Static INT8: compute activation ranges, and choose the operations that stay in FP32."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset
from tqdm import tqdm

from sentiment_hf.compression.gate import Judge
from sentiment_hf.compression.quantization import OPERATORS, Quantization, unweighted_nodes, weighted_nodes
from sentiment_hf.data.padding import pad_rows
from sentiment_hf.data.tokenization import TextSettings, encode
from sentiment_hf.inference.onnx_session import resolve_arch
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

logger = logging.getLogger(__name__)

# More change the ranges little and cost memory: every activation of a shard is kept until its histogram is taken.
MAX_ACTIVATION_ROWS = 256
MIN_ROWS = {"minmax": 8, "entropy": 32, "percentile": 100}
SHARD_ROWS = 32


def activation_shards(scorer: TextScorer, texts: Sequence[str]) -> list[dict[str, np.ndarray]]:
    """Texts as batches of one shape each, `[rows, tokens]`, cut to no more than `SHARD_ROWS` rows.

    Texts of one padded length share a shard: padding, which no logits depend on, would widen the ranges.
    """
    settings = scorer.settings
    if settings.is_sliding:
        # Any chunk will do, so the first of each document is taken.
        settings = TextSettings(settings.cleaning, settings.max_length)
    encoded = encode(scorer.tokenizer, texts, settings)
    bucket = scorer.pad_to_multiple_of
    by_length: dict[int, list[int]] = {}
    for row, ids in enumerate(encoded["input_ids"]):
        by_length.setdefault(-(-len(ids) // bucket), []).append(row)
    shards = []
    for _, rows in sorted(by_length.items()):
        for start in range(0, len(rows), SHARD_ROWS):
            picked = {
                name: [values[row] for row in rows[start : start + SHARD_ROWS]] for name, values in encoded.items()
            }
            shards.append(pad_rows(picked, scorer.tokenizer, bucket, settings.max_length))
    return shards


def check_activation_rows(rows: pd.DataFrame | None, method: str) -> pd.DataFrame:
    """Check that the rows are enough for the method, and return them.

    Raises:
        InputError: none, or too few.
    """
    least = MIN_ROWS[method]
    if rows is None or rows.empty:
        raise InputError(
            "training rows for the activation ranges of static INT8",
            "none",
            "Give training rows with --activation_file.",
        )
    if len(rows) < least:
        remedy = "Give more rows, or activation_ranges: minmax, which needs the fewest."
        raise InputError(f"at least {least} rows for activation_ranges: {method}", str(len(rows)), remedy)
    return rows


class StaticQuantizer:
    """Quantizes one FP32 export as often as is asked, from ranges that are taken once.

    Args:
        fp32_file: the export, not optimised, best with its outliers split off.
        scorer: of the model, for its tokenizer and text settings.
        rows: training rows with `text`; a seeded sample of `MAX_ACTIVATION_ROWS` is used.
        settings: how ranges are read off, and the target.
    """

    def __init__(self, fp32_file: Path, scorer: TextScorer, rows: pd.DataFrame | None, settings: Quantization) -> None:
        try:
            from optimum.onnxruntime import ORTQuantizer
        except ImportError as error:
            raise MissingExtraError("optimum-onnx", "onnx") from error
        self.fp32_file, self.settings = fp32_file, settings
        rows = check_activation_rows(rows, settings.activation_ranges)
        sample = rows["text"].sample(min(len(rows), MAX_ACTIVATION_ROWS), random_state=42)
        self._quantizer = ORTQuantizer.from_pretrained(fp32_file.parent, file_name=fp32_file.name)
        self.ranges = self._ranges(activation_shards(scorer, sample.tolist()))

    def _ranges(self, shards: list[dict[str, np.ndarray]]) -> Any:
        from optimum.onnxruntime.configuration import AutoCalibrationConfig

        inputs = _input_names(self.fp32_file)
        augmented = self.fp32_file.with_name("augmented.onnx")
        config: Any = None
        for shard in tqdm(shards, unit="batch", desc="Activation ranges"):
            dataset = Dataset.from_dict({name: shard[name] for name in inputs})
            if config is None:
                config = {
                    "minmax": AutoCalibrationConfig.minmax,
                    "entropy": AutoCalibrationConfig.entropy,
                    "percentile": AutoCalibrationConfig.percentiles,
                }[self.settings.activation_ranges](dataset)
            else:
                # With a method Optimum starts a new calibrator at every call, and forgets the shards before.
                config = replace(config, method=None)
            # onnxruntime prints what it does.
            with redirect_stdout(StringIO()):
                self._quantizer.partial_fit(
                    dataset,
                    config,
                    onnx_augmented_model_name=augmented,
                    operators_to_quantize=OPERATORS,
                    batch_size=SHARD_ROWS,
                    force_symmetric_range=self.settings.arch == "tensorrt",
                )
        with redirect_stdout(StringIO()):
            ranges = self._quantizer.compute_ranges()
        augmented.unlink(missing_ok=True)
        return ranges

    def quantize(self, output: Path, excluded: Sequence[str] = ()) -> Path:
        """Write the INT8 file.

        Args:
            output: folder; also gets what Optimum writes beside it.
            excluded: names of graph nodes that stay in FP32.

        Returns:
            The file, with its target in the name.
        """
        from optimum.onnxruntime.configuration import AutoQuantizationConfig

        if self.settings.arch == "tensorrt":
            config = AutoQuantizationConfig.tensorrt(operators_to_quantize=OPERATORS)
        else:
            target: Any = getattr(AutoQuantizationConfig, resolve_arch(self.settings.arch))
            config = target(is_static=True, per_channel=True, operators_to_quantize=OPERATORS)
        config.nodes_to_exclude = [*excluded, *unweighted_nodes(self.fp32_file)]
        self._quantizer.quantize(
            config, save_dir=output, file_suffix="quantized", calibration_tensors_range=self.ranges
        )
        return (output / f"{self.fp32_file.stem}_quantized.onnx").rename(output / self.settings.file_name)


def _input_names(fp32_file: Path) -> list[str]:
    import onnx

    return [item.name for item in onnx.load(str(fp32_file), load_external_data=False).graph.input]


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
