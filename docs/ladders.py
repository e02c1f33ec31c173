"""The two MDE ladders on the simulated search engine: writes docs/statistics/ladders_coverage.md.

    python docs/ladders.py [--experiments 2000]

Every MDE is 2.8016 x the mean of the standard errors that germane's own estimators give in simulated experiments, over the
control's level. Power is the share of those experiments that find an effect of that size.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from germane.simulate.experiments import FROZEN, Experiments, experiments
from germane.stats.adjustment import adjusted_difference
from germane.stats.allocation import neyman, shrunken_sd
from germane.stats.correction import corrected, corrected_documents
from germane.stats.ladders import ladder, shapley, shares
from germane.stats.means import p_value, stratified_difference, stratified_mean
from germane.stats.moments import Moments
from germane.stats.power import mde, relative_mde
from germane.types import Estimate

OUT = Path(__file__).parent / "statistics" / "ladders_coverage.md"
POPULATION, SEED, PILOT = 100_000, 1, 2
OLD, NEW = FROZEN.old, FROZEN.new
STEPS = ("new m", "stratified sample", "stratified formula", "adjustment")


Experiment = Callable[[np.random.Generator], Estimate]


class Found(NamedTuple):
    """Of many experiments: the relative MDE from their SEs, the same from the spread of their estimates, power at that MDE,
    and how often the interval holds its estimand, and people's."""

    mde: float
    real: float
    power: float
    held: float
    people: float


