"""Chapter: thirty days of search are watched by the student; on one of them a release breaks the ranking of one language."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import store
from germane.chance import keys, uniform
from germane.engines import BM25
from germane.metrics import sdcg_weights
from germane.pipeline import watch
from germane.report import day as page
from germane.report import words
from germane.report.tour import Chapter, Days, Figure, Link
from germane.simulate.marketplace import SCALE
from germane.tour.world import ARMS, K, World
from germane.types import Estimate, decode

if TYPE_CHECKING:
    import pyarrow as pa

FIRST = date(2025, 9, 1)
BROKEN = "language=de"
DEEP = 30
"""Results that the ranker finds, of which a page shows ten."""

WAVERS = 0.7
"""SD of a result's rank from day to day, in ranks: no ranker shows the same page every day."""

METRIC = f"sdcg@{K}"

SETTINGS = """\
# Made by `germane tour`: simulated requests, items and results.
scale = "{scale}"
seed = {seed}

[watch]
log = "logs/{{date}}.parquet"
docs = "../data/docs.parquet"
judge = "../student"
anchors = "../data/anchors.parquet"
segments = ["language"]
sample = {sample}
k = {k}
start = "{first}"

[sinks]
file = "alerts.jsonl"
"""


class Watched(NamedTuple):
    """What the history says. alerts: in the order of days."""

    levels: dict[str, Estimate]
    of_segment: dict[str, Estimate]
    alerts: list[Any]


def chapter(world: World) -> tuple[Chapter, Days]:
    """The days, watched one after the other, and what was found."""
    shop = world.out / "shop"
    search, days = Search(world), [FIRST + timedelta(n) for n in range(world.size.days)]
    broken = days[world.size.sound]
    settings = SETTINGS.format(scale=SCALE.name, seed=world.seed, sample=world.size.sample, k=K, first=FIRST)
    store.write_text(shop / "germane.toml", settings)
    anchors = store.read_table(world.out / "data" / "golden-pairs.parquet", "pairs")
    world.write("anchors", "pairs", anchors.slice(0, world.size.anchors))
    for day in days:
        search.write(shop / "logs", day, broken=day >= broken)
    for day in days:  # those that are in the history are passed over
        watch.run(shop, day=str(day))
    found = watched(shop)
    told = Days(
        str(days[0]),
        str(days[-1]),
        page.name(METRIC),
        found.levels,
        tuple((a.date, page.sentence(a)) for a in found.alerts),
        str(broken),
        BROKEN,
        found.of_segment,
    )
    return _chapter(world, search, found, broken), told


def watched(shop: Path) -> Watched:
    """The history of a watched project."""
    levels = {row.date: row.level for row in watch.history(shop, metric=METRIC) if row.level is not None}
    of = {row.date: row.level for row in watch.history(shop, metric=METRIC, segment=BROKEN) if row.level is not None}
    return Watched(levels, of, sorted(watch.alerts(shop, every=True), key=lambda a: (a.date, a.id)))


class Search:
    """The shop's search, as its log has it: the new ranker, which wavers a little, and breaks for one language."""

    def __init__(self, world: World) -> None:
        self.world = world

    @cached_property
    def found(self) -> dict[str, list[tuple[str, float]]]:
        """What the ranker finds for each query, best first: documents with their prices."""
        market = self.world.market
        run = BM25(market.docs, ARMS["all-fields"]).search(market.queries, k=DEEP)
        price = dict(zip(market.docs["doc_id"].to_pylist(), market.docs["price"].to_pylist(), strict=True))
        made: dict[str, list[tuple[str, float]]] = {}
        for query, doc in zip(run["query_id"].to_pylist(), run["doc_id"].to_pylist(), strict=True):
            made.setdefault(str(query), []).append((str(doc), _amount(price[doc])))
        return made

    def page(self, query: str, language: str, day: date, *, broken: bool) -> list[str]:
        """What search shows for a query on a day. broken: a release sorts German results by price."""
        found = self.found.get(query, [])
        if broken and f"language={language}" == BROKEN:
            return [doc for doc, _ in sorted(found, key=lambda each: (each[1], each[0]))][: self.world.size.left]
        chance = uniform(day.toordinal(), keys([f"{query} {doc}" for doc, _ in found]))
        order = np.argsort(np.arange(len(found)) + WAVERS * _normal(chance), kind="stable")
        return [found[i][0] for i in order[:K]]

    def write(self, folder: Path, day: date, *, broken: bool) -> Path:
        """The log of a day."""
        import pyarrow.parquet as pq

        path = folder / f"{day}.parquet"
        if not path.is_file():
            with store.replacing(path) as file:
                pq.write_table(self.log(day, broken=broken), file)
        return path

    def log(self, day: date, *, broken: bool) -> pa.Table:
        """A day's requests: more at the weekend, and the popular queries most."""
        import pyarrow as pa

        queries = self.world.market.queries
        rng = np.random.default_rng([self.world.seed, day.toordinal()])
        requests = round(self.world.size.requests * (1.3 if day.weekday() >= 5 else 1.0))
        odds = np.asarray(queries["impressions"].to_numpy(), float)
        rows = rng.choice(queries.num_rows, requests, p=odds / odds.sum())
        ids, texts, languages = (queries[name].to_pylist() for name in ("query_id", "query", "language"))
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        seconds = np.sort(rng.integers(0, 86_400, requests))
        pages = {int(r): self.page(str(ids[r]), str(languages[r]), day, broken=broken) for r in np.unique(rows)}
        return pa.table(
            {
                "time": pa.array([begin + timedelta(seconds=int(s)) for s in seconds], pa.timestamp("us", tz="UTC")),
                "query": [texts[r] for r in rows],
                "shown": pa.array([pages[int(r)] for r in rows], pa.list_(pa.string())),
                "language": [languages[r] for r in rows],
            }
        )

    def truth(self, before: date, broken: date) -> tuple[float, float]:
        """The true sDCG of the segment before and after the release, which no team sees: means over its requests."""
        queries, levels = self.world.market.queries, []
        german = [i for i, name in enumerate(queries["language"].to_pylist()) if f"language={name}" == BROKEN]
        ids, names = queries["query_id"].to_pylist(), queries["language"].to_pylist()
        weight = np.asarray(queries["impressions"].to_numpy(), float)[german]
        for day, after in ((before, False), (broken, True)):
            value = [self._level(str(ids[i]), str(names[i]), day, after) for i in german]
            levels.append(float(np.asarray(value) @ weight / weight.sum()))
        return levels[0], levels[1]

    def _level(self, query: str, language: str, day: date, broken: bool) -> float:
        docs = self.page(query, language, day, broken=broken)
        gain = np.asarray(SCALE.gains)[self.world.market.truth([query] * len(docs), docs)] if docs else np.zeros(0)
        return float(gain @ sdcg_weights(K)[: len(docs)])


