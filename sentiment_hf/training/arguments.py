"""`SentimentTrainingArguments`, and parsing of a recipe and a command line into the arguments of a run."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import HfArgumentParser, TrainingArguments
from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

from sentiment_hf.config.options import (
    DataArguments,
    DecontaminationArguments,
    ExportArguments,
    ModelArguments,
    TaskArguments,
)
from sentiment_hf.config.recipe import as_command_line, check_known, read_recipe
from sentiment_hf.config.training_options import FineTuningOptions, TrainingOptions
from sentiment_hf.config.values import option
from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.utils.exceptions import InputError, MissingExtraError
from sentiment_hf.utils.hardware import cpu_runs_bf16_fast


@dataclass
class RecipeTrainingArguments(TrainingOptions, TrainingArguments):
    """transformers' `TrainingArguments` with the keys and defaults of `TrainingOptions`.

    The added keys mean the same on transformers 4.57 and 5, which renamed or dropped some of their own.

    Attributes:
        output_dir: folder of the run; nothing is written to a place that nobody named.
        push_finished_run: what `push_to_hub` asked for.
    """

    push_finished_run: bool = dataclasses.field(init=False, default=False)

    def __post_init__(self) -> None:
        TrainingOptions.__post_init__(self)
        self._finish()

    def _finish(self) -> None:
        if self.output_dir is None:
            raise InputError("output_dir", "none", "Give --output_dir, the folder of the run.")
        self._choose_precision()
        self.report_to = _trackers(self.report_to)  # type: ignore[assignment]
        # Our own data pipeline drops columns; the Trainer would drop doc_id as well.
        self.remove_unused_columns = False
        self.label_names = ["labels"]
        # The Trainer would push each checkpoint, pickles and all; `sentiment-hf train` pushes once, at the end.
        self.push_finished_run, self.push_to_hub = self.push_to_hub, False
        if self.accelerator_config is None:
            # Without pinned memory, and so without a GPU, there is nothing to overlap.
            pinned = self.dataloader_pin_memory and not self.use_cpu
            self.accelerator_config = {"non_blocking": self.non_blocking and pinned}
        try:
            TrainingArguments.__post_init__(self)
        except Exception as error:
            # There are over a hundred of them, of any kind, and few are checked before they are used.
            raise InputError("training arguments that go together", str(error), "Change one of them.") from error
        if self.n_gpu > 1:
            found = f"{self.n_gpu} GPUs in one process"
            raise InputError(
                "one GPU a process", found, "Start with `accelerate launch`, or set CUDA_VISIBLE_DEVICES=0."
            )

    @property
    def folder(self) -> Path:
        """`output_dir` as a path."""
        assert self.output_dir is not None
        return Path(self.output_dir)

    def get_warmup_steps(self, num_training_steps: int) -> int:
        """Count the steps of the warm-up: `warmup_steps` where it is set, else `warmup_ratio` of all steps."""
        if self.warmup_steps:
            return int(super().get_warmup_steps(num_training_steps))
        return math.ceil(num_training_steps * self.warmup_ratio)

    def _choose_precision(self) -> None:
        on_gpu = torch.cuda.is_available() and not self.use_cpu
        if self.bf16 or self.fp16:
            if self.precision != "auto":
                remedy = "Set `precision` alone."
                raise InputError(
                    "one setting of the precision", f"precision: {self.precision} and bf16 or fp16", remedy
                )
            self.precision = "bf16" if self.bf16 else "fp16"
            return
        gpu_bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = choose_precision(self.precision, on_gpu, gpu_bf16, cpu_runs_bf16_fast())
        if precision == "fp16" and not on_gpu:
            raise InputError("a GPU for precision: fp16", "none", "Use `precision: auto`, which asks the hardware.")
        self.precision = precision
        self.bf16, self.fp16 = precision == "bf16", precision == "fp16"
        # transformers leaves its choice in the environment and reads it back, so that fp32 after bf16 in one process
        # would be bf16 again.
        os.environ["ACCELERATE_MIXED_PRECISION"] = {"fp32": "no"}.get(precision, precision)
        # Without a GPU transformers refuses bf16 unless the CPU was asked for by name.
        self.use_cpu = self.use_cpu or not (on_gpu or torch.backends.mps.is_available())


@dataclass
class SentimentTrainingArguments(FineTuningOptions, RecipeTrainingArguments):
    """The training arguments of a classifier, with the keys and defaults of `FineTuningOptions`.

    They differ from transformers' `TrainingArguments` in this:

    - Defaults are those of fine-tuning a classifier: validation and a checkpoint after every epoch, two of them kept,
      the best one by macro-F1 at the end; 6 % warm-up; 32 rows a batch in training and 64 in evaluation; no tracker.
      Where the trainer gets no `eval_dataset` it neither evaluates nor chooses, and saves all the same. With
      `save_strategy: no` there is no checkpoint to go back to, and `load_best_model_at_end` is off.
    - `precision: auto` takes bf16 or fp16 where the hardware is fast in it; `bf16` and `fp16` still work.
    - `length_grouping` takes the place of `group_by_length`: the order of rows depends on seed and epoch alone, so
      that a resumed run sees them as one that was never stopped.
    - `dataloader_drop_last` leaves rows out of training alone; every row is scored.
    - `remove_unused_columns` has no effect: `SentimentTrainer` drops what neither model nor collator reads.
    - `push_to_hub` in a recipe pushes the finished run once; `SentimentTrainer.push_to_hub()` pushes when called.

    >>> SentimentTrainingArguments("runs/mine", rdrop_alpha=1.0, class_weights="balanced").metric_for_best_model
    'macro_f1'

    Attributes:
        chose_metric: whether `metric_for_best_model` is the default, which gives way to the loss where the scores are
            those of your own `compute_metrics`.
    """

    # Once more, since the first argument may come without its name, as in transformers.
    output_dir: str | None = option(None, "folder of the run")
    chose_metric: bool = dataclasses.field(init=False, default=False)

    def __post_init__(self) -> None:
        FineTuningOptions.__post_init__(self)
        if self.save_strategy == "no" and self.early_stopping_patience is None:
            # There is no checkpoint to go back to.
            self.load_best_model_at_end = False
        if self.load_best_model_at_end and self.metric_for_best_model is None:
            self.metric_for_best_model, self.chose_metric = "macro_f1", True
        self._finish()


def choose_precision(wanted: str, on_gpu: bool, gpu_bf16: bool, cpu_bf16: bool) -> str:
    """`auto` -> what the hardware does fast: bf16, else fp16 on a GPU and fp32 on a CPU; anything else as it is."""
    if wanted != "auto":
        return wanted
    if on_gpu:
        return "bf16" if gpu_bf16 else "fp16"
    return "bf16" if cpu_bf16 else "fp32"


def _trackers(report_to: str | list[str]) -> list[str]:
    """Names with commas between them -> those that transformers logs to; it would take all of them for one name.

    Raises:
        InputError: an unknown name.
        MissingExtraError: a tracker whose package is not installed.
    """
    if isinstance(report_to, list):
        report_to = ",".join(report_to) or "none"
    names = [name.strip() for name in report_to.split(",")]
    if names in (["none"], ["all"]):
        return names
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            remedy = f"Known are {', '.join(sorted(INTEGRATION_TO_CALLBACK))}; all and none stand alone."
            raise InputError("report_to: tensorboard, wandb, all or none", repr(name), remedy)
        if name in ("tensorboard", "wandb") and name not in get_available_reporting_integrations():
            raise MissingExtraError(name, "trackers")
    return names


@dataclass
class RunArguments:
    """Everything a recipe says, by topic."""

    task: TaskArguments
    data: DataArguments
    decontamination: DecontaminationArguments
    model: ModelArguments
    export: ExportArguments
    training: SentimentTrainingArguments
    # Keys that the rows decide (`sentiment_hf.training.defaults`), and what was decided, in words.
    open_keys: frozenset[str] = frozenset()
    chosen: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def text_settings(self) -> TextSettings:
        return TextSettings(
            cleaning=Cleaning.from_dict(self.data.cleaning),  # type: ignore[arg-type]
            max_length=self.data.max_length,
            truncation=self.data.truncation,
            head_share=self.data.head_share,
            stride=self.data.stride,
            max_chunks=self.data.max_chunks,
            chunk_choice=self.data.chunk_choice,
            aggregation=self.data.aggregation,
        )

    def as_recipe(self) -> dict[str, Any]:
        """Collect the keys of the project's own that this run uses, as a recipe that would repeat it."""
        # What a file won over was not read.
        data = dataclasses.replace(self.data, dataset=None, dataset_config=None) if self.data.files else self.data
        return recorded_keys(
            (self.task, data, self.decontamination, self.model, self.export), self.training, FineTuningOptions
        )


