"""Golden pairs by choice: the hard ones, each with the reason why it was chosen. Nothing is estimated from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from germane.chance import keys, uniform
from germane.stats.routing import entropy
from germane.text import words

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]
SEEN = 10  # impressions from which a pair's clicks say something
FEWEST = 5  # pairs that hold a term, for it to be a cluster
SALT = 0x68617264  # "hard"
DOUBT = "the judge's answers are spread"  # its value is an entropy, in bits


def scores(
    frame: pa.Table,
    judges: Sequence[pa.Table],
    *,
    grades: int,
    relevant: int,
    clicks: pa.Table | None,
    texts: Sequence[str] | None,
) -> dict[str, Floats]:
    """For each reason, how much it speaks for each pair of the frame, (rows,), 0 for not at all; only what the data can say.

    judges: judgments, one judge a table. relevant: the lowest relevant grade, whose boundary counts. clicks: query_id, doc_id,
    clicks, impressions. texts: of query and document, in the order of the frame, for clusters of disagreement.
    """
    place = _places(frame)
    n = len(place)
    said = np.full((len(judges), n), np.nan)
    found: dict[str, Floats] = {}

    def at_most(name: str, rows: NDArray[np.int64], values: Floats) -> None:
        held = found.setdefault(name, np.zeros(n))
        np.maximum.at(held, rows, np.nan_to_num(values, nan=0.0))

    for j, table in enumerate(judges):
        where = _where(table, place)
        mine = where >= 0
        rows = where[mine]
        said[j, rows] = table["relevance"].to_numpy().astype(np.float64)[mine]
        if "self_agreement" in table.column_names:
            at_most("the judge contradicts itself", rows, 1 - table["self_agreement"].to_numpy().astype(np.float64)[mine])
        for doubt in _entropies(table, grades):
            at_most(DOUBT, rows, doubt[mine])
        if "probs" in table.column_names:
            probs = _probs(table, grades)[mine]
            near = 1 - np.abs(2 * probs[:, relevant:].sum(1) - 1)
            at_most("near the boundary of relevant", rows, np.where(near > 0.5, near, 0.0))
    spread = _spread(said)
    if len(judges) > 1:
        found["judges disagree"] = spread
        if texts is not None:
            found["in a cluster of disagreement"] = _clusters(texts, spread, (~np.isnan(said)).sum(0) > 1)
    if clicks is not None and len(judges):
        found["clicks contradict the judge"] = _against_clicks(place, said, clicks, grades)
    return found


def doubts(frame: pa.Table, judges: Sequence[pa.Table], *, grades: int) -> Floats | None:
    """(rows,) the entropy of the judge that is least sure of each pair of the frame, in bits; NaN where none says it of a pair.

    None where no judge says it of any.
    """
    place = _places(frame)
    found = np.full(len(place), np.nan)
    for table in judges:
        where = _where(table, place)
        mine = where >= 0
        for doubt in _entropies(table, grades):
            np.fmax.at(found, where[mine], doubt[mine])
    return None if np.isnan(found).all() else found


def _places(frame: pa.Table) -> dict[tuple[Any, Any], int]:
    return {pair: i for i, pair in enumerate(zip(frame["query_id"].to_pylist(), frame["doc_id"].to_pylist(), strict=True))}


def _where(table: pa.Table, place: Mapping[tuple[Any, Any], int]) -> NDArray[np.int64]:
    """(n,) the place of each row's pair in the frame, -1 where it is not in it."""
    ids = zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True)
    return np.array([place.get(pair, -1) for pair in ids], dtype=np.int64)


def _entropies(table: pa.Table, grades: int) -> list[Floats]:
    """(n,) what a judge says of how sure it was, by its samples and by its probabilities; NaN where it does not."""
    found = [table["entropy"].to_numpy().astype(np.float64)] if "entropy" in table.column_names else []
    return [*found, entropy(_probs(table, grades))] if "probs" in table.column_names else found


def _probs(table: pa.Table, grades: int) -> Floats:
    return np.array([p if p is not None else [np.nan] * grades for p in table["probs"].to_pylist()], dtype=np.float64)


