"""`germane probe`: can this judge be talked into a better grade?"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane import cards, report, scales, sources, store
from germane.cards import probing
from germane.judges import Fake, as_table, pairs_of, probes
from germane.judges.loading import load, locate
from germane.judges.replies import Replies
from germane.labelling.annotators import REPLIES, Annotator
from germane.labelling.blocks import Blocks
from germane.labelling.planned import forecast
from germane.labelling.reading import PairsFile
from germane.types import InputError, Judge, Pair, Probes, Scale

if TYPE_CHECKING:
    import pyarrow as pa

FAKE = "fake"
LOOKS = 4
"""Times the sample's size that are graded at most to find pairs that could rise."""

FILES = ("probes.json", "probes.html", "probes.md", "answers.parquet")
_LOG = logging.getLogger("germane")


class Plan(NamedTuple):
    """What a probe would ask: attacks, pairs of each at most, and calls of the judge at most, fewer where pairs lack.

    dollars: that they may cost, None for a judge that costs none, or whose price is not known.
    """

    probes: int
    families: tuple[str, ...]
    pairs: int
    calls: int
    dollars: float | None = None


def plan(pairs: str | Path, *, sample: int = 60, families: Sequence[str] = (), annotator: Annotator | None = None) -> Plan:
    """How many calls the probes may take: finding the sample, asking it again, and each attack on it.

    annotator: counts each of its samples as a call, and tells what they may cost by the table of prices.

    Raises: InputError for pairs that cannot be read, and an unknown family.
    """
    suite = probes.chosen(families)
    rows = sources.read_pairs(pairs).num_rows
    size = _size(sample, rows)
    asks = min(LOOKS * sample, rows) + size * (1 + len(suite))
    calls, dollars = asks, None
    if annotator is not None:
        asked = annotator.asked()
        places = [end.place(model) for model, end in zip(asked.models, annotator.endpoints(asked), strict=True)]
        one = forecast(asked, PairsFile(Path(pairs)), Replies(), annotator.priced(asked), places=places, at_once=1)
        calls = asks * one.cost.calls_most // max(one.different, 1)
        dollars = None if one.cost.dollars is None else round(asks * one.cost.dollars / max(one.different, 1), 2)
    return Plan(len(suite), tuple(dict.fromkeys(probe.family for probe in suite)), size, calls, dollars)


def probe(
    judge: str | Path,
    pairs: str | Path,
    out: str | Path,
    *,
    scale: str | Path | None = None,
    golden: str | Path | None = None,
    sample: int = 60,
    families: Sequence[str] = (),
    relevant: str | int | None = None,
    level: float = 0.95,
    seed: int = 0,
    annotator: Annotator | None = None,
) -> Probes:
    """What the standing suite of attacks does to a judge's grades, beside what asking it again does.

    judge, scale: as in `label`. pairs: what to attack. golden: people's grades; pairs that they call not relevant are taken
    first. sample: pairs that could rise, since the judge grades them below the best label. families: of probes, all by
    default. relevant: the lowest label that counts as relevant. out: a folder for probes.json (and its manifest), .html, .md
    and every answer, as answers.parquet. Killed, the same call goes on; the same files and parameters again do nothing.
    Each question is a call of its own: a judge that keeps answers must not answer the control from what it kept. annotator:
    how a language model is asked, where the judge is one ("llm:...").

    Raises: InputError for pairs of which none could rise, and as `label`.
    """
    asked, of = _judge(judge, scale, annotator, Path(out))
    suite, folder = probes.chosen(families), Path(out)
    threshold = cards.threshold(of) if relevant is None else of.relevance(relevant)
    if not 0 < threshold < len(of.labels):
        raise InputError(f"--relevant {relevant}: every grade would count as relevant; give a label above {of.labels[0]!r}")
    parameters = {
        "judge": asked.fingerprint,
        "scale": of.name,
        "guide": of.version,
        "sample": sample,
        "families": list(families),
        "level": level,
    }
    parameters |= {"relevant": threshold, "suite": [probe.name for probe in suite], "golden": golden is not None}
    inputs = [Path(pairs), *([Path(golden)] if golden is not None else [])]
    work: dict[str, Any] = {"verb": "probe", "inputs": inputs, "parameters": parameters, "seed": seed}
    if all((folder / name).is_file() for name in FILES) and store.up_to_date(folder / FILES[0], **work):
        return probing.read_part(folder, Probes, FILES[0])
    table = sources.read_pairs(pairs)
    candidates = _candidates(list(pairs_of(table)), golden, of, threshold, seed)
    digests = {"inputs": [store.sha256(path) for path in inputs], **parameters, "seed": seed}
    with Blocks(folder / ".probe.parts", digests) as blocks:
        asking = _Asking(
            asked, blocks, min(LOOKS * sample, len(candidates)) + _size(sample, len(candidates)) * (1 + len(suite))
        )
        found, answers = _ask(asking, candidates, suite, of, sample=sample, seed=seed)
        made = Probes(
            asked.name,
            asked.fingerprint,
            of.name,
            asking.guide,
            f"{pairs} ({table.num_rows:,} pairs)",
            tuple(probing.probed(found.before, found.attacks, threshold=threshold, level=level)),
            probing.noise(found.before, threshold=threshold, level=level),
            probing.families(found.before, found.attacks, level=level),
            asked=found.asked,
            sample=len(found.before.grades),
            could_be_relevant=int((found.before.grades < threshold).sum()),
            relevant=of.labels[threshold],
            calls=asking.calls,
            seed=seed,
            notes=_notes(asked, found, sample),
        )
        write(made, answers, folder)
        store.write_manifest(folder / FILES[0], **work)
        blocks.remove()
    return made


