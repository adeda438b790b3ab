"""`SentimentTrainer`: R-Drop and class weights, as an override of a public hook."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import IntervalStrategy

from sentiment_hf.data.collation import ClassificationCollator, DocumentCollator
from sentiment_hf.data.tokenization import TextSettings
from sentiment_hf.evaluation.report import metrics_for_trainer
from sentiment_hf.losses.classification import ClassificationLoss, Distilled, RDrop
from sentiment_hf.modeling.modeling_hierarchical import HierarchicalBertForSequenceClassification
from sentiment_hf.modeling.tokenizer_files import save_tokenizer
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.training import folder as run_folder
from sentiment_hf.training.arguments import SentimentTrainingArguments
from sentiment_hf.training.mixins import AdversarialEmbeddings, DocumentPooling, LayerwiseLearningRates, chunk_forward
from sentiment_hf.training.prepared import ROW_FIELDS, prepare
from sentiment_hf.training.raw_datasets import Columns, check_dataset, ids_of
from sentiment_hf.training.sampler import OrderedTrainer
from sentiment_hf.training.soft_targets import TEACHER_LOGITS, TEACHER_STATES, first_token_states, state_loss
from sentiment_hf.utils.exceptions import InputError


class SentimentTrainer(DocumentPooling, AdversarialEmbeddings, LayerwiseLearningRates, OrderedTrainer):
    """A `Trainer` for classifiers of text.

    The training loss is taken from the logits: cross-entropy or focal loss, with optional class weights, label
    smoothing and logit adjustment, and, with `rdrop_alpha` above 0, R-Drop over one forward of the batch concatenated
    with itself. It is divided by the number of rows in the whole optimizer step over all processes, so that cutting a
    step into micro-batches changes nothing.
    Documents cut into chunks have one loss each, on the aggregated logits. A row's `weight`, where the rows have one,
    multiplies its loss.
    Evaluation is plain cross-entropy: `eval_loss` can be compared between all these settings. Where logits are to be
    adjusted at prediction, evaluation sees them adjusted.

    >>> trainer = SentimentTrainer(
    ...     "starter",
    ...     SentimentTrainingArguments("runs/mine", rdrop_alpha=1.0, class_weights="balanced"),
    ...     train_dataset=Dataset.from_dict({"text": ["很好", "很差"], "label": ["positive", "negative"]}),
    ... )

    Args:
        model: a Hub id, a folder, `starter`, or a model. A name gets a new head for the labels of the datasets.
        args: None for the defaults and the folder `trainer_output`.
        data_collator: None for one that pads what the datasets hold: rows, or documents in chunks.
        train_dataset: raw (`text_column`, `label_column`: names, numbers or a `ClassLabel`), or tokenized, with
            `input_ids` and `labels` or `label`; any dataset with a length that `Trainer` takes.
        eval_dataset: likewise, or several as a mapping; None: no evaluation, and no checkpoint is chosen.
        processing_class: the tokenizer; None for the model's own.
        compute_metrics: None for accuracy, macro-F1 and the like. With your own, `metric_for_best_model` is the loss
            unless the arguments name another.
        labels: of raw values or ids: raw value -> name (None leaves such rows out), or the names in the order of their
            ids; None for the names of a `ClassLabel` or of the model, else the labels as they occur, sorted.
        text_column: of raw datasets.
        label_column: of raw and of tokenized ones.
        text_settings: how texts become tokens, here and wherever the saved model is used; of tokenized datasets, how
            they did. None: cleaned, and 128 tokens, of a longer text the beginning and the end.
        class_weight: `[classes]`; None for what `args.class_weights` says of the training rows, see
            `sentiment_hf.losses.classification.class_weights`.
        log_prior: `[classes]`, see `sentiment_hf.losses.classification.log_prior`; None: of the training rows where
            `args.logit_adjustment` asks for it.
        aggregation: for batches of documents (`sentiment_hf.data.collation.DocumentCollator`), how the logits of their
            chunks become theirs; None for batches of rows. By default as `text_settings` says.
        kwargs: the other arguments of `Trainer`.

    Raises:
        InputError: datasets, labels, model and arguments that do not go together; before anything is trained.
    """

    args: SentimentTrainingArguments
    task: Any

    def __init__(
        self,
        model: str | Path | torch.nn.Module | None = None,
        args: SentimentTrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        compute_metrics: Any = None,
        labels: Mapping[Any, Any] | list[Any] | None = None,
        text_column: str = "text",
        label_column: str = "label",
        text_settings: TextSettings | None = None,
        class_weight: torch.Tensor | None = None,
        log_prior: torch.Tensor | None = None,
        aggregation: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(args, SentimentTrainingArguments | None):
            remedy = "It takes the same keys, and those of the losses besides."
            raise InputError("SentimentTrainingArguments", type(args).__name__, remedy)
        args = SentimentTrainingArguments("trainer_output") if args is None else copy.copy(args)
        given = {"train_dataset": train_dataset, "eval_dataset": eval_dataset}
        columns = Columns(text_column, label_column)
        parts = prepare(model, args, given, processing_class, labels, columns, text_settings)
        self.task, self.parts = parts.task, parts
        if aggregation is None and parts.has_documents:
            aggregation = "mean" if parts.settings is None else parts.settings.aggregation
        if data_collator is None and parts.tokenizer is not None:
            collator = ClassificationCollator if aggregation is None else DocumentCollator
            max_length = None if parts.settings is None else parts.settings.max_length
            data_collator = collator(parts.tokenizer, max_length=max_length)
        fit_evaluation(args, eval_dataset is not None, compute_metrics is not None)
        if compute_metrics is None and parts.task is not None:
            compute_metrics = metrics_for_trainer(parts.task)
        if parts.model is not None:
            if isinstance(model, str | Path):
                check_dropout(parts.model, args.rdrop_alpha)
            if aggregation is not None and args.max_chunks_per_batch is not None:
                chunk_forward(parts.model, args.max_chunks_per_batch)
        super().__init__(
            parts.model,
            args,
            data_collator,
            processing_class=parts.tokenizer,
            compute_metrics=compute_metrics,
            **parts.datasets,
            **kwargs,
        )
        if self.compute_loss_func is not None and (args.rdrop_alpha > 0 or aggregation is not None):
            found = "both" if args.rdrop_alpha > 0 else "documents in chunks"
            remedy = "Override compose_loss, whose loss takes part in both."
            raise InputError("a loss of your own, or rdrop_alpha and documents", found, remedy)
        self.aggregation = aggregation
        self.reads_documents = isinstance(self.model, HierarchicalBertForSequenceClassification)
        is_asked = args.class_weights != "none" or args.logit_adjustment > 0
        if is_asked and class_weight is None and log_prior is None and self.train_dataset is not None:
            class_weight, log_prior = self._corrections()
        if args.logit_adjustment > 0 and log_prior is None:
            raise ValueError("logit_adjustment needs log_prior")
        self.row_loss = self.compose_loss(class_weight, log_prior)
        self.loss: Any = Distilled(self.row_loss, args.distillation_weight, args.distillation_temperature)
        if args.rdrop_alpha > 0:
            self.loss = RDrop(self.loss, args.rdrop_alpha)
        # The same for all settings, so that eval_loss can be compared between them.
        self.plain_loss = self.plain()
        self.sampler = args.sampler
        # What is added to the logits wherever predictions are read off them.
        self.prediction_shift = None
        if log_prior is not None and args.logit_adjustment_at == "prediction":
            self.prediction_shift = -args.logit_adjustment * log_prior.flatten()
        # Trainer then counts the rows of an optimizer step and leaves the scaling of the loss to compute_loss.
        self.model_accepts_loss_kwargs = True

    def _corrections(self) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Class weights and log priors of the training rows, as the arguments ask for them."""
        if self.task is None:
            remedy = "Name the labels with labels=[…], or give class_weight= and log_prior= themselves."
            raise InputError("labels, for class_weights and logit_adjustment", "a model and datasets without", remedy)
        known = [label for label in ids_of(self.train_dataset) if label != MISSING]
        corrections = self.task.corrections(self.args, known)
        return corrections["class_weight"], corrections["log_prior"]

    def compose_loss(self, class_weight: Any, log_prior: Any) -> Any:
        """Compose the training loss of a row from the arguments: a callable with a `divergence`."""
        if self.task is None:
            return ClassificationLoss.from_options(self.args, class_weight, log_prior)
        return self.task.loss(self.args, class_weight, log_prior)

    def plain(self) -> Any:
        """Return the evaluation loss of a row."""
        return ClassificationLoss() if self.task is None else self.task.loss()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Compute the loss of a micro-batch, as a share of its optimizer step in training and as a mean in
        evaluation."""
        labels = inputs["labels"]
        # One forward over both halves: dropout draws its masks element by element, so they differ.
        copies = 2 if model.training and isinstance(self.loss, RDrop) else 1
        outputs = model(**self.features(inputs, copies))
        if self.compute_loss_func is not None:
            return self._loss_of_function(outputs, labels, return_outputs, num_items_in_batch)
        logits = self.pool(outputs, inputs, copies)
        if not model.training:
            if self.prediction_shift is not None:
                logits[:, : len(self.prediction_shift)] += self.prediction_shift.to(logits)
            loss = self.plain_loss(logits.float(), labels).mean()
            return (loss, {"loss": loss, "logits": logits}) if return_outputs else loss
        losses = self.loss(logits.float(), labels, inputs.get(TEACHER_LOGITS))
        if TEACHER_STATES in inputs:
            losses = losses + self.args.distillation_hidden_weight * _state_losses(outputs, inputs[TEACHER_STATES])
        if "weight" in inputs:
            # Of the row, not of the step: a row of weight 0.5 pulls half as much as any other.
            losses = losses * inputs["weight"]
        loss = self._share_of_step(losses, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def features(self, inputs: dict[str, Any], copies: int = 1) -> dict[str, Any]:
        """Select what of a batch the model reads, once or twice over."""
        features = {name: value for name, value in inputs.items() if name not in ("labels", *ROW_FIELDS)}
        if self.reads_documents:
            # Whatever reads over the chunks is told whose they are.
            features |= {name: inputs[name] for name in ("chunk_document", "chunk_idx")}
        if copies == 2:
            features = {name: torch.cat([value, value]) for name, value in features.items()}
            if self.reads_documents:
                features["chunk_document"][len(inputs["chunk_document"]) :] += len(inputs["labels"])
        return features | ({"output_hidden_states": True} if TEACHER_STATES in inputs else {})

    def _loss_of_function(
        self, outputs: Any, labels: torch.Tensor, return_outputs: bool, rows_in_step: torch.Tensor | int | None
    ) -> Any:
        """Compute the loss of a batch by a `compute_loss_func`, as `Trainer` takes it."""
        assert self.compute_loss_func is not None
        loss = self.compute_loss_func(outputs, labels, num_items_in_batch=rows_in_step)
        if rows_in_step is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Any]:
        """Draw the micro-batches of a step, and count how many rows they have in all processes together.

        transformers counts labels that are not missing; a step is divided by its rows.
        """
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches or "labels" not in batches[0]:
            return batches, None
        rows = torch.tensor(sum(len(batch["labels"]) for batch in batches), device=device)
        if self.args.average_tokens_across_devices:
            rows = self.accelerator.gather(rows).sum()
        return batches, rows

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers does it, with the loss taken over rows.

        transformers averages over batches, so that a short last batch counts too much and rows that were repeated to
        even out processes count twice.
        """
        output = super().evaluation_loop(*args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        if output.predictions is not None and output.label_ids is not None and f"{prefix}_loss" in output.metrics:
            logits, labels = torch.as_tensor(output.predictions).float(), torch.as_tensor(output.label_ids)
            output.metrics[f"{prefix}_loss"] = float(self.plain_loss(logits, labels).mean())
        return output

    def get_eval_dataloader(self, eval_dataset: Any = None) -> torch.utils.data.DataLoader[Any]:
        """Batches to evaluate on, in the order of the rows, which may be raw."""
        with self._every_row():
            return super().get_eval_dataloader(self._ready(eval_dataset, "eval_dataset"))

    def get_test_dataloader(self, test_dataset: Any) -> torch.utils.data.DataLoader[Any]:
        """Batches to predict, in the order of the rows, which may be raw and need no labels."""
        with self._every_row():
            return super().get_test_dataloader(self._ready(test_dataset, "test_dataset", to_predict=True))

    @contextmanager
    def _every_row(self) -> Iterator[None]:
        # `dataloader_drop_last` is for training; transformers would leave the last rows out of scores as well.
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            yield
        finally:
            self.args.dataloader_drop_last = drop_last

    def prediction_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Any, Any, Any]:
        """Loss, logits and labels of a batch; of rows without labels the logits alone."""
        if "labels" in inputs or self.task is None or not self.task.is_single_label:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        documents = inputs.get("chunk_document")
        rows = len(inputs["input_ids"]) if documents is None else int(documents.max()) + 1
        filled = {"labels": torch.zeros(rows, dtype=torch.long), **inputs}
        _, logits, _ = super().prediction_step(model, filled, False, ignore_keys)
        return None, logits, None

    def _ready(self, dataset: Any, name: str, to_predict: bool = False) -> Any:
        # A name is that of one of several datasets, which are ready.
        if dataset is None or isinstance(dataset, str):
            return dataset
        check_dataset(dataset, name)
        with self.args.main_process_first(desc="tokenizing"):
            return self.parts.ready(dataset, name, to_predict)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save what `from_pretrained` of this package and of transformers load: weights, labels, text settings and a
        tokenizer that cleans as the settings say."""
        is_stock = isinstance(self.model, PreTrainedModel)
        cleaning = run_folder.complete_config(self.model.config) if is_stock else None
        super().save_model(output_dir, _internal_call)
        if is_stock and self.args.should_save and isinstance(self.processing_class, PreTrainedTokenizerBase):
            save_tokenizer(Path(output_dir or self.args.folder), self.processing_class, cleaning)

    def _share_of_step(self, losses: torch.Tensor, rows_in_step: torch.Tensor | int | None) -> torch.Tensor:
        if rows_in_step is None:
            return losses.mean()
        loss = losses.sum() / rows_in_step
        # Distributed training averages gradients over processes; where the rows of all of them were counted, the
        # average of these shares is short by that factor.
        return loss * self.accelerator.num_processes if self.args.average_tokens_across_devices else loss


def _state_losses(outputs: Any, teacher: torch.Tensor) -> torch.Tensor:
    """How far the layers are from the teacher's, `[rows]`; with R-Drop's two halves the mean of both."""
    states = first_token_states(outputs, range(1, len(outputs.hidden_states)))
    losses = [state_loss(half, teacher.view_as(half)) for half in states.split(len(teacher))]
    return torch.stack(losses).mean(dim=0)


def fit_evaluation(args: SentimentTrainingArguments, has_rows: bool, has_own_scores: bool) -> None:
    """Let arguments ask for no more evaluation than there is: none without rows, and by the loss where the scores are
    somebody's own and no metric was named."""
    if not has_rows:
        args.eval_strategy, args.do_eval, args.load_best_model_at_end = IntervalStrategy.NO, False, False
    elif has_own_scores and args.chose_metric:
        args.metric_for_best_model, args.greater_is_better = "loss", False


def check_dropout(model: torch.nn.Module, rdrop_alpha: float) -> None:
    """Raise InputError where R-Drop is asked for and the model has no dropout."""
    if rdrop_alpha > 0 and not any(isinstance(part, torch.nn.Dropout) and part.p > 0 for part in model.modules()):
        remedy = "Set hidden_dropout_prob: 0.1 in `config_overrides`, or rdrop_alpha: 0."
        raise InputError("dropout for R-Drop, whose two forwards differ in nothing else", "none", remedy)
