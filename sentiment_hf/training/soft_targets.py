"""Soft targets: a teacher's logits for the training rows and for unlabelled text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import PreTrainedModel

from sentiment_hf.config.training_options import teacher_names
from sentiment_hf.data.decontamination import OverlapIndex, choose_new
from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.data.sources import load_texts
from sentiment_hf.inference.scorer import TextScorer
from sentiment_hf.modeling.classifier import load_classifier
from sentiment_hf.modeling.config_io import recorded_settings, task_of
from sentiment_hf.modeling.forward import concat_heads, reads_documents, torch_document_head, torch_forward
from sentiment_hf.modeling.loading import load_config_and_tokenizer
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.tasks.labels import MISSING
from sentiment_hf.training.arguments import RunArguments
from sentiment_hf.utils.exceptions import InputError

logger = logging.getLogger(__name__)

_TEXTS_AT_A_TIME = 512


def add_unlabelled(
    data: PreparedData, rows: pd.DataFrame, sources: Sequence[str], data_dir: str | None
) -> pd.DataFrame:
    """Training rows followed by unlabelled ones, whose label is `MISSING`.

    Texts equal or near to one of the validation or test split are left out, and so are those that repeat a training row
    or each other; the audit counts them.

    Args:
        data: with all its splits.
        rows: the training rows of the run.
        sources: files, `package:` names or Hub ids.
        data_dir: folder that files are relative to.
    """
    evaluation = OverlapIndex(
        text for split, frame in data.splits.items() if split != "train" for text in frame["text"]
    )
    found = [text for source in sources for text in load_texts(source, data_dir)]
    kept, counts = choose_new(found, rows["text"], evaluation)
    texts = [found[place] for place in kept]
    data.audit["unlabelled"] = {"sources": list(sources), **counts, "added": len(texts)}
    logger.info("unlabelled text: %s", data.audit["unlabelled"])
    start = int(rows["doc_id"].max()) + 1
    more = pd.DataFrame({"doc_id": range(start, start + len(texts)), "text": texts, "label": MISSING})
    return pd.concat([rows, more], ignore_index=True)


@dataclass(frozen=True)
class Teacher:
    """A classifier to learn from, with its own tokenizer and text settings.

    Attributes:
        scorer: texts -> its logits and, after them, the states of `layers`.
        places: of each of the task's labels among the teacher's.
        labels: how many the teacher has.
        layers: whose states are learned from, too; see `hidden_states.teacher_layers`.
    """

    scorer: TextScorer
    places: list[int]
    labels: int
    layers: list[int]


def rows_to_learn_from(args: RunArguments, data: PreparedData, rows: pd.DataFrame) -> pd.DataFrame:
    """Append to the training rows the unlabelled ones that the recipe names."""
    sources: list[str] | None = args.training.unlabelled  # type: ignore[assignment]
    return rows if sources is None else add_unlabelled(data, rows, sources, args.data.data_dir)


def load_teachers(args: RunArguments, data: PreparedData, student: PreTrainedModel) -> list[Teacher]:
    """Load the teachers that a recipe names, with the states of a single one's layers where they are learned from.

    Raises:
        InputError: a label that a teacher does not know, a task of aspects, several teachers or layers of another shape
            where their states are asked for.
    """
    names = teacher_names(args.training.distill_from)
    if names and not data.task.is_single_label:
        raise InputError("one label for distill_from", f"task: {data.task.name}", "Leave distill_from out.")
    if len(names) > 1 and args.training.distillation_hidden_weight > 0:
        found = f"{len(names)} teachers"
        raise InputError("one teacher for distillation_hidden_weight", found, "Set it to 0, or name one of them.")
    return [_load_teacher(name, args, data, student) for name in names]


def _load_teacher(name: str, args: RunArguments, data: PreparedData, student: PreTrainedModel) -> Teacher:
    folder = resolve_model(name)
    config, tokenizer = load_config_and_tokenizer(folder)
    taught = task_of(config)
    if not taught.is_single_label:
        raise InputError(
            f"a teacher of one label in {name}", f"one of {taught.kind}", "Fine-tune one on the same task."
        )
    labels = taught.labels
    unknown = [label for label in data.task.labels if label not in labels]
    if unknown:
        found = f"none for {', '.join(unknown)}: it has {', '.join(labels)}"
        remedy = "Fine-tune the teacher on the same task, and save it with the same label names."
        raise InputError(f"a label of {name} for each of the student's", found, remedy)
    teacher = load_classifier(folder, config)
    settings = recorded_settings(config, tokenizer, name)
    forward, layers = torch_forward(teacher), []
    if args.training.distillation_hidden_weight > 0:
        if settings.is_sliding or reads_documents(student):
            remedy = "Set it to 0."
            raise InputError(
                "models that read one row a text, for distillation_hidden_weight", "sliding windows", remedy
            )
        layers = teacher_layers(student, teacher)
        forward = logits_and_states(teacher, layers)
    scorer = TextScorer(tokenizer, settings, forward, document_head=torch_document_head(teacher))
    return Teacher(scorer, [labels.index(label) for label in data.task.labels], len(labels), layers)


def with_soft_targets(dataset: datasets.Dataset, texts: Sequence[str], teachers: Sequence[Teacher]) -> datasets.Dataset:
    """Add to a tokenized dataset what the teachers say of its rows, asked for once and not in every epoch.

    Of several, the mean of their logits counts: the geometric mean of their distributions (Hinton et al. 2015).

    Args:
        dataset: one row a text.
        texts: as they came; each teacher cleans and cuts them in its own way.
        teachers: at least one; see `load_teachers`.
    """
    outputs = [
        _outputs_of(teacher, texts, f"Asking teacher {number}") for number, teacher in enumerate(teachers, start=1)
    ]
    logits = [output[:, teacher.places] for output, teacher in zip(outputs, teachers, strict=True)]
    dataset = dataset.add_column(TEACHER_LOGITS, list(np.mean(logits, axis=0)))
    first = teachers[0]
    return dataset.add_column(TEACHER_STATES, list(outputs[0][:, first.labels :])) if first.layers else dataset


def _outputs_of(teacher: Teacher, texts: Sequence[str], desc: str) -> np.ndarray:
    parts = []
    with tqdm(total=len(texts), unit="text", desc=desc) as bar:
        for start in range(0, len(texts), _TEXTS_AT_A_TIME):
            block = list(texts[start : start + _TEXTS_AT_A_TIME])
            parts.append(teacher.scorer.logits(block).astype(np.float32))
            bar.update(len(block))
    return np.concatenate(parts)


# Columns of the tokenized training rows.
TEACHER_LOGITS, TEACHER_STATES = "teacher_logits", "teacher_states"


def teacher_layers(student: PreTrainedModel, teacher: PreTrainedModel) -> list[int]:
    """Which layer of the teacher each of the student's learns from, counted from 1, evenly spread, the last from the
    last.

    Raises:
        InputError: layers of another width, or a teacher with fewer of them.
    """
    ours, theirs = student.config, teacher.config
    if ours.hidden_size != theirs.hidden_size or ours.num_hidden_layers > theirs.num_hidden_layers:
        found = (
            f"{theirs.num_hidden_layers} layers of {theirs.hidden_size} for {ours.num_hidden_layers} layers of "
            f"{ours.hidden_size}"
        )
        expected = "a teacher with layers as wide as the student's, and no fewer, for distillation_hidden_weight"
        raise InputError(expected, found, "Set it to 0: logits need no equal shapes.")
    step = theirs.num_hidden_layers / ours.num_hidden_layers
    return [round((place + 1) * step) for place in range(ours.num_hidden_layers)]


def first_token_states(outputs: Any, layers: Sequence[int]) -> torch.Tensor:
    """Stack what some layers hold at the first token, `[batch, layers, hidden]`, of outputs with `hidden_states`."""
    return torch.stack([outputs.hidden_states[layer][:, 0] for layer in layers], dim=1)


def logits_and_states(model: PreTrainedModel, layers: Sequence[int]) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """As `torch_forward`, with the states of some layers after the logits: `[batch, classes + layers * hidden]`."""
    model.eval()

    @torch.inference_mode()
    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        tensors = {name: torch.from_numpy(array).to(model.device) for name, array in batch.items()}
        outputs = model(**tensors, output_hidden_states=True)
        states = first_token_states(outputs, layers).flatten(1)
        return torch.cat([concat_heads(outputs), states], dim=1).float().cpu().numpy()

    return forward


def state_loss(states: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared distance of normalised states, the mean over layers, `[batch]`.

    Sun et al. 2019, "Patient Knowledge Distillation for BERT Model Compression". The first token stands in every
    tokenizer's row, so the two models may cut their text differently.

    Args:
        states: `[batch, layers, hidden]`.
        teacher: the same shape.
    """
    distance = F.normalize(states.float(), dim=-1) - F.normalize(teacher.float(), dim=-1)
    return distance.square().sum(dim=-1).mean(dim=-1)
