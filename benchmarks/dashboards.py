"""The dashboards at 3 years x 60 segments x 20 metrics: milliseconds of each page for one reader, and for 20 readers at once.

    python benchmarks/dashboards.py                  # some minutes, most of them for writing the history; 1.5 GB of disk
    python benchmarks/dashboards.py --years 0.25
    python benchmarks/dashboards.py --folder KEPT    # the history is written there once, and used again

The history is generated (seeded by its own formula; the values mean nothing) and written to SQLite as the daily job would
have written it: a level of every metric in every segment, and two changes of each, every day. The files of a day are those of
2,000 queries with 25 results (six days are made, the others are links to them); a golden task has 2,000 pairs of two votes.
`germane web` serves it as it is installed here, a process a core; readers ask over HTTP on this machine, as browsers do
(compressed), all at the same moment. "Cold" is a page that nobody asked for before: each of the 20 asks for another page,
segment or day, so that nothing is kept of any. "Warm" is the same again. In Chromium, where it is installed, a page is opened
cold while 19 others ask for pages of their own. Beside it, on the same file, the page that one writes in an afternoon:
FastAPI, pandas.read_sql, to_html, one process, no chart.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from urllib.parse import quote

from germane.labelling.speed import surroundings

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
READER = "reader-of-it-all"  # who logs in, and with which password
COOKIE: dict[str, str] = {}
PAIR = "pair.json"  # a query and a document that the last day shows
READERS = 20
ALONE = 5

PAGES = {
    "overview, 90 days": "/?segment={segment}&metric={metric}",
    "overview, 365 days": "/?days=365&segment={segment}&until={date}",
    "overview, 1,100 days": "/?days=1100&segment={segment}&metric={metric}",
    "overview, 1,100 days, two metrics": "/?days=1100&segment={segment}&until={date}",
    "segments": "/segments?date={date}",
    "alerts": "/alerts?state=all&under={under}",
    "alert": "/alerts/{alert}",
    "day": "/days/{date}",
    "judges": "/judges",
    "data": "/api",
    "overview as JSON, 1,100 days": "/api/overview?days=1100&segment={segment}&metric={metric}",
    "overview as CSV, 1,100 days": "/api/overview.csv?days=1100&segment={segment}&metric={metric}",
    "day as JSON": "/api/days/{date}",
    "labels of a query, 30 days": "/labels?query=word{number}&until={date}",
    "labels of a document, 30 days": "/labels?doc=i{number:05d}&until={date}",
    "a pair, 30 days": "/labels/pair?query={query}&doc={doc}&until={date}",
    "costs, 1,100 days": "/costs?days=1100&until={date}",
    "golden set, 2,000 pairs": "/golden?{number}",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--years", type=float, default=3.0)
    parser.add_argument("--segments", type=int, default=60)
    parser.add_argument("--metrics", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=6, help="of 20 readers at once, for each kind of load")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--only", choices=["readers", "browser", "peer"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="germane-dashboards-") as made:
        folder = given.folder or Path(made)
        sizes = {"segments": given.segments, "metrics": given.metrics}
        dates = history(folder, round(365 * given.years), **sizes)
        print(json.dumps({"machine": surroundings()}, default=str), flush=True)
        if given.only in (None, "readers"):
            with served(folder, given.workers) as (port, first):
                measure(port, first, Addresses(folder, dates, **sizes), given.rounds)
        if given.only in (None, "browser") and (browser := chromium()):
            with served(folder, given.workers) as (port, _):
                in_a_browser(browser, port, Addresses(folder, dates, **sizes))
        if given.only in (None, "peer"):
            with peer(folder) as port:
                measure_peer(port, Addresses(folder, dates, **sizes), given.rounds)


def history(folder: Path, days: int, *, segments: int, metrics: int) -> list[str]:
    """The dates of the history in the folder, which is written if it is not there."""
    import histories
    import shown_days

    from germane.registry import accounts
    from germane.registry.accounts import Role
    from germane.registry.database import open_registry

    dates = [str(histories.FIRST + histories.timedelta(number)) for number in range(days)]
    folder.mkdir(parents=True, exist_ok=True)
    path, began = folder / "registry.sqlite", time.perf_counter()
    if not path.exists():
        (folder / "germane.toml").write_text('scale = "five-level"\n', encoding="utf-8")
        registry = open_registry(path)
        alerts = tuple(range(20, days, 30))
        histories.write(registry, days, segments=segments, metrics=metrics, gaps=(17,), missing=(40,), alerts=alerts)
        shown_days.judged(registry, 2_000)
        accounts.add(registry, READER, Role.OWNER, READER, actor="benchmark")
        registry.close()
        (folder / PAIR).write_text(json.dumps(shown_days.shown(folder, dates)), encoding="utf-8")
    facts = {"days": days, "segments": segments, "metrics": metrics, "levels": (days - 2) * segments * metrics}
    facts |= {"megabytes": round(path.stat().st_size / 1e6), "seconds to write": round(time.perf_counter() - began)}
    print(json.dumps(facts), flush=True)
    return dates


class Addresses:
    """Addresses of pages, none of which was given before: another segment, metric, day or alert each time."""

    def __init__(self, folder: Path, dates: list[str], *, segments: int, metrics: int) -> None:
        self.query, self.doc = json.loads((folder / PAIR).read_text(encoding="utf-8"))
        self.dates, self.segments, self.number = dates, segments, count()
        self.measured = ["sdcg@25", "relevant@25", *(f"grade@25:g{i}" for i in range(2, metrics))]

    def next(self, page: str) -> str:
        """The next address of a page."""
        i = next(self.number)
        segment = quote(f"language=l{1 + i % (self.segments - 1)}")
        metric = self.measured[(i // (self.segments - 1)) % len(self.measured)]
        date = self.dates[-1 - i % (len(self.dates) // 2)]
        alerts = len(self.dates) // 30
        said = {"segment": segment, "metric": metric, "date": date, "number": i, "query": self.query, "doc": self.doc}
        return page.format(**said, under=2 + i % alerts + alerts, alert=1 + i % alerts)


@contextmanager
def served(folder: Path, workers: int | None) -> Iterator[tuple[int, int]]:
    """The port at which `germane web` answers, and the number of its first process. Readers are logged in."""
    from germane.registry import accounts
    from germane.registry.database import open_registry

    registry = open_registry(folder / "registry.sqlite")
    COOKIE["germane"] = accounts.log_in(registry, READER, READER, address="127.0.0.1") or ""
    registry.close()
    command = [sys.executable, "-m", "germane.cli", "web", "--project", str(folder), "--port", "0"]
    command += ["--workers", str(workers)] if workers else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = next(line for line in process.stdout if line.startswith("open "))
    try:
        yield int(address.rstrip().rstrip("/").rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait()


def processor(first: int) -> float:
    """Milliseconds of processor time that a process and those that it began have used; 0 where the system does not say."""
    spent = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = path.read_text().partition(" ")
        except OSError:
            continue
        parts = rest.rpartition(")")[2].split()
        if first in (int(number), int(parts[1])):
            spent += 1000 * (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def at_once(port: int, paths: list[str]) -> list[float]:
    """Milliseconds of each address, all asked for at the same moment over connections that are open."""
    took, begin = [0.0] * len(paths), threading.Barrier(len(paths))
    cookies = "; ".join(f"{name}={value}" for name, value in COOKIE.items())

    def ask(i: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.connect()
        begin.wait()
        began = time.perf_counter()
        connection.request("GET", paths[i], headers={"Accept-Encoding": "gzip", "Cookie": cookies})
        answer = connection.getresponse()
        answer.read()
        took[i] = 1000 * (time.perf_counter() - began)
        assert answer.status == 200, (paths[i], answer.status)
        connection.close()

    readers = [threading.Thread(target=ask, args=(i,)) for i in range(len(paths))]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return took


def measure(port: int, first: int, addresses: Addresses, rounds: int) -> None:
    """Prints a row for each page: processor time, one reader, 20 of different pages, 20 of this page, cold and warm."""
    at_once(port, ["/", "/segments", "/alerts", "/judges"] * 5)  # each process has answered once
    alone = {name: [at_once(port, [addresses.next(page)])[0] for _ in range(ALONE)] for name, page in PAGES.items()}
    kinds = list(PAGES)
    mixed: dict[str, dict[str, list[float]]] = {"cold": defaultdict(list), "warm": defaultdict(list)}
    for turn in range(2 * rounds):
        names = [kinds[(turn * READERS + i) % len(kinds)] for i in range(READERS)]
        paths = [addresses.next(PAGES[name]) for name in names]
        for state in ("cold", "again", "again", "warm"):  # again: until each process has it
            for name, took in zip(names, at_once(port, paths), strict=True):
                if state != "again":
                    mixed[state][name].append(took)
    same: dict[str, dict[str, list[float]]] = {"cold": defaultdict(list), "warm": defaultdict(list)}
    spent: dict[str, list[float]] = defaultdict(list)
    for name, page in PAGES.items():
        for _ in range(max(1, rounds // 3)):
            paths = [addresses.next(page) for _ in range(READERS)]
            for state in ("cold", "again", "again", "warm"):
                before = processor(first)
                took = at_once(port, paths)
                spent[f"{name} {state}"].append((processor(first) - before) / READERS)
                if state != "again":
                    same[state][name] += took
    heads = ["page", "processor time, cold (warm)", "one reader, cold: median (slowest)"]
    heads += ["20 readers of different pages, cold: p50, p99, max", "warm"]
    heads += ["20 readers of this page, each another one, cold", "warm"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for name in PAGES:
        cells = [f"{statistics.mean(spent[f'{name} cold']):.0f} ({statistics.mean(spent[f'{name} warm']):.1f})"]
        cells += [f"{statistics.median(alone[name]):.0f} ({max(alone[name]):.0f})"]
        cells += [figures(found[state][name]) for found in (mixed, same) for state in ("cold", "warm")]
        print(f"| {name} | " + " | ".join(cells) + " |")
    everything = {state: [t for found in mixed[state].values() for t in found] for state in ("cold", "warm")}
    print(f"| all of them | | | {figures(everything['cold'])} | {figures(everything['warm'])} | | |")
    path = addresses.next(PAGES["overview, 1,100 days, two metrics"])
    print(f"one page of 1,100 days by 20 at once, cold: {figures(at_once(port, [path] * READERS))}", flush=True)


def figures(took: list[float]) -> str:
    """Median, 99th percentile and the slowest, in milliseconds."""
    found = sorted(took)
    return f"{statistics.median(found):.0f}, {found[max(0, -(-99 * len(found) // 100) - 1)]:.0f}, {found[-1]:.0f}"


def chromium() -> str | None:
    """The browser that is installed, if playwright is here to drive it."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return None
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def in_a_browser(program: str, port: int, addresses: Addresses) -> None:
    """Prints, for each page, when its document was ready and when all of it was loaded, alone and while 19 others ask."""
    from playwright.sync_api import sync_playwright

    kinds = [name for name in PAGES if " as " not in name]
    print("| page in Chromium, cold | ready, alone: ms | loaded | ready, while 19 others ask | loaded |\n|---|---|---|---|---|")
    at_once(port, ["/", "/segments", "/alerts", "/judges"] * 5)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies([{"name": n, "value": v, "url": f"http://127.0.0.1:{port}"} for n, v in COOKIE.items()])
        page = context.new_page()

        def opened(path: str) -> tuple[float, float]:
            page.goto(f"http://127.0.0.1:{port}{path}")
            found = page.evaluate("() => performance.getEntriesByType('navigation')[0].toJSON()")
            ready, loaded = found["domContentLoadedEventEnd"], found["loadEventEnd"]
            return ready, loaded

        opened("/alive")
        for name in kinds:
            opening: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
            for busy in (False, True, False, True, False, True):
                others = [addresses.next(PAGES[kinds[i % len(kinds)]]) for i in range(READERS - 1)]
                thread = threading.Thread(target=at_once, args=(port, others))
                if busy:
                    thread.start()
                opening[busy].append(opened(addresses.next(PAGES[name])))
                if busy:
                    thread.join()
            worst = [f"{max(times[i] for times in opening[busy]):.0f}" for busy in (False, True) for i in (0, 1)]
            print(f"| {name} | " + " | ".join(worst) + " |", flush=True)
        browser.close()
    print("the slowest of three", flush=True)


