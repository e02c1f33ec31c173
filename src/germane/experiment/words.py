"""The answer in words that a product manager understands, from the numbers and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from germane.stats.means import t_quantile
from germane.types import Audit, Design, Estimate, Unjudged

POWER = 0.8


def verdict_of(delta: Estimate) -> str:
    """ "better", "worse", "no clear difference", "no difference at all" or "not reliable".

    >>> verdict_of(Estimate(0.02, 0.005, 0.01, 0.03, 500, "paired difference"))
    'better'
    """
    if delta.se == 0 and delta.value == 0:
        return "no difference at all"
    if delta.caveat:
        return "not reliable"
    if delta.low > 0:
        return "better"
    return "worse" if delta.high < 0 else "no clear difference"


def answer(
    delta: Estimate,
    lift: Estimate | None,
    metric: str,
    arms: tuple[str, str],
    design: Design,
    overrides: Sequence[str] = (),
    source: str = "",
) -> str:
    """One sentence, sometimes two: which arm is more relevant, by how much, how sure, and over what.

    arms: names of control and treatment. source: whose word it is, from `source`. The relative size is said only where its
    own interval is clear of 0.
    """
    verdict, (control, treatment) = verdict_of(delta), arms
    interval = f"{100 * delta.level:g}% interval {delta.low:+.4f} to {delta.high:+.4f}"
    over = f"over {_what(design)}"
    if verdict == "no difference at all":
        said = f"No difference: {treatment} and {control} score the same on every query, {over}."
    elif verdict == "not reliable":
        why = delta.caveat.removeprefix("not reliable: ")
        said = f"No reliable answer: {metric} differs by {delta.value:+.4f} ({interval}), {over}; {why}."
    elif verdict == "no clear difference":
        said = (
            f"No clear difference between {treatment} and {control}: {metric} changes by {delta.value:+.4f} ({interval}), "
            f"{over}. An effect of {mde_of(delta):.4f} or more would probably have been seen."
        )
    else:
        moved, rises = ("more", "rises") if verdict == "better" else ("less", "falls")
        about = f", about {abs(lift.value):.1%}" if lift and (lift.low > 0 or lift.high < 0) else ""
        size = f"{metric} {rises} by {abs(delta.value):.4f} ({interval}){about}"
        said = f"{treatment} is {moved} relevant than {control}: {size}, {over}."
    return insisted(len(overrides)) + source + said


def insisted(overrides: int) -> str:
    """What a verdict begins with where refusals were insisted past.

    >>> insisted(0), insisted(1)
    ('', 'With 1 safeguard overridden: ')
    """
    return f"With {overrides} {'safeguard' if overrides == 1 else 'safeguards'} overridden: " if overrides else ""


def source(by_people: bool, audit: Audit | None) -> str:
    """What the answer begins with: whether people stand behind it.

    >>> source(True, None), source(False, None)
    ('', 'Not audited: ')
    """
    if audit is not None:
        return f"Corrected by people's audit of {audit.audited:,} {audit.unit}: "
    return "" if by_people else "Not audited: "


def _what(design: Design) -> str:
    """What the sampled queries stand for, in words."""
    n, population = sum(s.sample for s in design.strata), sum(s.population for s in design.strata)
    return f"{n:,} {design.unit}" if population <= n else f"{population:,} {design.unit} by a sample of {n:,}"


def mde_of(delta: Estimate) -> float:
    """The smallest true difference that this experiment finds with 80 % probability, in units of the metric.

    (t_{1 - alpha/2} + t_power) se, which is 2.8016 se at alpha 0.05 where the degrees of freedom are many.
    Source: Bloom (1995), minimum detectable effects.

    >>> round(mde_of(Estimate(0.0, 0.01, 0, 0, 100, "paired difference")), 6)
    0.028016
    """
    return (t_quantile((1 + delta.level) / 2, delta.df) + t_quantile(POWER, delta.df)) * delta.se


def tipping_bias(delta: Estimate) -> float:
    """How far the judge would have to favour one arm, in units of the metric, for the verdict to be another one.

    >>> round(tipping_bias(Estimate(0.02, 0.005, 0.01, 0.03, 500, "paired difference")), 4)
    0.01
    """
    return min(abs(delta.low), abs(delta.high))


def short_lists(control: float, treatment: float, k: int | None) -> list[str]:
    """A warning where condensed lists do not reach down to k, since their missing ranks count as nothing.

    control, treatment: documents that a page holds, on average.

    >>> short_lists(25.0, 25.0, 25)
    []
    """
    if k is None or min(control, treatment) > 0.98 * k:
        return []
    return [
        f"Condensed lists are short: {control:.1f} of {k} results a query in the control, {treatment:.1f} in the treatment; "
        "missing ranks count as no gain. Collect deeper runs, or rank each query's judged documents (collect --candidates)."
    ]


def unjudged_warning(unjudged: Unjudged) -> list[str]:
    """What is to be said of documents without a grade."""
    if unjudged.mode == "condensed":
        return ["Condensed: documents that nobody judged were taken out of both lists before they were cut and compared."]
    if unjudged.mode == "as zero":
        return [
            f"Unjudged results ({unjudged.control.value:.1%} of the control's, {unjudged.treatment.value:.1%} of the "
            f"treatment's) count as not relevant; graded otherwise, the difference lies between {unjudged.low:+.4f} and "
            f"{unjudged.high:+.4f}."
        ]
    return []
