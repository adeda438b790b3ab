"""Recipe keys that a run is built of, for `test_recipe_keys.py`: values other than the default, and what to see."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from transformers import EarlyStoppingCallback, set_seed
from transformers.integrations import get_available_reporting_integrations

from sentiment_hf.data.chunks import encode_chunks
from sentiment_hf.data.cleaning import Cleaning
from sentiment_hf.data.collation import DocumentCollator
from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.data.tokenization import TextSettings, encode
from sentiment_hf.losses.classification import class_weights, log_prior
from sentiment_hf.modeling.classifier import load_classifier
from sentiment_hf.modeling.loading import load_config
from sentiment_hf.training.arguments import RunArguments
from sentiment_hf.training.sampler import EpochSampler
from sentiment_hf.training.soft_targets import state_loss

TRACKER = "tensorboard" if "tensorboard" in get_available_reporting_integrations() else "all"
HEAD_TAIL = TextSettings(Cleaning(repeats=False), max_length=22, truncation="head_tail", head_share=0.25)
WINDOWS = TextSettings(
    max_length=16, truncation="sliding", stride=5, max_chunks=3, chunk_choice="spread", aggregation="max"
)


@dataclass
class Built:
    """A run that is about to begin; of a scene of rows alone there is no trainer."""

    folder: Path
    args: RunArguments
    data: PreparedData
    trainer: Any = None

    @cached_property
    def learned(self) -> pd.DataFrame:
        """The labelled rows that it learns from."""
        rows = self.data.splits["train"].set_index("doc_id", drop=False)
        return rows.loc[[place for place in self.trainer.train_dataset["doc_id"][:] if place in rows.index]]

    @cached_property
    def optimizer(self) -> Any:
        return self.trainer.create_optimizer()

    @property
    def rates(self) -> dict[str, float]:
        """The learning rate of each group of parameters."""
        return {group["name"]: group["lr"] for group in self.optimizer.param_groups}

    def factor(self, step: int) -> float:
        """What the schedule makes of the learning rate in a training of a hundred steps."""
        return float(self.trainer.create_scheduler(100, self.optimizer).lr_lambdas[0](step))

    @property
    def model(self) -> Any:
        return self.trainer.model


def own(key: str, value: Any) -> Callable[[Built], bool]:
    """For what transformers' trainer reads off its arguments itself."""
    return lambda run: getattr(run.trainer.args, key) == value


def cut(key: str, default: Any) -> Callable[[Built], bool]:
    """The tokens are those that all settings give, and would be others with this one's default."""

    def see(run: Built) -> bool:
        def ids(settings: TextSettings) -> list[Any]:
            if not settings.is_sliding:
                return encode(run.trainer.processing_class, run.learned["text"], settings)["input_ids"]
            chunks = encode_chunks(run.trainer.processing_class, run.learned["text"], settings)
            return [
                [chunks.fields["input_ids"][place] for place, of in enumerate(chunks.documents) if of == document]
                for document in range(len(run.learned))
            ]

        wanted = HEAD_TAIL if run.args.data.truncation == "head_tail" else WINDOWS
        found = run.trainer.train_dataset["input_ids"][:]
        return found == ids(wanted) != ids(replace(wanted, **{key: default}))

    return see


def taught(**default: float) -> Callable[[Built], bool]:
    """The loss of a batch is that by hand, and would be another with this key's default."""
    values = {"weight": 0.3, "temperature": 3.0, "hidden": 0.6, "smoothing": 0.2}

    def by_hand(run: Built, weight: float, temperature: float, hidden: float, smoothing: float) -> float:
        batch = batch_of(run, -4)
        outputs = run.model(batch["input_ids"], batch["attention_mask"], output_hidden_states=True)
        known = batch["labels"] >= 0
        losses = F.cross_entropy(
            outputs.logits, batch["labels"].clamp(min=0), reduction="none", label_smoothing=smoothing
        )
        said, own = ((logits / temperature).log_softmax(-1) for logits in (batch["teacher_logits"], outputs.logits))
        divergence = temperature**2 * (said.exp() * (said - own)).sum(-1)
        states = torch.stack([layer[:, 0] for layer in outputs.hidden_states[1:]], dim=1)
        distance = state_loss(states, batch["teacher_states"].view_as(states))
        return ((1 - weight) * losses * known + weight * divergence + hidden * distance).mean().item()

    def see(run: Built) -> bool:
        found = run.trainer.compute_loss(run.model.train(), batch_of(run, -4)).item()
        same = math.isclose(found, by_hand(run, **values), rel_tol=1e-4)
        return same and not math.isclose(found, by_hand(run, **values | default), rel_tol=1e-3)

    return see


def batch_of(run: Built, start: int) -> dict[str, torch.Tensor]:
    """Eight rows around the first that nobody labelled, or the first or last ones."""
    rows = run.trainer.train_dataset
    first = len(run.learned) + start
    return dict(run.trainer.data_collator([rows[place] for place in range(first, min(first + 8, len(rows)))]))


