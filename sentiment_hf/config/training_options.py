"""Recipe keys for training, with their defaults and checks.

They are mixed into transformers' `TrainingArguments` in `sentiment_hf.training.arguments`; every other field of that
class is a recipe key as well. This file imports nothing heavy, so that help is instant.
"""

from __future__ import annotations

from dataclasses import dataclass

from sentiment_hf.config.options import (
    DataArguments,
    DecontaminationArguments,
    ExportArguments,
    ModelArguments,
    TaskArguments,
)
from sentiment_hf.config.values import check_choice, check_positive, option, parse_names, parse_value
from sentiment_hf.utils.exceptions import InputError

PRECISIONS = ("auto", "bf16", "fp16", "fp32")
SAMPLERS = ("none", "weighted", "downsample")


@dataclass(kw_only=True)
class TrainingOptions:
    """Training. Every other field of transformers' TrainingArguments is a key as well."""

    output_dir: str | None = option(None, "folder of the run")
    overwrite_output_dir: bool = option(False, "replace the run that the folder holds")
    seed: int = option(42, "random seed of weights, dropout and data order")
    num_train_epochs: float = option(3.0, "number of training epochs")
    learning_rate: float = option(2e-5, "peak learning rate")
    lr_scheduler_type: str = option("linear", "schedule after the warm-up")
    warmup_ratio: float = option(0.06, "share of the training steps used for warm-up")
    weight_decay: float = option(0.01, "decay of all parameters but biases and LayerNorm")
    max_grad_norm: float = option(1.0, "gradients are clipped to this norm")
    optim: str = option("adamw_torch_fused", "optimizer")
    per_device_train_batch_size: int = option(32, "training batch size per device")
    gradient_accumulation_steps: int = option(1, "batches per optimizer step")
    precision: str = option("auto", "auto (the fastest that the hardware supports), bf16, fp16 or fp32")
    length_grouping: bool = option(True, "batch rows of similar length together")
    non_blocking: bool = option(True, "copy pinned batches to the GPU while it computes")
    save_strategy: str = option("epoch", "when to save a checkpoint: epoch or steps")
    save_total_limit: int | None = option(2, "maximum number of checkpoints to keep")
    logging_steps: float = option(25, "log every this many steps")
    report_to: str = option("none", "tensorboard, wandb, both with a comma, all or none")

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, PRECISIONS)
        if not 0 <= self.warmup_ratio <= 1:
            raise InputError("warmup_ratio from 0 to 1", str(self.warmup_ratio), "0.06 is usual.")


