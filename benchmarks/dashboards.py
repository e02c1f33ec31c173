"""The dashboards at 3 years x 60 segments x 20 metrics: milliseconds at the server for each page, and for 20 readers at once.

    python benchmarks/dashboards.py                # some minutes, most of them for writing the history; 1.5 GB of disk
    python benchmarks/dashboards.py --years 0.25

The history is generated (seeded by its own formula; the values mean nothing) and written to SQLite in a temporary folder as the
daily job would have written it: a level of every metric in every segment, and two changes of each, every day. Each page is
asked for in process, through the whole application without a network, once to warm up and then --times times. Beside nothing:
there is no peer that shows these pages.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from germane.labelling.speed import surroundings

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

PATHS = (
    "/",
    "/?days=365",
    "/?days=1100",
    "/?metric=grade@25:g7&segment=language%3Dl33",
    "/segments",
    "/alerts",
    "/alerts?state=all",
    "/alerts/3",
    "/days/{last}",
    "/judges",
    "/api",
    "/api/overview",
    "/api/overview?days=1100",
    "/api/overview.csv?days=1100",
    "/api/segments",
    "/api/days/{last}",
)
READERS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--years", type=float, default=3.0)
    parser.add_argument("--segments", type=int, default=60)
    parser.add_argument("--metrics", type=int, default=20)
    parser.add_argument("--times", type=int, default=10)
    given = parser.parse_args()
    import histories

    from germane.registry.database import open_registry

    with tempfile.TemporaryDirectory(prefix="germane-dashboards-") as folder:
        registry = open_registry(Path(folder) / "registry.sqlite")
        count, start = round(365 * given.years), time.perf_counter()
        sizes = {"segments": given.segments, "metrics": given.metrics}
        dates = histories.write(registry, count, **sizes, gaps=(17,), missing=(40,), alerts=tuple(range(20, count, 30)))
        size = (Path(folder) / "registry.sqlite").stat().st_size
        facts: dict[str, Any] = {"days": count, **sizes, "levels": (count - 2) * given.segments * given.metrics}
        facts |= {"megabytes": round(size / 1e6), "seconds to write": round(time.perf_counter() - start)}
        print(json.dumps(facts | {"machine": surroundings()}, default=str))
        measure(registry, Path(folder), dates[-1], given.times)
        registry.close()


def measure(registry: Any, folder: Path, last: str, times: int) -> None:
    """Prints a row for each page: the median and the slowest of one reader, and of 20 at once."""
    from starlette.testclient import TestClient

    from germane.web.app import create_app
    from germane.web.boards import pages, site

    board = site.Board(registry, project=folder, secret=b"s" * 64, guest=site.guest())
    with TestClient(create_app(board, pages.PAGES)) as http:

        def ask(path: str) -> tuple[float, int]:
            began = time.perf_counter()
            answer = http.get(path.format(last=last))
            assert answer.status_code == 200, (path, answer.text[:200])
            return 1000 * (time.perf_counter() - began), len(answer.content)

        print(
            "| page | KB | ms, median | ms, slowest | ms, median of 20 readers at once | slowest |\n|---|---|---|---|---|---|"
        )
        for path in PATHS:
            ask(path)
            alone = [ask(path) for _ in range(times)]
            with ThreadPoolExecutor(READERS) as readers:
                many = [took for took, _ in readers.map(ask, [path] * (2 * READERS))]
            cells = [statistics.median(t for t, _ in alone), max(t for t, _ in alone), statistics.median(many), max(many)]
            print(f"| {path} | {alone[0][1] / 1000:.0f} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
