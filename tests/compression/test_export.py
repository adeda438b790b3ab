import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("optimum.onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")

from sentiment_hf.compression.export import export_model
from sentiment_hf.compression.gate import GateResult
from sentiment_hf.compression.quantization import Quantization
from sentiment_hf.inference.onnx_session import INT8_FILES, static_name
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.utils.exceptions import InputError
from sentiment_hf.utils.files import read_json
from sentiment_hf.utils.hardware import native_int8_arch


@pytest.fixture
def validation(reviews) -> pd.DataFrame:
    return pd.DataFrame({"text": reviews["text"], "label": (reviews["label"] == "positive").astype(int)})


def test_files_agree_with_torch(model_folder, validation):
    exported = export_model(model_folder, validation, Quantization("dynamic", max_drop=100))
    texts = validation["text"].tolist()
    logits = {
        backend: SentimentClassifier.from_pretrained(model_folder, backend).scorer.logits(texts)
        for backend in ("torch", "onnx", "int8")
    }
    np.testing.assert_allclose(logits["onnx"], logits["torch"], atol=1e-5)
    # The random model separates texts by logits of about 1; INT8 may move them by a fraction of that only.
    assert np.abs(logits["int8"] - logits["torch"]).max() < 0.25 * np.ptp(logits["torch"])
    assert (logits["int8"].argmax(1) == logits["torch"].argmax(1)).mean() > 0.95
    assert exported.int8.name == INT8_FILES[native_int8_arch()]
    assert exported.int8.stat().st_size < exported.fp32.stat().st_size
    assert sorted(path.name for path in (model_folder / "onnx").iterdir()) == sorted(["model.onnx", exported.int8.name])


@pytest.mark.parametrize("arch", ["avx2", "arm64"])
def test_other_targets_are_named_in_the_file(model_folder, validation, arch):
    assert export_model(model_folder, validation, Quantization("dynamic", arch, 100)).int8.name == INT8_FILES[arch]


def test_the_gate_refuses_and_writes_no_int8(model_folder, validation, monkeypatch):
    stale = model_folder / "onnx" / INT8_FILES[native_int8_arch()]
    export_model(model_folder, validation, Quantization("dynamic", max_drop=100))
    assert stale.exists()
    # Labels that agree with the FP32 model everywhere, so that any change of a label is a loss.
    classifier = SentimentClassifier.from_pretrained(model_folder)
    agreed = validation.assign(label=classifier.scorer.logits(validation["text"].tolist()).argmax(axis=1))
    monkeypatch.setattr("sentiment_hf.compression.export.quantize_dynamic", broken_quantizer)
    exported = export_model(model_folder, agreed, Quantization("dynamic"))
    assert exported.int8 is None
    assert "drop of" in exported.refusal
    assert [path.name for path in (model_folder / "onnx").iterdir()] == ["model.onnx"]


