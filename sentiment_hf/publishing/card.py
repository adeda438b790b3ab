"""The model card: Markdown with metadata, written from the records of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sentiment_hf.evaluation.report import SYSTEMS, TITLES, shown_scores
from sentiment_hf.inference.onnx_session import FP32_FILE, ONNX_FOLDER
from sentiment_hf.publishing.files import FINDINGS, recipe_text
from sentiment_hf.publishing.run import Failures, FinishedFolder, find_failures, sources_of
from sentiment_hf.training.provenance import HUB, MADE

OWN_TYPE = "sentiment_hf_"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Those of `SYSTEMS` that are INT8.
INT8_SYSTEMS = ("int8", "static")
SPLITS = ("train", "validation", "test")
PICTURES = {"reliability.png": "reliability", "errors/confusion.png": "confusion matrix"}
# Scores that the Hub's table of results knows, and what it calls them.
HUB_METRICS: dict[str, tuple[str, dict[str, str] | None]] = {
    "accuracy": ("accuracy", None),
    "macro_f1": ("f1", {"average": "macro"}),
    "mentioned_accuracy": ("accuracy", {"cells": "mentioned"}),
    "mentioned_macro_f1": ("f1", {"average": "macro", "cells": "mentioned"}),
    "rating_accuracy": ("accuracy", {"of": "stars"}),
    "rating_mae": ("mae", {"of": "stars"}),
}


@dataclass(frozen=True)
class ScoreLine:
    """A line of the score table: a system of a run, its figures already as text."""

    protocol: str
    system: str
    seed: str
    trained_on: str
    scores: tuple[str, ...]
    size_mb: str
    ms: str


@dataclass(frozen=True)
class Split:
    """What the audit says of one split.

    Attributes:
        balance: label -> share of the rows (of the cells, where a row has several).
        in_train: rows whose text stands in the training rows, too; None for these themselves.
    """

    name: str
    rows: int
    balance: dict[str, float]
    repeated: int
    conflicting: int
    in_train: int | None


@dataclass(frozen=True)
class ModelCard:
    """All that a card says.

    Attributes:
        repo_id: `user/model`.
        run: the records of the run that is pushed.
        others: records of runs that stand beside it in the score table, for example of the other protocol.
        paths: of the files that are pushed.
        license: of the weights, as the Hub names it; None where nobody named one.
        base_model: a Hub id, or None where the encoder is not one.
    """

    repo_id: str
    run: FinishedFolder
    others: tuple[FinishedFolder, ...]
    paths: frozenset[str]
    license: str | None
    base_model: str | None

    @property
    def saved(self) -> dict[str, Any]:
        return dict(self.run.config["sentiment_hf"])

    @property
    def labels(self) -> list[str]:
        names = self.run.config["id2label"]
        return [names[str(index)] for index in range(len(names))]

    @property
    def aspects(self) -> list[str]:
        return list(self.run.config.get("aspects", ()))

    @property
    def kind(self) -> str:
        """`stock`, or which head of our own: `pooled_bert`, `aspect_bert`, `hierarchical_bert`, `head_pruned_bert`."""
        model_type = str(self.run.config["model_type"])
        return model_type.removeprefix(OWN_TYPE) if model_type.startswith(OWN_TYPE) else "stock"

    @property
    def sources(self) -> dict[str, Any]:
        """What the run read; see `sentiment_hf.training.provenance.run_sources`."""
        return sources_of(self.run)

    @property
    def scored_source(self) -> dict[str, Any]:
        """What the rows that the scores are of were read from."""
        splits = self.sources["splits"]
        scored = splits[self.run.metrics["split"]]
        return dict(splits["train"] if scored["kind"] == MADE else scored)

    @property
    def is_folded(self) -> bool:
        """Whether the weights hold the temperature of the calibration."""
        # Records of before temperatures went into the weights have no such field.
        return (self.run.calibration or {}).get("not_folded", "older") is None

    @property
    def hardware(self) -> str:
        """What the times were taken on."""
        hardware = self.run.record["environment"]["hardware"]
        return ", ".join(str(hardware[part]) for part in ("cpu", "gpu") if part in hardware)

    @property
    def splits(self) -> list[Split]:
        return [_split(name, self.run.audit[name], bool(self.aspects)) for name in SPLITS if name in self.run.audit]

    @property
    def has_onnx(self) -> bool:
        return f"{ONNX_FOLDER}/{FP32_FILE}" in self.paths

    @property
    def int8_files(self) -> list[str]:
        """INT8 files, whose names end in the processor that each is for."""
        return sorted(path for path in self.paths if path.startswith(f"{ONNX_FOLDER}/model_"))

    @property
    def int8_drops(self) -> list[tuple[str, float, float, str]]:
        """List the scored INT8 systems: title, the metric on validation in FP32 and in INT8, providers."""
        metrics, metric = self.run.metrics, self.saved["metric"]
        drops = []
        for name in INT8_SYSTEMS:
            if metrics.get(name) and metrics.get("onnx"):
                before, after = metrics["onnx"]["validation"][metric], metrics[name]["validation"][metric]
                drops.append((SYSTEMS[name], before, after, ", ".join(metrics[name]["providers"])))
        return drops

    @property
    def int8_gates(self) -> list[tuple[str, dict[str, Any]]]:
        """List the INT8 systems that passed although validation alone could not tell: title, what the gate saw."""
        gates = [(SYSTEMS[name], self.run.metrics.get(f"{name}_gate", {})) for name in INT8_SYSTEMS]
        return [(title, gate) for title, gate in gates if gate.get("decided_by") == "agreement" and gate["passed"]]

    @property
    def int8_refusals(self) -> list[str]:
        """Why there is no INT8 file where one was asked for."""
        keys = [f"{name}_refused" for name in INT8_SYSTEMS]
        return [self.run.metrics[key] for key in keys if key in self.run.metrics]

    @property
    def pictures(self) -> dict[str, str]:
        """Path -> what it shows."""
        return {path: title for path, title in PICTURES.items() if path in self.paths}

    @property
    def findings(self) -> list[str]:
        return sorted(path for path in self.paths if fnmatch(path, FINDINGS[0]))

    @property
    def score_titles(self) -> list[str]:
        return [TITLES[name] for name in self._shown]

    @property
    def score_lines(self) -> list[ScoreLine]:
        lines = []
        for run in (self.run, *self.others):
            for system, title in SYSTEMS.items():
                row = run.metrics.get(system)
                if row is not None:
                    scores = tuple(_percent(name, row.get(name)) for name in self._shown)
                    trained_on = f"{row['train_rows']:,}" if row.get("train_rows") else "–"
                    seed = str(run.record["seed"])
                    figures = (f"{row['size_mb']:.2f}", f"{row['ms_per_review']:.2f}")
                    mark = " \\*" if self._has_other_rows(run) else ""
                    lines.append(ScoreLine(run.metrics["protocol"] + mark, title, seed, trained_on, scores, *figures))
        return lines

    @property
    def has_other_rows(self) -> bool:
        """Whether a run of the table was scored on other rows than the one that is pushed."""
        return any(self._has_other_rows(run) for run in self.others)

    def _has_other_rows(self, run: FinishedFolder) -> bool:
        ours, theirs = (metrics.get("rows_fingerprint") for metrics in (self.run.metrics, run.metrics))
        return ours is not None and theirs is not None and ours != theirs

    @property
    def protocols(self) -> set[str]:
        return {run.metrics["protocol"] for run in (self.run, *self.others)}

    @property
    def seeds(self) -> set[int]:
        """Of the runs in the table that share the protocol of the pushed one."""
        protocol = self.run.metrics["protocol"]
        return {run.record["seed"] for run in (self.run, *self.others) if run.metrics["protocol"] == protocol}

    @property
    def rows(self) -> int:
        return int(self.run.metrics["fp32"]["rows"])

    @property
    def failures(self) -> Failures:
        return find_failures(self.run, self.labels)

    @property
    def recipe(self) -> str:
        return recipe_text(self.run).rstrip()

    @property
    def _shown(self) -> list[str]:
        rows = [run.metrics[name] for run in (self.run, *self.others) for name in SYSTEMS if run.metrics.get(name)]
        return shown_scores(rows)

    def metadata(self) -> ModelCardData:
        """Build the front matter, with our scores as `model-index`."""
        results = []
        for system, suffix in (("fp32", ""), ("int8", " (INT8)"), ("static", " (static INT8)")):
            row = self.run.metrics.get(system)
            for name, (metric, arguments) in HUB_METRICS.items():
                if row is not None and row.get(name) is not None:
                    results.append(self._result(metric, f"{TITLES[name]}{suffix}", row[name], arguments))
        sources = self.sources
        learned = [
            *sources["splits"].values(),
            *filter(None, [sources.get("supplement")]),
            *sources.get("unlabelled", ()),
        ]
        datasets = dict.fromkeys(entry["name"] for entry in learned if entry["kind"] == HUB and _is_id(entry["name"]))
        return ModelCardData(
            language=["zh"],
            license=self.license,
            library_name="transformers",
            pipeline_tag="text-classification",
            tags=["sentiment_hf", *(["onnx"] if self.has_onnx else [])],
            base_model=self.base_model,
            datasets=list(datasets) or None,
            metrics=list(dict.fromkeys(result.metric_type for result in results)),
            model_name=self.repo_id.split("/")[1],
            eval_results=results,
        )

    def _result(self, metric: str, title: str, value: float, arguments: dict[str, str] | None) -> EvalResult:
        split, source = self.run.metrics["split"], self.scored_source
        arguments_of_data = {"protocol": self.run.metrics["protocol"]}
        if self.sources["splits"][split]["kind"] == MADE:
            # The data set has no such split, and nobody else has these rows.
            arguments_of_data["rows"] = f"{split}, made here of the training rows"
            split = "train"
        return EvalResult(
            task_type="text-classification",
            task_name=self.run.metrics["task"],
            dataset_type=source["name"],
            dataset_name=source["name"],
            dataset_config=source.get("config"),
            dataset_split=split,
            dataset_args=arguments_of_data,
            metric_type=metric,
            metric_name=title,
            metric_value=value,
            metric_args=arguments,
        )


def _is_id(name: str) -> bool:
    """Whether the Hub may have it; an id may do without a user: `imdb`."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None


