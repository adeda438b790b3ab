"""What was pushed is loaded in a fresh process with an empty cache, by everything that promises to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server.store import Fault
from safetensors.torch import load_file, save_file

from sentiment_hf import SentimentClassifier

# Stock loaders do not clean texts, and these need no cleaning.
TEXTS = ["房间很吵再也不来了", "早餐非常好", "快递超出预期朋友也这么说"]

LOAD = """
import json, os, sys
from pathlib import Path
from sentiment_hf import SentimentClassifier

model, texts, cases = json.loads(sys.argv[1])
found = {}
for name, backend, revision in cases:
    classifier = SentimentClassifier.from_pretrained(model, backend=backend, revision=revision)
    predictions = [dict(prediction.top) for prediction in classifier(texts)]
    snapshots = Path(os.environ["HF_HOME"]).glob("hub/models--*/snapshots/*")
    files = [str(file.relative_to(folder)) for folder in snapshots for file in folder.rglob("*") if file.is_file()]
    found[name] = {"ran": classifier.backend, "predictions": predictions, "cached": sorted(files)}
"""
# Goes on in the same process, with what it needs already imported.
STOCK = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

classifier = pipeline("text-classification", model=model, truncation=True, top_k=None)
found["pipeline"] = [{item["label"]: item["score"] for item in row} for row in classifier(texts)]
tokenizer = AutoTokenizer.from_pretrained(model)
classifiers = {"AutoModel": AutoModelForSequenceClassification.from_pretrained(model)}
if "onnx" in found:
    from optimum.onnxruntime import ORTModelForSequenceClassification
    ort = ORTModelForSequenceClassification.from_pretrained(model, subfolder="onnx", file_name="model.onnx")
    classifiers["Optimum"] = ort
for name, loaded in classifiers.items():
    logits = loaded(**tokenizer(texts, truncation=True, padding=True, return_tensors="pt")).logits
    labels = loaded.config.id2label
    found[name] = [{labels[i]: float(p) for i, p in enumerate(row.softmax(-1))} for row in logits]
"""
# The lines that the card tells a reader to run, as they stand there.
SNIPPETS = """
from huggingface_hub import hf_hub_download
card = Path(hf_hub_download(model, "README.md")).read_text(encoding="utf-8")
snippets = [block.partition("```")[0] for block in card.split("```python\\n")[1:]]
for snippet in snippets:
    exec(snippet, {})
found["snippets"] = [len(snippet.splitlines()) for snippet in snippets]
"""
SAY = """
print(json.dumps(found))
"""


