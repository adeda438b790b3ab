"""What the Hub or the network said, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants

# HTTPError is the base class of the HTTP library in use, which is another one in each major of the client.
from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

from sentiment_hf.exceptions import InputError

AGAIN = "Push again: files that arrived whole are not sent again."
# Status -> expected, and the remedy; what was found is what the Hub said.
REFUSALS = {
    401: ("a token that the Hub knows", "Set HF_TOKEN to a valid one."),
    403: (
        "the right to write to {where}",
        "Use a token with write rights there, or propose the files with --create_pr.",
    ),
    404: ("{where} on {endpoint}", "Check the name, and that the token may see it."),
    409: ("{where} as it was when this push began", AGAIN),
    412: ("{where} as it was when this push began", AGAIN),
    429: ("fewer requests than the Hub's limit", f"Wait a few minutes. {AGAIN}"),
}


@contextmanager
def one_sentence(where: str, token_name: str) -> Iterator[None]:
    """Turn whatever the Hub or the network says within the block into an `InputError`.

    Args:
        where: the repository, or what else was spoken to.
        token_name: of the token; the token itself stands in no message.
    """
    try:
        yield
    except InputError:
        raise
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise _as_input_error(error, where, token_name) from error


def _as_input_error(error: Exception, where: str, token_name: str) -> InputError:
    endpoint = constants.ENDPOINT
    refused = _refusal_within(error)
    if refused is not None and refused.response is not None:
        status = refused.response.status_code
        expected, remedy = REFUSALS.get(status, ("{where} to take the files", AGAIN))
        found = f"status {status} for {token_name}: {refused.server_message or 'no reason given'}"
        return InputError(expected.format(where=where, endpoint=endpoint), found, remedy)
    if isinstance(error, ValueError):
        remedy = "Check HF_ENDPOINT: what responds there is not the Hub, or a mirror that only serves files."
        return InputError(f"the Hub's JSON from {endpoint}", "something else", remedy)
    return InputError(f"a connection to {endpoint} that lasts", _reason_within(error), AGAIN)


def _refusal_within(error: BaseException | None) -> HfHubHTTPError | None:
    """Find the Hub's own response, which the client wraps once more where a thread uploads; None if there is none."""
    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    return error


def _reason_within(error: BaseException) -> str:
    """Find what the system said of a connection, which each library on the way rewords; else the error's first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason, within = lines[0], error.__cause__ or error.__context__
    while within is not None:
        if isinstance(within, OSError) and within.strerror:
            reason = within.strerror
        within = within.__cause__ or within.__context__
    return reason
