"""`germane bench`: how fast a judge is on this machine, beside what the machine could do and what others do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from germane import extras, scales, store
from germane.inference import ceilings
from germane.judges import Fake, folder, pairs_of
from germane.judges.folder import About
from germane.judges.loading import load, locate
from germane.labelling import local
from germane.labelling.annotators import is_annotator
from germane.labelling.blocks import Blocks
from germane.labelling.peers import KINDS, Peer, peers
from germane.labelling.rates import FEWEST, Ask, Need, Rate, asking, geometric, in_turns, quickest, rate, times
from germane.labelling.reading import PairsFile
from germane.labelling.speed import FEW, PeakMemory, latency_ms, machine, surroundings
from germane.training import scratch
from germane.types import Estimate, InputError

if TYPE_CHECKING:
    import pyarrow as pa

FAKE = "fake"
LABELLING = "germane label, parquet to parquet"
SHORT = 1_000
"""Pairs of a round of labelling below which a job's start is told of."""

SHAPES = {
    "minilm": {"width": 384, "layers": 6, "heads": 12, "inner": 1536},
    "base": {"width": 768, "layers": 12, "heads": 12, "inner": 3072},
    "large": {"width": 1024, "layers": 24, "heads": 16, "inner": 4096},
}
"""Sizes of encoders, as of all-MiniLM-L6-v2, BERT-base and XLM-RoBERTa-large, for a judge of random weights."""

MADE, MADE_FOR_MANY = 4_000, 100_000
"""Pairs that are made up, if none are given; for a GPU, and for the fake judge."""

READ = 200_000
"""Pairs of a file that are read at most."""

COUNTED = ("float32", "bfloat16", "float16")
"""Numbers of which the best product is measured; int8 has no ceiling here."""

TOKENS = 99
"""Words of a made-up pair, on average: tokens of product search."""


class Bench(NamedTuple):
    """What was measured. judge: its name; kind: of judge. pairs: which. tokens: of a pair, on average, None if not counted.

    matmul: TFLOP/s of the best product of matrices here, by numbers, over
    the rounds. memory_gb_s: of the best copy. rates: the judge first.
    loading_s: to load the judge, and to prepare it for many pairs. latency_ms: of one pair alone. peak_mib: of memory, while
    it answered.
    """

    judge: str
    kind: str
    machine: str
    surroundings: str
    pairs: str
    tokens: float | None
    matmul: Mapping[str, Estimate]
    memory_gb_s: Estimate
    rates: tuple[Rate, ...]
    loading_s: float
    latency_ms: float | None
    peak_mib: float | None
    seconds: float
    rounds: int
    notes: tuple[str, ...] = ()


def bench(
    judge: str | Path | None = None,
    *,
    pairs: Path | None = None,
    scale: str | Path = "esci",
    shape: str = "minilm",
    device: str | None = None,
    batch: int | None = None,
    engine: str | None = None,
    vectors: Path | None = None,
    seconds: float = 10.0,
    rounds: int = 5,
    hour_price: float | None = None,
    peer: bool = True,
) -> Bench:
    """What a judge does in a second, as a share of what this machine can do, beside sentence-transformers on the same pairs.

    judge: a trained judge's folder, or "fake", which needs a scale; None is a cross-encoder of this shape with random weights.
    pairs: a file of them; made up if none is given. device, batch, engine, vectors: as of `label`. seconds: that each way of
    asking is measured for, in so many rounds. hour_price: money for an hour of this machine. peer: False leaves
    sentence-transformers out. Twelve parameters: each is an option of the command.

    Raises: InputError for no judge, a language model behind a server, pairs that cannot be read, an unknown shape, and numbers
    that cannot be.
    """
    _checked(judge, shape, seconds, rounds, hour_price)
    with tempfile.TemporaryDirectory(prefix="germane-bench-") as scratched:
        here = Path(scratched)
        if judge is None or device is not None:
            extras.needs("train", "torch", by="a cross-encoder (--judge fake needs none)" if judge is None else "--device")
        where = extras.device(device) if judge is None or device is not None else device
        table, told = _pairs(pairs, many=str(where).startswith("cuda") or str(judge) == FAKE)
        if judge is None:
            scratch.cross_encoder(here / "judge", _columns(table.slice(0, 2000))[1], **SHAPES[shape])
        began = time.perf_counter()
        options = {"batch": batch, "engine": engine, "vectors": vectors}
        asked, about = _judge(here / "judge" if judge is None else judge, scale, where, options)
        if hasattr(asked, "warm_up"):
            asked.warm_up()
        loading = time.perf_counter() - began
        where = str(getattr(asked, "device", where or "cpu"))
        peak, asks = PeakMemory(), {_called(asked): asking(asked)}
        asks[LABELLING] = _labelling(asked, here)
        for work in asks.values():
            work(table.slice(0, FEWEST))
        mib, latency = peak.mib(where), latency_ms(asked, list(pairs_of(table.slice(0, FEW))))
        notes = _notes(asked, about)
        others: list[Peer] = []
        if peer and about is not None:
            place = here / "judge" if judge is None else Path(locate(judge))
            others, more = _peers(place, about, where, table)
            notes += more
        asks |= {other.named: other.ask for other in others if other.ask}
        best = ceilings.Ceilings(where, _numbers(asked, table, others))
        took = in_turns(asks, table, seconds=seconds, rounds=rounds, between=best.measure)
        needs = _needs(asked, table, took, others)
        found = tuple(_rate(name, took, needs, best, hour_price) for name in took)
        notes += _warnings(asked, found)
        first = needs.get(found[0].named)
        tokens = first.tokens / found[0].rows if first else None
    return Bench(
        asked.name,
        about.kind if about else FAKE,
        machine(where),
        surroundings(),
        told,
        tokens,
        {name: geometric(each) for name, each in best.matmul.items()},
        geometric(best.memory),
        found,
        loading,
        latency,
        mib,
        seconds,
        rounds,
        tuple(notes),
    )