def sampled(run: Built) -> bool:
    rows = run.data.splits["train"].sample(40, random_state=5).sort_index()
    return run.trainer.train_dataset["doc_id"][:] == rows["doc_id"].tolist()


def order(run: Built, **settings: Any) -> bool:
    rows = run.trainer.train_dataset
    wanted = [rows[place]["doc_id"] for place in EpochSampler(len(rows), 6, 11, **settings)]
    return [place for batch in run.trainer.get_train_dataloader() for place in batch["doc_id"].tolist()] == wanted


def effective(run: Built, beta: float, rows: pd.DataFrame) -> torch.Tensor:
    weights = class_weights("effective_number", rows["label"].tolist(), run.data.task.labels, beta)
    assert weights is not None
    return weights


def weighs_what_it_learns_from(run: Built) -> bool:
    weights = run.trainer.row_loss.weight
    others = [effective(run, 0.98, run.data.splits["train"]), effective(run, 0.999, run.learned)]
    return torch.allclose(weights, effective(run, 0.98, run.learned)) and not any(
        torch.allclose(weights, other) for other in others
    )


def head_of_seed(run: Built, seed: int) -> bool:
    set_seed(seed)
    drawn = load_classifier(str(run.folder / "base"), run.model.config, new_head=True)
    return torch.equal(drawn.classifier.weight, run.model.classifier.weight)


def words(model: Any) -> torch.Tensor:
    return model.get_input_embeddings().weight


def words_of(folder: Path) -> torch.Tensor:
    return load_classifier(str(folder), load_config(str(folder)), new_head=True).bert.embeddings.word_embeddings.weight


def width_of_a_short_batch(run: Built) -> int:
    fields = ("input_ids", "attention_mask", "token_type_ids")
    row = {name: run.trainer.train_dataset[0][name][:3] for name in fields}
    return run.trainer.data_collator([row])["input_ids"].shape[1]


def rows_at_once(run: Built) -> int:
    sizes = []
    run.model.bert.embeddings.register_forward_hook(lambda module, args, output: sizes.append(len(output)))
    run.trainer.compute_loss(run.model.eval(), batch_of(run, -8))
    return max(sizes)


