"""Client for a language model behind an OpenAI-compatible endpoint (vLLM, Ollama, llama.cpp and others)."""

from __future__ import annotations

import logging
import os
import random
import re
from typing import TYPE_CHECKING, Any

from sentiment_hf.enrich.prompts import Question, Reply, Wait
from sentiment_hf.utils.exceptions import InputError, MissingExtraError

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

MAX_DELAY = 60.0
_TRY_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
_NOT_ALLOWED = {401, 403}


class Endpoint:
    """`POST base_url/chat/completions`, again after a pause where that may help.

    Args:
        base_url: up to and without `/chat/completions`, for example `http://localhost:8000/v1`.
        name: the model, as the endpoint calls it.
        key_variable: environment variable with the key; none is sent where it is empty. The key is never logged and
            stands in no message.
        timeout: seconds for one reply.
        retries: after 429, 5xx, a broken connection or no response in time.
        backoff: seconds before the first retry; each further one waits twice as long, unless the endpoint says.

    Raises:
        InputError: an address that is none, or one with a password in it.
        MissingExtraError: httpx is not installed.
    """

    scores_words = False
    concurrency = 1024
    takes_batches = False

    def __init__(
        self,
        base_url: str,
        name: str,
        key_variable: str = "OPENAI_API_KEY",
        timeout: float = 60.0,
        retries: int = 4,
        backoff: float = 1.0,
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise MissingExtraError("httpx", "enrich") from None
        self.name, self.base_url, self.key_variable = name, base_url.rstrip("/"), key_variable
        self.timeout, self.retries, self.backoff = timeout, retries, backoff
        self._check_address()
        self._key = _key_in(key_variable)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # As many connections as there are questions under way.
        self._client = httpx.Client(headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=None))

    def _check_address(self) -> None:
        """Check the address; one that is refused is never shown: a password or a key may stand in it."""
        import httpx

        remedy = "http://localhost:8000/v1 is one."
        try:
            url = httpx.URL(self.base_url)
        except httpx.InvalidURL:
            raise InputError("an address with --base_url", "something else", remedy) from None
        if url.userinfo or url.query or url.fragment:
            remedy = "Put the key into an environment variable, OPENAI_API_KEY or what --api_key_variable names."
            raise InputError("--base_url without password and query", "one with them", remedy)
        if url.scheme not in ("http", "https") or not url.host:
            raise InputError("an address with http or https and a host in --base_url", "another one", remedy)

    def ask(self, question: Question, wait: Wait) -> Reply:
        """One reply, or, with `failed`, why there is none.

        Raises:
            InputError: nobody listens there, the key is refused, or the address or model is unknown.
        """
        import httpx

        if question.words:
            raise ValueError("an endpoint does not score words")
        unreachable, reason = False, ""
        for attempt in range(self.retries + 1):
            try:
                response = self._client.post(f"{self.base_url}/chat/completions", json=self._body(question))
            except httpx.TimeoutException as error:
                unreachable = isinstance(error, httpx.ConnectTimeout)
                reason, asked_for = f"no response within {self.timeout:g} s", None
            except httpx.RequestError as error:
                unreachable = isinstance(error, httpx.ConnectError)
                reason, asked_for = self._safe(str(error)) or "a broken response", None
            else:
                reply = self._reply(response)
                if reply is not None:
                    return reply
                unreachable, reason = False, f"status {response.status_code} without a reply"
                asked_for = _seconds(response.headers.get("Retry-After"))
            if attempt < self.retries:
                delay = self.backoff * 2**attempt * random.uniform(0.5, 1.0) if asked_for is None else asked_for
                logger.debug("%s: %s; again in %.1f s", self.name, reason, delay)
                wait(min(delay, MAX_DELAY))
        if unreachable:
            raise InputError(f"an endpoint at {self.base_url}", reason, "Start it, or check --base_url.")
        return Reply(failed=reason)

    def _body(self, question: Question) -> dict[str, Any]:
        messages = [{"role": "system", "content": question.system}] if question.system else []
        messages.append({"role": "user", "content": question.prompt})
        body: dict[str, Any] = {"model": self.name, "messages": messages, "max_tokens": question.max_tokens}
        body |= {"temperature": question.temperature, "seed": question.seed}
        if question.schema is not None:
            schema = {"name": "reply", "strict": True, "schema": dict(question.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _reply(self, response: httpx.Response) -> Reply | None:
        """Read a response; None where asking again may help."""
        status = response.status_code
        if status in _NOT_ALLOWED:
            # What the endpoint says may repeat the key.
            given = "the key in it" if self._key else "no key in it"
            remedy = f"Set the environment variable {self.key_variable} to a valid key."
            raise InputError(f"a key that {self.base_url} accepts in {self.key_variable}", f"{given}: {status}", remedy)
        if status == 404:
            said = self._safe(response.text)
            remedy = "Check --base_url, which ends before /chat/completions, and --llm."
            raise InputError(f"the model {self.name} at {self.base_url}", f"status 404: {said}", remedy)
        if status in _TRY_AGAIN:
            return None
        if status != 200:
            return Reply(failed=f"status {status}: {self._safe(response.text)}")
        try:
            body = response.json()
            text = body["choices"][0]["message"]["content"] or ""
        except (ValueError, KeyError, IndexError, TypeError):
            # Cut off on its way.
            return None
        usage = body.get("usage")
        return Reply(str(text), (), _tokens(usage, "prompt_tokens"), _tokens(usage, "completion_tokens"))

    def _safe(self, text: str) -> str:
        """Cut what was said to its beginning, on one line, without the key."""
        flat = " ".join(text.split())
        return (flat.replace(self._key, "…") if self._key else flat)[:200]


def _key_in(variable: str) -> str:
    """Read the key from an environment variable, "" if it has none; neither a wrong name nor a wrong key is ever shown.

    Raises:
        InputError: no name of a variable, where somebody may have put the key itself; or a key that is none.
    """
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", variable):
        remedy = "Put the key into a variable, and name that."
        raise InputError("the name of an environment variable with --api_key_variable", "something else", remedy)
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        found = "line breaks or other characters in it"
        raise InputError(f"a key of printable ASCII characters in {variable}", found, "Set it once more.")
    return key


def _tokens(usage: Any, name: str) -> int:
    """Read a token count of an endpoint's own; 0 where it says something else."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else 0


def _seconds(value: str | None) -> float | None:
    try:
        return None if value is None else max(float(value), 0.0)
    except ValueError:
        return None