def _checked(judge: str | Path | None, shape: str, seconds: float, rounds: int, hour_price: float | None) -> None:
    if is_annotator(str(judge)):
        raise InputError(
            f"{judge} answers on its server, whose speed is not this machine's: `label` says pairs a second and cost"
        )
    if shape not in SHAPES:
        raise InputError(f"shape {shape!r}: expected {', '.join(SHAPES)}")
    if not (0 < seconds < float("inf")) or rounds < 3:
        raise InputError(f"{seconds:g} seconds in {rounds} rounds: time above 0, and three rounds for an interval, are needed")
    if hour_price is not None and not 0 < hour_price < float("inf"):
        raise InputError(f"--hour-price {hour_price:g}: give what an hour of the machine costs, above 0, as 1.01")


def _judge(judge: str | Path, scale: str | Path, device: str | None, options: Mapping[str, Any]) -> tuple[Any, About | None]:
    """The judge, and what its folder says; nothing of the fake one, which has none."""
    given = {name: value for name, value in options.items() if value is not None}
    if str(judge) == FAKE:
        if given:
            raise InputError(f"--{next(iter(given))} is of trained judges, and {FAKE} is none")
        return Fake(scales.get(scale)), None
    about = folder.read(locate(judge))
    allowed = {"two-tower": {"batch", "engine", "vectors"}, "cross-encoder": {"batch", "engine"}}.get(about.kind, {"batch"})
    if wrong := sorted(set(given) - allowed):
        raise InputError(f"--{wrong[0]} does not go with a {about.kind} like {about.name}")
    return load(locate(judge), device=device, **given), about


def _called(judge: Any) -> str:
    version = getattr(judge, "engine_version", "")
    told = ", ".join(part for part in (str(getattr(judge, "engine", "")), version) if part)
    return f"germane, {told}" if told else "germane"


def _notes(judge: Any, about: About | None) -> list[str]:
    notes = []
    if about is None:
        notes.append("fake: grades are made up by hash, so that what is measured is labelling itself")
    elif about.random_weights:
        notes.append("random weights: this judge was never trained; it shows how fast such a model is, and nothing else")
    if about is not None and about.kind not in KINDS:
        notes.append(f"sentence-transformers has no {about.kind}: nothing stands beside it")
    if getattr(judge, "vectors", None) is not None:
        notes.append("documents' vectors are read from their folder, and sentence-transformers encodes every text")
    return notes


# --- pairs ------------------------------------------------------------------------------------------------------------


def _pairs(path: Path | None, *, many: bool) -> tuple[pa.Table, str]:
    """Whole queries in a drawn order, and what they are."""
    import pyarrow as pa

    if path is None:
        table = made_up(MADE_FOR_MANY if many else MADE)
        return table, f"{table.num_rows:,} made up"
    pieces = list(PairsFile(path, READ).pieces())  # as `label` reads it: what cannot be labelled is left out
    if not pieces:
        raise InputError(f"{path} has no pair that can be labelled")
    table = pa.concat_tables(pieces)
    order: dict[str, list[int]] = {}
    for row, query_id in enumerate(table["query_id"].to_pylist()):
        order.setdefault(str(query_id), []).append(row)
    queries = list(order.values())
    drawn = [row for at in np.random.default_rng(0).permutation(len(queries)) for row in queries[at]]
    return table.take(pa.array(drawn)), f"{table.num_rows:,} of {path}"


