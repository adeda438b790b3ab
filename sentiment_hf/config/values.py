"""Parse and check the values of keys and options; predictable YAML, and choices that several options share."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from dataclasses import field
from typing import Any

import yaml

from sentiment_hf.utils.exceptions import InputError

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


# How a label is explained, for the command line and for `sentiment_hf.explain.explainer`.
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


# A recipe has forty lines; what is larger than this, written out, is none.
MAX_CHARACTERS = 1_000_000
MAX_VALUES = 100_000
MAX_DEPTH = 30

# Keys of a recipe whose values stay text, too: `no`, `1` and `1.0` are labels as they stand there.
TEXT_KEYS = ("labels",)
_STRING, _NULL, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "merge"))
_WIDE_COLON = "："
_WIDE_KEY = re.compile(rf"^[^#:'\"]*{_WIDE_COLON}", re.MULTILINE)


class _Loader(yaml.SafeLoader):
    """The safe loader without the types that no key takes: dates, sets, bytes, pairs."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
}


def load_yaml(text: str, all_text: bool = False) -> Any:
    """Parse the value that a text describes; keys of mappings stay text (`yes`, `1`), and so does all of `TEXT_KEYS`.

    Args:
        text: YAML, of which JSON is a part.
        all_text: every value but null stays text.

    Raises:
        ValueError: no YAML, a key that comes twice, a value of a kind that no recipe has, one that is too large or too
            deep, also by aliases, or a colon that is none of YAML's; the message is one line.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, where at most {MAX_CHARACTERS:,} are read")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        if all_text:
            _keep_text(node, set())
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in TEXT_KEYS:
                    _keep_text(value, set())
        return loader.construct_document(node)
    except RecursionError:
        raise ValueError("values within values without end") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split()) + wide_colon(text)) from None


def wide_colon(text: str) -> str:
    """Return a hint, to be appended to a message, where a text has a full-width colon in the place of YAML's; else
    nothing."""
    found = _WIDE_KEY.search(text)
    if found is None:
        return ""
    line = text.count("\n", 0, found.end()) + 1
    return f"; line {line} has a full-width colon ({_WIDE_COLON}): write a plain one and a space"


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """How many values a node stands for once its aliases are written out, and how many levels they have.

    Args:
        node: where to begin.
        known: by identity, what nodes measure; None for those around this one.
    """
    if id(node) in known:
        measured = known[id(node)]
        if measured is None:
            raise ValueError("a value within itself")
        return measured
    known[id(node)] = None
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        _check_colons(node)
        children = [child for pair in node.value for child in pair]
    below = [_measure(child, known) for child in children]
    size, depth = 1 + sum(count for count, _ in below), 1 + max((levels for _, levels in below), default=0)
    if size > MAX_VALUES or depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_VALUES:,} values, or {MAX_DEPTH} within each other")
    known[id(node)] = (size, depth)
    return size, depth


def _check_keys(node: yaml.MappingNode) -> None:
    """Make the keys text, and see that none comes twice."""
    seen: set[Hashable] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            # `<<` merges another mapping into this one.
            key.tag = key.tag if key.tag == _MERGE else _STRING
            if key.value in seen:
                raise ValueError(f"{key.value!r} twice, the second time in line {key.start_mark.line + 1}")
            seen.add(key.value)


def _check_colons(node: yaml.MappingNode) -> None:
    """Raise ValueError for a key that swallowed its value, as `{0：bad}` and `{0:bad}` make one: it is no key with a
    null."""
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.style is not None:
            continue
        if value.tag == _NULL and not value.value and (_WIDE_COLON in key.value or ":" in key.value):
            said = f"a full-width colon ({_WIDE_COLON})" if _WIDE_COLON in key.value else "no space after its colon"
            raise ValueError(f"{key.value!r} with {said}: write a plain colon and a space")


def _keep_text(node: yaml.Node, seen: set[int]) -> None:
    """Let every scalar below a node but null be text as it is written."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if node.tag != _NULL:
            node.tag = _STRING
        return
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    for child in [child for pair in pairs for child in pair] or node.value:
        _keep_text(child, seen)
