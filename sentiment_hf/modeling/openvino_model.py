"""An ONNX file run by OpenVINO, which on a processor may be faster than onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from sentiment_hf.exceptions import MissingExtraError
from sentiment_hf.modeling.onnx_session import OUTPUTS

# What `OpenBackend.providers` says, beside the names of onnxruntime's providers.
PROVIDER = "OpenVINOCPU"


def openvino_forward(path: Path, threads: int) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`{input_ids, attention_mask, …}` as integer arrays `[batch, tokens]` -> answers `[batch, width]`, as torch's.

    Weights in FP32 are computed in bfloat16 where the processor has instructions for it; a static INT8 graph in INT8.

    Args:
        path: the ONNX file.
        threads: as many callers may call at the same time, each on a thread of its own; others wait.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error
    settings = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    names = [port.get_any_name() for port in compiled.inputs]
    ports = {port.get_any_name(): port for port in compiled.outputs}
    outputs = [ports[name] for name in OUTPUTS if name in ports]
    # A request is one caller's as long as it runs.
    requests: SimpleQueue[Any] = SimpleQueue()
    for _ in range(threads):
        requests.put(compiled.create_infer_request())

    def forward(batch: dict[str, np.ndarray]) -> np.ndarray:
        request = requests.get()
        try:
            answers = request.infer({name: batch[name] for name in names})
            rows = [np.array(answers[port]) for port in outputs]
        finally:
            requests.put(request)
        return np.concatenate([answer.reshape(len(answer), -1) for answer in rows], axis=1)

    return forward