def recorded_keys(
    parts: Sequence[Any], training: RecipeTrainingArguments, options: type[TrainingOptions]
) -> dict[str, Any]:
    """Collect the project's own keys and their values, as a recipe that would repeat the run."""
    keys: dict[str, Any] = {}
    for part in parts:
        keys |= dataclasses.asdict(part)
    keys |= {item.name: getattr(training, item.name) for item in dataclasses.fields(options)}
    keys.pop("overwrite_output_dir")
    # transformers spells "none" as an empty list.
    keys["report_to"] = ",".join(training.report_to) or "none"
    return {name: _plain(value) for name, value in keys.items() if value is not None}


# Fields of transformers' class, of one major or the other, that would change nothing here, and what does.
REPLACED_KEYS = {
    "group_by_length": "Use `length_grouping`, which also knows how to resume.",
    "train_sampling_strategy": "Use `length_grouping`, which also knows how to resume.",
    "length_column_name": "Lengths are in the column `length`.",
    "remove_unused_columns": "The data pipeline drops columns itself and needs `doc_id`.",
    "label_names": "Name the labels with `labels`.",
    "hub_strategy": "A finished run is pushed once.",
    "hub_always_push": "A finished run is pushed once.",
    "hub_revision": "A push goes to main; `sentiment-hf push --create_pr` makes a pull request.",
    "logging_dir": "The log is in `output_dir`; TensorBoard takes its folder from TENSORBOARD_LOGGING_DIR.",
}