@pytest.fixture
def run_python(hub_environment, tmp_path):
    """A fresh process with a cache of its own, empty at the first call; what it printed last, from JSON."""

    def run(code: str, *arguments: Any, **settings: str) -> Any:
        environment = hub_environment | {"HF_HOME": str(tmp_path / "cache")} | settings
        command = [sys.executable, "-c", code + SAY, json.dumps(arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def local_predictions(run: Path, backend: str) -> list[dict[str, float]]:
    return [dict(prediction.top) for prediction in SentimentClassifier.from_pretrained(run, backend=backend)(TEXTS)]


def assert_same(predictions: Sequence[dict[str, float]], expected: Sequence[dict[str, float]]) -> None:
    assert len(predictions) == len(expected)
    for prediction, wanted in zip(predictions, expected, strict=True):
        assert prediction.keys() == wanted.keys()
        np.testing.assert_allclose([prediction[label] for label in wanted], list(wanted.values()), atol=1e-5)


def weights(cached: Sequence[str]) -> set[str]:
    return {path for path in cached if path.endswith((".safetensors", ".onnx"))}


def test_the_round_trip(hub, client, run_folder, run_python, has_onnx):
    assert client("push", run_folder, "alice/reviews").status == 0
    # In this order each backend's own file shows up in the cache, and no other.
    own = {"int8": "onnx/model_quint8_avx2.onnx", "onnx": "onnx/model.onnx"} if has_onnx else {}
    own |= {"auto": "model.safetensors", "torch": "model.safetensors"}
    cases = [(backend, backend, None) for backend in own]
    found = run_python(LOAD + STOCK + SNIPPETS, "alice/reviews", TEXTS, cases)
    expected: set[str] = set()
    for backend, file in own.items():
        expected.add(file)
        assert weights(found[backend]["cached"]) == expected
        assert_same(found[backend]["predictions"], local_predictions(run_folder, backend))
    assert found["auto"]["ran"] == "torch"
    assert not [path for path in found["torch"]["cached"] if path.endswith((".py", ".md", ".yaml", "metrics.json"))]
    stock = {"pipeline", "AutoModel", "Optimum"} if has_onnx else {"pipeline", "AutoModel"}
    assert stock == found.keys() - own.keys() - {"snippets"}
    assert found["snippets"] == [3] * (3 if has_onnx else 2)
    for name in stock:
        assert_same(found[name], local_predictions(run_folder, "torch"))
    # The same once more without any access to the Hub, from the cache.
    offline = run_python(LOAD, "alice/reviews", TEXTS, cases, HF_HUB_OFFLINE="1")
    for name in own:
        assert offline[name]["predictions"] == found[name]["predictions"]


def test_a_revision_is_that_revision(hub, client, run_folder, run_python):
    assert client("push", run_folder, "alice/reviews").status == 0
    before = local_predictions(run_folder, "torch")
    first = hub.repositories["model", "alice/reviews"].refs["main"]
    config = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))
    config["sentiment_hf"]["calibration"] = {"temperature": 5.0, "threshold": None}
    (run_folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    # With an empty cache the weights of a revision come from the server, too.
    state = load_file(run_folder / "model.safetensors")
    state["classifier.weight"] = -state["classifier.weight"]
    save_file(state, run_folder / "model.safetensors", metadata={"format": "pt"})
    assert client("push", run_folder, "alice/reviews").status == 0
    after = local_predictions(run_folder, "torch")
    assert abs(before[0]["positive"] - after[0]["positive"]) > 1e-3
    found = run_python(LOAD, "alice/reviews", TEXTS, [("first", "torch", first), ("newest", "torch", None)])
    assert_same(found["first"]["predictions"], before)
    assert_same(found["newest"]["predictions"], after)


def test_auto_without_a_checkpoint_takes_what_is_there(hub, client, run_folder, run_python, has_onnx):
    if not has_onnx:
        pytest.skip("needs Optimum for the ONNX files")
    assert client("push", run_folder, "alice/reviews").status == 0
    repository = hub.repositories["model", "alice/reviews"]
    del repository.commits[repository.refs["main"]]["model.safetensors"]
    for offline in "01":
        cases = [("auto", "auto", None)]
        found = run_python(LOAD, "alice/reviews", TEXTS, cases, HF_HUB_OFFLINE=offline)["auto"]
        assert found["ran"] == "int8"
        assert weights(found["cached"]) == {"onnx/model_quint8_avx2.onnx"}


def test_what_cannot_be_loaded_is_one_sentence(hub, client, run_folder):
    (run_folder / "model.safetensors").replace(run_folder / "kept.safetensors")
    for path in run_folder.glob("onnx/*"):
        path.unlink()
    assert client("push", run_folder, "alice/reviews").status == 0
    missing = client("predict", "--model", "alice/reviews", "--backend", "onnx", "很好").error
    assert "onnx/model.onnx in alice/reviews on the Hub, found none. Use backend torch" in missing
    assert "a model at alice/nothing" in client("predict", "--model", "alice/nothing", "很好").error
    hub.faults.append(Fault("(GET|HEAD) /bob/.*/resolve/", status=200, times=-1))
    mirror = client("predict", "--model", "bob/reviews", "很好").error
    assert "a model that loads from bob/reviews" in mirror