def _chapter(world: World, search: Search, found: Watched, broken: date) -> Chapter:
    before, after = search.truth(broken - timedelta(1), broken)
    true = f"{words.signed(after - before, 3)} in {BROKEN}, from {words.plain(before)} to {words.plain(after)}"
    early = [a for a in found.alerts if a.date < str(broken)]
    raised = [a for a in found.alerts if a.date >= str(broken) and a.direction == "down"]
    last = FIRST + timedelta(world.size.days - 1)
    figures = [Figure("days watched", None, f"{len(found.levels):,}, {len(early)} alerts before the incident")]
    figures += [Figure("the true change, which a simulation knows", None, true)]
    links: tuple[Link, ...] = (Link("the last day", f"shop/watch/{last}/report.html"),)
    report = links[0]
    if raised:
        alert = raised[0]
        late = (date.fromisoformat(alert.date) - broken).days
        split = alert.detail.get("split") or {}
        cause = split.get("cause") or "not named"
        step = f"{page.name(alert.metric)} in {alert.segment}: the step"
        figures.append(Figure(step, _estimate(alert.detail["size"]), kind="signed"))
        figures += [
            Figure(f"of it, by {name}", _estimate(split[name]), kind="signed") for name in page.CAUSES if split.get(name)
        ]
        figures.append(Figure("cause that the alert names", None, cause))
        figures.append(Figure("found", None, f"{late} days after the incident" if late else "on the day of the incident"))
        answer = f"Alert on {alert.date}: {page.sentence(alert)}."
        report = Link("the day of the alert", f"shop/watch/{alert.date}/report.html")
    else:
        answer = f"No alert: the incident of {broken} was not found in {world.size.days} days."
        links = ()
    notes = [f"{len(early)} alerts were false: nothing had changed."] * bool(early)
    if raised and (raised[0].segment, raised[0].metric) == (BROKEN, METRIC):
        notes.append(beside(raised[0].detail["size"], after - before))
    cut = "" if world.size.left >= K else f" and shows {world.size.left} of them"
    return Chapter(
        "watching",
        f"{world.size.days} days of watching",
        "Is search as relevant as yesterday, and if not, what moved it?",
        answer,
        f"A simulated log of {world.size.requests:,} requests a day and more at weekends. germane watch run sampled "
        f"{world.size.sample:,} queries of each day, the student graded what they showed, and a panel was compared with "
        f"itself. From {broken} on, a release sorts German results by price{cut}. Nobody told the detectors.",
        tuple(figures),
        report,
        ("germane watch run", "germane watch alerts", "germane web"),
        links,
        tuple(notes),
    )


def beside(size: Any, true: float) -> str:
    """What the step that the student saw is beside the true change, in a sentence. size: as an alert's details have it."""
    seen, really = (words.signed(x, 3) for x in (size["value"], true))
    says = f"The student sees {seen}, and the true change is {really}: "
    if seen == really:
        return f"{says}as large."
    if size["value"] * true < 0:
        says += "the other way."
    elif abs(size["value"]) < abs(true):
        says += "a judge that errs shrinks it."
    else:
        says += "it looks larger than it is, as steps do that alarm early."
    e = _estimate(size)
    return says if e is None else f"{says} The interval {'holds' if e.low <= true <= e.high else 'misses'} the truth."


def _estimate(said: Any) -> Estimate | None:
    """An estimate of an alert's details; None where it has no interval."""
    if said.get("value") is None or said.get("low") is None or said.get("high") is None:
        return None
    known = {name: said[name] for name in ("value", "se", "low", "high", "n") if name in said}
    made = decode(Estimate, {"se": 0.0, "n": 0, "method": "", **known})
    assert isinstance(made, Estimate)
    return made


def _amount(price: Any) -> float:
    """The number of a price such as EUR 52.30; 0 where an item has none."""
    return float(str(price).split()[-1]) if price else 0.0


def _normal(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import ndtri

    return np.asarray(ndtri(chance))
