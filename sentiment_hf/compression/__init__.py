"""ONNX export, INT8 quantization with a quality gate, and pruning."""