@dataclass(kw_only=True)
class FineTuningOptions(TrainingOptions):
    """Fine-tuning. Every other field of transformers' TrainingArguments is a key as well."""

    per_device_eval_batch_size: int = option(64, "evaluation batch size per device")
    max_chunks_per_batch: int | None = option(
        64, "with sliding: maximum chunks in one forward pass; larger batches are split, with the same gradient"
    )
    rdrop_alpha: float = option(0.0, "weight of R-Drop's KL divergence; 0: no R-Drop")
    class_weights: str = option("none", "none, balanced, effective_number, or a mapping {label: weight}")
    effective_number_beta: float = option(0.999, "beta of class_weights effective_number")
    focal_gamma: float = option(0.0, "gamma of the focal loss; 0: cross-entropy")
    logit_adjustment: float = option(0.0, "tau of the logit adjustment by class frequencies; 0: off")
    logit_adjustment_at: str = option("training", "training (in the loss) or prediction (in the classifier's bias)")
    task_weights: str | None = option(None, "with task aspects: weights of the losses, {aspects: 1, rating: 1}")
    sampler: str = option("none", "none, weighted (rare classes more often) or downsample (frequent ones less)")
    layerwise_lr_decay: float = option(
        1.0, "factor of the learning rate from one layer to the layer below; 1: no decay"
    )
    fgm_epsilon: float = option(0.0, "size of the adversarial step on the embeddings (FGM); 0: off")
    distill_from: str | None = option(None, "larger classifier of the task to learn from, or a [list] of them")
    distillation_weight: float = option(
        0.5, "with distill_from: the teacher's share of the loss; the rest is the labels'"
    )
    distillation_hidden_weight: float = option(
        0.0, "with distill_from: weight of an extra loss between the first tokens' hidden states"
    )
    distillation_temperature: float = option(2.0, "with distill_from: temperature of both distributions")
    unlabelled: str | None = option(
        None, "with distill_from: list of sources of unlabelled text, labelled by the teacher alone"
    )
    label_smoothing_factor: float = option(0.0, "share of the target spread over all classes")
    early_stopping_patience: int | None = option(None, "stop after this many evaluations without a better metric")
    eval_strategy: str = option("epoch", "when to evaluate on validation: epoch or steps")
    metric_for_best_model: str | None = option(None, "score on validation that chooses the checkpoint; none: macro_f1")
    load_best_model_at_end: bool = option(True, "end with the checkpoint that is best on validation")
    baseline: bool = option(True, "fit the TF-IDF baseline on all training rows and report it beside the model")
    baseline_only: bool = option(False, "fit and score the TF-IDF baseline alone, train nothing")

    def __post_init__(self) -> None:
        # By name: mixed with transformers' class, `super()` would be that.
        TrainingOptions.__post_init__(self)
        self.class_weights = parse_value(self.class_weights, "class_weights", (dict, str))
        if isinstance(self.class_weights, str):
            check_choice("class_weights", self.class_weights, ("none", "balanced", "effective_number"))
        if self.rdrop_alpha < 0:
            raise InputError("rdrop_alpha of at least 0", str(self.rdrop_alpha), "0 turns R-Drop off.")
        if not 0 <= self.label_smoothing_factor < 1:
            found = str(self.label_smoothing_factor)
            raise InputError("label_smoothing_factor from 0 to below 1", found, "0.1 is usual.")
        self.task_weights = parse_value(self.task_weights, "task_weights", (dict,))
        self._check_imbalance()
        self._check_distillation()
        if not 0 < self.layerwise_lr_decay <= 1:
            found = str(self.layerwise_lr_decay)
            raise InputError("layerwise_lr_decay above 0 and at most 1", found, "0.9 is usual.")
        if self.fgm_epsilon < 0:
            raise InputError("fgm_epsilon of at least 0", str(self.fgm_epsilon), "1.0 is usual, 0 turns it off.")
        if self.baseline_only and not self.baseline:
            raise InputError("baseline: true with baseline_only", "baseline: false", "Leave one of them out.")
        check_positive("max_chunks_per_batch", self.max_chunks_per_batch)
        check_positive("early_stopping_patience", self.early_stopping_patience)
        if self.early_stopping_patience is not None and not self.load_best_model_at_end:
            found = "early_stopping_patience without it"
            raise InputError("load_best_model_at_end: true", found, "Early stopping goes back to the best checkpoint.")

    def _check_distillation(self) -> None:
        self.distill_from = parse_names(self.distill_from, "distill_from")
        self.unlabelled = parse_value(self.unlabelled, "unlabelled", (list,))
        if not 0 <= self.distillation_weight <= 1:
            found = str(self.distillation_weight)
            raise InputError("distillation_weight from 0 to 1", found, "0.5 is the default.")
        if self.distillation_hidden_weight < 0 or (self.distillation_hidden_weight and self.distill_from is None):
            found = f"{self.distillation_hidden_weight} with distill_from: {self.distill_from}"
            remedy = "Name a teacher, or leave the weight out."
            raise InputError("a distillation_hidden_weight of at least 0, and a teacher for it", found, remedy)
        if self.distillation_temperature <= 0:
            found = str(self.distillation_temperature)
            raise InputError("distillation_temperature above 0", found, "2 is the default.")
        if self.unlabelled is not None and (self.distill_from is None or self.distillation_weight == 0):
            raise InputError("a teacher for unlabelled text", "none", "Name one with distill_from.")
        if self.distill_from is not None and self.sampler != "none":
            remedy = "The teacher's soft targets do not change with the sampler. Use class_weights."
            raise InputError("sampler: none with distill_from", self.sampler, remedy)

    def _check_imbalance(self) -> None:
        """One correction for rare classes at a time: two would overshoot."""
        check_choice("sampler", self.sampler, SAMPLERS)
        check_choice("logit_adjustment_at", self.logit_adjustment_at, ("training", "prediction"))
        if not 0 <= self.effective_number_beta < 1:
            found = str(self.effective_number_beta)
            raise InputError("effective_number_beta from 0 to below 1", found, "0.999 is the default.")
        for name in ("focal_gamma", "logit_adjustment"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} of at least 0", str(getattr(self, name)), "0 turns it off.")
        corrections = {
            "class_weights": self.class_weights != "none",
            "sampler": self.sampler != "none",
            "logit_adjustment": self.logit_adjustment > 0,
        }
        asked = [name for name, wanted in corrections.items() if wanted]
        if len(asked) > 1:
            remedy = "Each corrects for the classes' shares in full; together they would overshoot. Keep one."
            raise InputError("one correction for rare classes", " and ".join(asked), remedy)
        if self.focal_gamma > 0 and self.label_smoothing_factor > 0:
            remedy = "The focal factor is made for one true label. Set one of them to 0."
            raise InputError("focal_gamma or label_smoothing_factor", "both", remedy)


def teacher_names(distill_from: str | list[str] | None) -> list[str]:
    """List the teachers that `distill_from` names, none or more."""
    if distill_from is None:
        return []
    return distill_from if isinstance(distill_from, list) else [distill_from]


FINE_TUNING_PARTS = (
    TaskArguments,
    DataArguments,
    DecontaminationArguments,
    ModelArguments,
    FineTuningOptions,
    ExportArguments,
)
