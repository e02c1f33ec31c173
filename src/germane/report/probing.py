"""Attacks on a judge, other words for its prompt, and uneven errors, prepared for reading: sentences, and tables of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from germane.report import words
from germane.types import Estimate, JudgeCard, Probed, Probes, Sensitivity

NOT_MEASURED = "not measured"


class Grid(NamedTuple):
    """A table whose cells are words already; the first of each row is a name."""

    title: str
    lead: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def probes_answer(probes: Probes) -> str:
    """What the attacks did, in one or two sentences."""
    fooled = [row for row in probes.rows if row.verdict == "fooled"]
    tried = sum(row.verdict != "not answered" for row in probes.rows)
    if not tried:
        return f"{probes.judge} answered none of {words.many(len(probes.rows), 'probe')}."
    worst = (
        f" The family under which grades may rise most is {probes.worst!r}: {_points(probes.families[probes.worst])}."
        if probes.worst
        else ""
    )
    if not fooled:
        return f"None of {words.many(tried, 'probe')} is shown to fool {probes.judge}, which is no proof that none does.{worst}"
    names = ", ".join(dict.fromkeys(row.family for row in fooled))
    return f"{probes.judge} is fooled by {len(fooled)} of {words.many(tried, 'probe')}, of {names}.{worst}"


def probes_grids(probes: Probes) -> tuple[Grid, ...]:
    """The families, then every probe, beside what asking again does."""
    level = next(iter(probes.families.values())).level if probes.families else 0.95
    lead = (
        f"Raised above asking the same pairs again unchanged; {100 * level:.4g}% intervals over queries. A bar on "
        "\u201craised by probes\u201d is on the family that reaches highest."
    )
    by_family = Grid(
        "Families of probes",
        lead,
        ("family", "raised above noise", "interval", "n"),
        tuple((name, words.percent(e.value, sign=True), _ends(e), words.count(e.n)) for name, e in probes.families.items()),
    )
    again = probes.noise
    rows = [
        (
            "(asked again, unchanged)",
            "",
            *(_share(again.get(name)) for name in ("raised",)),
            "",
            _share(again.get("relevant")),
            "",
            "",
            "",
        )
    ]
    rows += [_row(row) for row in probes.rows]
    lead = (
        f"{words.many(probes.sample, 'pair')} that could rise, of {words.count(probes.asked)} that were looked at; "
        f"{words.count(probes.could_be_relevant)} of them were not relevant (below {probes.relevant}). q: that what must not "
        "come of an attack comes no more often than when asked again, after looking at all probes. No answer is "
        "neither a pass nor a rise."
    )
    heads = ("probe", "n", "raised", "mean change", "turned relevant", "no answer", "q", "verdict")
    return by_family, Grid("Every probe", lead, heads, tuple(rows))


def sensitivity_answer(found: Sensitivity) -> str:
    """What other words for the prompt did, in one sentence."""
    changed = found.changed
    said = f"Over {len(found.paraphrases)} paraphrases of the prompt {words.percent(changed.value)} of "
    said += f"{words.count(changed.n)} pairs change their grade"
    parts = [f"{name} moves by {words.plain(e.value)} ({_ends(e, share=False)})" for name, e in found.span.items()]
    return f"{said}; {', '.join(parts)}."


def sensitivity_grids(found: Sensitivity) -> tuple[Grid, ...]:
    """Each paraphrase against people, the spread of each statistic, and how far any two agree."""
    names = list(dict.fromkeys(name for each in found.paraphrases for name in each.found))
    each = Grid(
        "Each paraphrase against people",
        f"On {found.gold}, the pairs that every paraphrase answered.",
        ("paraphrase", "answered", *names),
        tuple(
            (p.name, words.percent(p.answered.value), *(_plain(p.found.get(name)) for name in names)) for p in found.paraphrases
        ),
    )
    spread = Grid(
        "Spread over paraphrases",
        "Mean gain is in units of the top gain: sDCG of these pairs in random order, and the most that sDCG moves on average.",
        ("statistic", "largest minus smallest", "interval", "SD"),
        tuple(
            (name, words.plain(e.value), _ends(e, share=False), words.plain(found.sd[name].value))
            for name, e in found.span.items()
        ),
    )
    pairs = Grid(
        "Paraphrases with each other",
        "Share of pairs with the same grade.",
        ("paraphrases", "exact", "interval"),
        tuple((name, words.plain(e.value), _ends(e, share=False)) for name, e in found.agreement.items()),
    )
    return each, spread, pairs


def card_grids(card: JudgeCard) -> tuple[tuple[str, str, tuple[Grid, ...]], ...]:
    """(heading, sentence, tables) of the probes and the sensitivity of a card."""
    parts: list[tuple[str, str, tuple[Grid, ...]]] = []
    if card.probes is not None:
        parts.append(("Attacks", probes_answer(card.probes), probes_grids(card.probes)))
    if card.sensitivity is not None:
        parts.append(("Other words for the prompt", sensitivity_answer(card.sensitivity), sensitivity_grids(card.sensitivity)))
    return tuple(parts)


def uneven(card: JudgeCard) -> tuple[str, ...]:
    """A sentence for each dimension by which errors are uneven, and one for those where it is not shown."""
    found = [row for row in card.unevenness if row.verdict == "uneven"]
    lines = []
    for row in found:
        low, high = min(row.bands, key=row.bands.__getitem__), max(row.bands, key=row.bands.__getitem__)
        what = "Errors are uneven" if row.statistic == "grade error" else "Exact agreement is uneven"
        write = words.signed if row.statistic == "grade error" else words.plain
        ends = f"from {write(row.bands[low], 3)} ({low}) to {write(row.bands[high], 3)} ({high})"
        lines.append(f"{what} by {row.dimension}: {ends} (q = {words.chance(row.q)}).")
    rest = dict.fromkeys(row.dimension for row in card.unevenness if row.dimension not in {each.dimension for each in found})
    if rest:
        least = {name: min(row.q for row in card.unevenness if row.dimension == name) for name in rest}
        told = ", ".join(f"{name} (q = {words.chance(least[name])})" for name in rest)
        lines.append(f"Not shown to be uneven by {told}.")
    return tuple(lines)


def notes(texts: Sequence[str]) -> tuple[str, ...]:
    """Each note with a capital letter."""
    return tuple(text[:1].upper() + text[1:] for text in texts)


def _row(row: Probed) -> tuple[str, ...]:
    change = words.signed(row.change.value, 2) if row.change else NOT_MEASURED
    n, q = words.count(row.raised.n) if row.raised else "0", words.chance(row.q) if row.q is not None else ""
    verdict = f"{row.verdict} ({row.expects})" if row.verdict == "fooled" else row.verdict
    return row.name, n, _share(row.raised), change, _share(row.relevant), _share(row.silent, ends=False), q, verdict


def _share(e: Estimate | None, *, ends: bool = True) -> str:
    if e is None:
        return NOT_MEASURED
    return f"{words.percent(e.value)} ({_ends(e)})" if ends else words.percent(e.value)


def _plain(e: Estimate | None) -> str:
    return f"{words.plain(e.value)} ({_ends(e, share=False)})" if e else NOT_MEASURED


def _ends(e: Estimate, *, share: bool = True) -> str:
    write = words.percent if share else words.plain
    return f"{write(e.low)} to {write(e.high)}"


def _points(e: Estimate) -> str:
    return f"{words.percent(e.value, sign=True)} above noise ({_ends(e)})"
