"""NannyML on days of values, in an environment of its own: called by benchmarks/watching_peers.py. A way is a line of JSON.

Its thresholds are learned on a reference: 28 days, taken anew every 28 days; chunks are days.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
import nannyml  # noqa: E402

ASKED, PAST = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])
DAYS = pd.date_range("2026-01-05", periods=1000)
SETTINGS = {"timestamp_column_name": "date", "chunk_period": "D"}
WAYS = {
    "its drift of a column (Jensen-Shannon, 3 SD), values": (False, nannyml.UnivariateDriftCalculator),
    "its mean of a column (3 SD), values": (False, nannyml.SummaryStatsAvgCalculator),
    "its drift of a column (Jensen-Shannon, 3 SD), differences": (True, nannyml.UnivariateDriftCalculator),
    "its mean of a column (3 SD), differences": (True, nannyml.SummaryStatsAvgCalculator),
}


def frame(xs, inside, first, last):
    table = pd.DataFrame({f"m{m}": x[first:last, inside].ravel() for m, x in enumerate(xs)})
    table["date"] = np.repeat(DAYS[first:last], int(inside.sum()))
    return table.dropna()


def alarms(calculator, xs, inside, first, last):
    """Days of first to last - 1 on which a metric of these queries alarms."""
    columns, found = [f"m{m}" for m in range(len(xs))], set()
    for start in range(first, last, PAST):
        stop = min(start + PAST, last)
        fitted = calculator(column_names=columns, **SETTINGS).fit(frame(xs, inside, start - PAST, start))
        told = fitted.calculate(frame(xs, inside, start, stop)).filter(period="analysis").to_df()
        alert = told.loc[:, [c for c in told.columns if c[-1] == "alert"]].fillna(False).to_numpy(bool).any(axis=1)
        assert len(alert) == stop - start, (len(alert), start, stop)
        found |= {start + int(i) for i in np.flatnonzero(alert)}
    return found


for what, (differences, calculator) in WAYS.items():
    start, out = time.perf_counter(), []
    for file, first, last, segment in ASKED:
        held = np.load(file)
        xs = [np.diff(x, axis=0, prepend=np.full((1, x.shape[1]), np.nan)) if differences else x for x in held["x"]]
        days = {}
        for s, name in enumerate(held["names"].tolist()):
            if segment and name != segment:
                continue
            for t in alarms(calculator, xs, held["member"][:, s], first, last):
                days.setdefault(t, set()).add(name)
        out.append([[t, sorted(found)] for t, found in sorted(days.items())])
    print(json.dumps({"what": what, "seconds": time.perf_counter() - start, "alarms": out}), flush=True)
