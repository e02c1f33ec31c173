"""Texts to vectors, tensors in and tensors out: towers of torch and ONNX, tokens, int8 vectors. Knows no judge."""
