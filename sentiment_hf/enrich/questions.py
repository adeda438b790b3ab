"""What a language model is asked and what it replies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

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