def _spread(said: Floats) -> Floats:
    """(pairs,) largest minus smallest grade over the judges, 0 where fewer than two said one."""
    if not len(said):
        return np.zeros(said.shape[1])
    there = ~np.isnan(said)
    high = np.where(there, said, -np.inf).max(0)
    low = np.where(there, said, np.inf).min(0)
    return np.where(there.sum(0) > 1, high - low, 0.0)


def _clusters(texts: Sequence[str], spread: Floats, known: NDArray[np.bool_]) -> Floats:
    """(pairs,) how far the words of a pair stand in more disagreement than usual: the largest z of its words, if over 2.

    A word's z is that of its share of disagreeing pairs against the share of all, by the binomial.
    """
    rows = np.flatnonzero(known)
    out = np.zeros(len(texts))
    if not len(rows) or not (rate := float((spread[rows] > 0).mean())) or rate == 1:
        return out
    held = {row: frozenset(words(texts[row])) for row in rows.tolist()}
    total: dict[str, int] = {}
    apart: dict[str, int] = {}
    for row, own in held.items():
        for word in own:
            total[word] = total.get(word, 0) + 1
            apart[word] = apart.get(word, 0) + int(spread[row] > 0)
    z = {w: (apart[w] - t * rate) / np.sqrt(t * rate * (1 - rate)) for w, t in total.items() if t >= FEWEST}
    hot = {word: float(value) for word, value in z.items() if value > 2}
    for row in range(len(texts)):
        own = held.get(row) or frozenset(words(texts[row]))
        if (not known[row] or spread[row] > 0) and (hits := [hot[word] for word in own if word in hot]):
            out[row] = max(hits)
    return out


def _against_clicks(place: Mapping[Any, int], said: Floats, clicks: pa.Table, grades: int) -> Floats:
    """(pairs,) by how much the place of a pair among clicked ones differs from its grade, both 0 to 1, where over a half."""
    ids = zip(clicks["query_id"].to_pylist(), clicks["doc_id"].to_pylist(), strict=True)
    where = np.array([place.get(pair, -1) for pair in ids], dtype=np.int64)
    shown, hit = (clicks[c].to_numpy().astype(np.float64) for c in ("impressions", "clicks"))
    there = ~np.isnan(said)
    grade = np.where(there, said, 0).sum(0) / np.maximum(there.sum(0), 1) / max(grades - 1, 1)
    kept = (where >= 0) & (shown >= SEEN)
    judged = np.asarray(there.any(axis=0), dtype=bool)
    kept &= np.where(where >= 0, judged[np.maximum(where, 0)], False)
    out = np.zeros(said.shape[1])
    if kept.sum() < 2:
        return out
    rate = (hit[kept] / shown[kept]).round(12)
    order = np.sort(rate)
    middle = (np.searchsorted(order, rate, "left") + np.searchsorted(order, rate, "right")) / 2 / len(order)
    gap = np.abs(middle - grade[where[kept]])
    out[where[kept]] = np.where(gap > 0.5, gap, 0.0)
    return out


def choose(frame: pa.Table, found: Mapping[str, Floats], *, n: int, drawn: NDArray[np.bool_], seed: int) -> dict[int, str]:
    """Row -> reasons of n pairs, the reasons taking turns, each with its strongest pair that is not chosen yet.

    drawn: (rows,) pairs of the random part: they stay there, with the odds that they had, and are not chosen again; a reason
    passes over them. Ties are broken by the seed.
    """
    number = uniform(seed, SALT, keys(map(str, frame["query_id"].to_pylist())), keys(map(str, frame["doc_id"].to_pylist())))
    queues = {name: [int(row) for row in np.lexsort((number, -score)) if score[row] > 0] for name, score in found.items()}
    chosen: dict[int, str] = {}
    at = dict.fromkeys(queues, 0)
    while len(chosen) < n and any(at[name] < len(queue) for name, queue in queues.items()):
        for name, queue in queues.items():
            while at[name] < len(queue) and (queue[at[name]] in chosen or drawn[queue[at[name]]]):
                at[name] += 1
            if at[name] < len(queue) and len(chosen) < n:
                chosen[queue[at[name]]] = name
    return {row: reasons(found, row) for row in chosen}


def reasons(found: Mapping[str, Floats], row: int) -> str:
    """All reasons that speak for a pair, in words; "" for none."""
    return "; ".join(name for name, score in found.items() if score[row] > 0)
