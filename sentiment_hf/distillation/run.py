"""One distillation from recipe to encoder.

`accelerate launch -m sentiment_hf.distillation.run --config recipe.yaml --key value …`, or `sentiment-hf compress
distill` with the same arguments.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from rich.table import Table
from transformers import AutoModel, PreTrainedModel, set_seed

from sentiment_hf.config.options import DecontaminationArguments
from sentiment_hf.config.training_options import TrainingOptions
from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.decontamination import decontamination_index
from sentiment_hf.distillation.batches import Corpus, DistillationCollator, build_corpus, tokenize_passages
from sentiment_hf.distillation.options import LossArguments, StudentArguments, TextArguments
from sentiment_hf.distillation.student import check_pair, load_pair, restore_dropout
from sentiment_hf.distillation.trainer import DistillationTrainer, StudentWithHeads, sentence_statistics
from sentiment_hf.training import folder as run_folder
from sentiment_hf.training.arguments import RecipeTrainingArguments, parse_recipe, recorded_keys
from sentiment_hf.training.records import (
    ROWS_FILE,
    compared_rows,
    environment,
    log_in_lines,
    log_to_file,
)
from sentiment_hf.utils.console import log_to_stderr, show
from sentiment_hf.utils.exceptions import InputError, exits_cleanly
from sentiment_hf.utils.files import write_json

# Not __name__: started with -m that is __main__, whose log goes nowhere.
logger = logging.getLogger("sentiment_hf.distillation.run")

CORPUS_FILE = "corpus.json"
# Enough for a mean and a deviation of each dimension to two digits.
STATISTICS_TEXTS = 2048


@dataclass
class DistillationArguments:
    """Everything a distillation recipe says, by topic."""

    texts: TextArguments
    decontamination: DecontaminationArguments
    student: StudentArguments
    losses: LossArguments
    training: RecipeTrainingArguments

    def as_recipe(self) -> dict[str, Any]:
        """Collect the keys of this run, as a recipe that would repeat it."""
        return recorded_keys(
            (self.texts, self.decontamination, self.student, self.losses), self.training, TrainingOptions
        )


def parse_distillation_arguments(argv: Sequence[str]) -> DistillationArguments:
    """`--config recipe.yaml --key value …` -> arguments; see `sentiment_hf.training.arguments.parse_recipe`."""
    parts = (TextArguments, DecontaminationArguments, StudentArguments, LossArguments, RecipeTrainingArguments)
    args = DistillationArguments(*parse_recipe(argv, parts))
    if args.training.push_finished_run:
        remedy = "Fine-tune it with `sentiment-hf train` and push that."
        raise InputError("a classifier for push_to_hub", "an encoder", remedy)
    return args


def load_corpus(args: TextArguments, decontamination: DecontaminationArguments, seed: int) -> Corpus:
    """Load the passages of a run, without what is held out."""
    evaluation = decontamination_index(decontamination, args.data_dir, Cleaning())
    logger.info("%d different texts are held out", len(evaluation))
    corpus = build_corpus(
        args.texts or [], evaluation, args.data_dir, Cleaning(), args.passage_length, args.max_passages
    )
    if args.max_texts is not None and args.max_texts < len(corpus.passages):
        corpus.passages = random.Random(seed).sample(corpus.passages, args.max_texts)
    return corpus


def corpus_table(corpus: Corpus) -> Table:
    """Tabulate what was read and what was left out, a line a source."""
    table = Table(title=f"Text to learn from; {corpus.evaluation_texts:,} different texts held out")
    table.add_column("source")
    names = list(next(iter(corpus.counts.values())))
    for name in names:
        table.add_column(name, justify="right")
    for source, counts in corpus.counts.items():
        table.add_row(source, *(f"{counts[name]:,}" for name in names))
    table.add_row("all", *(f"{corpus.total(name):,}" for name in names))
    return table


def distill(args: DistillationArguments) -> Path:
    """Build the corpus, make the student, train it, and save encoder and tokenizer; FP16 halves the file.

    Raises:
        InputError: see the parts.
    """
    training = args.training
    folder, resume = training.folder, training.resume_from_checkpoint
    is_main = training.process_index == 0
    if is_main:
        run_folder.check_free(folder, training.overwrite_output_dir, resume is not None)
    checkpoint = run_folder.newest_checkpoint(folder, resume)
    check_pair(args.student, args.losses, args.texts.max_length)
    corpus = load_corpus(args.texts, args.decontamination, training.seed)
    if is_main:
        show(corpus_table(corpus))
    set_seed(training.seed)
    weights = args.losses.active()
    pair = load_pair(args.student, args.losses, corpus.passages)
    rows = tokenize_passages(corpus.passages, pair.tokenizer, pair.teacher_tokenizer, args.texts.max_length)
    statistics = None
    if "pooler_cosine" in weights:
        sample = random.Random(training.seed).sample(corpus.passages, min(STATISTICS_TEXTS, len(corpus.passages)))
        reader = pair.teacher_tokenizer or pair.tokenizer
        statistics = sentence_statistics(pair.teacher, reader, sample, args.texts.max_length)
    # A student of random weights, or a pooler that the teacher lacks, drew numbers; the heads depend on the seed alone.
    set_seed(training.seed)
    heads = StudentWithHeads(pair.student, pair.teacher.config.hidden_size, len(pair.layers), "mlm" in weights)
    passages = pd.DataFrame({"text": corpus.passages, "label": ""})
    record = compared_rows(checkpoint, {"passages": passages}, ())
    if is_main:
        run_folder.init_run_dir(folder, args.as_recipe(), checkpoint is not None)
        write_json(folder / ROWS_FILE, record)
        facts = {"evaluation_texts": corpus.evaluation_texts, "passages": len(rows), "sources": corpus.counts}
        write_json(folder / CORPUS_FILE, facts | {"tokens": sum(rows["length"])})
    with log_to_file(folder) if is_main else nullcontext():
        logger.info("%d passages, %d tokens an epoch", len(rows), sum(rows["length"]))
        logger.info("student: %.2f million parameters", pair.student.num_parameters() / 1e6)
        logger.info("versions and hardware: %s", environment())
        trainer = DistillationTrainer(
            model=heads,
            args=training,
            teacher=pair.teacher,
            layers=pair.layers,
            weights=weights,
            sentence_statistics=statistics,
            train_dataset=rows,
            data_collator=DistillationCollator(
                pair.tokenizer,
                pair.teacher_tokenizer,
                args.losses.mlm_probability if "mlm" in weights else 0.0,
                max_length=args.texts.max_length,
            ),
        )
        log_in_lines(trainer)
        started = time.perf_counter()
        with run_folder.resuming(checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint)
        seconds = time.perf_counter() - started
        student = whole_student(trainer, pair.student)
        if is_main:
            restore_dropout(student, args.student)
            student.to("cpu", torch.float16)
            run_folder.save_model(folder, student, pair.tokenizer)
            finished = {
                "seconds": round(seconds, 1),
                "tokens_per_second": round(trainer.all_tokens / seconds, 1),
                "environment": environment(),
                "history": trainer.state.log_history,
            }
            write_json(folder / "run.json", finished)
            logger.info("%.0f s, %.0f tokens a second a process", seconds, finished["tokens_per_second"])
    return folder


def whole_student(trainer: DistillationTrainer, student: PreTrainedModel) -> PreTrainedModel:
    """Return the student as trained; where processes share its weights (FSDP), a new one that holds them whole."""
    gathered = trainer.gathered_weights()
    # Only the first process has them, and only it saves.
    if not gathered:
        return student
    prefix = "encoder."
    whole: PreTrainedModel = AutoModel.from_config(student.config)
    whole.load_state_dict(
        {name.removeprefix(prefix): weight for name, weight in gathered.items() if name.startswith(prefix)}
    )
    return whole


@exits_cleanly
def main(argv: Sequence[str] | None = None) -> int:
    """Distill by the arguments of the command line."""
    args = parse_distillation_arguments(sys.argv[1:] if argv is None else argv)
    is_main = args.training.process_index == 0
    log_to_stderr(logging.INFO if is_main else logging.WARNING)
    folder = distill(args)
    if is_main:
        show(f"The encoder is in {folder}: give the folder as `model:` in a recipe.")
    # As at the end of training: a thread of gloo that is left may abort the process.
    PartialState().destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
