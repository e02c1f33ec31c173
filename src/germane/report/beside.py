"""What stands beside the answer: what an audit found of the judge, and the same question answered otherwise."""

from __future__ import annotations

from germane.report import words
from germane.types import Audit, Report


def audit(report: Report, places: int) -> tuple[str, ...]:
    """Sentences on the audit: who judged what, how far the judge leans, whether that would overturn it, and what it gains."""
    a = report.audit
    if a is None:
        return ()
    pairs = words.many(a.pairs, "pair", "pairs")
    whole = f"{words.count(a.audited)} of {words.count(a.queries)} queries ({pairs})"
    drawn = whole if a.unit == "queries" else f"{pairs} of documents that moved"
    said = [
        f"People judged {drawn}, drawn blind inside this experiment. On these the judge differs from people by "
        f"{words.signed(a.bias.value, places)} a query ({words.level(a.bias)} {words.interval(a.bias, places)}, "
        f"n = {words.count(a.bias.n)}): {_leaning(a)}.",
        _tipping(report, a, places),
        _gain(report, a, places),
    ]
    return (*[text for text in said if text], *(f"{note[0].upper()}{note[1:]}." for note in a.notes))


def _leaning(a: Audit) -> str:
    if a.bias.se < 1e-12:  # but for rounding
        return "people and judge agree on every audited document; were people shown the judge's grades?"
    if a.bias.low > 0:
        return "it favours the treatment"
    if a.bias.high < 0:
        return "it favours the control"
    return "no lean to either side was found, within that interval"


def _tipping(report: Report, a: Audit, places: int) -> str:
    """The bias that would overturn the judge's own answer, beside the one that was measured."""
    tip = words.plain(report.tipping_bias, places)
    clear = a.judge_only.low > 0 or a.judge_only.high < 0
    would = "the judge's own answer would no longer be clear" if clear else "the judge's own answer would become a clear one"
    side = 1 if (a.judge_only.value > 0) == clear else -1  # the side that the judge would have to favour
    if not clear:
        side = -1 if abs(a.judge_only.low) < abs(a.judge_only.high) else 1
    low, high = sorted((side * a.bias.low, side * a.bias.high))
    verdict = "the audit does not rule that out"
    if low >= report.tipping_bias:
        verdict = "the audit finds a larger one"
    elif high < report.tipping_bias:
        verdict = "the audit rules out a bias of that size"
    favoured = "treatment" if side > 0 else "control"
    return f"With a bias of {tip} towards the {favoured} {would}: {verdict}."


def _gain(report: Report, a: Audit, places: int) -> str:
    """How much of the judge is used, and what that is worth beside people alone."""
    if not (a.people_only.se > 0 and report.delta.se > 0):
        return ""
    used = f"{a.lam:.2f} of the judge's difference is used"
    agree = f" (its correlation with people's inside strata is {words.plain(a.rho, 2)})" if a.rho is not None else ""
    ratio = report.delta.se / a.people_only.se
    worth = f"the interval is {1 - ratio:.0%} narrower than by these people alone" if ratio < 0.995 else "it narrows nothing"
    return f"{used}{agree}: {worth}.".capitalize() if used[0].isalpha() else f"{used}{agree}: {worth}."
