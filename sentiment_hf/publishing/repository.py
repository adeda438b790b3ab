"""A Hub repository: check permissions, list its files, and update it in one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token

# HTTPError is the base class of the HTTP library in use, which is another one in each major of the client.
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, RepositoryNotFoundError  # type: ignore[attr-defined]
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from sentiment_hf.publishing.files import PushedFile
from sentiment_hf.utils.exceptions import InputError


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        revision: the commit that holds the files.
        url: of the repository, or of the pull request.
        changed: paths that were added, replaced or removed; none where everything was there already.
    """

    revision: str
    url: str
    changed: tuple[str, ...]


def check_repo_id(repo_id: str, example: str) -> None:
    """Raise InputError for what is no `user/model`; `example` is a model's name to suggest."""
    user, slash, model = repo_id.partition("/")
    try:
        validate_repo_id(repo_id)
        is_valid = bool(user and slash and model)
    except HFValidationError:
        is_valid = False
    if not is_valid:
        remedy = f"Give user and model, for example {user or 'user'}/{example}."
        raise InputError("a repository id user/model", repr(repo_id), remedy)


def open_hub(token: str | None = None) -> tuple[HfApi, str]:
    """Open a client with a token that may write, and return it with the name of that token.

    Raises:
        InputError: offline, no token, a token that the Hub does not know, or one that may only read.
    """
    if constants.HF_HUB_OFFLINE:
        raise InputError("access to the Hub", "HF_HUB_OFFLINE=1", "Unset it to push.")
    token = token or get_token()
    if token is None:
        remedy = f"Make one with write rights at {constants.ENDPOINT}/settings/tokens and set HF_TOKEN."
        raise InputError("a token for the Hub", "none", remedy)
    api = HfApi(token=token)
    with one_sentence("the Hub", "the token that is set"):
        account = api.whoami()
        access = account.get("auth", {}).get("accessToken", {})
        name = f"the token {access.get('displayName', 'without a name')!r} of {account.get('name', 'nobody')}"
    if access.get("role") == "read":
        raise InputError("a token with write rights", f"{name}, which may only read", "Make one that may write.")
    return api, name


class Repository:
    """A repository that this push may make and bring up to date.

    Args:
        api: client.
        name: `user/model`.
        token_name: for errors.
        kind: `model` or `space`.
    """

    def __init__(self, api: HfApi, name: str, token_name: str, kind: str = "model") -> None:
        self.api, self.name, self.token_name, self.kind = api, name, token_name, kind

    def make(self, private: bool, sdk: str | None = None) -> None:
        """Make the repository where there is none.

        Raises:
            InputError: there is one and it is public, though a private one is wanted, or the token may not write.
        """
        with one_sentence(self.name, self.token_name):
            try:
                there = self.api.repo_info(self.name, repo_type=self.kind)
            except RepositoryNotFoundError:
                # None and not False: an organization may make its new repositories private.
                hidden = True if private else None
                self.api.create_repo(self.name, repo_type=self.kind, private=hidden, space_sdk=sdk, exist_ok=True)
                return
        if private and not there.private:
            remedy = "Make it private in its settings on the Hub, or leave --private out."
            raise InputError(f"a private repository {self.name}", "a public one", remedy)

    def head(self, revision: str = "main") -> str:
        with one_sentence(self.name, self.token_name):
            sha = self.api.repo_info(self.name, repo_type=self.kind, revision=revision).sha
        assert sha is not None
        return sha

    def files(self, revision: str) -> dict[str, RepoFile]:
        """All files of a revision by path."""
        with one_sentence(self.name, self.token_name):
            entries = self.api.list_repo_tree(self.name, recursive=True, revision=revision, repo_type=self.kind)
            return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def read(self, path: str, revision: str) -> bytes:
        """Read a small file's content."""
        with one_sentence(self.name, self.token_name):
            cached = self.api.hf_hub_download(self.name, path, repo_type=self.kind, revision=revision)
        with open(cached, "rb") as file:
            return file.read()

    def bring_up_to_date(
        self, files: Sequence[PushedFile], is_ours: Callable[[str], bool], message: str, create_pr: bool
    ) -> Pushed:
        """Let the repository hold these files, with one commit at most.

        Large files go first, each known by its hash, so that those that arrived before an interruption are not sent
        again; the commit makes all of them visible at once.

        Args:
            files: all that should be there.
            is_ours: whether a path is one that a push writes; of these, whatever `files` does not have is removed.
            message: of the commit.
            create_pr: open a pull request in place of a commit to main; where one is open that says the same, no other.
        """
        head = self.head()
        add, remove = _differences(files, self.files(head), is_ours)
        url = f"{self.api.endpoint}/{'spaces/' if self.kind == 'space' else ''}{self.name}"
        if not add and not remove:
            return Pushed(head, url, ())
        if create_pr:
            for number in self._open_pull_requests():
                revision = self.head(f"refs/pr/{number}")
                if _differences(files, self.files(revision), is_ours) == ([], []):
                    return Pushed(revision, f"{url}/discussions/{number}", ())
        additions = [CommitOperationAdd(file.path, file.content) for file in add]
        with one_sentence(self.name, self.token_name):
            self.api.preupload_lfs_files(self.name, additions, repo_type=self.kind, create_pr=create_pr)
            commit = self.api.create_commit(
                self.name,
                [*additions, *(CommitOperationDelete(path) for path in remove)],
                commit_message=message,
                repo_type=self.kind,
                # Nobody else's commit in between is overwritten.
                parent_commit=head,
                create_pr=create_pr,
            )
        return Pushed(commit.oid, commit.pr_url or url, tuple(sorted([file.path for file in add] + remove)))

    def _open_pull_requests(self) -> list[int]:
        with one_sentence(self.name, self.token_name):
            found = self.api.get_repo_discussions(
                self.name, repo_type=self.kind, discussion_type="pull_request", discussion_status="open"
            )
            return [item.num for item in found]


def _differences(
    files: Sequence[PushedFile], there: dict[str, RepoFile], is_ours: Callable[[str], bool]
) -> tuple[list[PushedFile], list[str]]:
    """Files whose content the repository does not have at their path, and paths of ours that the files do not have."""
    add = []
    for file in files:
        entry, same = there.get(file.path), False
        if entry is not None:
            same = file.git_oid() == entry.blob_id if entry.lfs is None else file.sha256() == entry.lfs.sha256
        if not same:
            add.append(file)
    wanted = {file.path for file in files}
    return add, [path for path in sorted(there) if path not in wanted and is_ours(path)]


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
