"""Chapter: people judge a golden set on the screens, and their votes say how good they are."""

from __future__ import annotations

from germane.pipeline import golden
from germane.registry.database import open_registry
from germane.report.tour import Chapter, Figure, Link
from germane.simulate import labelled
from germane.tour.raters import judged
from germane.tour.world import READ, K, World

FINAL = "golden/votes-final.parquet"
"""One grade a golden pair, what judges are held against."""


def chapter(world: World) -> Chapter:
    """The golden set: votes, their quality, and the grades that stand."""
    out, scale = world.out, world.market.scale.name
    validation = world.apart.validation
    world.write("golden-queries", "queries", validation)
    world.write("golden-design", "designs", world.apart.design)
    shown = labelled.pairs_of(world.market, validation, list(world.runs.values()), fields=READ)
    pairs = world.write("golden-pairs", "pairs", shown)
    (out / "golden").mkdir(exist_ok=True)
    registry = open_registry(out / "golden" / "registry.sqlite")
    try:
        said = judged(registry, pairs, out / "golden" / "votes.parquet", market=world.market, name="golden", seed=world.seed)
    finally:
        registry.close()
    found = golden.quality(out / "golden" / "votes.parquet", scale=scale, out=out / "golden")
    figures = [Figure("votes of two raters", None, f"{said.votes.votes:,} on {said.votes.pairs:,} pairs")]
    figures += [Figure("pairs on which they differed", None, f"{said.disputed:,}, decided by a third person")]
    names = {
        "exact agreement": "two raters give the same grade",
        "alpha (ordinal)": "Krippendorff's alpha",
        "quadratic kappa": "quadratic kappa",
    }
    figures += [
        Figure(words, found.found[name], kind="percent" if name == "exact agreement" else "plain")
        for name, words in names.items()
        if name in found.found
    ]
    e = found.found.get("exact agreement")
    agree = "" if e is None else f" Two raters give the same grade in {100 * e.value:.0f} of 100 pairs."
    return Chapter(
        "golden",
        "A golden set",
        "Which grade do people give, and do they agree?",
        f"{said.votes.pairs:,} pairs have a grade that stands; {said.disputed:,} needed a third person.{agree}",
        f"Every item that one of two rankers shows in its top {K} for {validation.num_rows:,} queries was judged by two people "
        "and, where these differed, decided by a third. They logged in to the screens of germane annotate and pressed a grade "
        "pair by pair. The people are simulated: each sees the truth and errs in about one of ten pairs.",
        tuple(figures),
        Link("how good the votes are", "golden/quality.html"),
        (
            "germane annotate --pairs golden-pairs.parquet --scale five-level",
            "germane votes --out golden/votes.parquet",
            "germane golden quality golden/votes.parquet --scale five-level --out golden",
        ),
        notes=("The raters are simulated: their agreement says nothing of yours.",),
    )
