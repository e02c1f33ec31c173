"""A report with everything in it, made by hand: the numbers are plausible and fixed, some of the text is hostile."""
# ruff: noqa: E501  (rows of a table, not code)

from __future__ import annotations

from dataclasses import replace

from germane.types import (
    Design,
    Effect,
    Estimate,
    Exposure,
    Grades,
    Histogram,
    Input,
    Interaction,
    JudgeCard,
    QueryResult,
    Report,
    Result,
    Stratum,
    Unjudged,
    VarianceParts,
)

LABELS = ("highly irrelevant", "irrelevant", "marginally relevant", "relevant", "highly relevant")
SCRIPT = "<script>alert('x')</script><img src=x onerror=alert(1)>"
BIDI = "oak \u202egnp.exe\u202c shelf \u0000 \u200b end"
PIPES = "a | b `c` *d* [e](javascript:alert(1)) ![f](http://example.com/x.png) # <b>g</b>"
POPULARITY = (("head", 0.04, 120), ("torso", 0.16, 110), ("tail", 0.45, 110), ("single", 0.35, 60))
INTEREST = (("home", 0.31, 118), ("garden", 0.24, 97), ("fashion", 0.27, 102), ("toys", 0.13, 71), ("art & <craft>", 0.05, 12))


def estimate(value: float, se: float, n: int, method: str = "stratified paired difference", caveat: str = "") -> Estimate:
    return Estimate(value, se, value - 1.97 * se, value + 1.97 * se, n, method, 0.95, n - 4.0, caveat)


def shares(label: str, control: float, treatment: float) -> Grades:
    return Grades(
        label,
        *(estimate(x, 0.004, 400, "stratified mean") for x in (control, treatment)),
        estimate(treatment - control, 0.003, 400),
    )


def together(effect: Effect) -> Effect:
    """The effect with what the others of its dimension make of it: half of it is luck; two of eight were found."""
    delta = effect.delta
    if delta is None or delta.caveat:
        return effect
    pulled = replace(
        estimate(delta.value / 2 + 0.0061, 0.8 * delta.se, delta.n), method="shrunken towards the mean of 4 segments"
    )
    picked = replace(delta, low=delta.value - 2.52 * delta.se, high=delta.value + 2.52 * delta.se, level=0.9875)
    return replace(effect, adjusted=picked if effect.found else None, shrunken=pulled)


def segments() -> tuple[Effect, ...]:
    deltas = ((0.0031, 0.0049), (0.0118, 0.0058), (0.0187, 0.0062), (0.0092, 0.0094))
    tests = ((0.53, 0.6), (0.044, 0.099), (0.003, 0.013), (0.33, 0.42))
    by_popularity = [
        Effect(
            "popularity",
            name,
            share,
            estimate(0.61 - 0.06 * i, 0.014, n),
            estimate(*deltas[i], n),
            *tests[i],
            tests[i][1] < 0.05,
        )
        for i, (name, share, n) in enumerate(POPULARITY)
    ]
    deltas = ((0.0214, 0.0071), (0.0126, 0.0077), (0.0083, 0.0069), (-0.0061, 0.0088), (0.041, 0.055))
    tests = ((0.0028, 0.013), (0.10, 0.18), (0.23, 0.35), (0.49, 0.6), (0.46, 0.6))
    by_interest = [
        Effect(
            "interest", name, share, estimate(0.57 - 0.03 * i, 0.016, n),
            estimate(*deltas[i], n, caveat="only 7 of its 12 queries differ: not reliable" if n < 30 else ""), *tests[i], tests[i][1] < 0.05,
        )
        for i, (name, share, n) in enumerate(INTEREST)
    ]  # fmt: skip
    unmeasured = Effect("interest", "unknown", 0.0, None, None, None, None, False, "no query of it was sampled")
    return (*map(together, (*by_popularity, *by_interest)), unmeasured)


def results(prefix: str, order: list[int], titles: dict[int, str], grades: list[int | None]) -> tuple[Result, ...]:
    return tuple(
        Result(rank, f"{prefix}-{doc:04d}", titles.get(doc, f"Oak bookshelf {doc} with five shelves, natural"), grades[doc])
        for rank, doc in enumerate(order, start=1)
    )


