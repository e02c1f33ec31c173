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
from typing import Any

from germane.types import Judge, Pair

FEW = 9
"""Pairs that are asked one by one to measure latency."""


def machine(device: str | None = None) -> str:
    """What computes, as "NVIDIA H200" or "AMD EPYC 7B13, 2 processors". device: as torch names it; None: a GPU if used."""
    torch = _gpu(device)
    if torch is not None:
        return str(torch.cuda.get_device_name())
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}, {count} processor{'s' if count > 1 else ''}"


def surroundings() -> str:
    """What a figure was measured on: processor, how busy it is, system and Python."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{machine('cpu')}{load}, {platform.system()}, Python {platform.python_version()}"


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
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._marked = False
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the kernel's word for: begin a new peak
            self._marked = True

    def mib(self, device: str | None = None) -> float | None:
        """MiB of the GPU if the device is one (None: if it is used), else of the process; None where nobody says."""
        if (torch := _gpu(device)) is not None:
            return float(torch.cuda.max_memory_allocated()) / 2**20
        if not self._marked:
            return None
        with suppress(OSError, ValueError, IndexError):
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return None


def _gpu(device: str | None) -> Any:
    """torch, if this device is a GPU of its; a judge that needs no torch has not loaded it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    used = torch.cuda.memory_allocated() > 0 if device is None else str(device).startswith("cuda")
    return torch if used else None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
