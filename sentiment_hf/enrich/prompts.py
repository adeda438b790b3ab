"""Prompts from Jinja templates; text of the data comes into them between marks that it cannot close."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sentiment_hf.exceptions import InputError

TEMPLATES = Path(__file__).parent / "templates"
ENDING = ".jinja"
OPEN, CLOSE = "<text>", "</text>"
_MARK = re.compile(r"<\s*(/?)\s*text\s*>", re.IGNORECASE)


def delimited(text: str) -> str:
    """Put a text of the data between `<text>` and `</text>`; such marks within it are made harmless."""
    harmless = _MARK.sub(r"＜\1text＞", text)
    return f"{OPEN}{harmless}{CLOSE}"


def load_template(path: Path, variables: tuple[str, ...], required: tuple[str, ...] = ()) -> tuple[str, Template]:
    """Read a template; return its source and the template.

    Args:
        path: of the file.
        variables: what it may use.
        required: what it has to use.

    Raises:
        InputError: no such file, one that is no UTF-8, a mistake in the template, or a variable that is not among these
            or missing.
    """
    if not path.is_file():
        raise InputError(f"a template at {path}", "nothing there", "Check the path.")
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"UTF-8 in {path}", f"something else at byte {error.start}", "Save it as UTF-8.") from None
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
    forgotten = sorted(set(required) - used)
    if forgotten:
        # Every prompt would be the same, and one reply would stand for all texts.
        remedy = f"Write it as {{{{ {forgotten[0]} }}}}."
        raise InputError(f"the variable {forgotten[0]} in {path}", "none", remedy)
    return source, template


def render(template: Template, values: Mapping[str, Any]) -> str:
    """Render the prompt, without white space around it.

    Raises:
        InputError: what the template does cannot be done: an attribute that is not there, another file's content.
    """
    try:
        return template.render(**values).strip()
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError("a Jinja template that can be filled in", str(error), "Mend it there.") from None