class World:
    """The population with what every experiment needs of it, and a pilot (an earlier experiment, another seed)."""

    def __init__(self) -> None:
        self.all: Experiments = experiments(POPULATION, seed=SEED)
        self.d = {who: self.all.differences(who) for who in ("people", "judge", "student")}
        self.base = {who: float(self.all.levels(who).mean()) for who in ("people", "judge")}
        self.level = self.all.levels("judge")
        self.moved, self.shown = self.all.moved(), self.all.shown()
        self.pilot = experiments(2_000, seed=PILOT)
        self.frames = {n: Frame(self, few=n < 1_000) for n in (OLD, NEW)}

    def simple(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of a simple random sample. With replacement: the target is queries like these, of which there is no end."""
        return np.sort(rng.integers(0, len(self.all), n))


class Frame:
    """Strata of one sample size, and the Neyman allocation that the pilot's SDs of the judge's differences give.

    A sample of 180 has the four popularity segments as strata: two queries in each of 48 would leave it no choice.
    """

    def __init__(self, w: World, *, few: bool) -> None:
        kinds = len(FROZEN.segments) if few else len(w.all.strata)
        self.stratum, pilot = w.all.stratum % kinds, w.pilot.stratum % kinds
        self.n = OLD if few else NEW
        self.names = np.array([s.name for s in FROZEN.segments] if few else w.all.strata)
        self.sizes = np.bincount(self.stratum)
        self.order = np.argsort(self.stratum, kind="stable")
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.sample = neyman(self.sizes, shrunken_sd(*spreads(w.pilot.differences("judge"), pilot)), self.n)
        self.populations = dict(zip(self.names.tolist(), self.sizes.tolist(), strict=True))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Rows of a stratified sample, stratum by stratum."""
        at = np.repeat(self.starts, self.sample) + (rng.random(self.n) * np.repeat(self.sizes, self.sample)).astype(np.int64)
        return self.order[at]

    def moments(self, values: np.ndarray) -> dict[str, Moments]:
        """values: (n,) of a sample drawn here."""
        parts = np.split(values, np.cumsum(self.sample)[:-1])
        return dict(zip(self.names.tolist(), map(Moments.of, parts), strict=True))


def spreads(values: np.ndarray, stratum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(SD inside each stratum, its number of queries)."""
    n = np.bincount(stratum)
    return np.sqrt(np.bincount(stratum, inside(values, stratum) ** 2) / np.maximum(n - 1, 1)), n


def inside(values: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    return values - (np.bincount(stratum, values) / np.bincount(stratum))[stratum]


def sets(steps: Sequence[str]) -> list[frozenset[str]]:
    return [frozenset(taken) for size in range(len(steps) + 1) for taken in combinations(steps, size)]


def repeat(w: World, experiment: Experiment, who: str, *, times: int, seed: int) -> Found:
    """Many experiments. Power is of a test against truth - MDE: what a test against 0 meets where the effect is one MDE."""
    truth, base = float(w.d[who].mean()), w.base[who]
    done = [experiment(rng) for rng in np.random.default_rng(seed).spawn(times)]
    se = float(np.mean([e.se for e in done]))
    found = float(np.mean([p_value(e, null=truth - mde(se)) < 0.05 for e in done]))
    held, people = (float(np.mean([e.low <= d <= e.high for e in done])) for d in (truth, w.d["people"].mean()))
    real = float(np.std([e.value for e in done], ddof=1))
    return Found(relative_mde(se, base), relative_mde(real, base), found, held, people)


# --- the judge's ladder ---------------------------------------------------------------------------------------------


def weighted(frame: Frame, d: np.ndarray) -> Estimate:
    """The weighted mean with the simple formula: se^2 = sum of (weight x (d - mean))^2, which forgets the strata."""
    share = np.repeat(frame.sizes / frame.sizes.sum() / frame.sample, frame.sample)
    value = float(share @ d)
    se = float(np.sqrt(d.size / (d.size - 1) * ((share * (d - value)) ** 2).sum()))
    return Estimate(value, se, value - 1.96 * se, value + 1.96 * se, d.size, "weighted mean, simple formula", df=d.size - 1)


def simple_difference(w: World, who: str, n: int) -> Experiment:
    return lambda rng: stratified_difference({"all": Moments.of(w.d[who][w.simple(n, rng)])}, {"all": 1})


def judge_rungs(w: World, times: int) -> dict[str, Found]:
    d, x, frame = w.d["judge"], w.d["student"], w.frames[NEW]
    means = np.bincount(frame.stratum, x) / frame.sizes
    known = {name: np.array([mean]) for name, mean in zip(frame.names.tolist(), means, strict=True)}

    def adjusted(rng: np.random.Generator) -> Estimate:
        rows = frame.draw(rng)
        strata = frame.names[frame.stratum[rows]]
        return adjusted_difference(d[rows], x[rows], strata=strata, populations=frame.populations, covariate_means=known)

    regimes: dict[str, Experiment] = {
        f"{OLD} queries, simple random": simple_difference(w, "judge", OLD),
        f"{NEW:,} queries, simple random": simple_difference(w, "judge", NEW),
        "+ stratified sample, weighted mean, simple formula": lambda rng: weighted(frame, d[frame.draw(rng)]),
        "+ stratified formula": lambda rng: stratified_difference(frame.moments(d[frame.draw(rng)]), frame.populations),
        "+ regression adjustment": adjusted,
    }
    return {name: repeat(w, one, "judge", times=times, seed=10 + i) for i, (name, one) in enumerate(regimes.items())}


def judge_values(w: World) -> dict[frozenset[str], float]:
    """The relative MDE of each of the 16 sets of steps, in per cent, from the population's own moments.

    The stratified formula on a simple random sample is post-stratification. Source: Cochran (1977), eq. 5.6 and 5A.42.
    """
    found = {}
    for taken in sets(STEPS):
        frame = w.frames[NEW if "new m" in taken else OLD]
        s, share, strata = frame.stratum, frame.sizes / frame.sizes.sum(), "stratified formula" in taken
        d, x = (v - (np.bincount(s, v) / frame.sizes)[s] if strata else v - v.mean() for v in (w.d["judge"], w.d["student"]))
        left = d - (d @ x) / (x @ x) * x if "adjustment" in taken else d
        square = np.bincount(s, left**2) / frame.sizes
        if "stratified sample" in taken:
            variance = (share**2 * square / frame.sample).sum()
        else:
            variance = (share * square).sum() / frame.n + strata * ((1 - share) * square).sum() / frame.n**2
        found[taken] = 100 * relative_mde(float(np.sqrt(variance)), w.base["judge"])
    return found


def sd_reduction(w: World, times: int) -> list[str]:
    """What strata take from the SE, for levels and for differences: rows of a table."""
    rows = []
    for n, frame in w.frames.items():
        for name, v in (("level of the control", w.level), ("paired difference", w.d["judge"])):
            spread = float(v.std() / np.sqrt(n))
            even = float(np.sqrt((np.bincount(frame.stratum, inside(v, frame.stratum) ** 2)).sum() / len(v) / n))
            found = [
                stratified_mean(frame.moments(v[frame.draw(rng)]), frame.populations).se
                for rng in np.random.default_rng(n).spawn(times)
            ]
            gains = f"{1 - even / spread:.1%} | {1 - np.mean(found) / spread:.1%}"
            rows.append(f"| {name} | {n:,} | {len(frame.sizes)} | {v.std():.3f} | {gains} |")
    return rows


# --- people's ladder ------------------------------------------------------------------------------------------------


class Documents(NamedTuple):
    """Odds of drawing single documents: proportional to |w| x the SD of people's gain given the judge's grade, from a pilot."""

    size: np.ndarray  # (N, C): |w| sd
    per_query: float

    @classmethod
    def of(cls, w: World) -> "Documents":
        grade = np.rint(4 * w.pilot.gains["judge"][w.pilot.moved()]).astype(int)
        sd, _ = spreads(w.pilot.gains["people"][w.pilot.moved()].astype(float), grade)
        size = np.abs(w.all.weight) * sd[np.rint(4 * w.all.gains["judge"]).astype(int)]
        return cls(size, float(size.sum(axis=1).mean()))

    def labels_for(self, w: World, variance: float, m: int) -> float:
        """Labels at which single documents of m judged queries give this variance, at the best lam, from the population."""
        at = w.moved
        weight, size = w.all.weight[at].astype(float), self.size[at]
        people, judge = (w.all.gains[who][at].astype(float) for who in ("people", "judge"))
        few, many = 1.0, 1e6
        while many / few > 1.001:
            labels = (few * many) ** 0.5
            odds = weight**2 * (1 / np.minimum(1, labels / (m * self.per_query) * size) - 1)
            yy, yf, ff = ((odds * a * b).sum() / len(w.all) for a, b in ((people, people), (people, judge), (judge, judge)))
            few, many = (labels, many) if (w.d["people"].var() + yy - yf**2 / ff) / m > variance else (few, labels)
        return many

    def chances(self, rows: np.ndarray, labels: float) -> np.ndarray:
        return np.minimum(1.0, labels / (len(rows) * self.per_query) * self.size[rows])


def audited(w: World, n: int, m: int, who: str = "judge") -> Experiment:
    """m judged queries, a simple random sample, n of them audited."""

    def one(rng: np.random.Generator) -> Estimate:
        rows = rng.permutation(w.simple(m, rng))
        people = np.where(np.arange(m) < n, w.d["people"][rows], np.nan)
        return corrected(w.d[who][rows], people, strata=np.full(m, "all"), populations={"all": len(w.all)}).estimate

    return one


def audited_documents(w: World, docs: Documents, labels: float, m: int) -> Experiment:
    """m judged queries; single documents of them drawn with known odds, `labels` of them on average."""

    def one(rng: np.random.Generator) -> Estimate:
        rows = w.simple(m, rng)
        chance = docs.chances(rows, labels)
        query, place = np.nonzero(rng.random(chance.shape) < chance)
        at = rows[query], place
        return corrected_documents(
            w.d["judge"][rows],
            query=query,
            weight=w.all.weight[at].astype(float),
            judge_gain=w.all.gains["judge"][at].astype(float),
            people_gain=w.all.gains["people"][at].astype(float),
            chance=chance[query, place],
            strata=np.full(m, "all"),
            populations={"all": len(w.all)},
        ).estimate

    return one


def people_rungs(w: World, docs: Documents, times: int) -> tuple[dict[str, Found], float]:
    """(the rungs at equal human labels, and people only on documents that moved; how many labels)."""
    labels = OLD * float(w.shown.sum(axis=1).mean())
    more = round(labels / float(w.moved.sum(axis=1).mean()))
    regimes = {
        f"people only, all results of {OLD} queries": simple_difference(w, "people", OLD),
        f"+ correction: a judge on {NEW:,} queries": audited(w, OLD, NEW),
        f"+ only documents that moved ({more} queries)": audited(w, more, NEW),
        "+ single documents, with odds": audited_documents(w, docs, labels, NEW),
        f"people only, moved documents of {more} queries": simple_difference(w, "people", more),
    }
    found = {name: people(w, one, times, 30 + i) for i, (name, one) in enumerate(regimes.items())}
    return found, labels


def people(w: World, one: Experiment, times: int, seed: int) -> Found:
    return repeat(w, one, "people", times=times, seed=seed)


def correction_rows(w: World, times: int) -> list[str]:
    """Corrected over people only, measured and by the formula, for two labellers and several sizes: rows of a table."""
    rows = []
    for who in ("judge", "student"):
        rho = float(np.corrcoef(w.d["people"], w.d[who])[0, 1])
        for n, m in ((OLD, 1_000), (OLD, NEW), (500, NEW), (1_000, NEW)):
            alone = people(w, simple_difference(w, "people", n), times, 50 + n)
            both = people(w, audited(w, n, m, who), times, 60 + n + m)
            formula = float(np.sqrt(1 - rho**2 + rho**2 * n / m))
            ratio = both.mde / alone.mde
            rows.append(
                f"| {who} | {rho:.2f} | {n:,} | {m:,} | {alone.mde:.2%} | {both.mde:.2%} | {ratio:.3f} | {formula:.3f} | "
                f"{ratio / formula - 1:+.1%} | {both.real / alone.real:.3f} |"
            )
    return rows


# --- the page -------------------------------------------------------------------------------------------------------


def ladder_table(found: Mapping[str, Found], *, of_people: bool) -> list[str]:
    """of_people: coverage is of people's answer already."""
    columns = ["regime", "MDE", "points", "ratio", "share of the fall", "MDE by the spread of estimates", "power at the MDE"]
    columns += ["coverage"] if of_people else ["coverage", "holds people's answer"]
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for rung in ladder([(name, 100 * f.mde) for name, f in found.items()]):
        f = found[rung.name]
        step = f"{rung.points:.2f} | x {rung.ratio:.2f} | {rung.share:.0%}" if rung.points else " | | "
        last = "" if of_people else f" {f.people:.1%} |"
        lines.append(f"| {rung.name} | {rung.mde:.2f} % | {step} | {f.real:.2%} | {f.power:.1%} | {f.held:.1%} |{last}")
    return lines


def split_table(values: Mapping[frozenset[str], float], steps: Sequence[str]) -> list[str]:
    points, factors = shapley(values), shapley(values, scale="ratio")
    share, share_log = shares(points), shares(factors, scale="ratio")
    lines = ["| step | points | share | factor | share of the logarithm |", "| --- | --- | --- | --- | --- |"]
    return lines + [
        f"| {step} | {-points[step]:+.3f} | {share[step]:.0%} | x {factors[step]:.3f} | {share_log[step]:.0%} |"
        for step in steps
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="The two MDE ladders")
    parser.add_argument("--experiments", type=int, default=2_000)
    times = parser.parse_args().experiments
    w = World()
    docs = Documents.of(w)
    judge, values = judge_rungs(w, times), judge_values(w)
    found, labels = people_rungs(w, docs, times)
    *rungs, alone = found
    pair = ("correction", "moved documents only")
    order = [rungs[0], rungs[1], alone, rungs[2]]
    taken = [frozenset(), frozenset(pair[:1]), frozenset(pair[1:]), frozenset(pair)]
    split = {s: 100 * found[name].mde for s, name in zip(taken, order, strict=True)}
    lines = [
        "### The judge's estimand",
        "",
        *ladder_table(judge, of_people=False),
        "",
        "The same fall, split without an order (Shapley over all 16 sets of steps, from the population's moments):",
        "",
        *split_table(values, STEPS),
        "",
        "What strata take from the standard error, for levels and for differences:",
        "",
        "| value | n | strata | SD | strata, proportional | as drawn (Neyman on differences) |",
        "| --- | --- | --- | --- | --- | --- |",
        *sd_reduction(w, times // 4),
        "",
        "### People's estimand",
        "",
        f"At equal human labels, {labels:,.0f} an experiment:",
        "",
        *ladder_table({name: found[name] for name in rungs}, of_people=True),
        "",
        "The first three, split without an order:",
        "",
        *split_table(split, pair),
        "",
        "Correction alone, at equal human labels, against sqrt(1 - rho^2 + rho^2 n/m):",
        "",
        "| labeller | rho | n | m | people only | corrected | ratio | formula | off by | ratio of spreads |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *correction_rows(w, times),
        "",
        "The same interval for fewer labels:",
        "",
        *label_table(w, docs, found[rungs[1]], times),
        "",
        f"Made by `python docs/ladders.py`: {times:,} simulated experiments a row, from {POPULATION:,} simulated queries. "
        f"Monte Carlo errors: power {np.sqrt(0.16 / times):.1%}, coverage {np.sqrt(0.0475 / times):.1%}, "
        f"the spread of estimates {1 / np.sqrt(2 * times):.1%} of itself.",
        "",
    ]
    OUT.write_text("\n".join(lines), encoding="utf-8")


def label_table(w: World, docs: Documents, target: Found, times: int) -> list[str]:
    shown, moved = (float(x.sum(axis=1).mean()) for x in (w.shown, w.moved))
    wanted = (target.mde * w.base["people"] / mde(1.0)) ** 2
    labels = round(docs.labels_for(w, wanted, NEW))
    single = people(w, audited_documents(w, docs, labels, NEW), times, 90)
    everything, held = OLD * shown, f"{target.held:.1%}"
    return [
        "| what people label | labels an audited query | labels | of the first | MDE, corrected | coverage |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| top 25 of both arms, {OLD} queries | {shown:.1f} | {everything:,.0f} | 100% | {target.mde:.2%} | {held} |",
        f"| documents that moved, {OLD} queries | {moved:.1f} | {OLD * moved:,.0f} | {moved / shown:.0%} | "
        f"{target.mde:.2%}, the same interval | {held} |",
        f"| single documents with odds, in all {NEW:,} queries | {labels / NEW:.2f} | {labels:,} | {labels / everything:.0%} | "
        f"{single.mde:.2%} | {single.held:.1%} |",
    ]


if __name__ == "__main__":
    main()
