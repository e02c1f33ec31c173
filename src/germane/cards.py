"""Judge cards: what `check` found of a judge against people, and the gate that lets its judgments into a comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane.stats import agreement, ranks
from germane.stats.clustered import Undefined, share
from germane.types import Estimate, InputError, JudgeCard, Outcome, Refusal, Scale

if TYPE_CHECKING:
    import pyarrow as pa

BARS: Mapping[str, float] = {"coverage": 0.8, "quadratic kappa": 0.4, "specificity": 0.7}
"""What a judge must reach unless told otherwise, with the low end of each interval: floors, not a certificate.

Quadratic kappa: judges that ship decisions are published at 0.5 to 0.7, and a judge broken by page batching fell to 0.35.
Specificity: at most 30 % of what people call not relevant is called relevant. Exact agreement has no default bar: it
flatters on skewed labels (docs/cards.md shows a judge at 0.45 exact and 0.08 kappa).
"""

ALLOW = {
    "no-card": "the judge has no card for this scale and guide",
    "failed-card": "the judge's card fails its bars",
    "fake": "the judgments are made up by a fake judge",
    "mixed-judges": "the judgments are a mix of judges",
    "mixed-guides": "the judgments were made under more than one guide version",
}
"""What `--allow` accepts, and the sentence that a report prints when it was needed."""


def build(
    gold: pa.Table,
    judgments: pa.Table,
    *,
    scale: Scale,
    name: str = "gold",
    bars: Mapping[str, float] | None = None,
    relevant: int | None = None,
    design: pa.Table | None = None,
    level: float = 0.95,
) -> JudgeCard:
    """The card of one judge against people's gold judgments: every statistic with an interval over queries.

    gold, judgments: tables of judgments; pairs that gold lacks are ignored, pairs that the judge did not answer lower
    the coverage and nothing else. bars: name of a statistic -> the least that its interval's low end may be, `BARS` by
    default. relevant: the lowest grade that counts as relevant in "false relevant" and "specificity"; by default the
    lowest with more than half of the top gain. design: inclusion probabilities of gold's queries; queries outside it
    were chosen by hand, and are left out. More parameters than our seven: each changes what the card claims.

    Raises: InputError for gold that is not by people or has a pair twice, more than one judge or guide version, another
    scale, a bar without such a statistic, and where no pair is in both.
    """
    bars = _known_bars(BARS if bars is None else bars, scale)
    threshold = _threshold(scale) if relevant is None else relevant
    if not 0 < threshold < len(scale.labels):
        raise InputError(f"relevant={threshold}: on scale {scale.name!r} give a grade from 1 to {len(scale.labels) - 1}")
    judge, fingerprint, guide, caveats = _who(gold, judgments, scale)
    pairs = _joined(gold, judgments, design)
    caveats += pairs.caveats
    both = pairs.other >= 0
    if not both.any():
        raise InputError(f"judge {judge!r} answered none of {len(both)} gold pairs: are query_id and doc_id the same in both?")
    a, b, queries = pairs.gold[both], pairs.other[both], pairs.queries[both]
    weights = None if pairs.weights is None else pairs.weights[both]
    found: dict[str, Estimate] = {
        "coverage": share(
            both, clusters=pairs.queries, weights=pairs.weights, level=level, method="share of gold pairs answered"
        )
    }
    for key, statistic, options in _statistics(scale, threshold):
        try:
            found[key] = statistic(a, b, clusters=queries, weights=weights, level=level, **options)
        except Undefined:
            caveats.append(f"{key} has no value on these pairs")
    counts = agreement.confusion(a, b, size=len(scale.labels))
    where = f"{name} ({len(both):,} pairs of {len(set(pairs.queries.tolist())):,} queries)"
    confusion = tuple(tuple(int(n) for n in row) for row in counts)
    return JudgeCard(
        judge, fingerprint, scale.name, guide, where, found, confusion, pairs.outcomes, dict(bars), caveats=tuple(caveats)
    )


def gate(
    judgments: pa.Table,
    card: JudgeCard | None,
    *,
    scale: Scale,
    allow: Collection[str] = (),
) -> tuple[str, ...]:
    """The overrides that were needed to let these judgments in, as sentences for the report; () when none was.

    People (`human:NAME`, no fingerprint) need no card. A machine judge needs one that passed, of its own fingerprint,
    on this scale, under the guide version that its judgments name.

    Raises: Refusal naming `--allow no-card`, `failed-card`, `fake`, `mixed-judges` or `mixed-guides`; InputError for
    an empty table, judgments on another scale, and an `allow` that does not exist.
    """
    if unknown := sorted(set(allow) - set(ALLOW)):
        raise InputError(f"--allow {unknown[0]}: there is no such override here; known are {', '.join(ALLOW)}")
    made_by = _distinct(judgments, "judge", "fingerprint")
    if not made_by:
        raise InputError("the judgments table is empty: there is nothing to compare with")
    _same_scale(judgments, scale)
    needed = [key for key, message in _objections(judgments, made_by, card, scale) if _insist(key, message, allow)]
    return tuple(f"--allow {key}: {ALLOW[key]}" for key in dict.fromkeys(needed))


def is_human(judge: str, fingerprint: str) -> bool:
    """True for people: `human:NAME` without a fingerprint, which only machines have.

    >>> is_human("human:nist", ""), is_human("gpt", "a1"), is_human("human:nist", "a1")
    (True, False, False)
    """
    return judge.startswith("human:") and not fingerprint


def find(folder: str | Path, fingerprint: str, scale: str, guide_version: str) -> JudgeCard | None:
    """The one card under `folder` for this judge, scale and guide version, or None.

    Raises: InputError where two cards answer, and for a card file that cannot be read.
    """
    wanted = (fingerprint, scale, guide_version)
    found = []
    for path in sorted(Path(folder).rglob("*.json")):
        if path.name.endswith(".manifest.json") or not _is_card(path):
            continue
        card = read(path)
        if (card.fingerprint, card.scale, card.guide_version) == wanted:
            found.append((path, card))
    if len(found) > 1:
        names = " and ".join(str(path) for path, _ in found)
        raise InputError(
            f"{names} are cards of the same judge ({fingerprint}), scale and guide: name the one that counts with --card"
        )
    return found[0][1] if found else None


def read(path: str | Path) -> JudgeCard:
    """The card in a JSON file, or in the `card.json` of a folder. Raises: InputError naming the file."""
    path = Path(path)
    path = path / "card.json" if path.is_dir() else path
    try:
        return JudgeCard.from_json(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise InputError(f"judge card {path}: {problem.strerror or problem}") from problem
    except (ValueError, TypeError, AttributeError) as problem:
        raise InputError(f"judge card {path} cannot be read: {problem}. Make it again with germane check") from problem


def write(card: JudgeCard, path: str | Path) -> Path:
    """The JSON file that now holds the card; written whole or not at all."""
    from germane.store import write_text

    write_text(Path(path), card.to_json() + "\n")
    return Path(path)


class _Pairs(NamedTuple):
    """Gold pairs in order of their ids: people's grade, the judge's (-1 = no answer), number of the query, weight."""

    gold: np.ndarray[Any, np.dtype[np.int64]]
    other: np.ndarray[Any, np.dtype[np.int64]]
    queries: np.ndarray[Any, np.dtype[Any]]
    weights: np.ndarray[Any, np.dtype[np.float64]] | None
    outcomes: dict[str, int]
    caveats: list[str]


def _statistics(scale: Scale, threshold: int) -> Iterator[tuple[str, Callable[..., Estimate], dict[str, Any]]]:
    """(name on the card, function, its options) in the order of the card. Two grades have no "within one"."""

    def alpha(a: Any, b: Any, **options: Any) -> Estimate:
        return agreement.krippendorff_alpha(np.column_stack([a, b]), **options)

    yield "exact", agreement.exact_agreement, {}
    if len(scale.labels) > 2:
        yield "within one", agreement.agreement_within, {}
    yield "kappa", agreement.cohen_kappa, {}
    yield "linear kappa", agreement.cohen_kappa, {"distance": "linear"}
    yield "quadratic kappa", agreement.cohen_kappa, {"distance": "quadratic"}
    yield "alpha", alpha, {"difference": "ordinal"}
    yield "macro F1", agreement.macro_f1, {}
    yield "tau-b", ranks.kendall_tau_b, {}
    yield "rho", ranks.spearman_rho, {}
    yield "false relevant", agreement.false_relevant_rate, {"threshold": threshold}
    yield "specificity", agreement.specificity, {"threshold": threshold}
    for grade, label in enumerate(scale.labels):
        yield f"precision of {label}", agreement.precision, {"grade": grade}
        yield f"recall of {label}", agreement.recall, {"grade": grade}
        yield f"F1 of {label}", agreement.f1, {"grade": grade}


def _known_bars(bars: Mapping[str, float], scale: Scale) -> Mapping[str, float]:
    names = ["coverage", *(name for name, _, _ in _statistics(scale, 1))]
    if not bars:
        raise InputError("no bars: a card that nothing can fail says nothing. Leave them out for the default ones")
    for name, bar in bars.items():
        if name not in names or name == "false relevant":
            hint = "1 - it is specificity" if name == "false relevant" else f"known are {', '.join(names)}"
            raise InputError(f"no bar can be set on {name!r}: {hint}")
        if not -1 <= bar <= 1:
            raise InputError(f"the bar on {name!r} is {bar}: give a number up to 1, as 0.4")
    return bars


def _threshold(scale: Scale) -> int:
    """The lowest grade with more than half of the top gain."""
    return next(grade for grade, gain in enumerate(scale.gains) if gain > scale.gains[-1] / 2)


def _who(gold: pa.Table, judgments: pa.Table, scale: Scale) -> tuple[str, str, str, list[str]]:
    """Judge, fingerprint, guide version and caveats, after checking that the two tables may be compared."""
    for label, table in (("gold", gold), ("judgments", judgments)):
        if table.num_rows == 0:
            raise InputError(f"the {label} table is empty: there is nothing to check with")
        _same_scale(table, scale)
    for judge, fingerprint in _distinct(gold, "judge", "fingerprint"):
        if not is_human(judge, fingerprint):
            raise InputError(
                f"gold holds judgments of {_named(judge, fingerprint)}: a card is against people, named human:NAME"
            )
    judges, guides = _distinct(judgments, "judge", "fingerprint"), _distinct(judgments, "guide_version")
    gold_guides = _distinct(gold, "guide_version")
    if len(judges) > 1:
        raise InputError(
            f"the judgments are of {len(judges)} judges ({', '.join(_named(*who) for who in judges[:4])}): check one"
        )
    for label, found in (("gold", gold_guides), ("judgments", guides)):
        if len(found) > 1:
            names = ", ".join(repr(guide) for (guide,) in found[:4])
            raise InputError(f"the {label} table was made under {len(found)} guide versions ({names}): check one at a time")
    (judge, fingerprint), ((guide,),) = judges[0], guides
    if not fingerprint and not is_human(judge, fingerprint):
        raise InputError(
            f"judgments of {judge!r} have no fingerprint, so that no card could be this judge's own: say in a column "
            "fingerprint which model, prompt and guide made them"
        )
    asked, caveats = gold_guides[0][0], []
    if asked and guide and asked != guide:
        raise InputError(f"people judged under guide {asked!r} and the judge under {guide!r}: their answers cannot be compared")
    if asked != guide or not guide:
        silent = "gold does not" if guide else "the judgments do not"
        caveats.append(f"{silent} name a guide version: people and judge may have been asked different things")
    return judge, fingerprint, guide, caveats


def _joined(gold: pa.Table, judgments: pa.Table, design: pa.Table | None) -> _Pairs:
    from germane import store

    tables = {"gold": gold, "judgments": judgments} | ({} if design is None else {"design": design})
    chance = "design.inclusion_probability" if design is not None else "1.0"
    sql = f"""
        SELECT gold.query_id, gold.doc_id, gold.relevance AS gold, judgments.relevance AS other, {chance} AS chance,
               CASE WHEN judgments.query_id IS NULL THEN 'missing' ELSE judgments.outcome END AS outcome
        FROM gold LEFT JOIN judgments USING (query_id, doc_id)
        {"LEFT JOIN design ON design.query_id = gold.query_id" if design is not None else ""}
        ORDER BY gold.query_id, gold.doc_id
    """
    with store.database(**tables) as query:
        for name in ("gold", "judgments"):
            _once(query, name)
        rows = query(sql)
    caveats = []
    for column, what in (
        ("gold", "have no grade from people"),
        ("chance", "are of queries outside the design, chosen by hand"),
    ):
        there = rows[column].is_valid()
        if left := rows.num_rows - there.to_numpy().sum():
            caveats.append(f"{left:,} gold pairs {what}: they were left out")
        rows = rows.filter(there)
    if rows.num_rows == 0:
        raise InputError(f"no gold pair can be used: {'; '.join(caveats)}")
    if design is None:
        caveats.append("no design was given: gold's queries count as a simple random sample")
    outcomes = Counter(rows["outcome"].to_pylist())
    order = [*(str(outcome) for outcome in Outcome), "missing"]
    answer = rows["other"].to_numpy().astype(np.float64)  # null is NaN
    return _Pairs(
        rows["gold"].to_numpy().astype(np.int64),
        np.where(np.isnan(answer), -1, answer).astype(np.int64),
        np.unique(rows["query_id"].to_numpy(), return_inverse=True)[1],  # numbers once, not strings in every statistic
        None if design is None else 1 / rows["chance"].to_numpy(),
        {name: outcomes[name] for name in order if name in outcomes},
        caveats,
    )


def _once(query: Callable[[str], pa.Table], name: str) -> None:
    """Raises: InputError for a pair that stands more than once in the table of this name."""
    twice = query(
        f"SELECT query_id, doc_id FROM {name} GROUP BY ALL HAVING count(*) > 1 ORDER BY query_id, doc_id LIMIT 1"
    ).to_pylist()
    if twice:
        pair = f"query {twice[0]['query_id']!r}, document {twice[0]['doc_id']!r}"
        raise InputError(
            f"{name} has more than one judgment of {pair}: one of each pair is needed; adjudicate several raters first"
        )


def _objections(
    judgments: pa.Table, made_by: list[tuple[str, ...]], card: JudgeCard | None, scale: Scale
) -> Iterator[tuple[str, str]]:
    """(key of ALLOW, what is wrong) for each reason not to compare on these judgments."""
    machines = [(judge, fingerprint) for judge, fingerprint in made_by if not is_human(judge, fingerprint)]
    if len(machines) > 1 or (machines and len(made_by) > 1):
        names = ", ".join(_named(judge, fingerprint) for judge, fingerprint in made_by[:4])
        yield "mixed-judges", f"The judgments are of {len(made_by)} judges ({names}), whose errors differ: compare with one."
    guides = [guide for (guide,) in _distinct(judgments, "guide_version")]
    if len(guides) > 1:
        found = ", ".join(repr(guide) for guide in guides[:4])
        yield "mixed-guides", f"The judgments were made under {len(guides)} guide versions ({found}): judge again under one."
    for judge, fingerprint in machines:
        for guide in guides:
            yield from _card_objections(judge, fingerprint, guide, card, scale)


def _card_objections(
    judge: str, fingerprint: str, guide: str, card: JudgeCard | None, scale: Scale
) -> Iterator[tuple[str, str]]:
    who = _named(judge, fingerprint)
    if fingerprint.startswith("fake:"):
        yield "fake", f"Judge {who} is a fake: its judgments say nothing about relevance."
        return
    if not fingerprint:
        yield "no-card", f"Judge {judge!r} has no fingerprint, so no card can be its own (people are named human:NAME)."
    elif card is None:
        yield "no-card", f"Judge {who} has no card on scale {scale.name!r}: run germane check against people's labels first."
    elif (card.fingerprint, card.scale, card.guide_version) != (fingerprint, scale.name, guide):
        yield (
            "no-card",
            f"The card is of {_named(card.judge, card.fingerprint)} on scale {card.scale!r}, guide {card.guide_version!r}; "
            f"the judgments are of {who} on scale {scale.name!r}, guide {guide!r}: run germane check on this judge.",
        )
    elif not card.bars or not card.passed:
        missed = ", ".join(misses(card)) or "no bar was set"
        yield "failed-card", f"The card of judge {who} fails its bars: {missed}."


def misses(card: JudgeCard) -> tuple[str, ...]:
    """A sentence for each bar that the card does not meet, naming the statistic, its low end and the bar."""
    lines = []
    for name, bar in card.bars.items():
        estimate = card.agreement.get(name)
        if estimate is None:
            lines.append(f"{name} could not be computed, the bar is {bar:g}")
        elif not estimate.low >= bar:
            lines.append(f"{name} is {estimate.value:.3f}, at least {estimate.low:.3f}, the bar is {bar:g}")
    return tuple(lines)


def _insist(key: str, message: str, allow: Collection[str]) -> bool:
    """True where the user has allowed this. Raises: Refusal where not."""
    if key not in allow:
        raise Refusal(message, f"--allow {key}")
    return True


def _same_scale(judgments: pa.Table, scale: Scale) -> None:
    """Raises: InputError for judgments on another scale; people's bare integers ("") may be read on any that holds them."""
    import pyarrow.compute as pc

    for name, judge, fingerprint in _distinct(judgments, "scale", "judge", "fingerprint"):
        if name != scale.name and (name or not is_human(judge, fingerprint)):
            raise InputError(
                f"judgments of {judge!r} are on scale {name!r}, not on {scale.name!r}: pass the scale that they are on"
            )
    top = pc.max(judgments["relevance"]).as_py()
    low = pc.min(judgments["relevance"]).as_py()
    for grade in (top, low):
        if grade is not None and not 0 <= grade < len(scale.labels):
            raise InputError(f"relevance {grade} is not on scale {scale.name!r}, whose grades are 0 to {len(scale.labels) - 1}")


def _distinct(table: pa.Table, *columns: str) -> list[tuple[str, ...]]:
    """The different rows of these columns, sorted."""
    rows = table.select(list(columns)).group_by(list(columns)).aggregate([]).to_pylist()
    return sorted(tuple("" if row[name] is None else str(row[name]) for name in columns) for row in rows)


def _named(judge: str, fingerprint: str) -> str:
    shown = fingerprint if len(fingerprint) <= 24 else f"{fingerprint[:16]}..."
    return f"{judge!r} ({shown})" if fingerprint else repr(judge)


def _is_card(path: Path) -> bool:
    """Whether a JSON file looks like a card, so that other JSON may live in the folder."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return path.name == "card.json"
    return isinstance(found, Mapping) and {"fingerprint", "agreement", "bars"} <= set(found)