def made_up(rows: int, *, seed: int = 0) -> pa.Table:
    """Pairs of common words, 25 documents a query, lengths lognormal about TOKENS words: for speed alone.

    >>> made_up(50)["query_id"].to_pylist()[24:26]
    ['q0', 'q1']
    """
    import pyarrow as pa

    guides = " ".join(scales.get(name).guide for name in ("esci", "five-level", "trec"))
    words = np.array(sorted({word.lower() for word in guides.split() if word.isalpha()}), dtype=object)
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.exp(np.log(TOKENS) - 0.125 + 0.5 * rng.standard_normal(rows)), 8, 250).astype(int) - 6
    ends = np.cumsum(lengths)
    drawn = words[rng.integers(0, len(words), int(ends[-1]))]
    queries = [" ".join(words[rng.integers(0, len(words), 3)]) for _ in range(-(-rows // 25))]
    return pa.table(
        {
            "query_id": [f"q{i // 25}" for i in range(rows)],
            "query": [queries[i // 25] for i in range(rows)],
            "doc_id": [f"d{i}" for i in range(rows)],
            "text": [" ".join(drawn[end - n : end]) for end, n in zip(ends.tolist(), lengths.tolist(), strict=True)],
        }
    )


def _columns(table: pa.Table) -> tuple[list[str], list[str]]:
    queries, texts = ([str(text or "") for text in table[name].to_pylist()] for name in ("query", "text"))
    return queries, texts


# --- ways of asking ---------------------------------------------------------------------------------------------------


def _labelling(judge: Any, here: Path) -> Ask:
    """Labelling as the command does it, from a file to a file, without the judgment store."""
    number = count()
    files: dict[int, Path] = {}

    def work(pairs: pa.Table) -> None:
        path = files.get(pairs.num_rows)
        if path is None:  # written once, by a call that is not counted
            path = files[pairs.num_rows] = here / f"pairs-{pairs.num_rows}.parquet"
            store.write_table(pairs, path, "pairs", verb="bench", parameters={})
        out = here / f"judgments-{next(number)}.parquet"
        blocks = Blocks(here / f"{out.name}.parts", {})
        with blocks:
            local.label(judge, PairsFile(path), out, blocks, timed=False)
        blocks.remove()
        out.unlink()

    return work


def _peers(where: Path, about: About, device: str, table: pa.Table) -> tuple[list[Peer], list[str]]:
    """sentence-transformers as it comes, and at the fastest of its settings; notes on what could not be asked."""
    found = peers(where, about, device)
    notes = [f"{peer.named} is left out: {peer.why}" for peer in found if peer.ask is None]
    can = {peer.named: peer for peer in found if peer.ask is not None}
    if not can:
        return [], notes
    default = next(iter(can))
    best = quickest({name: peer.ask for name, peer in can.items() if peer.ask}, table)
    told = f"of {len(can)} settings of sentence-transformers "
    notes.append(told + ("its default is the fastest" if best == default else "its default and the fastest are shown"))
    return [can[name] for name in dict.fromkeys((default, best))], notes


# --- what it says -------------------------------------------------------------------------------------------------------


def _numbers(judge: Any, table: pa.Table, others: Sequence[Peer]) -> list[str]:
    """The numbers in which products are to be measured."""
    if not hasattr(judge, "reads"):
        return []
    mine = {read.numbers for read in judge.reads(*_columns(table.slice(0, 1)))}
    return sorted((mine | {other.numbers for other in others}) & set(COUNTED))


def _warnings(judge: Any, found: Sequence[Rate]) -> list[str]:
    """What to know of these figures."""
    notes = [f"{each.named}: {each.rows_per_s.caveat}" for each in found if each.rows_per_s.caveat]
    short = next((each for each in found if each.named == LABELLING and each.rows < SHORT), None)
    if short is not None:
        notes.append(
            f"{LABELLING} had {short.rows:,} pairs a round, of which a job's start is a large part: give it more --seconds"
        )
    if getattr(judge, "vectors", None) is not None:
        notes.append("tokens, and the share of matmul, are of queries alone where documents' vectors are stored")
    return notes


def _needs(judge: Any, table: pa.Table, took: Mapping[str, Any], others: Sequence[Peer]) -> dict[str, Need]:
    """What the pairs of each way of asking need, where the judge says what it reads."""
    if not hasattr(judge, "reads"):
        return {}
    numbers = {other.named: other.numbers for other in others}
    if getattr(judge, "vectors", None) is not None:  # it reads less than they do
        took = {name: each for name, each in took.items() if name not in numbers}
    found = {name: Need.of(judge.reads(*_columns(table.slice(0, rows)))) for name, (rows, _) in took.items()}
    return {name: need if name not in numbers else need.multiplied(numbers[name]) for name, need in found.items()}


def _rate(
    name: str,
    took: Mapping[str, tuple[int, list[float]]],
    needs: Mapping[str, Need],
    best: ceilings.Ceilings,
    hour_price: float | None,
) -> Rate:
    rows, seconds = took[name]
    found = rate(name, rows, seconds, need=needs.get(name), matmul=best.matmul, memory=best.memory, hour_price=hour_price)
    first = next(iter(took))
    if name == first:
        return found
    counted = first in needs and name in needs
    did = [needs[each].tokens if counted else took[each][0] for each in (first, name)]
    return replace(found, ratio=times((did[0], took[first][1]), (did[1], seconds)))
