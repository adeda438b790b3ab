"""Build prompts from Jinja templates, and check the replies of a language model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sentiment_hf.utils.exceptions import InputError

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
        raise InputError(f"a Jinja template in {path}", found, "Fix it there.") from None
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
        raise InputError("a Jinja template that can be filled in", str(error), "Fix it there.") from None


# Waits so many seconds; raises where the run was stopped meanwhile.
Wait = Callable[[float], None]


@dataclass(frozen=True)
class Question:
    """One request; two equal ones are one request.

    Attributes:
        prompt: what the user says.
        system: what stands before it, for models that tell the two apart.
        words: continuations whose log-likelihood is asked for in the place of a reply in words.
        schema: JSON schema of an object that the reply has to follow: its `properties` are strings, with `enum` where
            few will do, and numbers between `minimum` and `maximum`; all are required.
        max_tokens: of the reply.
        lines: that are wanted of it; a local model writes no further. 0 for what it takes.
        temperature: 0 takes the likeliest token.
        seed: another seed is another request, also where it changes nothing else.
    """

    prompt: str
    system: str = ""
    words: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 256
    lines: int = 0
    temperature: float = 0.0
    seed: int = 0

    def key(self, model: str) -> str:
        """Compute a digest of the question and of the model that it is put to."""
        parts = json.dumps([model, asdict(self)], ensure_ascii=False, sort_keys=True, default=dict)
        return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Reply:
    """One reply.

    Attributes:
        text: in words.
        scores: log-likelihoods of the question's `words`.
        prompt_tokens: tokens read, over all attempts.
        completion_tokens: tokens written, over all attempts.
        failed: why there is no reply; "" where there is one.
    """

    text: str = ""
    scores: tuple[float, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: str = ""


class LlmBackend(Protocol):
    """Whatever replies to questions: a model in this process, or an endpoint.

    Attributes:
        name: of the model; replies are kept under it.
        scores_words: whether it can say how likely given words are; without that it is asked for JSON.
        concurrency: questions that it takes at a time at most, each in a thread of its own.
        takes_batches: whether it is a `BatchLlmBackend`.
    """

    name: str
    scores_words: bool
    concurrency: int
    takes_batches: bool

    def ask(self, question: Question, wait: Wait) -> Reply: ...


class BatchLlmBackend(LlmBackend, Protocol):
    """One that replies to several questions without `words` and `schema` faster together than one by one."""

    def ask_batch(self, questions: Sequence[Question]) -> list[Reply]: ...


def fields_of(text: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Parse the fields of a reply in JSON; None where it does not follow the schema."""
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    properties: Mapping[str, Mapping[str, Any]] = schema["properties"]
    if not isinstance(fields, dict) or set(fields) != set(properties):
        return None
    return fields if all(_fits(fields[name], rule) for name, rule in properties.items()) else None


def _fits(value: Any, rule: Mapping[str, Any]) -> bool:
    if rule["type"] == "number":
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and rule["minimum"] <= value <= rule["maximum"]
    return isinstance(value, str) and value in rule.get("enum", (value,))


def object_schema(properties: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Build the schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
