"""A thousand segments with estimates, intervals and adjusted p-values: germane beside Spotify Confidence and gbstats.

    python benchmarks/segments.py                     # makes an environment for the two with uv, then about a minute
    python benchmarks/segments.py --peers PYTHON      # an interpreter that has spotify-confidence and gbstats already

The two need numpy 1 and pandas 1.5, germane numpy 2, so they run in an environment of their own, on the same file. Each gets
the data in the form that it takes: germane the differences per query with stratum and segment codes; the others per-segment
sums (their usual input, from a warehouse), with the time of making these sums in pandas told apart. They know neither pairs
nor strata: their tests compare two independent samples. What must agree, and is checked, is each segment's difference.
The ratio is of processor times, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from germane.labelling.speed import surroundings

SEGMENTS, QUERIES, STRATA = 1000, 100_000, 60
REPEATS, PEER_REPEATS = 15, 2
TOLERANCE = 1e-9
PEERS = ("spotify-confidence==4.1.0", "gbstats==0.8.0")
Timed = tuple[Callable[[], Any], Callable[[Any], Any]]


def world(seed: int = 7) -> dict[str, Any]:
    """Each query's metric in two arms, its segment and its stratum; half of the queries do not change."""
    rng = np.random.default_rng(seed)
    control = rng.beta(2, 2, QUERIES)
    change = np.where(rng.random(QUERIES) < 0.5, 0.0, rng.normal(0.01, 0.1, QUERIES))
    segment = np.arange(QUERIES) % SEGMENTS
    return {"control": control, "treatment": control + change, "segment": segment, "stratum": rng.integers(0, STRATA, QUERIES)}


# --- the tools: a preparation, and what is repeated; it gives the differences (SEGMENTS,) -----------------------------


def germane(w: dict[str, Any], strata: int = 1) -> Timed:
    from germane.stats.multiple import adjusted_p
    from germane.stats.segments import segment_differences

    stratum = w["stratum"] % strata
    populations = np.full(strata, 1000.0)

    def run(difference: Any) -> Any:
        found = segment_differences(difference, stratum, w["segment"], populations)
        adjusted_p(found.p[found.reliable])
        return found.value

    return lambda: w["treatment"] - w["control"], run


def germane_stratified(w: dict[str, Any]) -> Timed:
    return germane(w, STRATA)


def sums(w: dict[str, Any]) -> Any:
    """A frame with a row for each segment and arm: queries, sum and sum of squares."""
    import pandas as pd

    rows = pd.DataFrame({"segment": w["segment"], "control": w["control"], "treatment": w["treatment"]})
    long = rows.melt("segment", var_name="arm", value_name="x")
    long["xx"] = long["x"] ** 2
    return long.groupby(["arm", "segment"], as_index=False).agg(n=("x", "size"), x=("x", "sum"), xx=("xx", "sum"))


def spotify(w: dict[str, Any]) -> Timed:
    from spotify_confidence import StudentsTTest

    def run(frame: Any) -> Any:
        test = StudentsTTest(
            frame,
            numerator_column="x",
            numerator_sum_squares_column="xx",
            denominator_column="n",
            categorical_group_columns=["arm", "segment"],
            correction_method="fdr_bh",
        )
        found = test.difference(level_1="control", level_2="treatment", groupby="segment")
        return found.sort_values("segment")["difference"].to_numpy()

    return lambda: sums(w), run


def gbstats(w: dict[str, Any]) -> Timed:
    from gbstats.frequentist.tests import FrequentistConfig, TwoSidedTTest
    from gbstats.models.statistics import SampleMeanStatistic
    from statsmodels.stats.multitest import multipletests

    config = FrequentistConfig(difference_type="absolute")

    def run(frame: Any) -> Any:
        arms = [frame[frame["arm"] == arm].sort_values("segment") for arm in ("control", "treatment")]
        columns = [[part[name].tolist() for name in ("n", "x", "xx")] for part in arms]
        values, p = [], []
        for control, treatment in zip(zip(*columns[0], strict=True), zip(*columns[1], strict=True), strict=True):
            a, b = (SampleMeanStatistic(n=n, sum=x, sum_squares=xx) for n, x, xx in (control, treatment))
            found = TwoSidedTTest(a, b, config).compute_result()
            values.append(found.expected)
            p.append(found.p_value)
        multipletests(p, method="fdr_bh")
        return np.array(values)

    return lambda: sums(w), run


