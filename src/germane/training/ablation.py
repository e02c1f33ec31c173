"""What each field of a document's text adds: judges trained on the title, on title and brand, and so on, on the same folds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from germane.judges import loading
from germane.text import TextPlan, compose_table
from germane.training.beside import Field, board, differences
from germane.training.examples import Examples, examples
from germane.training.folds import Cost, Load, OutOfFold, Trainer, out_of_fold
from germane.training.shootout import shown
from germane.types import Estimate, InputError, JudgeFacts, Leaderboard, decode

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rung:
    """A judge that reads these fields, `field` being the last. found: of all folds together.

    step: minus the rung before, paired; total: minus the first. characters: mean length of a text. cut: share of the
    documents in which the budget cut this field.
    """

    field: str
    fields: tuple[str, ...]
    found: Mapping[str, Estimate]
    step: Mapping[str, Estimate]
    total: Mapping[str, Estimate]
    cost: Cost
    characters: float
    cut: float


@dataclass(frozen=True)
class Ladder:
    """The rungs in the order of the fields; the board of all of them; how many folds; what to know."""

    rungs: tuple[Rung, ...]
    board: Leaderboard
    folds: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cast("Self", decode(cls, json.loads(text)))


def ablate(
    docs: pa.Table,
    pairs: pa.Table,
    fields: Sequence[str],
    trainer: Trainer,
    on: Field,
    *,
    folder: Path,
    plan: TextPlan | None = None,
    recipe: Any = None,
    k: int = 5,
    seed: int = 0,
    load: Load = loading.load,
) -> Ladder:
    """The ladder of fields, each added to those before it, on the same pairs and folds.

    docs: with a column for each field. pairs: query_id, query and doc_id; pairs whose first field is empty are left out
    everywhere, so that every rung is of the same pairs. plan: budgets of the fields. The labels are `on.gold`. More
    parameters than our seven: they are those of `out_of_fold`.

    Raises: InputError for a field that docs have not, a document that is not among them, and as `out_of_fold`.
    """
    if len(fields) < 1 or len(set(fields)) < len(fields):
        raise InputError(f"fields {', '.join(fields) or 'none'}: name each once, the first one first")
    judged: dict[str, OutOfFold] = {}
    facts: dict[str, tuple[float, float]] = {}
    rows: Examples | None = None
    for at, name in enumerate(fields):
        texts, cut = _texts(docs, pairs, fields[: at + 1], plan)
        made = examples(texts if rows is None else _only(texts, rows), on.gold, on.scale)
        rows = made if rows is None else rows
        rung = f"{'' if at == 0 else '+ '}{name}"
        judged[rung] = out_of_fold(made, trainer, name=rung, folder=folder, recipe=recipe, k=k, seed=seed, load=load)
        facts[rung] = float(np.mean([len(text) for text in made.text])), cut.get(name, 0.0)
    found = board(on, {name: (each.judgments, each.cost, JudgeFacts("folds")) for name, each in judged.items()})
    standing = {each.name: each for each in found.judges}
    names, rungs = list(judged), []
    for at, name in enumerate(names):
        if name not in standing:
            raise InputError(f"{name}: a judge with random weights shows nothing: start from a base that has learned something")
        table = judged[name].judgments
        step = differences(on, table, judged[names[at - 1]].judgments) if at else {}
        total = differences(on, table, judged[names[0]].judgments) if at else {}
        of = tuple(fields[: at + 1])
        rungs.append(Rung(fields[at], of, shown(standing[name]), step, total, judged[name].cost, *facts[name]))
    notes = dict.fromkeys([*(rows.notes if rows else ()), *(note for each in judged.values() for note in each.notes)])
    return Ladder(tuple(rungs), found, k, tuple(notes))


def _texts(
    docs: pa.Table, pairs: pa.Table, fields: Sequence[str], plan: TextPlan | None
) -> tuple[pa.Table, Mapping[str, float]]:
    """The pairs with their documents' text of these fields, and the share of documents in which each was cut."""
    import pyarrow as pa
    import pyarrow.compute as pc

    budgets = {name: budget for name, budget in (plan.budgets if plan else {}).items() if name in fields}
    at: Any = pc.index_in(pairs["doc_id"], value_set=docs["doc_id"].combine_chunks())
    if at.null_count:
        missing = pairs["doc_id"].filter(pc.is_null(at))[0].as_py()
        raise InputError(f"docs lack {missing!r}, which was judged: give the documents that the labels are of")
    made = compose_table(docs, replace(plan or TextPlan(), order=tuple(fields), budgets=budgets))
    columns: Any = {name: pairs[name] for name in ("query_id", "query", "doc_id")}
    return pa.table(columns | {"text": made.text.take(at.combine_chunks())}), made.shares


def _only(texts: pa.Table, rows: Examples) -> pa.Table:
    """The rows that the first rung kept."""
    wanted = set(zip(rows.query_id, rows.doc_id, strict=True))
    ids = zip(texts["query_id"].to_pylist(), texts["doc_id"].to_pylist(), strict=True)
    return texts.filter([each in wanted for each in ids])
