"""What this machine can do at the most: the best product of matrices, and the best copy of memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

SHAPES = {
    "cuda": ((8192, 8192, 8192), (16384, 8192, 8192), (65536, 4096, 1024), (65536, 1024, 4096), (65536, 3072, 1024)),
    "cpu": ((1024, 1024, 1024), (4096, 1536, 384), (4096, 384, 1536), (2048, 3072, 1024)),
}
"""(rows, out, in) of the products that are tried: large squares, and those of a layer."""

COPIED = {"cuda": 1 << 30, "cpu": 1 << 27}
"""Bytes that are copied: far more than a cache holds."""

SECONDS = 0.25
"""That each product, and the copy, is repeated for."""


class Product(NamedTuple):
    """How fast a product of matrices is. shape: (rows, out, in)."""

    shape: tuple[int, int, int]
    tflops: float


def products(device: str = "cpu", numbers: str = "float32", *, seconds: float = SECONDS) -> Iterator[Product]:
    """TFLOP/s of each shape that is tried, one by one. numbers: "float32" or "bfloat16". Without torch it is numpy's product.

    On a CPU weights are laid out as oneDNN reads them where that is faster, as judges do.
    """
    for shape in SHAPES["cuda" if device.startswith("cuda") else "cpu"]:
        yield _product(shape, device, numbers, seconds)


def matmul(device: str = "cpu", numbers: str = "float32", *, seconds: float = SECONDS) -> float:
    """TFLOP/s of the best product of matrices in these numbers."""
    return max(found.tflops for found in products(device, numbers, seconds=seconds))


class Ceilings:
    """What a machine can do at the most, round by round: `measure` adds one. numbers: in which products are measured.

    matmul: numbers -> TFLOP/s of each round, of the shape that was the best at first. memory: GB/s.
    """

    def __init__(self, device: str, numbers: Sequence[str]) -> None:
        self.device = device
        self._best = {name: max(products(device, name), key=lambda found: found.tflops).shape for name in numbers}
        self.matmul: dict[str, list[float]] = {name: [] for name in numbers}
        self.memory: list[float] = []

    def measure(self) -> None:
        for name, shape in self._best.items():
            self.matmul[name].append(_product(shape, self.device, name, SECONDS).tflops)
        self.memory.append(memory(self.device))


def memory(device: str = "cpu", *, seconds: float = SECONDS) -> float:
    """GB/s of the best copy of a large array, bytes read and bytes written together."""
    size = COPIED["cuda" if device.startswith("cuda") else "cpu"]
    if find_spec("torch") is None:
        source = np.ones(size // 4, dtype=np.float32)
        target = np.empty_like(source)
        return 2 * size / _fastest(lambda: np.copyto(target, source), device, seconds) / 1e9
    import torch

    a = torch.ones(size // 4, device=device)
    b = torch.empty_like(a)
    return 2 * size / _fastest(lambda: b.copy_(a), device, seconds) / 1e9


def _product(shape: tuple[int, int, int], device: str, numbers: str, seconds: float) -> Product:
    took = min(_fastest(work, device, seconds) for work in _ways(*shape, device, numbers))
    rows, out, width = shape
    return Product(shape, 2 * rows * out * width / took / 1e12)


def _ways(rows: int, out: int, width: int, device: str, numbers: str) -> Iterator[Callable[[], Any]]:
    rng = np.random.default_rng(0)
    if find_spec("torch") is None:
        a, b = (rng.standard_normal(shape, dtype=np.float32) for shape in ((rows, width), (width, out)))
        yield lambda: a @ b
        return
    import torch

    from germane.inference import products as laid

    x, w = (torch.randn(shape, device=device, dtype=getattr(torch, numbers)) for shape in ((rows, width), (out, width)))
    yield lambda: x @ w.T
    if device == "cpu" and laid.available():
        ready = laid.packed(w, w.dtype)
        yield lambda: laid.product(x, ready, None)


def _fastest(work: Callable[[], Any], device: str, seconds: float) -> float:
    """Seconds of one call: the fastest of those that fit into so many seconds, five at least, after one that is not counted."""
    wait: Callable[[], Any] = lambda: None  # noqa: E731
    if device.startswith("cuda"):
        import torch

        wait = torch.cuda.synchronize
    work()
    wait()
    many = 8 if device.startswith("cuda") else 1  # together, so that starting one is not what is measured
    best, count, since = float("inf"), 0, time.perf_counter()
    while count < 5 or time.perf_counter() - since < seconds:
        began = time.perf_counter()
        for _ in range(many):
            work()
        wait()
        best, count = min(best, (time.perf_counter() - began) / many), count + 1
    return best
