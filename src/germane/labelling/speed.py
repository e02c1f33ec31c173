"""What a judge costs: on which machine, how long for one pair, how much memory."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from germane.types import Judge, Pair

FEW = 9
"""Pairs that are asked one by one to measure latency."""


def machine(device: str | None = None) -> str:
    """What computes, as "NVIDIA H200" or "AMD EPYC 7B13, 2 processors". device: as torch names it, None = the best there is."""
    torch = sys.modules.get("torch")  # a judge that needs no torch has not loaded it, and uses no GPU
    if torch is not None and not str(device or "").startswith("cpu") and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}, {count} processor{'s' if count > 1 else ''}"


def latency_ms(judge: Judge, pairs: Sequence[Pair]) -> float | None:
    """Milliseconds for one pair asked alone, the median of a few after a first one that is not counted; None for no pairs."""
    times = []
    for pair in [*pairs[:1], *pairs[:FEW]]:
        began = time.perf_counter()
        list(judge([pair]))
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[1:]) if times else None


class PeakMemory:
    """The most memory since it was made, of the GPU and of this whole process."""

    def __init__(self) -> None:
        torch = sys.modules.get("torch")
        self._cuda = torch.cuda if torch is not None and torch.cuda.is_available() else None
        if self._cuda is not None:
            self._cuda.reset_peak_memory_stats()
        self._marked = False
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the kernel's word for: begin a new peak
            self._marked = True

    def mib(self, device: str | None = None) -> float | None:
        """MiB of the GPU if the device is one (None = the best there is), else of the process; None where nobody says."""
        if self._cuda is not None and not str(device or "").startswith("cpu"):
            return float(self._cuda.max_memory_allocated()) / 2**20
        if not self._marked:
            return None
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
