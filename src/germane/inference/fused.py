"""A tower of the BERT family as a small ONNX graph for one text: ten steps a layer, its products in int8.

An exported graph has 135 steps a layer where one text needs ten: masks of texts that are not there, shapes computed again,
query, key and value apart. For a query of eight words each step costs as much as its numbers do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from germane.inference import families
from germane.inference.families import Encoder, Layer

Floats = NDArray[np.float32]

MICROSOFT = "com.microsoft"
OPSET, IR = 18, 9
STEPS = 63
"""Whole numbers of a weight, to either side: 7 bits, which CPUs without VNNI add up without overflow."""


def fits(tower: Any) -> Encoder | None:
    """The layers of a tower of which such a graph can be made; None for another family, activation or pooling."""
    found = families.read_body(tower.encoder)
    if (
        found is None
        or found.shape.act != "gelu"
        or found.shape.bias
        or found.shape.before
        or found.embedding.project is not None
    ):
        return None
    if any(activation not in ("Identity", "Tanh") for *_, activation in tower.shape.layers):
        return None
    return found if tower.shape.pooling in ("mean", "cls", "max", "lasttoken") else None


def write(tower: Any, encoder: Encoder, out: Path, *, int8: bool) -> None:
    """Writes the graph. int8: of its products and its table of words; else all in single precision, to be compared."""
    import onnx

    onnx.save(_Graph(tower, encoder, int8).model(), str(out))


class _Graph:
    """A graph on its way: `step` adds one and names what comes out of it."""

    def __init__(self, tower: Any, encoder: Encoder, int8: bool) -> None:
        self.tower, self.encoder, self.int8 = tower, encoder, int8
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def model(self) -> Any:
        from onnx import TensorProto, helper

        x = self.embedded()
        for layer in self.encoder.layers:
            x = self.layer(x, layer)
        self.pooled(x)
        size = self.tower.shape.dimension
        ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "length"])
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [1, size])
        graph = helper.make_graph(self.nodes, "tower", [ids], [vectors], self.weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR)

    def step(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, named: str = "", **options: Any) -> Any:
        from onnx import helper

        names = [named or f"{kind}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **options))
        return names[0] if outputs == 1 else names

    def kept(self, array: Any) -> str:
        """A constant, by its name."""
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        made = array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
        self.weights.append(numpy_helper.from_array(np.asarray(made, order="C"), name))
        return name

    def embedded(self) -> str:
        of, offset = self.encoder.embedding, self.encoder.embedding.offset
        places: Any = of.positions[offset:].float()  # type: ignore[index]
        if of.kinds is not None:
            places = places + of.kinds[0].float()
        zero, one = self.kept(np.array([0], dtype=np.int64)), self.kept(np.array([1], dtype=np.int64))
        words = self.words(of.words.float().cpu().numpy())
        length = self.step("Slice", self.step("Shape", "input_ids"), one, self.kept(np.array([2], dtype=np.int64)), zero)
        added = self.step("Add", words, self.step("Slice", self.kept(places), zero, length, zero))
        return self.normed(added, of.norm, of.norm_bias)

    def words(self, table: Floats) -> str:
        if not self.int8:
            return str(self.step("Gather", self.kept(table), "input_ids"))
        scales = (np.abs(table).max(axis=1, keepdims=True) / 127).astype(np.float32)
        codes = np.rint(table / np.where(scales == 0, 1, scales)).astype(np.int8)
        found = self.step("Cast", self.step("Gather", self.kept(codes), "input_ids"), to=1)
        return str(self.step("Mul", found, self.step("Gather", self.kept(scales), "input_ids")))

    def normed(self, x: str, weight: Any, bias: Any) -> str:
        given = [self.kept(weight.float()), *([] if bias is None else [self.kept(bias.float())])]
        return str(self.step("LayerNormalization", x, *given, epsilon=self.encoder.shape.eps, axis=-1))

    def layer(self, x: str, of: Layer) -> str:
        out = self.product(self.attended(x, of), of.out, of.out_bias)
        y = self.normed(self.step("Add", x, out), of.norm, of.norm_bias)  # SkipLayerNormalization is slower
        up = self.step("Gelu", self.product(y, of.up, of.up_bias), domain=MICROSOFT)
        return self.normed(self.step("Add", y, self.product(up, of.down, of.down_bias)), of.norm2, of.norm2_bias)

    def attended(self, x: str, of: Layer) -> str:
        more: dict[str, Any] = {"domain": MICROSOFT, "num_heads": self.encoder.shape.heads}
        if self.encoder.shape.scale is not None:
            more["scale"] = self.encoder.shape.scale
        bias = self.kept(self.bias(of.qkv, of.qkv_bias))
        if not self.int8:
            return str(self.step("Attention", x, self.kept(of.qkv.float().T), bias, **more))
        codes, scales = _coded(of.qkv)
        given, scale, zero = self.step("DynamicQuantizeLinear", x, outputs=3)
        weight_zero = self.kept(np.zeros(len(scales), dtype=np.int8))
        weight, scaled = self.kept(codes), self.kept(scales)
        return str(self.step("QAttention", given, weight, bias, scale, scaled, "", zero, weight_zero, **more))

    def product(self, x: str, weight: Any, bias: Any) -> str:
        if not self.int8:
            return str(
                self.step("Add", self.step("MatMul", x, self.kept(weight.float().T)), self.kept(self.bias(weight, bias)))
            )
        codes, scales = _coded(weight)
        given = [self.kept(codes), self.kept(scales), "", self.kept(self.bias(weight, bias))]
        return str(self.step("DynamicQuantizeMatMul", x, *given, domain=MICROSOFT))

    @staticmethod
    def bias(weight: Any, bias: Any) -> Floats:
        found = np.zeros(len(weight)) if bias is None else bias.float().cpu().numpy()
        return np.asarray(found, dtype=np.float32)

    def pooled(self, x: str) -> None:
        how, one = self.tower.shape.pooling, self.kept(np.array([1], dtype=np.int64))
        if how in ("cls", "lasttoken"):
            x = self.step("Gather", x, self.kept(np.array(0 if how == "cls" else -1, dtype=np.int64)), axis=1)
        else:
            x = self.step("ReduceMean" if how == "mean" else "ReduceMax", x, one, keepdims=0)
        linear = iter(part for part in self.tower.projection if hasattr(part, "weight"))
        for *_, activation in self.tower.shape.layers:
            part = next(linear)
            x = self.step("MatMul", x, self.kept(part.weight.float().T))
            x = x if part.bias is None else self.step("Add", x, self.kept(part.bias.float()))
            x = self.step("Tanh", x) if activation == "Tanh" else x
        length = self.step("Max", self.step("ReduceL2", x, one, keepdims=1), self.kept(np.array([1e-12], dtype=np.float32)))
        self.step("Div", x, length, named="vectors")


def _coded(weight: Any) -> tuple[NDArray[np.int8], Floats]:
    """The weights (out, in) of a product as (in, out) whole numbers, and the scale of each column."""
    turned = weight.detach().float().cpu().numpy().T
    scales = (np.abs(turned).max(axis=0) / STEPS).astype(np.float32)
    scales = np.where(scales == 0, np.float32(1), scales)
    return np.clip(np.rint(turned / scales), -STEPS - 1, STEPS).astype(np.int8), scales
