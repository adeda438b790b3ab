"""How long the model's own part takes in every runtime, one thread each, and how far its logits are from FP32's.

    python recipes/compression/runtimes.py runs/mine --shapes 1x32 8x64 8x96

The folder needs its ONNX files: `sentiment-hf compress export --quantize dynamic`, and `static` for the static ones.
Ids are random; runtimes take turns, and medians count. `torch, bfloat16` is no backend and I/O binding no option: what
they would be worth is seen here.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sentiment_hf.benchmark.measure import use_threads
from sentiment_hf.benchmark.systems import onnx_kinds
from sentiment_hf.inference.backends import open_backend
from sentiment_hf.inference.onnx_session import open_session
from sentiment_hf.modeling.loading import load_config
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import exits_cleanly

Forward = Callable[[dict[str, np.ndarray]], np.ndarray]


def in_bfloat16(forward: Forward) -> Forward:
    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return forward(batch)

    return run


def with_binding(session: Any) -> Forward:
    names = [item.name for item in session.get_inputs()]

    def run(batch: dict[str, np.ndarray]) -> np.ndarray:
        binding = session.io_binding()
        for name in names:
            binding.bind_cpu_input(name, batch[name])
        binding.bind_output("logits")
        session.run_with_iobinding(binding)
        return np.asarray(binding.copy_outputs_to_cpu()[0])

    return run


@exits_cleanly
def main() -> int:
    log_to_stderr()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a classifier with one label")
    parser.add_argument("--shapes", nargs="+", default=["1x32", "8x64", "8x96"], metavar="ROWSxTOKENS")
    parser.add_argument("--rounds", type=int, default=15, help="of which the median counts (15)")
    args = parser.parse_args()
    use_threads(1)
    config = load_config(args.model)
    opened = {kind: open_backend(args.model, config, kind, "cpu") for kind in ("torch", *onnx_kinds(args.model, "cpu"))}
    forwards: dict[str, Forward] = {kind: backend.forward for kind, backend in opened.items()}
    forwards["torch, bfloat16"] = in_bfloat16(opened["torch"].forward)
    if "int8" in opened:
        forwards["int8, I/O binding"] = with_binding(open_session(str(opened["int8"].file), threads=1))
    generator = np.random.default_rng(0)
    lines = [f"| rows x tokens | {' | '.join(forwards)} |", "|---" * (len(forwards) + 1) + "|"]
    furthest = dict.fromkeys(forwards, 0.0)
    for shape in args.shapes:
        rows, tokens = map(int, shape.split("x"))
        ids = generator.integers(5, config.vocab_size, (rows, tokens))
        batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        exact, times = forwards["torch"](batch), {name: [] for name in forwards}
        for name, forward in forwards.items():
            furthest[name] = max(furthest[name], float(np.abs(forward(batch) - exact).max()))
        for _ in range(args.rounds):
            for name, forward in forwards.items():
                start = time.perf_counter()
                forward(batch)
                times[name].append(1000 * (time.perf_counter() - start) / rows)
        lines.append(f"| {shape} | {' | '.join(f'{statistics.median(ms):.2f}' for ms in times.values())} |")
    lines.append(f"| distance | {' | '.join(f'{value:.2f}' for value in furthest.values())} |")
    show("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
