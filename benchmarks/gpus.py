"""Labelling on several GPUs of one machine beside one of them: a process a GPU on a part of the file each, and Ray's actors.

    python benchmarks/gpus.py --tokenizer tokenizer.json     # the shape of XLM-RoBERTa-large, random weights: 5 min on two
    python benchmarks/gpus.py --ray                          # Ray's actors as well: 8 min

The judge and the pairs are those of `encoder.py` (random weights, which change no speed). A process is loaded and warm before
all of them start together, and the time is that until the last has written its table. A job on Ray starts its cluster and its
judges itself: a job of a block for each GPU shows what that takes. One and several take turns. The script says whether grades
differ from those of one process, since two GPUs of one kind need not give the same bits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 16_384
"""Pairs that a judge on a GPU labels together: a block for each GPU makes a process warm, and shows what a start takes."""

WARM, GO, DONE = "warm", "go", "done"


def worker(judge: Path, few: Path, pairs: Path, out: Path) -> None:
    """Loads, labels a few to be warm, says so, waits for a line, labels, and says so."""
    from germane.judges.encoder import CrossEncoder
    from germane.pipeline import label as stage

    loaded = CrossEncoder(judge, device="cuda")
    loaded.warm_up()
    stage.load = lambda *a, **k: loaded
    stage.label(judge, few, out.with_name(f"warm-{out.name}"), device="cuda")
    print(WARM, flush=True)
    sys.stdin.readline()
    stage.label(judge, pairs, out, device="cuda")
    print(DONE, flush=True)


def processes(judge: Path, few: Path, parts: list[Path], folder: Path) -> float:
    """Seconds from the common start until the last of as many processes, a GPU each, is done."""
    outs = [folder / f"{part.stem}-of-{len(parts)}.parquet" for part in parts]
    for out in outs:
        out.unlink(missing_ok=True)
    running, cores = [], os.cpu_count() or 1
    for gpu, (part, out) in enumerate(zip(parts, outs, strict=True)):
        command = [sys.executable, __file__, "--worker", str(judge), str(few), str(part), str(out)]
        env = os.environ | {"CUDA_VISIBLE_DEVICES": str(gpu), "RAYON_NUM_THREADS": str(max(1, cores // len(parts)))}
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env))
    for each in running:
        _until(each, WARM)
    began = time.perf_counter()
    for each in running:
        print(GO, file=each.stdin, flush=True)
    for each in running:
        _until(each, DONE)
    took = time.perf_counter() - began  # and not until they are gone, which takes torch some seconds more
    for each in running:
        each.wait()
    return took


def _until(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    raise SystemExit(f"a process stopped before it was {word}")


def on_ray(judge: Path, pairs: Path, out: Path, actors: int) -> float:
    """Seconds of a whole job on Ray, in a process of its own."""
    command = [sys.executable, __file__, "--on-ray", str(actors), str(judge), str(pairs), str(out)]
    out.unlink(missing_ok=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"the job on Ray with {actors} actors did not run")
    return float(json.loads(done.stdout.strip().splitlines()[-1])["seconds"])


def ray_job(actors: int, judge: Path, pairs: Path, out: Path, gpus: int) -> None:
    from germane.labelling.ray import Cluster
    from germane.pipeline.label import label

    cpus = max(1, (os.cpu_count() or 1) // gpus - 1)
    began = time.perf_counter()
    label(judge, pairs, out, device="cuda", ray=Cluster(actors=actors, cpus=float(cpus), gpus=1.0))
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


def grades(outs: list[Path]) -> tuple[Any, bytes | None]:
    """Expected gains of these tables, one after the other; and the bytes of a single one."""
    from germane.store import read_table

    gains = [np.array(read_table(out, "judgments")["relevance"].to_pylist(), dtype=object) for out in outs]
    return np.concatenate(gains), outs[0].read_bytes() if len(outs) == 1 else None


def cut(pairs: Path, parts: int, folder: Path) -> list[Path]:
    """The pairs in so many files of nearly as many rows."""
    from germane import store

    table = store.read_table(pairs, "pairs")
    ends = np.linspace(0, table.num_rows, parts + 1).astype(int)
    made = [folder / f"part-{i}.parquet" for i in range(parts)]
    for path, low, high in zip(made, ends[:-1], ends[1:], strict=True):
        store.write_table(table.slice(low, high - low), path, "pairs", verb="pairs", parameters={})
    return made


def told(named: str, gpus: int, times: list[float], rows: int, one: float) -> float:
    """Prints a row of the table; pairs a second in the best of these times. one: that of one process, 0 where it is this."""
    rate = rows / min(times)
    every = " and ".join(f"{each:.1f}" for each in times)
    print(f"| {named} | {gpus} | {every} | {rate:,.0f} | {rate / (one or rate):.2f} |", flush=True)
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json of XLM-RoBERTa's size; multilingual-e5's by default")
    parser.add_argument("--rows", type=int, default=327_680, help="20 blocks of a GPU by default")
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="Ray as well")
    parser.add_argument("--worker", nargs=4, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--on-ray", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if asked.worker:
        worker(*asked.worker)
        return
    import torch

    gpus = torch.cuda.device_count()
    if asked.on_ray:
        actors, *paths = asked.on_ray
        ray_job(int(actors), *map(Path, paths), gpus)
        return
    if gpus < 2:
        raise SystemExit(f"this machine has {gpus} GPUs: two are needed to compare them with one")
    from encoder import judge_of, pairs_of
    from packed import LARGE

    from germane.judges.encoder import tokenizer_of
    from germane.judges.loading import models_folder

    print(f"{gpus} x {torch.cuda.get_device_name()}, {os.cpu_count()} cores, torch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory(prefix="gpus-") as made:
        folder = Path(made)
        saved = asked.tokenizer or models_folder() / "multilingual-e5-small" / "tokenizer.json"
        judge = judge_of(LARGE, saved, folder / "judge", "cpu")
        pairs = pairs_of(asked.rows, tokenizer_of(str(judge / "model")), folder / "pairs.parquet")
        print(f"{asked.rows:,} pairs of {pairs.lengths.mean():.1f} tokens\n", flush=True)
        compared(judge, pairs.path, asked, gpus, folder)


def compared(judge: Path, pairs: Path, asked: argparse.Namespace, gpus: int, folder: Path) -> None:
    print("| how | GPUs | seconds | pairs/s | times one process |\n|---|---|---|---|---|", flush=True)
    parts, few = cut(pairs, gpus, folder), beginning(pairs, gpus * BLOCK, folder)
    times: dict[int, list[float]] = {1: [], gpus: []}
    for _ in range(asked.times):
        times[1].append(processes(judge, few, [pairs], folder))
        times[gpus].append(processes(judge, few, parts, folder))
    one = told("a process a GPU", 1, times[1], asked.rows, 0.0)
    told("a process a GPU", gpus, times[gpus], asked.rows, one)
    wanted, alone = grades([folder / f"{pairs.stem}-of-1.parquet"])
    found, _ = grades([folder / f"{part.stem}-of-{gpus}.parquet" for part in parts])
    said = [f"a process a GPU: {int((wanted != found).sum())} of {len(wanted):,} grades differ from one process"]
    for actors in (1, gpus) if asked.ray else ():
        start, out = on_ray(judge, few, folder / "few-judged.parquet", actors), folder / f"ray-{actors}.parquet"
        whole = on_ray(judge, pairs, out, actors)
        found, bytes_ = grades([out])
        same = "the same bytes" if bytes_ == alone else f"{int((wanted != found).sum())} grades differ"
        said.append(
            f"Ray, {actors} actors: {whole:.1f} s for the whole job, {start:.1f} s for one of {gpus * BLOCK:,} pairs: {same}"
        )
    print("\n" + "\n".join(said))


def beginning(pairs: Path, rows: int, folder: Path) -> Path:
    from germane import store

    store.write_table(
        store.read_table(pairs, "pairs").slice(0, rows), folder / "few.parquet", "pairs", verb="pairs", parameters={}
    )
    return folder / "few.parquet"


if __name__ == "__main__":
    main()
