"""Watching a search: germane, three sigma, an e-detector, Evidently and NannyML on the same simulated series, in one run.

    python benchmarks/watching_peers.py          # makes two environments with uv, then half an hour on two busy cores
    python benchmarks/watching_peers.py --cases 2 # a look
    python benchmarks/watching_peers.py --evidently PYTHON --nannyml PYTHON   # environments that are there

Simulated, seeded: quarters without an incident, and incidents of which the first days are watched. All see the same days of the
same panel. germane, three sigma and the e-detector read each segment's daily figures; Evidently and NannyML, which are made for
columns of values, read each query's metric on a day, or its difference from the day before, segment by segment, beside those
of the 28 days before. Both tools pin pandas, so that each runs in an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from watching import DETECTORS, DROPS, STRUCK, Alarm, caught

from germane.simulate.years import Incident, Market, Year, year

PAST, QUARTER = 28, 90
PEERS = {"Evidently": ["evidently==0.7.23", "pandas<3"], "NannyML": ["nannyml==0.13.1", "statsmodels>=0.14"]}
AT = Path(__file__).with_name("peers")
QUIET = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1", "OMP_NUM_THREADS": "1"}


class Case(NamedTuple):
    """Days to watch, first to last - 1. segment: that is struck on the first of them, "" where nothing happens."""

    years: list[Year]
    first: int
    last: int
    segment: str


def cases(quarters: int, incidents: int, seed: int) -> list[Case]:
    found = [
        Case(year(Market(), days=PAST + QUARTER, metrics=2, seed=seed + q), PAST, PAST + QUARTER, "") for q in range(quarters)
    ]
    for segment, drop, within in DROPS:
        for i in range(incidents):
            day = STRUCK + i % 7
            struck = [Incident(day, "search", segment, drop)]
            found.append(
                Case(
                    year(Market(), incidents=struck, days=day + within, metrics=2, seed=seed + 1000 + i),
                    day,
                    day + within,
                    segment,
                )
            )
    return found


def environment(python: str | None, name: str) -> tuple[str, str]:
    """(an interpreter with the tool, "") or ("", why there is none)."""
    if python is None:
        folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "germane" / "peers" / name.lower()
        python, uv = str(folder / "bin" / "python"), str(Path(sys.executable).with_name("uv"))
        steps = [] if Path(python).exists() else [["venv", "-q", "--python", "3.11", str(folder)]]
        for command in [*steps, ["pip", "install", "-q", "--python", python, *PEERS[name]]]:
            try:
                done = subprocess.run([uv, *command], capture_output=True, text=True, check=False)
            except OSError as error:
                return "", f"uv cannot be run: {error}"
            if done.returncode:
                return "", f"it cannot be installed: {done.stderr.strip().splitlines()[-1]}"
    asked = [python, "-W", "ignore", "-c", f"import {name.lower()}"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, env=os.environ | QUIET)
    except OSError as error:
        return "", f"{python} cannot be run: {error.strerror}"
    return (
        (python, "")
        if done.returncode == 0
        else ("", f"it cannot be imported: {(done.stderr.strip() or '-').splitlines()[-1]}")
    )


class Row(NamedTuple):
    """A detector's figures: days with a false alarm, days watched, incidents caught of each drop, and seconds."""

    false: int
    days: int
    hits: list[int]
    of: list[int]
    seconds: float


def tell(name: str, row: Row) -> None:
    shares = " | ".join(f"{h} of {n}" for h, n in zip(row.hits, row.of, strict=True))
    print(f"| {name} | {row.false * QUARTER / row.days:.1f} | {shares} | {row.seconds:.1f} |", flush=True)


def scored(told: Sequence[Sequence[Alarm]], given: Sequence[Case], seconds: float) -> Row:
    """What was alarmed in each case, against the truth: alarms before an incident count neither way."""
    false = days = 0
    hits, of = [0] * len(DROPS), [0] * len(DROPS)
    for alarms, case in zip(told, given, strict=True):
        if not case.segment:
            days += case.last - case.first
            false += len({(t, fell) for t, _, fell in alarms if case.first <= t < case.last})
        else:
            i = next(i for i, drop in enumerate(DROPS) if drop[0] == case.segment)
            of[i] += 1
            hits[i] += caught(alarms, case.segment, case.first, case.last - case.first)
    return Row(false, days, hits, of, seconds)


def print_peer(name: str, python: str, given: Sequence[Case], folder: Path) -> None:
    """A tool in its own environment: values of each query go there as arrays, days and segments of its alarms come back."""
    asked = []
    for i, case in enumerate(given):
        path = folder / f"{i}.npz"
        if not path.exists():
            np.savez(
                path,
                x=np.stack([y.sample for y in case.years]),
                member=case.years[0].member,
                names=np.array(case.years[0].segments),
            )
        asked.append([str(path), case.first, case.last, case.segment])
    (folder / "asked.json").write_text(json.dumps(asked))
    command = [python, "-W", "ignore", str(AT / f"{name.lower()}_days.py"), str(folder / "asked.json"), str(PAST)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | QUIET
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        for line in running.stdout:
            if not line.startswith("{"):
                continue
            told = json.loads(line)
            if "note" in told:
                print(f"<!-- {name}: {told['note']} -->", flush=True)
                continue
            alarms = [[(t, frozenset(segments), True) for t, segments in days] for days in told["alarms"]]
            tell(f"{name}, {told['what']}", scored(alarms, given, told["seconds"]))
        wrong = running.stderr.read()
    if running.returncode:
        print(f"| {name} | stopped: {(wrong.strip() or '-').splitlines()[-1]} | | | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quarters", type=int, default=1)
    parser.add_argument("--cases", type=int, default=10, help="incidents of each drop")
    parser.add_argument("--seed", type=int, default=500_000)
    parser.add_argument("--evidently", help="a Python that has Evidently, instead of one made here")
    parser.add_argument("--nannyml", help="a Python that has NannyML, instead of one made here")
    options = parser.parse_args()
    began = time.perf_counter()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, numpy {np.__version__}")
    print(f"{options.quarters} quarters, {options.cases} incidents of each drop, seed {options.seed}; {PEERS}\n")
    given = cases(options.quarters, options.cases, options.seed)
    print("| detector | days with a false alarm, in 90 | 2 % in a tenth, 3 days | 1 % overall, 5 days | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for name, detector in DETECTORS.items():
        start = time.perf_counter()
        told = [detector(case.years) for case in given]
        tell(name, scored(told, given, time.perf_counter() - start))
    with tempfile.TemporaryDirectory() as folder:
        for name in PEERS:
            python, why = environment(getattr(options, name.lower()), name)
            if why:
                print(f"| {name} | skipped: {why} | | | |", flush=True)
            else:
                print_peer(name, python, given, Path(folder))
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