def _split(name: str, figures: dict[str, Any], has_aspects: bool) -> Split:
    counts: dict[str, int] = {}
    for label, rows in figures["labels"].items():
        # Of aspects the audit counts `aspect: value`.
        value = label.rpartition(": ")[2] if has_aspects else label
        counts[value] = counts.get(value, 0) + rows
    total = sum(counts.values()) or 1
    balance = {label: rows / total for label, rows in counts.items()}
    repeated, conflicting = figures["repeated_rows"], figures["conflicting_texts"]
    return Split(name, figures["rows"], balance, repeated, conflicting, figures.get("in_train"))


def _percent(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    # Stars off and kappa are no shares.
    return f"{value:.3f}" if name in ("rating_mae", "rating_kappa") else f"{100 * value:.2f}"


TEMPLATE = "model_card.md.jinja"


def render(card: ModelCard) -> str:
    """Render the whole README: front matter and text, English and Chinese. The same card gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        # Markdown and not HTML: `text` and `fenced` escape what is not ours.
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"text": escaped, "fenced": fenced, "percent": "{:.1%}".format, "count": "{:,}".format}
    environment.filters["file_name"] = lambda path: Path(path).name
    body = environment.get_template(TEMPLATE).render(card=card)
    # What a condition leaves out leaves spaces and empty lines behind.
    body = re.sub(r"\n{3,}", "\n\n", re.sub(r" +\n", "\n", body))
    return f"---\n{card.metadata().to_yaml()}\n---\n\n{body}"


def escaped(value: Any) -> str:
    """Text of other people inside Markdown: shown as it is, neither markup nor HTML, on one line."""
    flat = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def fenced(code: str, language: str) -> str:
    """Put code into a block whose fence is longer than any run of backticks within."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"
