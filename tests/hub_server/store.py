"""What the server holds: accounts, repositories with commits, large files by hash, and the faults it was asked for."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field

LARGE_FILES = (".safetensors", ".onnx", ".bin", ".png", ".pt")
LARGE_SIZE = 10_000_000
GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.onnx filter=lfs diff=lfs merge=lfs -text\n"


class Refused(Exception):
    """A request that gets an error, as the Hub words it in its headers."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True)
class Account:
    """Whom a token belongs to, and whether it is a `read` or a `write` token."""

    user: str
    role: str = "write"
    token_name: str = "laptop"


@dataclass(frozen=True)
class File:
    """A file of a commit. A large one is a pointer in git, and its content lies elsewhere under its sha256."""

    content: bytes
    is_large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def git_oid(self) -> str:
        content = self.content
        if self.is_large:
            content = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n".encode()
            content += f"size {len(self.content)}\n".encode()
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


@dataclass
class Repository:
    """Commits are whole trees, `path -> File`; branches and pull requests point at them."""

    kind: str
    name: str
    private: bool = False
    sdk: str | None = None
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("main", {".gitattributes": File(GIT_ATTRIBUTES, False)})

    def commit(self, ref: str, files: dict[str, File]) -> str:
        tree = json.dumps({path: file.sha256 for path, file in sorted(files.items())})
        sha = hashlib.sha1(f"{self.name} {len(self.commits)} {tree}".encode()).hexdigest()
        self.commits[sha], self.refs[ref] = files, sha
        return sha

    def resolve(self, revision: str) -> str:
        """A branch, a `refs/pr/N` or a commit -> the commit."""
        sha = self.refs.get(revision, revision)
        if sha not in self.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha

    def file(self, revision: str, path: str) -> File:
        files = self.commits[self.resolve(revision)]
        if path not in files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        return files[path]

    @property
    def pull_requests(self) -> list[int]:
        return [int(ref.rpartition("/")[2]) for ref in self.refs if ref.startswith("refs/pr/")]


@dataclass
class Fault:
    """What goes wrong with requests whose `METHOD /path` matches.

    Attributes:
        pattern: regular expression, for example `PUT /_lfs/` or `POST .*/commit/`.
        status: respond with this error; 200 responds with a page of HTML.
        cut_at: read (of an upload) or send (of a download) so large a share of the body, then cut the connection.
        times: how often; -1 always.
    """

    pattern: str
    status: int | None = None
    cut_at: float | None = None
    times: int = 1


@dataclass
class Hub:
    """All that the server knows.

    Attributes:
        accounts: by token.
        repositories: by kind (`model`, `dataset`, `space`) and name.
        large_files: content by sha256, there from the moment it was received whole.
        parts: of uploads in several parts, by sha256 and number.
        multipart_from: larger files are uploaded in parts of `part_size`; in bytes.
        requests: `METHOD /path` of all that was asked, in order, and the range of bytes where one was asked for.
    """

    accounts: dict[str, Account] = field(default_factory=dict)
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    multipart_from: int = 50_000_000
    part_size: int = 16_000_000
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Forget everything but the accounts."""
        for held in (self.repositories, self.large_files, self.parts, self.faults, self.requests):
            held.clear()

    def repository(self, kind: str, name: str, account: Account | None) -> Repository:
        found = self.repositories.get((kind, name))
        if found is None or (found.private and not self.may_write(account, name)):
            raise Refused(404 if account else 401, "Repository not found", "RepoNotFound")
        return found

    def may_write(self, account: Account | None, name: str) -> bool:
        return account is not None and account.role == "write" and name.split("/", maxsplit=1)[0] == account.user

    def next_fault(self, request: str) -> Fault | None:
        """The fault for a request, counted down; notes the request."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times and re.search(fault.pattern, request):
                    fault.times -= fault.times > 0
                    return fault
        return None

    def is_large(self, path: str, size: int, sample: bytes) -> bool:
        """Whether a file goes to the large ones: by its name, its size, or since it is not text."""
        if path.endswith(LARGE_FILES) or size > LARGE_SIZE:
            return True
        return b"\0" in sample
