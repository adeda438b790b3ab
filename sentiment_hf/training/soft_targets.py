"""What a larger classifier says of the training rows, and of text that nobody has labelled."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pandas as pd
from tqdm import tqdm
from transformers import PreTrainedModel

from sentiment_hf.data.decontamination import OverlapIndex, choose_new
from sentiment_hf.data.preparation import PreparedData
from sentiment_hf.data.sources import load_texts
from sentiment_hf.evaluation.prediction import TextScorer
from sentiment_hf.exceptions import InputError
from sentiment_hf.labels import MISSING
from sentiment_hf.modeling.classifier import load_classifier
from sentiment_hf.modeling.config_io import recorded_settings, task_of
from sentiment_hf.modeling.forward import reads_documents, torch_document_head, torch_forward
from sentiment_hf.modeling.loading import load_config_and_tokenizer
from sentiment_hf.modeling.names import resolve_model
from sentiment_hf.training.arguments import RunArguments
from sentiment_hf.training.hidden_states import TEACHER_LOGITS, TEACHER_STATES, answers_and_states, teacher_layers
from sentiment_hf.training_options import teacher_names

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
        forward = answers_and_states(teacher, layers)
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
    answers = [_answers(teacher, texts, f"Asking teacher {number}") for number, teacher in enumerate(teachers, start=1)]
    said = [answer[:, teacher.places] for answer, teacher in zip(answers, teachers, strict=True)]
    dataset = dataset.add_column(TEACHER_LOGITS, list(np.mean(said, axis=0)))
    first = teachers[0]
    return dataset.add_column(TEACHER_STATES, list(answers[0][:, first.labels :])) if first.layers else dataset


def _answers(teacher: Teacher, texts: Sequence[str], desc: str) -> np.ndarray:
    parts = []
    with tqdm(total=len(texts), unit="text", desc=desc) as bar:
        for start in range(0, len(texts), _TEXTS_AT_A_TIME):
            block = list(texts[start : start + _TEXTS_AT_A_TIME])
            parts.append(teacher.scorer.logits(block).astype(np.float32))
            bar.update(len(block))
    return np.concatenate(parts)
