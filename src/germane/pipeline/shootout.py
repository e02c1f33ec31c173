"""`germane train shootout`: which base makes the best judge for its price, and which tiers can be merged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import cards, scales, sources, store
from germane.cards.admission import distinct
from germane.cards.facts import Said, said_of, trained_on
from germane.golden import folder
from germane.report import choosing
from germane.training import shootout as training
from germane.training.beside import Field
from germane.training.examples import Examples, examples
from germane.training.finishing import Trained
from germane.training.folds import Cost, Trainer, loads, recipe
from germane.training.shootout import Shootout, Tiers
from germane.types import InputError, JudgeFacts, Scale

if TYPE_CHECKING:
    import pyarrow as pa


def shootout(
    pairs: Path,
    judgments: Path,
    out: Path,
    *,
    scale: Scale | str | Path,
    bases: Sequence[str],
    run: Path | Sequence[Path] | None = None,
    metric: str = "sDCG@25",
    condensed: bool = False,
    folds: int = 5,
    hour_price: float | None = None,
    options: Mapping[str, Any] | None = None,
    keep: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> Shootout:
    """Cross-encoders on several bases, trained and measured on the same folds by query, side by side, in a folder.

    pairs, judgments: texts, and people's grades of them, one a pair. bases: as `train cross-encoder` takes them. run: ranked
    lists, for tau of `metric`; condensed: without their unjudged documents. options: fields of `CrossEncoderRecipe` and of
    its `Settings`, the same for all. keep: the folds' judges too. Finished folds stay in `out`, so that a call that was
    killed goes on. More parameters than our seven: each is a question of its own.

    Raises: InputError for labels that are not people's, a base that cannot be trained, and fewer queries than folds.
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    runs = _several(run)
    asked: dict[str, Any] = {"scale": of, "bases": list(bases), "metric": metric, "condensed": condensed, "folds": folds}
    asked |= {"hour_price": hour_price, "options": dict(options or {}), "keep": keep, "level": level, "runs": len(runs)}
    work: dict[str, Any] = {"verb": "train shootout", "inputs": [pairs, judgments, *runs], "parameters": asked, "seed": seed}
    if _made(out, "shootout", work):
        return Shootout.from_json((out / "shootout.json").read_text(encoding="utf-8"))
    from germane.judges.encoder import config_of
    from germane.judges.loading import locate

    for base in bases:
        if Path(locate(base)).is_dir():
            config_of(base)  # what is no base is said before hours are spent on the others
    from germane.training import cross_encoder

    names = _names(bases)
    recipes = {
        name: recipe(cross_encoder.CrossEncoderRecipe, {**(options or {}), "base": base}) for name, base in names.items()
    }
    gold = sources.read_judgments(judgments, scale=of, more=cards.EXTRA)
    found = training.shootout(
        examples(sources.read_pairs(pairs), gold, of),
        {name: _trainer(cross_encoder.train, each) for name, each in recipes.items()},
        Field(gold, of, _lists(runs, metric, condensed), str(judgments), level),
        folder=out / "folds",
        recipes=recipes,
        k=folds,
        seed=seed,
        keep=keep,
        hour_price=hour_price,
        **loads(options),
    )
    _write(found, out, "shootout", work)
    return found


def tiers(
    gold: Path,
    judgments: Sequence[Path],
    out: Path,
    *,
    scale: Scale | str | Path,
    run: Path | Sequence[Path] | None = None,
    metric: str = "sDCG@25",
    condensed: bool = False,
    margin: float = 0.02,
    hour_price: float | None = None,
    queries: Path | None = None,
    allow: Collection[str] = (),
    level: float = 0.95,
) -> Tiers:
    """Judges as tiers, each pair side by side in quality, cost and latency: which can be merged? In a folder.

    gold: people's grades; its targeted part is left out and its inclusion probabilities weigh, as in `check`. judgments: one
    file a tier, of the same pairs, the dearest first; speed, latency and cost are read from the manifest that `label` wrote
    beside each. margin: the largest loss of macro F1, of exact agreement and of coverage that would not matter. hour_price: of
    the machine, where no cost is said. queries: gold's, whose words show who was trained on them. allow: "trained-on-gold".
    More parameters than our seven: as `shootout`.

    Raises: InputError for fewer than two tiers, a judge that comes twice, and judges that cannot be compared; Refusal naming
    `--allow trained-on-gold` for a judge that was trained on gold's queries.
    """
    if unknown := sorted(set(allow) - {"trained-on-gold"}):
        raise InputError(f"--allow {unknown[0]}: there is no such override here; known is trained-on-gold")
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    queries = folder.texts_beside(gold) if queries is None else queries
    runs = _several(run)
    asked: dict[str, Any] = {"scale": of, "metric": metric, "condensed": condensed, "margin": margin, "level": level}
    asked |= {"hour_price": hour_price, "tiers": len(judgments), "runs": len(runs)}
    asked |= {"queries": queries is not None, "allow": sorted(allow)}
    beside = [path for each in judgments if (path := store.manifest_path(each)).is_file()]
    work: dict[str, Any] = {"verb": "train shootout --tiers", "inputs": [gold, *judgments, *beside, *runs]}
    work["inputs"] += [queries] if queries is not None else []
    work["parameters"] = asked
    if _made(out, "tiers", work):
        return Tiers.from_json((out / "tiers.json").read_text(encoding="utf-8"))
    people = sources.read_judgments(gold, scale=of, more=cards.EXTRA)
    read = [_read(path, of, hour_price) for path in judgments]
    notes, overrides = _trained_on([each.said for each in read], people, queries, allow)
    on = Field(people, of, _lists(runs, metric, condensed), str(gold), level)
    found = training.tiers(on, _judged(judgments, read), margin=margin)
    board = replace(found.board, overrides=tuple(overrides))
    found = replace(found, board=board, notes=tuple([*overrides, *found.notes, *notes]))
    _write(found, out, "tiers", work)
    return found