PEER = """
import sqlite3, sys
import pandas as pd
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

app = FastAPI()
ASKED = '''select d.date, l.metric, l.value, l.low, l.high, l.n, d.requests from levels l join days d on d.id = l.day_id
where l.segment = ? and l.metric in ('sdcg@25', 'relevant@25') and d.date > ? order by d.date desc'''

@app.get("/", response_class=HTMLResponse)
def page(segment: str = "all", days: int = 90):
    with sqlite3.connect(sys.argv[1]) as connection:
        last = connection.execute("select max(date) from days").fetchone()[0]
        first = str((pd.Timestamp(last) - pd.Timedelta(days=days)).date())
        frame = pd.read_sql(ASKED, connection, params=(segment, first))
    wide = frame.pivot(index="date", columns="metric", values=["value", "low", "high", "n"]).sort_index(ascending=False)
    return wide.to_html(float_format="%.3f")

uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""


@contextmanager
def peer(folder: Path) -> Iterator[int]:
    """The port at which the page of an afternoon answers."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", PEER, str(folder / "registry.sqlite"), str(port)])
    try:
        while True:
            try:
                http.client.HTTPConnection("127.0.0.1", port).connect()
                break
            except OSError:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def measure_peer(port: int, addresses: Addresses, rounds: int) -> None:
    """Prints the same for the peer: one reader, and 20 at once, each of another segment."""
    at_once(port, ["/"] * 5)
    print(
        "| FastAPI and pandas | one reader: median (slowest) | 20 readers, each another segment: p50, p99, max |\n|---|---|---|"
    )
    for days in (90, 365, 1100):
        paths = (addresses.next(f"/?days={days}&segment={{segment}}") for _ in count())
        alone = [at_once(port, [path])[0] for path in islice(paths, ALONE)]
        many = [took for _ in range(max(1, rounds // 3)) for took in at_once(port, list(islice(paths, READERS)))]
        print(f"| {days:,} days | {statistics.median(alone):.0f} ({max(alone):.0f}) | {figures(many)} |", flush=True)


if __name__ == "__main__":
    main()