Scene = dict[str, tuple[Any, Callable[[Built], Any]]]
# Key -> another value than its default, and what has to be seen.
SENTENCES: Scene = {
    "model": ("FOLDER/base", lambda run: torch.equal(words_of(run.folder / "base"), words(run.model))),
    "train_file": ("FOLDER/reviews.csv", lambda run: len(run.data.splits["train"]) > 60),
    "num_hidden_layers": (1, lambda run: len(run.model.bert.encoder.layer) == 1),
    "config_overrides": ("{hidden_dropout_prob: 0.25}", lambda run: run.model.bert.embeddings.dropout.p == 0.25),
    "classifier_dropout": (0.35, lambda run: run.model.dropout.p == 0.35),
    "pooling": ("mean", lambda run: run.model.config.pooling == "mean"),
    "attn_implementation": ("eager", lambda run: run.model.config._attn_implementation == "eager"),
    "max_train_rows": (40, sampled),
    "cleaning": ("{repeats: false}", cut("cleaning", Cleaning())),
    "max_length": (22, cut("max_length", 128)),
    "truncation": ("head_tail", cut("truncation", "right")),
    "head_share": (0.25, cut("head_share", 0.5)),
    "pad_to_multiple_of": (11, lambda run: width_of_a_short_batch(run) == 11),
    "preprocessing_num_workers": (2, lambda run: list(run.folder.glob("cache/sentiment_hf/train-*_of_00002.arrow"))),
    "cache_dir": ("FOLDER/cache", lambda run: list(run.folder.glob("cache/sentiment_hf/validation-*.arrow"))),
    "class_weights": ("effective_number", weighs_what_it_learns_from),
    "effective_number_beta": (0.98, weighs_what_it_learns_from),
    "focal_gamma": (1.5, lambda run: run.trainer.row_loss.focal_gamma == 1.5),
    "rdrop_alpha": (0.7, own("rdrop_alpha", 0.7)),
    "fgm_epsilon": (0.5, own("fgm_epsilon", 0.5)),
    "learning_rate": (3e-4, lambda run: math.isclose(run.rates["head"], 3e-4)),
    "layerwise_lr_decay": (0.5, lambda run: math.isclose(run.rates["embeddings"], run.rates["head"] * 0.5**2)),
    "weight_decay": (0.2, lambda run: {group["weight_decay"] for group in run.optimizer.param_groups} == {0.0, 0.2}),
    "optim": ("sgd", lambda run: isinstance(run.optimizer, torch.optim.SGD)),
    "lr_scheduler_type": ("cosine", lambda run: math.isclose(run.factor(50), 0.75)),
    "warmup_ratio": (0.25, lambda run: math.isclose(run.factor(12), 0.48)),
    "max_grad_norm": (0.7, own("max_grad_norm", 0.7)),
    "num_train_epochs": (2.5, own("num_train_epochs", 2.5)),
    "per_device_train_batch_size": (6, order),
    "per_device_eval_batch_size": (
        7,
        lambda run: len(next(iter(run.trainer.get_eval_dataloader()))["labels"]) == 7,
    ),
    "gradient_accumulation_steps": (3, own("gradient_accumulation_steps", 3)),
    "seed": (7, lambda run: head_of_seed(run, 7)),
    "data_seed": (11, order),
    "length_grouping": ("false", order),
    "precision": ("bf16", lambda run: run.trainer.accelerator.mixed_precision == "bf16"),
    # Without a GPU it is off, whatever a recipe says.
    "non_blocking": ("false", lambda run: run.trainer.accelerator.non_blocking is False),
    "save_strategy": ("steps", own("save_strategy", "steps")),
    "eval_strategy": ("steps", own("eval_strategy", "steps")),
    "save_total_limit": (5, own("save_total_limit", 5)),
    "logging_steps": (7, own("logging_steps", 7)),
    "report_to": (TRACKER, lambda run: TRACKER == "all" or run.trainer.args.report_to == [TRACKER]),
    "metric_for_best_model": ("accuracy", own("metric_for_best_model", "accuracy")),
    "early_stopping_patience": (
        4,
        lambda run: (
            [
                callback.early_stopping_patience
                for callback in run.trainer.callback_handler.callbacks
                if isinstance(callback, EarlyStoppingCallback)
            ]
            == [4]
        ),
    ),
    "output_dir": ("FOLDER/run", lambda run: run.trainer.args.output_dir == str(run.folder / "run")),
    "overwrite_output_dir": ("true", lambda run: not (run.folder / "run/old.txt").exists()),
}
DOCUMENTS: Scene = {
    "model_revision": ("first", lambda run: torch.equal(words_of(run.folder / "base"), words(run.model))),
    "truncation": ("sliding", lambda run: isinstance(run.trainer.data_collator, DocumentCollator)),
    "max_length": (16, cut("max_length", 128)),
    "stride": (5, cut("stride", None)),
    "max_chunks": (3, cut("max_chunks", None)),
    "chunk_choice": ("spread", cut("chunk_choice", "first")),
    "aggregation": ("max", lambda run: run.trainer.aggregation == "max"),
    "max_chunks_per_batch": (4, lambda run: rows_at_once(run) == 4),
    "extend_positions": (90, lambda run: run.model.bert.embeddings.position_embeddings.num_embeddings == 90),
    "sampler": (
        "weighted",
        lambda run: order(run, labels=run.trainer.train_dataset["labels"][:], sampler="weighted"),
    ),
    "load_best_model_at_end": ("false", own("load_best_model_at_end", False)),
}
HIERARCHY: Scene = {
    "hierarchical": ("attention", lambda run: run.model.config.hierarchical == "attention"),
    "freeze_encoder": ("true", lambda run: not words(run.model).requires_grad),
}
TAUGHT: Scene = {
    "distill_from": ("FOLDER/teacher", lambda run: "teacher_logits" in run.trainer.train_dataset.column_names),
    "distillation_weight": (0.3, taught(weight=0.5)),
    "distillation_temperature": (3.0, taught(temperature=2.0)),
    "distillation_hidden_weight": (0.6, taught(hidden=0.0)),
    "label_smoothing_factor": (0.2, taught(smoothing=0.0)),
    "unlabelled": ("[FOLDER/unlabelled.csv]", lambda run: len(run.trainer.train_dataset) > len(run.learned)),
    "logit_adjustment": (
        0.8,
        lambda run: torch.allclose(
            run.trainer.prediction_shift, -0.8 * log_prior(run.learned["label"].tolist(), run.data.task.labels)
        ),
    ),
    "logit_adjustment_at": ("prediction", lambda run: run.trainer.row_loss.adjustment is None),
}
ADAPTERS: Scene = {
    "peft": (
        "{r: 3, alpha: 5, dropout: 0.2, target_modules: [query]}",
        lambda run: (
            [
                (found.r, found.lora_alpha, found.lora_dropout, found.target_modules)
                for found in run.model.peft_config.values()
            ]
            == [(3, 5, 0.2, {"query"})]
        ),
    ),
}
ASPECTS: Scene = {
    "task": ("aspects", lambda run: run.data.task.name == "aspects"),
    "aspects": ("{taste: 口味, noise: 吵不吵}", lambda run: run.model.config.aspects == ["taste", "noise"]),
    "rating": ("regression", lambda run: run.model.config.rating == "regression"),
    # The file also has a column of another scale with a usual name.
    "rating_column": ("几星", lambda run: {label[-1] for label in run.learned["label"]} == {1, 5}),
    "task_weights": (
        "{aspects: 2, rating: 0.25}",
        lambda run: run.trainer.row_loss.weights == {"aspects": 2, "rating": 0.25},
    ),
}
