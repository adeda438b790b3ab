"""How much memory `sentiment-hf predict --file` needs at most.

    python tests/reliability/peak_memory.py TABLE [--rows 100000] [--model PATH_OR_ID] [--text_column NAME]

The rows of the table are repeated until there are enough. Ends with one line; the status is 1 where the peak is above
--limit_mb.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from sentiment_hf.batch.row_blocks import open_blocks


def repeated(source: str, rows: int, target: Path) -> None:
    """Write so many rows of a table, over and over, as csv."""
    blocks = itertools.chain.from_iterable(open_blocks(source).blocks(1000) for _ in itertools.count())
    written = 0
    while written < rows:
        block: pd.DataFrame = next(blocks).head(rows - written)
        block.to_csv(target, mode="a", index=False, header=written == 0)
        written += len(block)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--model", default="starter-reviews", metavar="PATH_OR_ID")
    parser.add_argument("--text_column")
    parser.add_argument("--limit_mb", type=float, default=1500)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in.csv"), Path(folder, "out.csv")
        repeated(args.table, args.rows, source)
        words = [sys.executable, "-m", "sentiment_hf", "predict", "--model", args.model, "--file", str(source)]
        words += ["--output", str(output), *(["--text_column", args.text_column] if args.text_column else [])]
        started = time.perf_counter()
        subprocess.run(words, check=True)
        seconds = time.perf_counter() - started
        # In KiB on Linux.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
        rows = open_blocks(output).rows
    sys.stdout.write(f"{rows:,} rows in {seconds:.0f} s, peak {peak:.0f} MB\n")
    return 0 if rows == args.rows and peak < args.limit_mb else 1


if __name__ == "__main__":
    sys.exit(main())
