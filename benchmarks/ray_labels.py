"""Labelling on Ray beside labelling in one process: the same bytes, an actor killed on the way, and what Ray costs.

    python benchmarks/ray_labels.py                       # a million pairs through the fake judge, 20,000 through MiniLM
    python benchmarks/ray_labels.py --light 100000 --model 1000

Ray runs on this machine, with four CPUs declared and two actors of one each. One actor is killed (kill -9) when a third of the
blocks is on disk. The script stops where the table of Ray is not that of one process, byte for byte. MiniLM is the encoder in
GERMANE_MODELS/all-MiniLM-L6-v2 with a head of four grades that was never trained, which computes as long as one that was, and
says nothing. It is left out where the model or torch is not there. In one process the judge has as many threads as an actor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import growth

from germane.labelling.speed import surroundings

ACTORS, DECLARED = 2, 4
MODEL = "all-MiniLM-L6-v2"


def minilm(folder: Path) -> Path | None:
    """The folder of a judge on MiniLM with a head of random weights; None where there is no such model."""
    from germane.judges.loading import models_folder

    base = models_folder() / MODEL
    if not base.is_dir():
        return None
    try:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError:
        return None
    from germane.extras import quietly
    from germane.judges.encoder import KIND
    from germane.judges.encoder import MODEL as PART
    from germane.judges.folder import About, writing
    from germane.scales import get

    torch.manual_seed(5)
    about = About(KIND, "minilm", get("esci"), base=MODEL, max_length=128, random_weights=True)
    with quietly(), writing(folder, about) as part:
        AutoModelForSequenceClassification.from_pretrained(base, num_labels=4).save_pretrained(part / PART)
        AutoTokenizer.from_pretrained(base).save_pretrained(part / PART)
    return folder


def here(judge: str, pairs: Path, out: Path, *, ray: bool) -> dict[str, Any]:
    """Labels in this process, or from this process on Ray; the seconds of it all, and what it said."""
    from germane.labelling.ray import Cluster, Pool
    from germane.pipeline.label import label

    cluster = None
    if ray:
        import ray as engine

        engine.init(num_cpus=DECLARED, include_dashboard=False, log_to_driver=False)
        cluster = Cluster(actors=ACTORS, cpus=1.0)
        actors: list[Any] = []
        make = Pool._actor
        Pool._actor = lambda pool: actors.append(make(pool)) or actors[-1]  # type: ignore[method-assign,func-returns-value]
        threading.Thread(target=_kill_one, args=(out, actors), daemon=True).start()
    elif judge != "fake":
        import torch

        torch.set_num_threads(1)
    since = time.perf_counter()
    found = label(judge, pairs, out, scale="esci" if judge == "fake" else None, ray=cluster)
    return {"seconds": time.perf_counter() - since, "machine": found.machine, "killed": _killed}


def _kill_one(out: Path, actors: list[Any]) -> None:
    """Kills one actor once a third of the blocks is done."""
    import ray

    parts = out.with_name(f".{out.name}.parts")
    blocks = int(os.environ["BLOCKS"])
    while len(list(parts.glob("part-*.parquet"))) < blocks / 3:
        time.sleep(0.02)
    ray.kill(actors[0])
    _killed.append(len(actors))


_killed: list[int] = []


def measured(judge: str, pairs: Path, out: Path, *, ray: bool, blocks: int) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", judge, "--pairs", str(pairs), "--out", str(out), *["--ray"] * ray]
    env = os.environ | {"BLOCKS": str(blocks), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    if judge != "fake":
        env["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise SystemExit(f"{judge} did not run:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def compared(name: str, judge: str, rows: int, block: int, folder: Path) -> None:
    pairs = folder / f"{rows}.parquet"
    growth.make(pairs, rows)
    outs = [folder / f"{name}-{where}.parquet" for where in ("here", "ray")]
    found = [measured(judge, pairs, out, ray=out == outs[1], blocks=-(-rows // block)) for out in outs]
    if outs[0].read_bytes() != outs[1].read_bytes():
        raise SystemExit(f"{name}: the table of Ray is not that of one process")
    local, there = (each["seconds"] for each in found)
    killed = len(found[1]["killed"])
    print(f"| {name} | {rows:,} | {local:.1f} | {there:.1f} | {there / local:.2f} | {killed} | the same bytes |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--light", type=int, default=1_000_000, help="pairs for the fake judge")
    parser.add_argument("--model", type=int, default=20_000, help="pairs for MiniLM")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ray", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(here(asked.one, asked.pairs, asked.out, ray=asked.ray)))
        return
    from germane.judges import Fake
    from germane.labelling.work import BLOCK

    print(f"{surroundings()}; Ray with {DECLARED} CPUs declared, {ACTORS} actors of one\n")
    print("| judge | pairs | one process, s | Ray, s | ratio | actors killed | tables |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.light:
            compared("fake", "fake", asked.light, Fake.block, folder)
        if asked.model:
            judge = minilm(folder / "minilm")
            if judge is None:
                print(f"MiniLM is left out: GERMANE_MODELS has no {MODEL}, or torch is not there")
            else:
                compared("MiniLM", str(judge), asked.model, BLOCK, folder)


if __name__ == "__main__":
    main()