def query_result(number: int, query: str, control: float, treatment: float, titles: dict[int, str]) -> QueryResult:
    grades: list[int | None] = [(doc * 7 + number) % 5 if doc % 9 else None for doc in range(20)]
    there = list(range(12))
    back = (
        sorted(there, key=lambda doc: -(grades[doc] or 0))
        if treatment > control
        else sorted(there, key=lambda d: grades[d] or 0)
    )
    back = [*back[:9], 15, 16, back[9]]
    stratum = f"{('home', 'garden', 'fashion')[number % 3]} / {('tail', 'torso', 'single')[number % 3]}"
    left, right = results("item", there, titles, grades), results("item", back, titles, grades)
    return QueryResult(f"q{number:03d}", query, stratum, control, treatment, left, right)


def winners() -> tuple[QueryResult, ...]:
    return (
        query_result(11, "solid oak bookshelf not veneer", 0.412, 0.731, {2: "Bibliothèque en chêne massif, 5 étagères", 3: "رف كتب من خشب البلوط"}),
        query_result(12, f"desk lamp {SCRIPT}", 0.355, 0.602, {1: SCRIPT, 4: BIDI, 5: PIPES}),
        query_result(13, BIDI, 0.288, 0.499, {0: "x" * 1_000_000}),
    )  # fmt: skip


def losers() -> tuple[QueryResult, ...]:
    return (
        query_result(21, "kids rain boots size 28", 0.644, 0.402, {}),
        query_result(22, PIPES, 0.521, 0.366, {}),
    )


def card() -> JudgeCard:
    agreement = {
        "exact": Estimate(0.742, 0.013, 0.716, 0.767, 1180, "weighted share, random part of the golden set"),
        "within one": Estimate(0.931, 0.008, 0.914, 0.945, 1180, "weighted share, random part of the golden set"),
        "quadratic kappa": Estimate(0.683, 0.018, 0.646, 0.717, 1180, "bootstrap over queries"),
        "tau per query": Estimate(0.651, 0.021, 0.609, 0.691, 118, "mean over queries"),
    }
    for label, f1 in zip(LABELS, (0.69, 0.61, 0.63, 0.68, 0.86), strict=True):
        agreement[f"recall of {label}"] = Estimate(f1 + 0.02, 0.03, f1 - 0.04, f1 + 0.07, 230, "ratio of means")
        agreement[f"F1 of {label}"] = Estimate(f1, 0.03, f1 - 0.06, f1 + 0.05, 1180, "ratio of means")
    confusion = ((96, 31, 6, 2, 0), (38, 141, 40, 7, 1), (8, 42, 168, 51, 5), (1, 9, 46, 213, 38), (0, 1, 4, 44, 258))
    return JudgeCard(
        "replay-five", "4be1c0ffee12", "five-level", "9f0c2ab41d7e", "golden_test.parquet", agreement, confusion,
        {"label": 1180, "abstained": 14, "unparseable": 3}, {"exact": 0.70, "quadratic kappa": 0.60},
        lineage=("a91bd2004c55",), caveats=("26 targeted pairs were left out of the agreement",),
    )  # fmt: skip


