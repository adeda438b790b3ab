"""Smaller and faster: ONNX export, INT8 quantization, and the gate that a compressed file has to pass."""