def broken_quantizer(fp32_file, output, arch):
    """A real ONNX file that predicts wrongly: the exported one with its classifier's weights negated."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(fp32_file))
    for tensor in model.graph.initializer:
        if "classifier" in tensor.name:
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, str(output / "broken.onnx"))
    return output / "broken.onnx"


def test_gate_is_about_points_and_allows_exactly_the_limit():
    assert GateResult("macro_f1", 90.0, 89.5, 0.5).passed
    assert GateResult("macro_f1", 90.3, 89.8, 0.5).passed
    assert not GateResult("macro_f1", 90.0, 89.49, 0.5).passed
    assert GateResult("macro_f1", 90.0, 91.0, 0.0).passed


def test_int8_without_validation_rows_is_refused(model_folder):
    with pytest.raises(InputError, match="--validation_file"):
        export_model(model_folder, None, Quantization())
    assert not (model_folder / "onnx").exists()


def test_a_graph_that_disagrees_with_torch_is_refused(model_folder, validation, monkeypatch):
    def exported_wrongly(folder, output, own_model):
        return broken_quantizer(original(folder, output, own_model), output, "avx2")

    import sentiment_hf.compression.export as module

    original = module.export_fp32
    monkeypatch.setattr(module, "export_fp32", exported_wrongly)
    with pytest.raises(InputError, match="within 0.0001 of torch"):
        export_model(model_folder, validation)
    assert list((model_folder / "onnx").iterdir()) == []


def test_prediction_from_onnx_imports_onnxruntime_alone(model_folder, validation):
    export_model(model_folder, validation)
    code = (
        "import sys\n"
        "sys.modules['optimum'] = None\n"
        "sys.modules['torch'] = None\n"
        "from sentiment_hf import SentimentClassifier\n"
        f"print(SentimentClassifier.from_pretrained({str(model_folder)!r}, backend='onnx')('房间很吵').label)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == SentimentClassifier.from_pretrained(model_folder)("房间很吵").label


def test_optimum_loads_the_files(model_folder, validation):
    from optimum.onnxruntime import ORTModelForSequenceClassification

    export_model(model_folder, validation)
    loaded = ORTModelForSequenceClassification.from_pretrained(model_folder, subfolder="onnx", file_name="model.onnx")
    assert loaded.config.id2label == {0: "negative", 1: "positive"}


# Enough for the tiny model to learn the tiny reviews.
LEARNS = ["--num_train_epochs=6", "--per_device_train_batch_size=8", "--learning_rate=5e-3"]


def test_the_whole_job(tiny_arguments, tmp_path):
    from sentiment_hf.cli.train import main

    assert main([*tiny_arguments, *LEARNS, "--quantize=dynamic", "--max_drop=100"]) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text(encoding="utf-8"))
    for system in ("baseline", "fp32", "onnx", "int8"):
        assert metrics[system].keys() >= {"accuracy", "macro_f1", "size_mb", "ms_per_review"}
        assert metrics[system]["ms_per_review"] > 0
    assert metrics["onnx"]["accuracy"] == metrics["fp32"]["accuracy"] > 0.9
    assert metrics["int8"]["size_mb"] < metrics["onnx"]["size_mb"]
    assert "int8_refused" not in metrics


def test_switches_of_what_follows_the_training(tiny_arguments, tmp_path, capsys):
    from sentiment_hf.cli.train import main

    other = "avx2" if native_int8_arch() == "arm64" else "arm64"
    words = [*tiny_arguments, "--max_steps=1", "--num_hidden_layers=1", "--baseline=false", "--license=mit"]
    words += ["--quantize=static", f"--arch={other}", "--max_drop=77", "--sensitivity=true"]
    assert main(words) == 0
    files = {path.name for path in (tmp_path / "run/onnx").iterdir()}
    assert files == {"model.onnx", static_name(other), "sensitivity.csv"}
    assert "where at most 77 are allowed" in capsys.readouterr().err
    assert "baseline" not in read_json(tmp_path / "run/metrics.json")
    # The card of the model takes it from here.
    assert "license: mit" in (tmp_path / "run/recipe.yaml").read_text(encoding="utf-8").splitlines()


def test_how_ranges_are_read_reaches_the_job(tiny_arguments, tmp_path, reviews, capsys):
    from sentiment_hf.cli.train import main

    reviews[:90].to_csv(tmp_path / "few.csv", index=False)
    words = [*tiny_arguments, f"--train_file={tmp_path / 'few.csv'}", "--max_steps=1", "--num_hidden_layers=1"]
    assert main([*words, "--baseline=false", "--quantize=static", "--activation_ranges=percentile"]) == 2
    assert "at least 100 rows for activation_ranges: percentile, found 72" in capsys.readouterr().err


def test_export_of_a_run_for_another_processor(tiny_arguments, tmp_path, capsys):
    from sentiment_hf.cli.main import main

    run = tmp_path / "run"
    assert main(["train", *tiny_arguments, "--baseline=false"]) == 0
    other = "avx2" if native_int8_arch() == "arm64" else "arm64"
    words = ["compress", "export", "--model", str(run), "--quantize=dynamic", "--max_drop=100"]
    assert main([*words, f"--arch={other}"]) == 0
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["onnx"]["accuracy"] == metrics["fp32"]["accuracy"]
    assert "int8" not in metrics
    assert main(words) == 0
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["int8"]["file"] == INT8_FILES[native_int8_arch()]
    assert len(list((run / "onnx").iterdir())) == 3
    scored = metrics["int8"]
    # The file that any processor runs does not take the place of this one's, nor its name in the table.
    if native_int8_arch() != "avx2":
        assert main([*words, "--arch=avx2"]) == 0
        assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["int8"]["file"] == scored["file"]
    # FP32 alone is asked for: what is there of the same weights stays.
    before = sorted(path.name for path in (run / "onnx").iterdir())
    assert main(["compress", "export", "--model", str(run)]) == 0
    assert sorted(path.name for path in (run / "onnx").iterdir()) == before
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["int8"]["file"] == scored["file"]
    assert "int8_refused" not in metrics
    capsys.readouterr()
    assert main(["compress", "export", "--model", str(run), "--arch=tensorrt"]) == 2
    assert "quantize: static for TensorRT, found none" in capsys.readouterr().err
    assert main(["compress", "export", "--model", str(run), "--activation_file=x.csv"]) == 2
    assert "INT8 for --activation_file, found --quantize none" in capsys.readouterr().err


def test_the_whole_job_when_the_gate_refuses(tiny_arguments, tmp_path, monkeypatch):
    from sentiment_hf.cli.train import main

    monkeypatch.setattr("sentiment_hf.compression.export.quantize_dynamic", broken_quantizer)
    assert main([*tiny_arguments, *LEARNS, "--quantize=dynamic"]) == 0
    metrics = json.loads((tmp_path / "run/metrics.json").read_text(encoding="utf-8"))
    assert metrics["int8"] is None
    assert "at most 0.5 are allowed" in metrics["int8_refused"]
    assert [path.name for path in (tmp_path / "run/onnx").iterdir()] == ["model.onnx"]
