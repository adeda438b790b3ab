"""The Hub's responses, as functions of what it holds and of what was asked."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from hub_server.store import Account, File, Hub, Refused, Repository


@dataclass
class Asked:
    """A request: the account behind its token, its query and its body."""

    hub: Hub
    endpoint: str
    account: Account | None
    query: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def repository(self, kind: str, name: str) -> Repository:
        return self.hub.repository(kind, name, self.account)

    def writable(self, kind: str, name: str) -> Repository:
        """The repository, if this account may commit to it or, with `create_pr`, propose to."""
        found = self.repository(kind, name)
        if self.account is None:
            raise Refused(401, "Invalid username or password.")
        if self.account.role != "write" or not ("create_pr" in self.query or self.hub.may_write(self.account, name)):
            raise Refused(403, f"You don't have the rights to write to {name}")
        return found


def whoami(asked: Asked) -> Any:
    if asked.account is None:
        raise Refused(401, "Invalid credentials in Authorization header")
    token = {"displayName": asked.account.token_name, "role": asked.account.role}
    auth = {"type": "access_token", "accessToken": token}
    return {"type": "user", "id": "1", "name": asked.account.user, "fullname": asked.account.user, "auth": auth}


def validate_yaml(asked: Asked) -> Any:
    return {"errors": [], "warnings": []}


def create(asked: Asked) -> Any:
    wanted = asked.json
    if asked.account is None:
        raise Refused(401, "Invalid username or password.")
    kind = wanted.get("type") or "model"
    name = f"{wanted.get('organization') or asked.account.user}/{wanted['name']}"
    if not asked.hub.may_write(asked.account, name):
        raise Refused(403, f"You don't have the rights to create a {kind} under this namespace")
    url = f"{asked.endpoint}/{'' if kind == 'model' else kind + 's/'}{name}"
    if (kind, name) in asked.hub.repositories:
        return 409, {"error": f"You already created this {kind} repo", "url": url}
    # The older client says private, the newer one visibility.
    private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
    asked.hub.repositories[kind, name] = Repository(kind, name, private, wanted.get("sdk"))
    return {"url": url, "name": name, "id": name}


def info(asked: Asked, kind: str, name: str, revision: str = "main") -> Any:
    found = asked.repository(kind, name)
    sha = found.resolve(revision)
    siblings = [{"rfilename": path} for path in found.commits[sha]]
    facts = {"id": name, "modelId": name, "sha": sha, "private": found.private, "siblings": siblings, "tags": []}
    return facts | {
        "downloads": 0,
        "likes": 0,
        "author": name.split("/", maxsplit=1)[0],
        "gated": False,
        "disabled": False,
    }


def _entry(path: str, file: File) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "oid": file.git_oid, "size": len(file.content), "path": path}
    if file.is_large:
        entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 134}
    return entry


def tree(asked: Asked, kind: str, name: str, revision: str, folder: str = "") -> Any:
    found = asked.repository(kind, name)
    files = found.commits[found.resolve(revision)]
    inside = {path: file for path, file in files.items() if path.startswith(f"{folder}/" if folder else "")}
    if folder and not inside:
        raise Refused(404, f"{folder} does not exist on {revision}", "EntryNotFound")
    return [_entry(path, file) for path, file in sorted(inside.items())]


def paths_info(asked: Asked, kind: str, name: str, revision: str) -> Any:
    found = asked.repository(kind, name)
    files = found.commits[found.resolve(revision)]
    try:
        paths = asked.json["paths"]
    except ValueError:
        paths = parse_qs(asked.body.decode())["paths"]
    return [_entry(path, files[path]) for path in paths if path in files]


def refs(asked: Asked, kind: str, name: str) -> Any:
    found = asked.repository(kind, name)
    branches = [{"name": "main", "ref": "refs/heads/main", "targetCommit": found.refs["main"]}]
    response: dict[str, Any] = {"branches": branches, "converts": [], "tags": []}
    if "include_prs" in asked.query:
        numbers = found.pull_requests
        names = [f"refs/pr/{number}" for number in numbers]
        response["pullRequests"] = [{"name": ref, "ref": ref, "targetCommit": found.refs[ref]} for ref in names]
    return response


def discussions(asked: Asked, kind: str, name: str) -> Any:
    found = asked.repository(kind, name)
    common = {"status": "open", "isPullRequest": True, "createdAt": "2026-01-01T00:00:00.000Z"}
    common |= {"author": {"name": name.split("/", maxsplit=1)[0]}, "repo": {"name": name, "type": kind}}
    listed = [{"num": number, "title": "push", **common} for number in found.pull_requests]
    return {"discussions": listed, "count": len(listed), "start": 0}


def preupload(asked: Asked, kind: str, name: str, revision: str) -> Any:
    found = asked.writable(kind, name)
    files = found.commits[found.resolve(revision)]
    entries = []
    for item in asked.json["files"]:
        large = asked.hub.is_large(item["path"], item["size"], base64.b64decode(item["sample"]))
        there = files.get(item["path"])
        oid = None if there is None else there.sha256 if there.is_large else there.git_oid
        mode = "lfs" if large else "regular"
        entries.append({"path": item["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": entries}


def commit(asked: Asked, kind: str, name: str, revision: str) -> Any:
    found = asked.writable(kind, name)
    parent = found.resolve(revision)
    files = dict(found.commits[parent])
    for line in asked.body.splitlines():
        operation = json.loads(line)
        key, value = operation["key"], operation["value"]
        if key == "header" and value.get("parentCommit") not in (None, parent):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        if key == "file":
            files[value["path"]] = File(base64.b64decode(value["content"]), False)
        elif key == "lfsFile":
            if value["oid"] not in asked.hub.large_files:
                raise Refused(400, f"Large file {value['path']} was not uploaded")
            files[value["path"]] = File(asked.hub.large_files[value["oid"]], True)
        elif key == "deletedFile":
            if value["path"] not in files:
                raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
            del files[value["path"]]
    ref = revision
    if "create_pr" in asked.query:
        ref = f"refs/pr/{len(found.pull_requests) + 1}"
    sha = found.commit(ref, files)
    response = {"success": True, "commitOid": sha, "commitUrl": f"{asked.endpoint}/{name}/commit/{sha}"}
    if "create_pr" in asked.query:
        response["pullRequestUrl"] = f"{asked.endpoint}/{name}/discussions/{ref.rpartition('/')[2]}"
    return response


def lfs_batch(asked: Asked, prefix: str, name: str) -> Any:
    kind = {"": "model", "spaces/": "space", "datasets/": "dataset"}[prefix]
    found = asked.repository(kind, name)
    if asked.account is None or asked.account.role != "write":
        raise Refused(403, f"You don't have the rights to write to {found.name}")
    objects, transfer = [], "basic"
    for item in asked.json["objects"]:
        oid, size = item["oid"], item["size"]
        response: dict[str, Any] = {"oid": oid, "size": size, "authenticated": True}
        if oid not in asked.hub.large_files:
            href = f"{asked.endpoint}/_lfs/{oid}"
            upload: dict[str, Any] = {"href": href}
            if size > asked.hub.multipart_from:
                transfer = "multipart"
                numbers = range(1, -(-size // asked.hub.part_size) + 1)
                upload["header"] = {"chunk_size": str(asked.hub.part_size)}
                upload["header"] |= {str(number): f"{href}/{number}" for number in numbers}
            response["actions"] = {"upload": upload, "verify": {"href": f"{href}/verify"}}
        objects.append(response)
    return {"transfer": transfer, "objects": objects}
