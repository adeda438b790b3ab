"""Values of recipe keys: how a field is declared, how structured values are read, and the checks that many share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Any

from sentiment_hf.exceptions import InputError
from sentiment_hf.strict_yaml import load_yaml, wide_colon

# The task whose rows have several labels, and how its stars are learned.
ASPECTS_TASK = "aspects"
RATINGS = ("none", "ordinal", "regression")


def option(default: Any, help: str) -> Any:
    """Declare a field with a default and its line of help."""
    return field(default=default, metadata={"help": help})


def parse_value(value: Any, name: str, kinds: tuple[type, ...]) -> Any:
    """Parse a structured key, which a command line gives as text (`{negative: 2}`) and a recipe as it is."""
    if isinstance(value, str):
        try:
            value = load_yaml(value)
        except ValueError as error:
            # Of a colon that is none the message says more than the value does.
            found = str(error) if "colon" in str(error) else repr(value)
            raise InputError(f"YAML or JSON for {name}", found, "Quote it as '{name: value}'.") from None
    if value is not None and not isinstance(value, kinds):
        names = " or ".join({"dict": "a mapping", "list": "a list", "str": "a word"}[kind.__name__] for kind in kinds)
        example = "[value, value]" if kinds == (list,) else "{name: value}"
        hint = wide_colon(value) if isinstance(value, str) else ""
        raise InputError(f"{names} for {name}", f"{value!r}{hint}", f"Write it as {example}.")
    return value


def parse_labels(value: Any, kinds: tuple[type, ...] = (dict, list)) -> Any:
    """Read `labels`, whose raw values and names stay text: a mapping {raw value: name or null}, or names."""
    if isinstance(value, str):
        try:
            value = load_yaml(value, all_text=True)
        except ValueError as error:
            raise InputError("YAML or JSON for labels", str(error), "Quote it as '{raw value: name}'.") from None
    return parse_value(value, "labels", kinds)


def parse_names(value: Any, name: str) -> Any:
    """Parse a name or, in brackets, a list of them; return the name, or the list."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    names = parse_value(value, name, (list,))
    if not names or not all(isinstance(one, str) for one in names):
        raise InputError(f"a name or a list of names for {name}", value, "Write it as NAME or [NAME, NAME].")
    return names


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise InputError unless `value` is one of `choices`."""
    choices = tuple(choices)
    if value not in choices:
        raise InputError(f"{name} {' | '.join(choices)}", repr(value), "Use one of these.")


def check_positive(name: str, value: int | None) -> None:
    """Raise InputError for a number below 1; None passes."""
    if value is not None and value < 1:
        raise InputError(f"{name} of at least 1", str(value), "Leave the key out for the default.")


# How a label is explained, for the command line and for `sentiment_hf.serving.explainer`.
OCCLUSION, GRADIENT, INTEGRATED, ATTENTION = "occlusion", "grad_x_input", "integrated_gradients", "attention"
EXPLANATIONS = (GRADIENT, INTEGRATED, ATTENTION, OCCLUSION)

# How the labels of a file are read, see `LabelSpace.read`.
LABEL_VALUES = ("auto", "raw", "names")

# Which file of a model runs, and by which runtime; see `SentimentClassifier.from_pretrained`.
BACKENDS = ("auto", "torch", "onnx", "int8", "static", "openvino", "openvino_int8")

# Of the export: how a model becomes INT8, for which processor, and how activation ranges are read off.
QUANTIZATIONS = ("none", "dynamic", "static")
ARCHS = ("auto", "avx512_vnni", "avx2", "arm64", "tensorrt")
ACTIVATION_RANGES = ("minmax", "entropy", "percentile")
