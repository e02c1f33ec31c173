"""From finished blocks to the table: every answer by its number on disk, and each row of the file takes its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from germane import store
from germane.labelling import reading
from germane.labelling.blocks import Blocks
from germane.labelling.reading import IDS, PairsFile
from germane.labelling.work import Work, known_answers
from germane.store.checks import compute
from germane.store.files import replacing
from germane.types import InputError, Outcome

if TYPE_CHECKING:
    import pyarrow as pa

_CODED = ("judge", "fingerprint", "scale", "guide_version", "outcome")  # texts that few are of
_OTHERS = ("relevance", "probs", "note", "self_agreement", "entropy", "cost")
_FILE = "answers.arrow"
_REMAP = 16  # takes after which the system may have the memory back that it showed of the file


class Written(NamedTuple):
    """What stands in the table. rows; outcomes of them; quarantined: rows of the file beside it."""

    rows: int
    outcomes: dict[str, int]
    quarantined: int


class Answers:
    """The answers to a job's different pairs. seconds: that asking took. cost: of all of them, None where one is not known.

    now: how many of them a watched day asked, None where none is said to.
    """

    def __init__(self, blocks: Blocks, work: Work) -> None:
        import pyarrow as pa

        self.seconds, self.cost = 0.0, 0.0 if work.different else None
        self.now: int | None = None
        self._words: dict[str, dict[str, int]] = {name: {} for name in _CODED}
        self._path = blocks.folder / _FILE
        kinds = {field.name: field.type for field in store.SCHEMAS["judgments"].arrow()}
        fields: Any = [*((name, pa.int32()) for name in _CODED), *((name, kinds[name]) for name in _OTHERS)]
        schema = pa.schema(fields)
        starts = [0]
        with replacing(self._path, sweep=False) as file, pa.ipc.new_file(cast(Any, file), schema) as writer:
            for table in _merged(known_answers(blocks), self._asked(blocks, work)):
                coded = self._coded(table).select(schema.names).cast(schema).combine_chunks()
                self._add_cost(coded["cost"])
                for batch in coded.to_batches():
                    writer.write_batch(batch)
                    starts.append(starts[-1] + batch.num_rows)
        self._starts = np.array(starts[:-1], dtype=np.int64)
        self._taken = 0
        self._map: Any = None

    def take(self, numbers: NDArray[np.int64]) -> pa.Table:
        """The answers with these numbers, in their order: the columns of a judgment without its ids."""
        import pyarrow as pa

        if self._taken % _REMAP == 0:
            self._map = pa.ipc.open_file(pa.memory_map(str(self._path)))
        self._taken += 1
        file: Any = self._map
        order = None if (numbers[1:] >= numbers[:-1]).all() else np.argsort(numbers, kind="stable")
        wanted = numbers if order is None else numbers[order]
        batch = np.searchsorted(self._starts, wanted, side="right") - 1
        cuts = [0, *(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(wanted)]
        parts = []
        for low, high in pairwise(cuts) if len(wanted) else ():
            here = wanted[low:high] - self._starts[batch[low]]
            whole = file.get_batch(int(batch[low]))
            run = here[-1] - here[0] == high - low - 1 and (np.diff(here) == 1).all()
            parts.append(whole.slice(int(here[0]), high - low) if run else whole.take(here))
        table = pa.Table.from_batches(parts, file.schema)
        if order is not None:
            back = np.empty(len(order), dtype=np.int64)
            back[order] = np.arange(len(order))
            table = table.take(back)
        return self._spelled(table)

    def _asked(self, blocks: Blocks, work: Work) -> Iterator[pa.Table]:
        """What was asked, by number: a window of pairs that were sorted by length at a time."""

        each = work.window // work.block
        for first in range(0, work.blocks, each):
            table, seconds = blocks.read(min(each, work.blocks - first), first)
            self.seconds += sum(seconds)
            if "asked" in table.column_names:
                self.now = (self.now or 0) + int(table["asked"].to_numpy().sum())
            order = np.argsort(table["number"].to_numpy())
            yield table.take(order)

    def _coded(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        for name in _CODED:
            words, column = self._words[name], table[name].combine_chunks()
            coded: Any = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
            codes = np.array([words.setdefault(word, len(words)) for word in coded.dictionary.to_pylist()], dtype=np.int32)
            table = table.set_column(table.column_names.index(name), name, pa.array(codes[coded.indices.to_numpy()]))
        return table

    def _spelled(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        for name in _CODED:
            whole: Any = table[name].combine_chunks()
            spelled = pa.DictionaryArray.from_arrays(whole, pa.array(list(self._words[name]), pa.string()))
            table = table.set_column(table.column_names.index(name), name, spelled.cast(pa.string()))
        return table

    def _add_cost(self, cost: Any) -> None:
        if self.cost is not None:
            self.cost = None if cost.null_count else self.cost + float(cost.to_numpy().sum())


def _merged(one: Iterator[pa.Table], other: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The rows of both by number, of which each is in order."""
    import pyarrow as pa

    left, right = next(one, None), next(other, None)
    while left is not None and right is not None:
        numbers = [table["number"].to_numpy() for table in (left, right)]
        last = min(int(part[-1]) for part in numbers)
        cuts = [int(np.searchsorted(part, last, side="right")) for part in numbers]
        both = pa.concat_tables([_plain(left.slice(0, cuts[0])), _plain(right.slice(0, cuts[1]))])
        yield both.take(np.argsort(both["number"].to_numpy()))
        left = left.slice(cuts[0]) if cuts[0] < left.num_rows else next(one, None)
        right = right.slice(cuts[1]) if cuts[1] < right.num_rows else next(other, None)
    for rest, more in ((left, one), (right, other)):
        if rest is not None:
            yield rest
            yield from more