def write(made: Probes, answers: pa.Table, folder: Path) -> None:
    """Puts the answers, the pages and last the JSON into the folder."""
    import io

    import pyarrow.parquet as pq

    held = io.BytesIO()
    pq.write_table(answers, held, compression="zstd")
    store.write_bytes(folder / "answers.parquet", held.getvalue())
    store.write_text(folder / "probes.html", report.probes_html(made))
    store.write_text(folder / "probes.md", report.probes_markdown(made))
    store.write_text(folder / "probes.json", made.to_json() + "\n")


def _judge(judge: str | Path, scale: str | Path | None, annotator: Annotator | None, out: Path) -> tuple[Judge, Scale]:
    """The judge of a name, and its scale."""
    if annotator is not None:
        which = annotator.asked()
        annotator.ready(which)
        return annotator.open(which, out / REPLIES), annotator.scale
    if str(judge) == FAKE:
        if scale is None:
            raise InputError("--judge fake needs --scale: it makes up grades on any")
        return Fake(scales.get(scale)), scales.get(scale)
    loaded: Any = load(locate(judge))
    of: Scale = loaded.about.scale
    if scale is not None and scales.get(scale).version != of.version:
        raise InputError(f"{judge} judges on scale {of.name!r} of its own guide, not on {scale}: leave --scale out")
    return loaded, of


# --- which pairs ------------------------------------------------------------------------------------------------------


def _size(sample: int, rows: int) -> int:
    if sample < 2:
        raise InputError(f"--sample {sample}: give at least 2 pairs, better 60")
    if rows == 0:
        raise InputError("there are no pairs: there is nothing to probe")
    return min(sample, rows)


def _candidates(pairs: Sequence[Pair], golden: Any, scale: Scale, threshold: int, seed: int) -> list[Pair]:
    """The pairs in the order in which they are looked at: those that people call not relevant first, one a query at a time."""
    seen = set()
    for query, doc in pairs:
        if (query.query_id, doc.doc_id) in seen:
            raise InputError(f"pairs name query {query.query_id!r} and document {doc.doc_id!r} twice: keep one of them")
        seen.add((query.query_id, doc.doc_id))
    low: dict[tuple[str, str], bool] = {}
    if golden is not None:
        gold = sources.read_judgments(golden, scale=scale)
        columns = (gold[name].to_pylist() for name in ("query_id", "doc_id", "relevance"))
        low = {(q, d): grade < threshold for q, d, grade in zip(*columns, strict=True) if grade is not None}
        if not low.keys() & seen:
            raise InputError(f"none of the pairs is in {golden}: are query_id and doc_id the same in both?")
    order = list(pairs)
    random.Random(f"{seed}\x1fsample").shuffle(order)
    turn: dict[tuple[int, str], int] = {}
    ranked = []
    for at, pair in enumerate(order):
        part = {True: 0, None: 1, False: 2}[low.get((pair.query.query_id, pair.doc.doc_id))]
        place = turn[part, pair.query.query_id] = turn.get((part, pair.query.query_id), -1) + 1
        ranked.append((part, place, at))
    return [order[at] for _, _, at in sorted(ranked)]


# --- asking -----------------------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    before: probing.Before
    attacks: list[probing.Attack]
    asked: int