def full() -> Report:
    names = [f"{i} / {p}" for i, _, _ in INTEREST for p, _, _ in POPULARITY]
    strata = tuple(Stratum(name, 40 + 211 * (j % 4), 8 + 8 * (j % 4)) for j, name in enumerate(names))
    grades = zip(
        (*LABELS[::-1], "unjudged"),
        (0.231, 0.312, 0.218, 0.142, 0.086, 0.011),
        (0.248, 0.318, 0.211, 0.133, 0.078, 0.012),
        strict=True,
    )
    return Report(
        question="Is “BM25 on all fields” more relevant than “BM25 on titles”?",
        answer="BM25 on all fields is more relevant than BM25 on titles: sDCG@25 rises by 0.0123, about 2.2%, over the queries that the sample stands for.",
        verdict="better", metric="sDCG@25", k=25, scale="five-level", labels=LABELS, judge="replay-five", by_people=False, card=card(),
        control_name="BM25 on titles", treatment_name="BM25 on all fields",
        control=estimate(0.5571, 0.0084, 400, "stratified mean"), treatment=estimate(0.5694, 0.0083, 400, "stratified mean"),
        delta=estimate(0.0123, 0.0036, 400), lift=estimate(0.0221, 0.0065, 400, "ratio of stratified means, delta method"),
        mde=0.0101, tipping_bias=0.0052,
        warnings=(
            "Judged under guide version 1a2b3c4d5e6f; the scale's guide is now 9f0c2ab41d7e.",
            "Stratum “toys / single” had one sampled query and was merged with “toys / tail”.",
        ),
        overrides=("--allow-unsealed-card: the judge was checked on golden pairs that its prompt has seen",),
        by_segment=segments(),
        interactions=(
            Interaction("popularity", 1.38, (3.0, 190.2), 0.25, 0.25, "Welch's test that 4 segments have one effect"),
            Interaction("interest", 3.31, (3.0, 205.4), 0.021, 0.042, "Welch's test that 4 segments have one effect"),
        ),
        unjudged=Unjudged(estimate(0.011, 0.002, 400, "share"), estimate(0.012, 0.002, 400, "share"), 37, 0.0041, 0.0199, "bounds only"),
        grades=tuple(shares(*row) for row in grades),
        differences=Histogram(
            tuple(round(-0.3 + 0.05 * i, 2) for i in range(13)), (1, 2, 4, 9, 21, 38, 64, 41, 22, 11, 5, 3), 179,
        ),
        winners=winners(), losers=losers(),
        exposure=(
            Exposure("small sellers", estimate(0.182, 0.006, 400, "share"), estimate(0.164, 0.006, 400, "share"), estimate(-0.018, 0.0041, 400)),
            Exposure("new sellers", estimate(0.071, 0.004, 400, "share"), estimate(0.074, 0.004, 400, "share"), estimate(0.003, 0.0028, 400)),
        ),
        variance=VarianceParts(0.2013, 0.0712, 0.184, 0.031, 0.42, 221),
        design=Design(strata, seed=20, unit="distinct queries", origin="design.parquet"),
        notes=("Documents that did not move between the arms cannot change the difference and were not all graded.",),
        inputs=(
            Input("control", "runs/control.parquet", "8c1f" * 16, 10_000, ""),
            Input("treatment", "runs/treatment.parquet", "03ab" * 16, 10_000, ""),
            Input("judgments", "judgments.parquet", "77de" * 16, 11_214, "Amazon Shopping Queries (ESCI), Apache-2.0"),
        ),
        parameters={"metric": "sDCG@25", "level": 0.95, "condensed": False, "allow": ["unsealed-card"], "groups": None},
        version="0.1.0", truth=0.0142,
    )  # fmt: skip


def bare() -> Report:
    """The least that a report can hold: one stratum, no judge card, nothing measured by segment."""
    return Report(
        question="Is b more relevant than a?", answer="Nothing can be said yet: only 9 of 40 queries differ.", verdict="not reliable",
        metric="nDCG@10", k=10, scale="", labels=(), judge="llm-x", by_people=False, card=None, control_name="a", treatment_name="b", control=None,
        treatment=None, delta=estimate(-0.004, 0.011, 40, caveat="only 9 of 40 queries differ: the interval is not reliable"),
        lift=None, mde=0.0308, tipping_bias=0.0, warnings=(), overrides=(), by_segment=(),
        unjudged=Unjudged(estimate(0, 0, 40, "share"), estimate(0, 0, 40, "share"), 0, -0.004, -0.004, "complete"), grades=(),
        differences=Histogram((), (), 31), winners=(), losers=(), exposure=(), variance=VarianceParts(0.21, 0.07, 0, 0, None, 9),
        design=Design((Stratum("all", 40, 40),)), notes=(), inputs=(), parameters={}, version="0.1.0",
    )  # fmt: skip