class _Judged(NamedTuple):
    """A tier's file as read."""

    name: str
    fingerprint: str
    table: pa.Table
    cost: Cost
    said: Said


def _judged(files: Sequence[Path], read: Sequence[_Judged]) -> dict[str, tuple[pa.Table, Cost, JudgeFacts]]:
    """Name -> judgments, costs and facts; files of judges of one name are told apart by their own names."""
    for at, each in enumerate(read):
        twin = next((i for i in range(at) if read[i].fingerprint and read[i].fingerprint == each.fingerprint), None)
        if twin is not None:
            raise InputError(f"{files[twin]} and {files[at]} are both of judge {each.name!r}: give each tier once")
    names = [each.name for each in read]
    keys = [
        name if names.count(name) == 1 else f"{name} ({path.stem}{'' if path.stem not in _stems(files, at) else f', {at + 1}'})"
        for at, (name, path) in enumerate(zip(names, files, strict=True))
    ]
    return {key: (each.table, each.cost, each.said.facts) for key, each in zip(keys, read, strict=True)}


def _stems(files: Sequence[Path], at: int) -> set[str]:
    """The names of the other files."""
    return {path.stem for i, path in enumerate(files) if i != at}


def _read(path: Path, scale: Scale, hour_price: float | None) -> _Judged:
    """A tier's judgments, and what the manifest beside them says of their judge."""
    table = sources.read_judgments(path, scale=scale)
    made_by = distinct(table, "judge", "fingerprint")
    if len(made_by) != 1:
        raise InputError(f"{path} holds judgments of {len(made_by)} judges: a tier is one judge")
    ((name, fingerprint),) = made_by
    said = said_of(path, table, hour_price=hour_price)
    return _Judged(name, fingerprint, table, _cost(said.facts, path), said)


def _cost(facts: JudgeFacts, path: Path) -> Cost:
    """What is known of a tier's cost; its latency stands in the manifest alone."""
    manifest = store.read_manifest(path)
    alone = (manifest.extra.get("judge") or {}).get("latency_ms") if manifest and facts.rows_per_s else None
    latency = float(alone) if isinstance(alone, int | float) else None
    return Cost(facts.rows_per_s, latency, machine=facts.machine, per_million=facts.cost_per_million)


def _trained_on(
    judges: Sequence[Said], gold: pa.Table, queries: Path | None, allow: Collection[str]
) -> tuple[list[str], list[str]]:
    """Notes on manifests and training, and the overrides that were needed. Raises: Refusal, as the leaderboard."""
    ids = {str(name) for name in gold["query_id"].unique().to_pylist()}
    asked = None if queries is None else sources.read_queries(queries)
    notes, overrides = [said.note for said in judges if said.note], []
    for said in judges:
        found, needed = trained_on(said, ids, asked, allow)
        notes += found
        overrides += needed
    return notes, overrides


def _trainer(train: Any, of: Any) -> Trainer:
    def trained(rows: Examples, out: Path) -> Trained:
        made: Trained = train(rows, None, out, recipe=of)
        return made

    return trained


def _names(bases: Sequence[str]) -> dict[str, str]:
    """A short name for each base: the last part of its path, or all of it where two would be alike."""
    if len(set(bases)) < len(bases) or not bases:
        raise InputError(f"bases {', '.join(bases) or 'none'}: name each once, at least one")
    last = [base.rstrip("/").rpartition("/")[2] for base in bases]
    return {name if last.count(name) == 1 else base: base for name, base in zip(last, bases, strict=True)}


def _several(run: Path | Sequence[Path] | None) -> list[Path]:
    return [] if run is None else [Path(run)] if isinstance(run, str | Path) else [Path(each) for each in run]


def _lists(runs: Iterable[Path], metric: str, condensed: bool) -> cards.Experiment:
    return cards.Experiment(tuple(sources.read_run(path) for path in runs), metric=metric, condensed=condensed)


def _made(out: Path, name: str, work: Mapping[str, Any]) -> bool:
    """Whether the folder holds the result of the same work on the same files."""
    whole = all((out / f"{name}.{kind}").is_file() for kind in ("html", "md", "json"))
    return whole and all(path.is_file() for path in work["inputs"]) and store.up_to_date(out / f"{name}.json", **work)


def _write(found: Shootout | Tiers, out: Path, name: str, work: Mapping[str, Any]) -> None:
    texts = {"html": choosing.html(found), "md": choosing.markdown(found), "json": found.to_json() + "\n"}
    for kind, text in texts.items():
        store.write_text(out / f"{name}.{kind}", text)
    store.write_manifest(out / f"{name}.json", **work)
