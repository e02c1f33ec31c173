"""`germane train ablate`: what does each field of a document's text add to a judge?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane import cards, scales, sources, store
from germane.report import choosing
from germane.text import TextPlan, text_fields
from germane.training import ablation
from germane.training.ablation import Ladder
from germane.training.beside import Field
from germane.training.examples import Examples
from germane.training.finishing import Trained
from germane.training.folds import loads, recipe
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa


def ablate(
    docs: Path,
    judgments: Path,
    queries: Path,
    out: Path,
    *,
    scale: Scale | str | Path,
    fields: Sequence[str],
    base: str,
    budgets: Mapping[str, int] | None = None,
    run: Path | Sequence[Path] | None = None,
    metric: str = "sDCG@25",
    condensed: bool = False,
    folds: int = 5,
    options: Mapping[str, Any] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Ladder:
    """The ladder of fields: cross-encoders that read the first field, the first two, and so on, in a folder.

    docs: with a column a field. judgments: people's grades, one a pair, whose pairs are learned from. queries: their texts.
    fields: in the order in which they are added. budgets: field -> characters. run, metric, condensed: ranked lists, for tau.
    options: fields of `CrossEncoderRecipe` and of its `Settings`. Finished folds stay in `out`, so that a call that was
    killed goes on. More parameters than our seven: each is a question of its own.

    Raises: InputError for a field that docs have not, and for queries or documents that were judged and are not there.
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    runs = [] if run is None else [Path(run)] if isinstance(run, str | Path) else [Path(each) for each in run]
    asked: dict[str, Any] = {"scale": of, "fields": list(fields), "base": base, "budgets": dict(budgets or {})}
    asked |= {"metric": metric, "condensed": condensed, "folds": folds, "options": dict(options or {}), "level": level}
    work: dict[str, Any] = {"verb": "train ablate", "inputs": [docs, judgments, queries, *runs], "parameters": asked}
    work["seed"] = seed
    made = [out / f"ladder.{kind}" for kind in ("html", "md", "json")]
    if all(path.is_file() for path in made) and store.up_to_date(made[-1], **work):
        return Ladder.from_json(made[-1].read_text(encoding="utf-8"))
    from germane.training import cross_encoder

    how = recipe(cross_encoder.CrossEncoderRecipe, {**(options or {}), "base": base})

    def trainer(rows: Examples, place: Path) -> Trained:
        return cross_encoder.train(rows, None, place, recipe=how)

    described = sources.read_docs(docs)
    if missing := [name for name in fields if name not in text_fields(described)]:
        raise InputError(f"{docs} has no field {missing[0]!r}: its fields are {', '.join(text_fields(described)) or 'none'}")
    gold = sources.read_judgments(judgments, scale=of, more=cards.EXTRA)
    lists = cards.Experiment(tuple(sources.read_run(path) for path in runs), metric=metric, condensed=condensed)
    found = ablation.ablate(
        described,
        _pairs(gold, sources.read_queries(queries), queries),
        fields,
        trainer,
        Field(gold, of, lists, str(judgments), level),
        folder=out / "folds",
        plan=TextPlan(tuple(fields), budgets or {}),
        recipe=how,
        k=folds,
        seed=seed,
        **loads(options),
    )
    texts = (choosing.html(found), choosing.markdown(found), found.to_json() + "\n")
    for path, text in zip(made, texts, strict=True):
        store.write_text(path, text)
    store.write_manifest(made[-1], **work)
    return found


def _pairs(gold: pa.Table, queries: pa.Table, name: Path) -> pa.Table:
    """The judged pairs with the words of their queries. Raises: InputError for a query that is not there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    at: Any = pc.index_in(gold["query_id"], value_set=queries["query_id"].combine_chunks())
    if at.null_count:
        missing = gold["query_id"].filter(pc.is_null(at))[0].as_py()
        raise InputError(f"{name} lacks query {missing!r}, which was judged: give the queries that the labels are of")
    columns: Any = {"query_id": gold["query_id"], "query": queries["query"].take(at.combine_chunks()), "doc_id": gold["doc_id"]}
    return pa.table(columns)
