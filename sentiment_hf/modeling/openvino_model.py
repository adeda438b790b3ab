"""An ONNX file run by OpenVINO, which on a processor may be faster than onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from sentiment_hf.exceptions import MissingExtraError
from sentiment_hf.modeling.onnx_session import check_inputs, fitting_inputs, logit_outputs

# What `OpenBackend.providers` says, beside the names of onnxruntime's providers.
PROVIDER = "OpenVINOCPU"


def openvino_forward(
    path: Path, threads: int, width: int | None = None
) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`{input_ids, attention_mask, …}` as integer arrays `[batch, tokens]` -> logits `[batch, width]`, as torch's.

    Weights in FP32 are computed in bfloat16 where the processor has instructions for it; a static INT8 graph in INT8.

    Args:
        path: the ONNX file.
        threads: as many callers may call at the same time, each on a thread of its own; others wait.
        width: logits a text by the config, if it says so.

    Raises:
        InputError: see `logit_outputs` and `check_inputs`.
        MissingExtraError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error
    settings = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    types = {port.get_any_name(): port.get_element_type().to_dtype() for port in compiled.inputs}
    check_inputs(list(types), path)
    ports = {port.get_any_name(): port for port in compiled.outputs}
    shapes = {
        name: [None if axis.is_dynamic else axis.get_length() for axis in port.get_partial_shape()]
        for name, port in ports.items()
    }
    outputs = [ports[name] for name in logit_outputs(shapes, width, path)]
    # A request is one caller's as long as it runs.
    requests: SimpleQueue[Any] = SimpleQueue()
    for _ in range(threads):
        requests.put(compiled.create_infer_request())

    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        request = requests.get()
        try:
            results = request.infer(fitting_inputs(batch, types))
            rows = [np.array(results[port]) for port in outputs]
        finally:
            requests.put(request)
        return np.concatenate([array.reshape(len(array), -1) for array in rows], axis=1, dtype=np.float32)

    return forward
