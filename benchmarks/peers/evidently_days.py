"""Evidently on days of values, in an environment of its own: called by benchmarks/watching_peers.py. A way is a line of JSON.

A report a day and segment takes about 0.15 s, for its figures and histograms: a year of 26 series takes half an hour. So its
drift tests are called directly, those that a report would choose, after one report has been seen to say the same.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.legacy.calculations.stattests import get_stattest  # noqa: E402
from evidently.legacy.core import ColumnType  # noqa: E402
from evidently.metrics import ValueDrift  # noqa: E402

ASKED, PAST = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])
WAYS = {
    "its default test (Wasserstein, 0.1 SD), values": (False, None),
    "its K-S test (p 0.05), values": (False, "ks"),
    "its default test (Wasserstein, 0.1 SD), differences": (True, None),
    "its K-S test (p 0.05), differences": (True, "ks"),
}


def drifted(reference, current, method):
    test = get_stattest(reference, current, ColumnType.Numerical, method)
    found = test(reference, current, ColumnType.Numerical, None)
    return float(found.drift_score), bool(found.drifted)


def sides(x, inside, t):
    past = x[t - PAST : t, inside]
    return pd.Series(past[np.isfinite(past)]), pd.Series(x[t, inside])


def checked(x, inside, t):
    """A report's score and the test's: the same."""
    reference, current = sides(x, inside, t)
    kind = DataDefinition(numerical_columns=["v"])
    pair = [Dataset.from_pandas(pd.DataFrame({"v": side}), data_definition=kind) for side in (current, reference)]
    start = time.perf_counter()
    told = Report([ValueDrift(column="v")]).run(*pair).dict()["metrics"][0]
    seconds = time.perf_counter() - start
    score = drifted(reference, current, None)[0]
    assert abs(float(told["value"]) - score) < 1e-9, (told, score)
    return f"one report says {float(told['value']):.4f} in {seconds:.2f} s, as its test does: {told['metric_name']}"


for what, (differences, method) in WAYS.items():
    start, out, noted = time.perf_counter(), [], False
    for file, first, last, segment in ASKED:
        held = np.load(file)
        names = held["names"].tolist()
        days = {}
        for values in held["x"]:
            x = np.diff(values, axis=0, prepend=np.full((1, values.shape[1]), np.nan)) if differences else values
            for s, name in enumerate(names):
                if segment and name != segment:
                    continue
                inside = held["member"][:, s]
                if not out and not days and not noted:
                    print(json.dumps({"note": checked(x, inside, first)}), flush=True)
                    noted, start = True, time.perf_counter()
                for t in range(first, last):
                    if drifted(*sides(x, inside, t), method)[1]:
                        days.setdefault(t, set()).add(name)
        out.append([[t, sorted(found)] for t, found in sorted(days.items())])
    print(json.dumps({"what": what, "seconds": time.perf_counter() - start, "alarms": out}), flush=True)