class _Asking:
    """A judge, asked block by block; a block that is finished is not asked again."""

    def __init__(self, judge: Judge, blocks: Blocks, total: int) -> None:
        self.judge, self.blocks, self.total = judge, blocks, total
        self.sizes: list[int] = []
        self.guide = ""

    @property
    def calls(self) -> int:
        return sum(self.sizes)

    def __call__(self, pairs: Sequence[Pair], doing: str, *, once_more: bool = False) -> None:
        """Asks about these pairs, as the next block. once_more: a judge that keeps its replies does not answer from them."""
        number = len(self.sizes)
        self.sizes.append(len(pairs))
        if not self.blocks.has(number, len(pairs)):
            other = getattr(self.judge, "again", None) if once_more else None
            said = as_table((other() if other else self.judge)(iter(pairs)))
            if said.num_rows != len(pairs):
                raise InputError(
                    f"judge {self.judge.name!r} gave {said.num_rows:,} answers for {len(pairs):,} pairs: it is broken"
                )
            self.blocks.commit(number, said, seconds=0.0)
        _LOG.info(doing, extra={"done": self.calls, "total": self.total})

    def answers(self) -> pa.Table:
        """Every answer so far, in the order of asking."""
        table = self.blocks.read(len(self.sizes))[0]
        self.guide = str(table["guide_version"][0].as_py())
        return table

    def grades(self) -> list[NDArray[np.int64]]:
        """The grades of each block, -1 for no answer."""
        said = self.answers()["relevance"].combine_chunks()
        flat = np.nan_to_num(said.to_numpy(zero_copy_only=False).astype(np.float64), nan=-1).astype(np.int64)
        return np.split(flat, np.cumsum(self.sizes)[:-1])


def _ask(
    asking: _Asking, candidates: list[Pair], suite: Sequence[probes.Probe], scale: Scale, *, sample: int, seed: int
) -> tuple[_Found, pa.Table]:
    """The sample's grades, when asked again, and under each attack; and a table of every answer."""
    looked, could = 0, np.zeros(0, np.int64)
    while looked < min(LOOKS * sample, len(candidates)) and len(could) < sample:
        asking(candidates[looked : looked + sample], "finding pairs that could rise")
        looked = min(looked + sample, len(candidates))
        first = np.concatenate(asking.grades())
        could = np.flatnonzero((first >= 0) & (first < len(scale.labels) - 1))
    if not len(could):
        raise InputError(
            f"of {looked:,} pairs none could rise: judge {asking.judge.name!r} gives {scale.labels[-1]!r} or no answer to all. "
            "Give pairs that are not relevant"
        )
    taken = could[:sample]
    chosen = [candidates[at] for at in taken]
    asking(chosen, "asking again", once_more=True)
    rows = []
    for probe in suite:
        changed = probes.attacked(probe, chosen, scale, seed=seed)
        rows.append(np.array([at for at, pair in enumerate(changed) if pair != chosen[at]], dtype=np.int64))
        if len(rows[-1]):
            asking([changed[at] for at in rows[-1]], probe.name)
    said = iter(asking.grades()[-(1 + sum(len(part) > 0 for part in rows)) :])
    before = probing.Before(np.array([pair.query.query_id for pair in chosen], dtype=object), first[taken], next(said))
    attacks = [
        probing.Attack(p.name, p.family, p.attacks, str(p.expects), part, next(said) if len(part) else np.zeros(0, np.int64))
        for p, part in zip(suite, rows, strict=True)
    ]
    return _Found(before, attacks, looked), _table(before, attacks, chosen)


def _table(before: probing.Before, attacks: Sequence[probing.Attack], chosen: Sequence[Pair]) -> pa.Table:
    """A row for each attacked pair: the probe, the pair, and its grade before, when asked again, and after."""
    import pyarrow as pa

    def lines() -> Iterator[tuple[Any, ...]]:
        for attack in attacks:
            for at, grade in zip(attack.rows.tolist(), attack.grades.tolist(), strict=True):
                pair, grades = chosen[at], (int(before.grades[at]), int(before.again[at]), grade)
                yield attack.name, pair.query.query_id, pair.doc.doc_id, *(None if g < 0 else g for g in grades)

    names = ("probe", "query_id", "doc_id", "before", "again", "after")
    columns = list(zip(*lines(), strict=True)) or [()] * len(names)
    kinds = [pa.string()] * 3 + [pa.int16()] * 3
    return pa.table({name: pa.array(column, kind) for name, column, kind in zip(names, columns, kinds, strict=True)})


def _notes(judge: Judge, found: _Found, sample: int) -> tuple[str, ...]:
    notes = []
    if judge.fingerprint.startswith("fake:"):
        notes.append("fake: this judge grades by hash, so that every change of a text draws a new grade; it says nothing")
    if judge.fingerprint.startswith("random:"):
        notes.append("random weights: this judge was never trained")
    size, queries = len(found.before.grades), len(set(found.before.queries.tolist()))
    if size < sample:
        notes.append(f"only {size:,} of {found.asked:,} pairs could rise: {sample:,} were asked for")
    if queries < 10:
        notes.append(f"only {queries} queries: an attack has to work on most of them to be told from chance")
    return tuple(notes)
