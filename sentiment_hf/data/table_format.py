"""How a table is laid out where its ending and its content do not say so: encoding, separator, names of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from sentiment_hf.exceptions import InputError
from sentiment_hf.option_values import parse_value

# What cannot be typed easily has a name; "\\t" is how a shell passes a tab that was written as \t.
_SEPARATORS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
_NAMED = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a vertical bar", " ": "a space"}


@dataclass(frozen=True)
class TableFormat:
    r"""How a table is read.

    Attributes:
        encoding: `auto`, or any of Python's codecs for text.
        separator: between the cells of a csv, tsv or txt, one character or several (`_!_`); None: found in the file.
            `tab`, `comma`, `semicolon`, `pipe` and `space` may be written as words.
        column_names: of a table without a header line; None: the first line names the columns.

    >>> TableFormat(separator="tab").separator
    '\t'
    """

    encoding: str = "auto"
    separator: str | None = None
    column_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        separator = self.separator
        if separator is not None:
            separator = _SEPARATORS.get(str(separator).lower(), str(separator))
            if not separator or any(mark in separator for mark in '"\r\n'):
                remedy = "Write it as it stands between the cells, or tab, comma, semicolon, pipe, space."
                raise InputError("a separator without quotation marks and line ends", repr(self.separator), remedy)
            object.__setattr__(self, "separator", separator)
        names = self.column_names
        if names is not None and (not names or not all(names) or len(set(names)) < len(names)):
            found = ", ".join(names) or "none"
            raise InputError("a different name for each column in column_names", found, "Write them as text,label.")

    @classmethod
    def from_args(cls, args: Any) -> Self:
        """Take `encoding`, `separator` and `column_names` of a command line or of a recipe's data keys."""
        return cls(args.encoding, args.separator, parse_column_names(args.column_names))


def parse_column_names(value: Any) -> tuple[str, ...] | None:
    """Names as a command line gives them (`text,label`), or as a list, in YAML or read from it already."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            value = parse_value(value, "column_names", (list,))
        else:
            value = value.replace("，", ",").split(",")
    elif value is not None and not isinstance(value, list | tuple):
        raise InputError("a list for column_names", repr(value), "Write it as [text, label].")
    return None if value is None else tuple(str(name).strip() for name in value)


def separator_name(separator: str) -> str:
    """As a sentence says it."""
    return _NAMED.get(separator, repr(separator))