def _plain(table: pa.Table) -> pa.Table:
    import pyarrow as pa

    schema = store.SCHEMAS["judgments"].arrow()
    fields = [pa.field("number", pa.int64()), *(field for field in schema if field.name not in IDS)]
    return table.select([field.name for field in fields]).cast(pa.schema(fields))


# --- the files --------------------------------------------------------------------------------------------------------


def quarantine_of(out: Path) -> Path:
    """Where the rows stand that could not be labelled.

    >>> quarantine_of(Path("judgments.parquet")).as_posix()
    'judgments.quarantine.parquet'
    """
    return out.with_name(f"{out.stem}.quarantine{out.suffix}")


def write(out: Path, pairs: PairsFile, work: Work, answers: Answers) -> Written:
    """Writes the judgment of each row that has ids, in the order of the file, and beside it the rows that have none.

    Raises: InputError where a file cannot be written.
    """
    import pyarrow.parquet as pq

    kind = store.SCHEMAS["judgments"]
    schema = kind.arrow().with_metadata({b"germane.kind": b"judgments", b"germane.schema_version": str(kind.version).encode()})
    counts: Counter[str] = Counter()
    with ExitStack() as quarantine, ExitStack() as stack:
        aside: Any = None
        file = stack.enter_context(replacing(out))
        writer = stack.enter_context(pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True))
        for first, table, numbers in _rows(pairs, work, answers):
            said = table.select(schema.names).cast(schema)
            writer.write_table(said, row_group_size=reading.PIECE)
            counts.update(_counted(said["outcome"]))
            if (bad := _bad(first, table, numbers, work)) is not None:
                if aside is None:
                    place = quarantine.enter_context(replacing(quarantine_of(out)))
                    options: Any = {"compression": "zstd", "write_page_checksum": True}
                    aside = quarantine.enter_context(pq.ParquetWriter(place, bad.schema, **options))
                aside.write_table(bad)
                counts["quarantined"] += bad.num_rows
    if aside is None:
        quarantine_of(out).unlink(missing_ok=True)
    quarantined = counts.pop("quarantined", 0)
    return Written(counts.total(), dict(sorted(counts.items())), quarantined)


def _counted(outcomes: Any) -> dict[str, int]:
    return {str(row["values"]): row["counts"] for row in outcomes.value_counts().to_pylist()}