TOOLS = {
    "germane": germane,
    f"germane, {STRATA} strata": germane_stratified,
    "Spotify Confidence": spotify,
    "gbstats, a loop": gbstats,
}


def one_tool(tool: str, data: Path, values_at: Path) -> dict[str, Any]:
    """Times of one tool, in seconds; its values go to a file."""
    import warnings

    warnings.simplefilter("ignore")  # other people's warnings
    prepare, run = TOOLS[tool](dict(np.load(data)))
    prepares, runs, processor, values = [], [], [], None
    for _ in range(REPEATS if tool.startswith("germane") else PEER_REPEATS):
        start = time.perf_counter()
        state = prepare()
        middle, used = time.perf_counter(), time.process_time()
        values = run(state)
        prepares.append(middle - start)
        runs.append(time.perf_counter() - middle)
        processor.append(time.process_time() - used)
    np.save(values_at, np.asarray(values, dtype=np.float64))
    return {"prepares": prepares, "runs": runs, "processor": processor}


def environment(folder: Path) -> str:
    """An interpreter with the two peers, made with uv."""
    uv = Path(sys.executable).with_name("uv")
    for command in (["venv", "-q", "--python", "3.11", str(folder)], ["pip", "install", "-q", "--python", str(folder), *PEERS]):
        done = subprocess.run([str(uv), *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the peers could not be installed (pass --peers PYTHON):\n{done.stderr[-1500:]}")
    return str(folder / "bin" / "python")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="an interpreter that has spotify-confidence and gbstats")
    parser.add_argument("--tool", choices=TOOLS, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--values", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.tool:
        print(json.dumps(one_tool(asked.tool, asked.data, asked.values)))
        return
    print(f"{SEGMENTS:,} segments of {QUERIES:,} queries, two arms; best of {REPEATS} (median), peers of {PEER_REPEATS}")
    print(f"{surroundings()}, numpy {np.__version__}")
    print(f"{', '.join(PEERS)}\n")
    print(
        "| tool | prepare, ms | estimates and adjusted p, ms | its processor time, ms | ratio | largest difference of values |"
    )
    print("|---|---|---|---|---|---|")
    mine, ours = 0.0, None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = asked.peers or environment(folder / "peers")
        np.savez(folder / "data.npz", **world())
        for tool in TOOLS:
            python = sys.executable if tool.startswith("germane") else peers
            command = [python, __file__, "--tool", tool, "--data", str(folder / "data.npz"), "--values", str(folder / "v.npy")]
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            if found.returncode:
                raise SystemExit(f"{tool} did not run:\n{found.stderr[-2000:]}")
            times, values = json.loads(found.stdout.strip().splitlines()[-1]), np.load(folder / "v.npy")
            stratified = "strata" in tool
            ours = values if ours is None else ours
            apart = float(np.abs(values - ours).max())
            if not stratified and not apart <= TOLERANCE:
                raise SystemExit(f"{tool} differs from germane by {apart}: the comparison is void")
            best, middle = min(times["runs"]), statistics.median(times["runs"])
            mine = mine or min(times["processor"])
            told = "weighted otherwise" if stratified else f"{apart:.0e}"
            prepared, used = 1e3 * min(times["prepares"]), 1e3 * min(times["processor"])
            ratio = used / 1e3 / mine
            print(f"| {tool} | {prepared:.1f} | {1e3 * best:.1f} ({1e3 * middle:.1f}) | {used:.1f} | {ratio:.1f} | {told} |")


if __name__ == "__main__":
    main()
