"""Classification metrics as one `evaluate` module: loads by path, offline, and can be pushed to the Hub as it is.

It stands alone on purpose (a pushed module cannot import the package it came from), one import a line (evaluate reads
the imports as text).
"""

import datasets
import evaluate
import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

_DESCRIPTION = """
Scores of a single-label classifier: accuracy, precision, recall and F1 (macro, micro, weighted and per class),
confusion matrix and, where scores are given, the areas under the ROC and precision-recall curves.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: predicted label ids.
    references: true label ids.
    label_names: label names in the order of their ids; their number is the number of classes.
    scores: optional, `[rows, classes]`, anything that ranks (probabilities, logits); for the areas.
Returns:
    accuracy, precision, recall, macro_f1 (precision, recall and F1 averaged over classes alike), micro_f1,
    weighted_f1, per_class (name -> precision, recall, f1, support), confusion_matrix (rows: true, columns: predicted),
    rows; with scores roc_auc and pr_auc: of the second class for two classes, else one-vs-rest averaged over the
    classes that occur. An area that is not defined is None.
"""


class SentimentMetrics(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions, references, label_names, scores=None):
        ids = list(range(len(label_names)))
        predictions = np.asarray(predictions)
        references = np.asarray(references)
        # A class that is neither predicted nor true has no F1; scikit-learn's 0 for it would drag the mean down.
        occurring = [index for index in ids if (predictions == index).any() or (references == index).any()]
        options = {"labels": occurring, "zero_division": 0}
        precision, recall, f1, support = precision_recall_fscore_support(
            references, predictions, labels=ids, zero_division=0
        )
        result = {
            "accuracy": float(accuracy_score(references, predictions)),
            "precision": float(np.mean(precision[occurring])),
            "recall": float(np.mean(recall[occurring])),
            "macro_f1": float(f1_score(references, predictions, average="macro", **options)),
            "micro_f1": float(f1_score(references, predictions, average="micro", **options)),
            "weighted_f1": float(f1_score(references, predictions, average="weighted", **options)),
            "per_class": {
                name: {
                    "precision": float(precision[index]),
                    "recall": float(recall[index]),
                    "f1": float(f1[index]) if index in occurring else None,
                    "support": int(support[index]),
                }
                for index, name in enumerate(label_names)
            },
            "confusion_matrix": confusion_matrix(references, predictions, labels=ids).tolist(),
            "rows": len(references),
        }
        if scores is not None:
            scores = np.asarray(scores, dtype=np.float64)
            result["roc_auc"] = _area(roc_auc_score, references, scores)
            result["pr_auc"] = _area(average_precision_score, references, scores)
        return result


def _area(area, references, scores):
    if scores.shape[1] == 2:
        # The margin ranks as the probability does, for logits too.
        columns = [(1, scores[:, 1] - scores[:, 0])]
    else:
        columns = list(enumerate(scores.T))
    truths = [(references == index, column) for index, column in columns]
    defined = [area(truth, column) for truth, column in truths if truth.any() and not truth.all()]
    return float(np.mean(defined)) if defined else None