class _Parser(HfArgumentParser):
    """argparse's complaint about a value, as our error instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError("valid values", message, "Fix it in the recipe or on the command line.")


RUN_PARTS = (
    TaskArguments,
    DataArguments,
    DecontaminationArguments,
    ModelArguments,
    ExportArguments,
    SentimentTrainingArguments,
)


def parse_run_arguments(argv: Sequence[str]) -> RunArguments:
    """`--config recipe.yaml --key value …` -> arguments of a fine-tuning run; see `parse_recipe`."""
    return RunArguments(*parse_recipe(argv, RUN_PARTS))


def parse_recipe(argv: Sequence[str], parts: Sequence[type[Any]]) -> list[Any]:
    """`--config recipe.yaml --key value …` -> one object a dataclass; the command line overrides the recipe.

    Raises:
        InputError: an unknown key (the nearest known one is named), a value of the wrong kind, or one out of range.
    """
    return build_parts(parse_values(argv, parts)[0], parts)


def parse_values(
    argv: Sequence[str], parts: Sequence[type[Any]], lone: str | None = None
) -> tuple[dict[str, Any], set[str]]:
    """`--config recipe.yaml --key value …` -> the values of all keys, and which of them were given.

    Args:
        argv: the words.
        parts: dataclasses whose fields are the keys.
        lone: the key that a word without a key before it is the value of; None refuses such a word.

    Raises:
        InputError: as `parse_recipe`; more than one word for `lone`.
    """
    parser = _Parser(parts, allow_abbrev=False, add_help=False)
    parser.add_argument("--config")
    known = {action.dest for action in parser._actions} - {"config"}
    words = list(argv)
    chosen, _ = parser.parse_known_args(words)
    keys = as_command_line(read_recipe(chosen.config, known)) if chosen.config else []
    namespace, rest = parser.parse_known_args([*keys, *words])
    given = {_key(word) for word in [*keys, *words] if word.startswith("--")}
    values = vars(namespace)
    on_command_line = {_key(word) for word in words if word.startswith("--")}
    if lone is not None and rest and not any(word.startswith("-") for word in rest):
        if len(rest) > 1 or lone in on_command_line:
            found = " and ".join([*rest, *([values[lone]] if lone in on_command_line else [])])
            raise InputError(
                "one training file", found, "Give the others as --validation_file FILE and --test_file FILE."
            )
        values[lone] = rest.pop()
        given.add(lone)
    if rest:
        check_known(
            [word.lstrip("-").partition("=")[0] for word in rest if word.startswith("-")], known, "the command line"
        )
        raise InputError("--key value pairs", " ".join(rest), "Write two dashes before a key.")
    for name in given & set(REPLACED_KEYS):
        raise InputError("keys that change something", repr(name), REPLACED_KEYS[name])
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"a number for {name}", str(value), "Fix it in the recipe or on the command line.")
    return values, given


def build_parts(values: dict[str, Any], parts: Sequence[type[Any]]) -> list[Any]:
    """One object a dataclass, of the values that are its fields."""
    return [part(**{item.name: values[item.name] for item in dataclasses.fields(part) if item.init}) for part in parts]


def _key(word: str) -> str:
    """Parse the key out of `--key` or `--key=value`, with either kind of dash."""
    return word[2:].partition("=")[0].replace("-", "_")


def _plain(value: Any) -> Any:
    """Enums of transformers as the words that recipes use."""
    return getattr(value, "value", value)
