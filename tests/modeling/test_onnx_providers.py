import logging
import sys

import pytest

pytest.importorskip("onnxruntime", reason="needs the onnx extra, which transformers 5 does not have")

import numpy as np
import onnx
from onnx import TensorProto, helper

from sentiment_hf.inference import onnx_providers
from sentiment_hf.inference.onnx_providers import Shapes, engine_folder, is_static, tensorrt_options
from sentiment_hf.inference.onnx_session import onnx_forward, open_session
from sentiment_hf.utils.exceptions import InputError


@pytest.fixture
def file(tmp_path):
    """A graph that adds up the ids and the mask of a row."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    nodes = [
        helper.make_node("Add", ["input_ids", "attention_mask"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["logits"], axes=[1], keepdims=1),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 1])
    graph = helper.make_graph(nodes, "sum", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, str(tmp_path / "model.onnx"))
    return tmp_path / "model.onnx"


def batch_of(rows, tokens):
    return {name: np.ones((rows, tokens), dtype=np.int64) for name in ("input_ids", "attention_mask")}


@pytest.mark.parametrize(("provider", "tried"), [("tensorrt", "Tensorrt"), ("cuda", "CUDA")])
def test_what_cannot_run_falls_back_with_one_warning(file, caplog, provider, tried):
    with caplog.at_level(logging.WARNING):
        session = open_session(file, provider)
    assert session.get_providers() == ["CPUExecutionProvider"]
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1
    assert f"{tried}ExecutionProvider does not run model.onnx, CPUExecutionProvider does" in warnings[0]
    assert "pip install 'sentiment_hf[gpu]'" in warnings[0]
    assert onnx_forward(session)(batch_of(3, 8)).tolist() == [[2.0]] * 3


def test_a_provider_that_fails_to_start_falls_back_and_says_why(file, caplog, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    real = onnxruntime.InferenceSession

    def without_driver(path, options, providers):
        if providers[0] == "CUDAExecutionProvider":
            raise RuntimeError("libcudart.so.12: cannot open shared object file\nmore")
        return real(path, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_driver)
    with caplog.at_level(logging.WARNING):
        session = open_session(file, "cuda")
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "libcudart.so.12: cannot open shared object file"
    ]


def test_tensorrt_gets_its_options_and_is_warmed_up(file, monkeypatch, tmp_path):
    """As far as that goes without a GPU: the session is another's, all that is handed to it is real."""
    import onnxruntime

    monkeypatch.setenv(onnx_providers.CACHE_VARIABLE, str(tmp_path / "cache"))
    every = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: every)
    real, seen, batches = onnxruntime.InferenceSession, [], []

    class Session:
        def __init__(self, path, options, providers):
            seen.append(providers)
            self.inner = real(path, options, ["CPUExecutionProvider"])

        def get_inputs(self):
            return self.inner.get_inputs()

        def get_providers(self):
            return [seen[-1][0][0] if isinstance(seen[-1][0], tuple) else seen[-1][0]]

        def run(self, names, batch):
            batches.append(batch["input_ids"].shape)
            return self.inner.run(names, batch)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    session = open_session(file, "tensorrt", shapes=Shapes(max_batch=4, max_length=32))
    assert session.get_providers() == ["TensorrtExecutionProvider"]
    (name, options), *others = seen[-1]
    assert (name, others) == ("TensorrtExecutionProvider", every[1:])
    assert options["trt_profile_max_shapes"] == "input_ids:4x32,attention_mask:4x32"
    assert (tmp_path / "cache" / "tensorrt").is_dir()
    assert batches == [(1, 8), (4, 16), (4, 32)]


def test_tensorrt_that_fails_falls_back_to_cuda(file, monkeypatch, tmp_path, caplog):
    import onnxruntime

    monkeypatch.setenv(onnx_providers.CACHE_VARIABLE, str(tmp_path / "cache"))
    every = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: every)
    real = onnxruntime.InferenceSession

    def session(path, options, providers):
        if isinstance(providers[0], tuple):
            raise RuntimeError("libnvinfer.so.10: cannot open shared object file")
        opened = real(path, options, providers=["CPUExecutionProvider"])
        opened.get_providers = lambda: list(providers)
        return opened

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    with caplog.at_level(logging.WARNING):
        assert open_session(file, "tensorrt").get_providers()[0] == "CUDAExecutionProvider"
    (message,) = [record.getMessage() for record in caplog.records]
    assert "TensorrtExecutionProvider does not run model.onnx, CUDAExecutionProvider does: libnvinfer" in message


def test_an_unknown_provider_is_refused(file):
    with pytest.raises(InputError, match=r"cpu \| cuda \| tensorrt"):
        open_session(file, "npu")


def test_threads_are_what_was_asked_for(file):
    assert open_session(file, threads=1).get_session_options().intra_op_num_threads == 1


def test_options_of_tensorrt_name_profile_precision_and_caches(file, tmp_path, monkeypatch):
    monkeypatch.setenv(onnx_providers.CACHE_VARIABLE, str(tmp_path / "cache"))
    shapes = Shapes(max_batch=32, max_length=128)
    options = tensorrt_options(file, ["input_ids", "attention_mask"], shapes)
    assert options["trt_profile_min_shapes"] == "input_ids:1x8,attention_mask:1x8"
    assert options["trt_profile_opt_shapes"] == "input_ids:32x64,attention_mask:32x64"
    assert options["trt_profile_max_shapes"] == "input_ids:32x128,attention_mask:32x128"
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == ("1", "0")
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"]
    assert options["trt_engine_cache_path"].startswith(str(tmp_path / "cache"))


def test_an_engine_of_another_model_or_shape_is_not_found(file, tmp_path, monkeypatch):
    monkeypatch.setenv(onnx_providers.CACHE_VARIABLE, str(tmp_path / "cache"))
    first = engine_folder(file, Shapes())
    assert engine_folder(file, Shapes()) == first
    assert engine_folder(file, Shapes(max_length=256)) != first
    monkeypatch.setattr(onnx_providers, "_tensorrt_version", lambda: "11.0")
    assert engine_folder(file, Shapes()) != first
    monkeypatch.undo()
    monkeypatch.setenv(onnx_providers.CACHE_VARIABLE, str(tmp_path / "cache"))
    model = onnx.load(str(file))
    model.graph.node[2].attribute[1].i = 1
    model.doc_string = "trained again"
    onnx.save(model, str(file))
    assert engine_folder(file, Shapes()) != first


def test_only_a_graph_with_ranges_is_static(file):
    assert not is_static(file)
    model = onnx.load(str(file))
    model.graph.node.append(helper.make_node("QuantizeLinear", ["floats", "scale", "zero"], ["quantized"]))
    onnx.save(model, str(file))
    assert is_static(file)
    model.graph.node.append(helper.make_node("DynamicQuantizeLinear", ["floats"], ["a", "b", "c"]))
    onnx.save(model, str(file))
    assert not is_static(file)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_cuda_is_looked_for_where_pip_puts_it_and_nothing_is_printed(file, monkeypatch, capsys, provider):
    """Also where TensorRT is asked for and the build has CUDA alone; on a CPU there is nothing to look for."""
    import onnxruntime

    looked = []

    def look():
        looked.append("once")
        sys.stdout.write("Failed to load libcudart.so")

    monkeypatch.setattr(onnxruntime, "preload_dlls", look, raising=False)
    open_session(file, provider)
    assert looked == []
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    open_session(file, provider)
    assert looked == ["once"]
    assert capsys.readouterr().out == ""
