"""Pushing with the real client over HTTP, against a server on loopback."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hub_server.store import Fault, Hub

PICKLES = ("optimizer.pt", "rng_state.pth", "training_args.bin", "scheduler.pt")


def main_files(hub: Hub, name: str = "alice/reviews", kind: str = "model") -> dict[str, bytes]:
    repository = hub.repositories[kind, name]
    return {path: file.content for path, file in repository.commits[repository.refs["main"]].items()}


def commits(hub: Hub) -> list[str]:
    return [request for request in hub.requests if "/commit/" in request]


def test_one_commit_holds_the_run_and_a_second_push_changes_nothing(hub, client, run_folder):
    assert {path.name for path in run_folder.rglob("*")} >= set(PICKLES)
    first = client("push", run_folder, "alice/reviews")
    assert first.status == 0, first.err
    assert len(commits(hub)) == 1
    pushed = main_files(hub)
    expected = {"README.md", "audit.json", "config.json", "metrics.json", "model.safetensors", "recipe.yaml"}
    expected |= {"tokenizer.json", "tokenizer_config.json", ".gitattributes"}
    possible = {"special_tokens_map.json", "vocab.txt", "hyperparameters.json"} | onnx_files(run_folder)
    assert expected <= pushed.keys() <= expected | possible
    for path in ("model.safetensors", "config.json", "tokenizer.json", *onnx_files(run_folder)):
        assert pushed[path] == (run_folder / path).read_bytes(), path
    metrics = json.loads((run_folder / "metrics.json").read_text(encoding="utf-8"))
    # Two steps stay below the baseline: what to do about it names files of this machine, the figures are everybody's.
    del metrics["below_baseline"]["advice"]
    assert json.loads(pushed["metrics.json"]) == metrics
    before = dict(hub.repositories["model", "alice/reviews"].commits)
    hub.requests.clear()
    second = client("push", run_folder, "alice/reviews")
    assert "already holds all of it" in second.out
    assert not [request for request in hub.requests if request.startswith(("PUT", "POST"))]
    assert hub.repositories["model", "alice/reviews"].commits == before


def onnx_files(run: Path) -> set[str]:
    return {f"onnx/{path.name}" for path in (run / "onnx").glob("*.onnx")}


def test_texts_and_paths_of_this_machine_stay_here(hub, client, run_folder, trained):
    audit = json.loads((run_folder / "audit.json").read_text(encoding="utf-8"))
    audit["train"]["conflicting_examples"] = ["一条别人的评论"]
    (run_folder / "audit.json").write_text(json.dumps(audit, ensure_ascii=False), encoding="utf-8")
    (run_folder / "errors").mkdir()
    errors = {
        "model": str(run_folder),
        "rows": 3,
        "slices": [],
        "confusions": [{"rows": 1, "examples": ["另一条评论"]}],
    }
    (run_folder / "errors/errors.json").write_text(json.dumps(errors, ensure_ascii=False), encoding="utf-8")
    (run_folder / "errors/mistakes.csv").write_text("text\n又一条评论\n", encoding="utf-8")
    assert client("push", run_folder, "alice/reviews").status == 0
    pushed = main_files(hub)
    assert json.loads(pushed["errors/errors.json"])["confusions"] == [{"rows": 1}]
    assert json.loads(pushed["audit.json"])["train"]["rows"] == audit["train"]["rows"]
    for path, content in pushed.items():
        if path != "tokenizer.json":
            assert b"\xe8\xaf\x84\xe8\xae\xba" not in content, path
        assert str(run_folder.parent).encode() not in content, path
        assert str(trained.parent).encode() not in content, path
    # Its name has that of the machine in it.
    assert "logging_dir" not in json.loads(pushed["hyperparameters.json"])
    assert not any(path.startswith("splits/") or path.endswith(".csv") for path in pushed)


def test_code_goes_along_with_a_head_of_our_own_only(hub, client, run_folder):
    (run_folder / "modeling_bert_heads.py").write_text("# the head\n")
    assert client("push", run_folder, "alice/reviews").status == 0
    assert "modeling_bert_heads.py" not in main_files(hub)
    config = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_bert_heads.Head"}
    (run_folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert client("push", run_folder, "alice/reviews").status == 0
    assert main_files(hub)["modeling_bert_heads.py"] == b"# the head\n"


def test_what_a_run_no_longer_has_is_removed_and_other_peoples_files_stay(hub, client, run_folder):
    (run_folder / "reliability.png").write_bytes(b"\x89PNG\0")
    assert client("push", run_folder, "alice/reviews").status == 0
    repository = hub.repositories["model", "alice/reviews"]
    repository.commits[repository.refs["main"]]["notes.md"] = next(iter(repository.commits.values()))[".gitattributes"]
    (run_folder / "reliability.png").unlink()
    hub.requests.clear()
    assert client("push", run_folder, "alice/reviews").status == 0
    assert len(commits(hub)) == 1
    assert not [request for request in hub.requests if request.startswith("PUT")]
    assert "reliability.png" not in main_files(hub)
    assert {"notes.md", ".gitattributes"} <= main_files(hub).keys()


def test_a_pull_request_is_opened_once(hub, client, run_folder):
    recipe = (run_folder / "recipe.yaml").read_text(encoding="utf-8")
    (run_folder / "recipe.yaml").write_text(recipe.replace("license: null", "license: apache-2.0"), encoding="utf-8")
    assert client("push", run_folder, "alice/reviews").status == 0
    main = main_files(hub)
    assert b"license: apache-2.0" in main["README.md"]
    for _ in range(2):
        result = client("push", run_folder, "alice/reviews", "--license", "mit", "--create-pr", token="hf_bob")
        assert "/alice/reviews/discussions/1" in result.out, result.err
    assert hub.repositories["model", "alice/reviews"].pull_requests == [1]
    assert main_files(hub) == main
    proposed = hub.repositories["model", "alice/reviews"].file("refs/pr/1", "README.md")
    assert b"license: mit" in proposed.content


def test_private_is_private_from_the_start(hub, client, run_folder):
    assert client("push", run_folder, "alice/secret", "--private").status == 0
    assert hub.repositories["model", "alice/secret"].private
    assert client("push", run_folder, "alice/open").status == 0
    refused = client("push", run_folder, "alice/open", "--private")
    assert refused.error.startswith("error: Expected a private repository alice/open, found a public one.")


def test_the_space_is_pinned_to_the_revision(hub, client, run_folder):
    result = client("push", run_folder, "alice/reviews", "--space")
    assert result.status == 0, result.err
    space = main_files(hub, kind="space")
    revision = hub.repositories["model", "alice/reviews"].refs["main"]
    assert json.loads(space["space.json"]) == {"model": "alice/reviews", "revision": revision}
    assert b"sdk: gradio" in space["README.md"]
    repository = hub.repositories["space", "alice/reviews"]
    assert repository.sdk == "gradio"
    # Whatever else lies there is its owner's.
    repository.commits[repository.refs["main"]]["notes.md"] = repository.file("main", "app.py")
    again = client("push", run_folder, "alice/reviews", "--space")
    assert again.out.count("already holds all of it") == 2
    assert "notes.md" in main_files(hub, kind="space")


def no_metrics(run: Path) -> None:
    (run / "metrics.json").unlink()


def no_records(run: Path) -> None:
    (run / "run.json").unlink()


def pickled_weights(run: Path) -> None:
    (run / "model.safetensors").rename(run / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("name", "token", "spoil", "message"),
    [
        (
            "alice",
            "hf_write",
            None,
            "a repository id user/model, found 'alice'. Give user and model, for example alice/run",
        ),
        ("alice/", "hf_write", None, "a repository id user/model, found 'alice/'."),
        ("alice/a/b", "hf_write", None, "a repository id user/model, found 'alice/a/b'."),
        ("alice/re views", "hf_write", None, "a repository id user/model, found 'alice/re views'."),
        ("alice/reviews", "", None, "a token for the Hub, found none. Make one with write rights at http"),
        ("alice/reviews", "hf_read", None, "found the token 'for reading' of alice, which may only read"),
        (
            "alice/reviews",
            "hf_bob",
            None,
            "the right to write to alice/reviews, found status 403 for the token \"bob's",
        ),
        ("alice/reviews", "hf_unknown", None, "a token that the Hub knows, found status 401 for the token that is set"),
        ("alice/reviews", "hf_write", no_metrics, "found no metrics.json. Train first"),
        ("alice/reviews", "hf_write", no_records, "found no run.json. Make it with `sentiment-hf train`"),
        ("alice/reviews", "hf_write", pickled_weights, "weights in safetensors"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_made(hub, client, run_folder, name, token, spoil, message):
    if spoil:
        spoil(run_folder)
    result = client("push", run_folder, name, token=token)
    assert message in result.error
    assert not token or token not in result.err
    assert not hub.repositories


def test_findings_go_along_where_they_are_named(hub, client, run_folder, tmp_path):
    page = tmp_path / "found.md"
    page.write_text("# Findings\n")
    (tmp_path / "found-scores.png").write_bytes(b"\x89PNG\0")
    assert client("push", run_folder, "alice/reviews", "--findings", page).status == 0
    pushed = main_files(hub)
    assert pushed["findings/found.md"] == b"# Findings\n"
    assert "findings/found-scores.png" in pushed
    assert b"[findings/found.md](findings/found.md)" in pushed["README.md"]
    assert client("push", run_folder, "alice/reviews").status == 0
    assert not [path for path in main_files(hub) if path.startswith("findings/")]
    missing = client("push", run_folder, "alice/reviews", "--findings", tmp_path / "none.md").error
    assert "a page of findings ending in .md" in missing


def test_a_repository_of_another_task_is_left_alone(hub, client, run_folder):
    assert client("push", run_folder, "alice/reviews").status == 0
    before = main_files(hub)
    config = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))
    # The same task, its labels in another order: whoever asks for the second would get the first.
    config["id2label"] = {"0": "positive", "1": "negative"}
    (run_folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    error = client("push", run_folder, "alice/reviews").error
    said = "a model of task reviews (positive, negative) in alice/reviews, found task reviews (negative, positive)"
    assert said in error
    assert main_files(hub) == before


def test_runs_to_compare_with_are_of_the_same_task(hub, client, run_folder, tmp_path):
    other = Path(shutil.copytree(run_folder, tmp_path / "other"))
    metrics = json.loads((other / "metrics.json").read_text(encoding="utf-8")) | {"protocol": "published"}
    (other / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    assert client("push", run_folder, "alice/reviews", "--compare", other).status == 0
    card = main_files(hub)["README.md"].decode()
    assert "| published | 42 | FP32 (torch) |" in card
    assert "| clean | 42 | FP32 (torch) |" in card
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    config["sentiment_hf"]["task"] = "moods"
    (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "Leave it out." in client("push", run_folder, "alice/reviews", "--compare", other).error


# Requests that the client does not try again by itself.
@pytest.mark.parametrize(
    ("pattern", "status", "message"),
    [
        ("POST .*/commit/", 401, "a token that the Hub knows, found status 401 for the token 'laptop' of alice"),
        ("POST .*/commit/", 403, "the right to write to alice/reviews, found status 403"),
        ("GET .*/tree/", 404, "Check the name, and that the token may see it."),
        ("POST .*/commit/", 409, "as it was when this push began, found status 409"),
        ("POST .*/commit/", 500, "alice/reviews to take the files, found status 500"),
        ("POST .*/repos/create", 429, "fewer requests than the Hub's limit, found status 429"),
        ("GET .*/whoami", 200, "the Hub's JSON from http"),
    ],
)
def test_faults_are_one_sentence_and_the_next_push_completes(hub, client, run_folder, pattern, status, message):
    # The newer client tries some of these again by itself.
    hub.faults.append(Fault(pattern, status=status, times=-1))
    result = client("push", run_folder, "alice/reviews")
    assert message in result.error
    hub.faults.clear()
    hub.requests.clear()
    assert client("push", run_folder, "alice/reviews").status == 0
    content = (run_folder / "model.safetensors").read_bytes()
    assert hashlib.sha256(main_files(hub)["model.safetensors"]).digest() == hashlib.sha256(content).digest()
    if "commit" in pattern:
        # What had arrived before the fault is not sent again.
        assert not [request for request in hub.requests if request.startswith("PUT")]


def test_a_commit_in_between_is_not_overwritten(hub, client, run_folder):
    assert client("push", run_folder, "alice/reviews").status == 0
    repository, before = hub.repositories["model", "alice/reviews"], main_files(hub)

    class Meanwhile(list):
        """Somebody else commits when the push has looked at what is there and begins to send."""

        def append(self, request):
            if "/preupload/" in request:
                files = repository.commits[repository.refs["main"]]
                repository.commit("main", files | {"notes.md": files[".gitattributes"]})
            super().append(request)

    hub.requests = Meanwhile()
    error = client("push", run_folder, "alice/reviews", "--license", "mit").error
    assert "as it was when this push began" in error
    assert "Push again" in error
    assert main_files(hub) == before | {"notes.md": before[".gitattributes"]}


@pytest.fixture
def recipe_words(train_file, tmp_path):
    """A recipe of one step that pushes when it is done."""
    shape = "hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, vocab_size: 400"
    words = [f"--train_file={train_file}", f"--output_dir={tmp_path / 'out'}", f"--cache_dir={tmp_path / 'cache'}"]
    words += ["--task=reviews", "--model=scratch", "--num_hidden_layers=1", "--max_length=32", "--max_steps=1"]
    words += [f"--config_overrides={{{shape}, max_position_embeddings: 64}}", "--precision=fp32", "--disable_tqdm=true"]
    return [*words, "--save_strategy=no", "--eval_strategy=no", "--load_best_model_at_end=false", "--push_to_hub=true"]


def test_a_recipe_pushes_the_finished_run(hub, client, recipe_words, has_onnx):
    if not has_onnx:
        pytest.skip("`train` exports, which needs Optimum")
    done = client("train", *recipe_words, "--hub_model_id=alice/reviews", "--hub_private_repo=true")
    assert done.status == 0, done.err
    assert "files pushed to http://127.0.0.1" in done.out
    assert len(commits(hub)) == 1
    assert hub.repositories["model", "alice/reviews"].private
    assert {"README.md", "onnx/model.onnx", "metrics.json"} <= main_files(hub).keys()
    assert not [path for path in main_files(hub) if path.endswith(PICKLES)]


@pytest.mark.parametrize(
    ("verb", "more", "token", "message"),
    [
        ("train", [], "hf_write", "a repository for push_to_hub, found no hub_model_id"),
        ("train", ["--hub_model_id=alice"], "hf_write", "Give user and model, for example alice/out"),
        ("train", ["--hub_model_id=alice/reviews"], "hf_read", "which may only read"),
        ("train", ["--hub_model_id=alice/reviews", "--hub_strategy=end"], "hf_write", "A finished run is pushed once."),
    ],
)
def test_a_push_that_cannot_be_is_refused_before_the_training(
    hub, client, recipe_words, tmp_path, verb, more, token, message
):
    assert message in client(verb, *recipe_words, *more, token=token).error
    assert not (tmp_path / "out").exists()