def _rows(pairs: PairsFile, work: Work, answers: Answers) -> Iterator[tuple[int, pa.Table, NDArray[np.int64]]]:
    """(row of the first, judgments and row, numbers of the labelled ones): every row that has ids."""
    import pyarrow as pa

    told, faults = -1, work.faults["row"].to_numpy()
    for piece in pairs.read(IDS):
        last = piece.first + piece.table.num_rows
        here = work.number[piece.first : last].astype(np.int64)
        sound = here >= 0
        ids = piece.table if sound.all() else piece.table.filter(pa.array(sound))
        if ids["query_id"].null_count or ids["doc_id"].null_count:
            raise InputError(f"{pairs.path} changed, or can no longer be read, while it was labelled")
        table = answers.take(here[sound])
        table = table.set_column(table.column_names.index("cost"), "cost", _once(table["cost"], here[sound], told))
        told = max(told, int(here.max()))
        place: Any = pa.array(np.flatnonzero(sound) + piece.first)
        columns: dict[str, Any] = {name: ids[name] for name in IDS} | {name: table[name] for name in table.column_names}
        table = pa.table({"row": place, **columns})
        low, high = np.searchsorted(faults, [piece.first, last])
        if low < high:
            table = _with_faults(table, work.faults.slice(int(low), int(high - low)), answers)
        yield piece.first, table, here


def _with_faults(table: pa.Table, faults: pa.Table, answers: Answers) -> pa.Table:
    """The judgments and, where they stand in the file, no answer to the rows that have ids but could not be asked about."""
    import pyarrow as pa

    named = faults.filter(faults["named"])
    like = answers.take(np.zeros(1, dtype=np.int64)).to_pylist()[0]
    same = {name: like[name] for name in ("judge", "fingerprint", "scale", "guide_version")} | {"outcome": str(Outcome.ERROR)}
    columns: dict[str, Any] = {name: named[name] for name in ("row", *IDS)} | {"note": named["reason"]}
    columns |= {name: pa.repeat(text, named.num_rows) for name, text in same.items()}
    columns |= {f.name: pa.nulls(named.num_rows, f.type) for f in table.schema if f.name not in columns}
    whole = pa.concat_tables([table, pa.table(columns).select(table.column_names).cast(table.schema)])
    return whole.take(np.argsort(whole["row"].to_numpy(), kind="stable"))


def _bad(first: int, table: pa.Table, numbers: NDArray[np.int64], work: Work) -> pa.Table | None:
    """The rows that could not be labelled: row (from 1), ids as far as there are any, and reason; None for no such rows."""
    import pyarrow as pa

    pc = compute()
    low, high = np.searchsorted(work.faults["row"].to_numpy(), [first, first + len(numbers)])
    unread = work.faults.slice(int(low), int(high - low)).select(["row", *IDS, "reason"])
    error: Any = pc.equal(table["outcome"], str(Outcome.ERROR))
    if not len(unread) and not pc.any(error).as_py():
        return None
    broke = table.filter(error).select(["row", *IDS, "note"]).rename_columns(unread.column_names)
    known = pc.is_in(broke["row"], unread["row"].combine_chunks())
    both = pa.concat_tables([unread, broke.filter(pc.invert(known))]).sort_by("row")
    return both.set_column(0, "row", pc.add(both["row"], 1))


def _once(cost: Any, number: NDArray[np.int64], told: int) -> Any:
    """The cost of each row's answer, 0 where a row before it had the same: so the column adds up to what was paid."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = number > np.maximum.accumulate(np.concatenate([[told], number]))[:-1]
    kept: Any = pc.or_(pa.array(first), pc.is_null(cost))
    return cost if first.all() else pc.if_else(kept, cost, pa.scalar(0.0, cost.type))


def failures(said: pa.Table) -> int:
    """How many of these answers are none because the pair broke the judge."""
    pc = compute()
    return int(pc.sum(pc.equal(said["outcome"], str(Outcome.ERROR))).as_py() or 0)


def finished(out: Path, made: Mapping[str, Any], most: int) -> dict[str, Any] | None:
    """What the manifest of a finished table says, if the same was asked for and all that it wrote is there; else None.

    most: failures that are allowed now. Raises: InputError where it has more.
    """
    manifest = store.read_manifest(out) if store.up_to_date(out, **made) else None
    if manifest is None:
        return None
    did = manifest.extra["label"]
    if did["quarantined"] and not quarantine_of(out).is_file():
        return None
    allowed(int(did.get("failed", did["quarantined"])), 0, most)
    return dict(manifest.extra)


def allowed(failed: int, more: int, most: int) -> int:
    """How many rows failed by now. Raises: InputError where that is more than may."""
    if failed + more > most:
        raise InputError(
            f"{failed + more:,} rows cannot be labelled, and at most {most:,} may fail: what was finished is kept; mend the "
            f"pairs, or go on with --failures {failed + more} or more"
        )
    return failed + more
