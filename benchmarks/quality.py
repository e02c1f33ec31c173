"""Quality of a million votes: ours against `krippendorff` (alpha) and crowd-kit (Dawid and Skene), in one run.

python benchmarks/quality.py [VOTES]. The peers give a number alone; ours come with intervals over queries.
"""

import sys
import time
import warnings

import numpy as np

from germane import scales
from germane.golden.quality import quality
from germane.golden.votes import Votes
from germane.stats.agreement import krippendorff_alpha
from germane.stats.dawid_skene import dawid_skene
from germane.stats.raters import side_by_side


def votes_of(n, *, raters=50, each=2, seed=1):
    """n votes, `each` a pair, ten pairs a query, over twelve weeks."""
    rng = np.random.default_rng(seed)
    pairs = n // each
    pair = np.repeat(np.arange(pairs), each)
    rater = (np.repeat(rng.integers(0, raters, pairs), each) + np.tile(np.arange(each), pairs)) % raters
    truth = rng.integers(0, 4, pairs)[pair]
    grade = np.clip(truth + rng.choice([-1, 0, 0, 0, 0, 1], n), 0, 3)
    at = np.datetime64("2026-05-04", "us") + rng.integers(0, 84 * 86400, n).astype("timedelta64[s]")
    query, zero = pair // 10, np.zeros(n, dtype=np.int64)
    names = tuple(f"q{i}" for i in range(int(query.max()) + 1))
    ids = (
        np.array([names[i // 10] for i in range(pairs)], dtype=object),
        np.array([f"d{i}" for i in range(pairs)], dtype=object),
    )
    empty = np.full(n, "", dtype=object)
    people = tuple(f"r{i:02}" for i in range(raters))
    return Votes(
        pair, query, rater, zero, zero, zero, grade, at, rng.lognormal(2, 0.4, n), np.zeros(n, bool), ids, names, people,
        ("g",), ("",), {"reason": empty, "note": empty},
    )  # fmt: skip


def timed(work):
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    given = votes_of(n)
    _, seconds = timed(lambda: quality(given, scales.get("trec")))
    print(f"quality, whole, {n:,} votes of 50 raters: {seconds:.1f} s")
    import krippendorff

    some = n // 10
    rows = given.pair < some // 2
    matrix = np.full((50, some // 2), np.nan)
    matrix[given.rater[rows], given.pair[rows]] = given.grade[rows]
    slots = side_by_side(given.pair[rows], given.grade[rows])
    theirs, peer = timed(lambda: krippendorff.alpha(reliability_data=matrix, level_of_measurement="ordinal"))
    ours, mine = timed(lambda: krippendorff_alpha(slots, clusters=given.query[rows][::2]))
    print(
        f"alpha, {some:,} votes: ours {mine:.2f} s with its interval, krippendorff {peer:.2f} s: {peer / mine:.1f} times",
        end="",
    )
    print(f" (both {ours.value:.6f}, {theirs:.6f})")
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from crowdkit.aggregation import DawidSkene

        table = pd.DataFrame({"task": given.pair[rows], "worker": given.rater[rows], "label": given.grade[rows]})
        _, peer = timed(lambda: DawidSkene(n_iter=20, tol=0).fit_predict_proba(table))
    own = given.pair[rows], given.rater[rows], given.grade[rows]
    _, mine = timed(lambda: dawid_skene(*own, grades=4, rounds=20, tolerance=0))
    print(f"Dawid-Skene, {some:,} votes, 20 rounds: ours {mine:.2f} s, crowd-kit {peer:.2f} s: {peer / mine:.1f} times")


if __name__ == "__main__":
    main()
