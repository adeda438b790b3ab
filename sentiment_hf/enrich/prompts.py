"""Prompts from Jinja templates; text of the data comes into them between marks that it cannot close."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sentiment_hf.exceptions import InputError

TEMPLATES = Path(__file__).parent / "templates"
ENDING = ".jinja"
OPEN, CLOSE = "<text>", "</text>"
_MARK = re.compile(r"<\s*(/?)\s*text\s*>", re.IGNORECASE)


def delimited(text: str) -> str:
    """A text of the data between `<text>` and `</text>`; such marks within it are made harmless."""
    harmless = _MARK.sub(r"＜\1text＞", text)
    return f"{OPEN}{harmless}{CLOSE}"


def load_template(path: Path, variables: tuple[str, ...]) -> tuple[str, Template]:
    """A template's source, and the template.

    Args:
        path: of the file.
        variables: what it may use.

    Raises:
        InputError: no such file, a mistake in the template, or a variable that is not among these.
    """
    if not path.is_file():
        raise InputError(f"a template at {path}", "nothing there", "Check the path.")
    source = path.read_text(encoding="utf-8")
    # A template that somebody passed on writes prompts and runs no Python.
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    try:
        used = meta.find_undeclared_variables(environment.parse(source))
        template = environment.from_string(source)
    except TemplateSyntaxError as error:
        found = f"{error.message} in line {error.lineno}"
        raise InputError(f"a Jinja template in {path}", found, "Mend it there.") from None
    unknown = sorted(used - set(variables))
    if unknown:
        found = ", ".join(unknown)
        raise InputError(f"the variables {', '.join(variables)} in {path}", found, "Use only these.")
    return source, template


def render(template: Template, values: Mapping[str, Any]) -> str:
    """The prompt, without white space around it."""
    return template.render(**values).strip()
