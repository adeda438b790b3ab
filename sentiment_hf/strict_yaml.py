"""YAML as recipes need it: every key once, plain values alone, and nothing that grows without end when it is read."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

# A recipe has forty lines; what is larger than this, written out, is none.
MAX_CHARACTERS = 1_000_000
MAX_VALUES = 100_000
MAX_DEPTH = 30


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


def load_yaml(text: str) -> Any:
    """The value that a text describes.

    Raises:
        ValueError: no YAML, a key that comes twice, a value of a kind that no recipe has, or one that is too large or
            too deep, also by aliases; the message is one line.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, where at most {MAX_CHARACTERS:,} are read")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    except RecursionError:
        raise ValueError("values within values without end") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


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
        children = [child for pair in node.value for child in pair]
    below = [_measure(child, known) for child in children]
    size, depth = 1 + sum(count for count, _ in below), 1 + max((levels for _, levels in below), default=0)
    if size > MAX_VALUES or depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_VALUES:,} values, or {MAX_DEPTH} within each other")
    known[id(node)] = (size, depth)
    return size, depth


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[Hashable] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                raise ValueError(f"{key.value!r} twice, the second time in line {key.start_mark.line + 1}")
            seen.add((key.tag, key.value))
