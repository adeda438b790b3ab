"""`sentiment-hf baseline`: the TF-IDF baseline alone, in the format of every run."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment_hf.console import log_to_stderr, show
from sentiment_hf.evaluation.report import metrics_table, write_metrics
from sentiment_hf.exceptions import exits_cleanly
from sentiment_hf.training.defaults import parse_command_line
from sentiment_hf.training.folder import check_free, init_run_dir
from sentiment_hf.training.run import save_splits
from sentiment_hf.training.scoring import score_baseline
from sentiment_hf.training.setup import load_data

DEFAULT_FOLDER = "runs/baseline"


@exits_cleanly
def main(words: Sequence[str]) -> int:
    log_to_stderr()
    args = parse_command_line([f"--output_dir={DEFAULT_FOLDER}", *words])
    folder = args.training.folder
    check_free(folder, args.training.overwrite_output_dir, resume=False)
    data = load_data(args)
    _, metrics, _ = score_baseline(args, data)
    init_run_dir(folder, args.as_recipe(), resume=False)
    save_splits(folder, data)
    write_metrics(folder, metrics)
    show(metrics_table([metrics]))
    return 0
