"""Generate hard examples with a language model, from templates that each define the label of the result."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Template

from sentiment_hf.config.values import load_yaml
from sentiment_hf.data.decontamination import OverlapIndex
from sentiment_hf.data.splits import matching_key
from sentiment_hf.enrich.llm import LanguageModel
from sentiment_hf.enrich.prompts import (
    CLOSE,
    ENDING,
    OPEN,
    TEMPLATES,
    Question,
    Reply,
    delimited,
    fields_of,
    load_template,
    object_schema,
    render,
)
from sentiment_hf.utils.exceptions import InputError

VARIABLES = ("text", "label", "target", "target_name", "labels")
BUILT_IN = ("irony", "negation", "contrast", "comparison", "implicit", "reasons")
# Those of them that any task can use; the others write praise and blame.
FOR_ANY_TASK = ("comparison", "reasons")
SAME, ANY, AMBIGUOUS = "same", "any", "ambiguous"
TEMPERATURE = 0.8
_RULE = re.compile(r"\A\s*\{#(.*?)#\}", re.DOTALL)
_TWO_LINES = re.compile(r"理由[:：]\s*(?P<reasons>[^\n]+)\n+\s*改写[:：]\s*(?P<text>[^\n]+)")
_CUE = re.compile(r"^(改写|评论)[:：]\s*")
_QUOTES = " \t\"'“”「」"
REPEATS, CUT_SHORT = "repeats the template", "longer than was asked for"


@dataclass(frozen=True)
class Recast:
    """A template and its label rule.

    Attributes:
        name: of the file, without its ending.
        template: with the variables `text` (between its marks), `label` and `target` (words of the old and the new
            label), `target_name` (name of the new one) and `labels` (all words).
        labels: label of a row -> label of what is written; rows with other labels are not used.
        ambiguous: whether it takes rows alone that the classifier is unsure of.
        reasons: whether reasons come with the text.
        digest: of the file.
        source: the file's text, with the examples that it shows.
    """

    name: str
    template: Template
    labels: Mapping[str, str]
    ambiguous: bool
    reasons: bool
    digest: str
    source: OverlapIndex


@dataclass(frozen=True)
class Written:
    """A text that was written for a row.

    Attributes:
        row: place of the source row.
        text: what was written; "" where nothing usable was.
        label: label name that the rule gives it.
        template: by which it was written.
        prompt_hash: digest of the prompt.
        explanation: reasons, or "".
        failed: why there is no text, or none of use; "" where there is one.
    """

    row: int
    text: str
    label: str
    template: str
    prompt_hash: str
    explanation: str = ""
    failed: str = ""


def load_recast(name: str, labels: Sequence[str]) -> Recast:
    """Load a template that comes with the package, by its name, or one of a file.

    A template begins with a Jinja comment in YAML: `labels` (`same`, or {label of the row: label of the result}),
    `rows` (`any` or `ambiguous`) and, where reasons are to come with the text, `reasons: true`.

    Args:
        name: one of `BUILT_IN`, or a path.
        labels: of the task.

    Raises:
        InputError: no such template, a mistake in it, an unknown variable, a rule that is none, or one with a label
            that the task does not have.
    """
    path = TEMPLATES / f"{name}{ENDING}" if name in BUILT_IN else Path(name)
    if not path.is_file():
        found = f"nothing at {name}"
        raise InputError(f"templates {', '.join(BUILT_IN)} or a file", found, "Check the name.")
    source, template = load_template(path, VARIABLES, required=("text",))
    try:
        header = _RULE.match(source)
        rule = load_yaml(header[1]) if header else None
    except ValueError:
        rule = None
    asked: Mapping[str, Any] = rule if isinstance(rule, Mapping) else {}
    allowed = asked.get("labels")
    if allowed == SAME:
        allowed = {label: label for label in labels}
    known = asked.get("rows") in (ANY, AMBIGUOUS) and set(asked) <= {"labels", "rows", "reasons"}
    if not isinstance(allowed, Mapping) or not allowed or not known:
        remedy = "Begin it with {# labels: same, rows: any #}, one key a line; see those of the package."
        raise InputError(f"a rule with labels and rows at the head of {path.name}", str(rule), remedy)
    mapping = {str(given): str(target) for given, target in allowed.items()}
    unknown = sorted({*mapping, *mapping.values()} - set(labels))
    if unknown:
        found = ", ".join(unknown)
        remedy = "Name the task with --task, or leave the template out."
        raise InputError(f"the labels {', '.join(labels)} in the rule of {path.name}", found, remedy)
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    shown = OverlapIndex([source])
    return Recast(path.stem, template, mapping, asked["rows"] == AMBIGUOUS, bool(asked.get("reasons")), digest, shown)


def write_texts(
    llm: LanguageModel, rows: pd.DataFrame, recasts: Sequence[Recast], words: Mapping[str, str], seed: int
) -> list[Written]:
    """Ask the model for a text for each row and each template whose rule takes it.

    Args:
        llm: who writes.
        rows: `row` (place), `text`, `label` (name) and `ambiguous` (boolean).
        recasts: the templates.
        words: label name -> its word in the prompts.
        seed: another seed, other texts.
    """
    asked: list[tuple[int, Recast, str, Question]] = []
    for row, text, label, ambiguous in zip(rows["row"], rows["text"], rows["label"], rows["ambiguous"], strict=True):
        for recast in recasts:
            target = recast.labels.get(label)
            if target is None or (recast.ambiguous and not ambiguous):
                continue
            values = {
                "text": delimited(text),
                "label": words[label],
                "target": words[target],
                "target_name": target,
                "labels": list(words.values()),
            }
            prompt = render(recast.template, values)
            schema = None if llm.backend.scores_words else _schema(recast)
            lines = 2 if recast.reasons else 1
            question = Question(prompt, schema=schema, temperature=TEMPERATURE, seed=seed, lines=lines)
            asked.append((row, recast, target, question))
    replies = llm.ask_all([question for *_, question in asked], "Writing")
    return [
        _read(reply, row, recast, target, question)
        for (row, recast, target, question), reply in zip(asked, replies, strict=True)
    ]


def _schema(recast: Recast) -> dict[str, Any]:
    names = ("reasons", "text") if recast.reasons else ("text",)
    return object_schema({name: {"type": "string"} for name in names})


def _read(reply: Reply, row: int, recast: Recast, target: str, question: Question) -> Written:
    fields = _fields(reply, recast, question) if not reply.failed else None
    text = _bare(fields["text"]) if fields else ""
    failed = reply.failed or ("" if text else "a reply that holds no text")
    if recast.source.match(matching_key(text)) is not None:
        # A small model says the template's examples over again.
        failed = failed or REPEATS
    if question.schema is None and reply.completion_tokens >= question.max_tokens:
        failed = failed or CUT_SHORT
    explanation = " ".join(fields.get("reasons", "").split()) if fields else ""
    digest = hashlib.sha256(question.prompt.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return Written(row, text, target, f"{recast.name}@{recast.digest}", digest, explanation, failed)


def _fields(reply: Reply, recast: Recast, question: Question) -> Mapping[str, str] | None:
    if question.schema is not None:
        return fields_of(reply.text, question.schema)
    if recast.reasons:
        match = _TWO_LINES.search(reply.text)
        return match.groupdict() if match else None
    # What a small model goes on to say after the first line is another text.
    lines = [line for line in reply.text.splitlines() if line.strip()]
    return {"text": lines[0]} if lines else None


def _bare(text: str) -> str:
    plain = " ".join(text.replace(OPEN, "").replace(CLOSE, "").split())
    return _CUE.sub("", plain).strip(_QUOTES)
