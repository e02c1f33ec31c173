"""`germane leaderboard`: every judge on the same golden set, in one table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import cards, scales, sources, store
from germane.cards.admission import distinct
from germane.cards.entrants import Entrant
from germane.cards.leaderboard import stand
from germane.report import leaderboard as page
from germane.text import query_digest
from germane.types import InputError, JudgeFacts, Leaderboard, Refusal, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

ALLOW = {"trained-on-gold": "a judge was trained on queries of the golden set: its figures flatter it"}
"""What `--allow` accepts, and what the page then says."""


class _Said(NamedTuple):
    """A judge as its file and the manifest beside it have it. said: the manifest's "judge". note: why it was not used."""

    entrant: Entrant
    said: Mapping[str, Any]
    note: str


def leaderboard(
    gold: Any,
    judgments: Sequence[Any],
    *,
    scale: Scale | str | Path,
    out: str | Path | None = None,
    above: Mapping[str, str] | None = None,
    ceiling: Any = None,
    run: Any = (),
    control: Any = None,
    treatment: Any = None,
    metric: str = "sDCG@25",
    condensed: bool = False,
    design: Any = None,
    adjudicate: str | None = None,
    raters: Sequence[str] = (),
    queries: Any = None,
    docs: Any = None,
    by: Sequence[str] = (),
    hour_price: float | None = None,
    allow: Collection[str] = (),
    level: float = 0.95,
    seed: int = 0,
) -> Leaderboard:
    """Every judge against people on the pairs that all of them answered, best first by macro F1, each beside the best one.

    gold: as in `check`. judgments: one file (or table) a judge; what is known of its speed, cost, teachers and training is
    read from `extra["judge"]` of the manifest beside the file. above: {"student": "teacher"}: whom it should keep up with;
    by default its nearest teacher here. ceiling: judgments of the best judge that there can be: figures are also shares of
    it. hour_price: of the machines, for the cost of judges that say their speed and no cost. allow: "trained-on-gold".
    out: a folder for leaderboard.html, .md and .json (and its manifest); the same files and parameters again do nothing.
    The others: as in `check`. More parameters than our seven: each is a question that the board answers.

    Raises: InputError for no judgments, a judge that comes twice, and input that cannot be compared; Refusal naming
    `--allow trained-on-gold` for a judge that was trained on gold's queries.

    >>> gold = {"q1": {"a": 0, "b": 3}, "q2": {"a": 1, "b": 3}, "q3": {"a": 2, "b": 0}}
    >>> board = leaderboard(gold, [gold], scale="trec")
    >>> board.common, board.judges[0].found["macro F1"].value
    (6, 1.0)
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    files = [judgments] if isinstance(judgments, str | Path | Mapping) or hasattr(judgments, "columns") else list(judgments)
    runs = [run] if isinstance(run, str | Path | Run | Mapping) or hasattr(run, "columns") else list(run or ())
    _checked(files, hour_price, allow, control, treatment)
    given = [gold, *files, ceiling, *runs, control, treatment, design, queries, docs]
    work = _work(given, of, above=dict(above or {}), judges=len(files), ceiling=ceiling is not None, runs=len(runs))
    arms = [control is not None, treatment is not None, design is not None, queries is not None, docs is not None]
    work["parameters"] |= {"given": arms, "metric": metric, "condensed": condensed, "adjudicate": adjudicate, "level": level}
    work["parameters"] |= {
        "raters": list(raters),
        "by": list(by),
        "hour_price": hour_price,
        "allow": sorted(allow),
        "seed": seed,
    }
    on_disk = all(isinstance(each, str | Path) for each in given if each is not None)
    if out is not None and on_disk and _made(Path(out), work):
        return Leaderboard.from_json((Path(out) / "leaderboard.json").read_text(encoding="utf-8"))
    people = sources.read_raters(gold, raters, scale=of, more=cards.EXTRA) if raters else None
    people = sources.read_judgments(gold, scale=of, more=cards.EXTRA) if people is None else people
    asked = None if queries is None else sources.read_queries(queries)
    judges = [_read(each, of, hour_price) for each in files]
    notes, overrides = _trained_on(judges, people, asked, allow)
    board = stand(
        people,
        [each.entrant for each in judges],
        scale=of,
        name=str(gold) if isinstance(gold, str | Path) else "gold",
        ceiling=None if ceiling is None else _read(ceiling, of, hour_price).entrant,
        above=above,
        design=None if design is None else sources.read_design(design),
        adjudication=adjudicate,  # type: ignore[arg-type]  # adjudicate() says which there are
        experiment=cards.Experiment(
            tuple(sources.read_run(each) for each in runs), _run(control), _run(treatment), metric, condensed, seed=seed
        ),
        segments=cards.Segments(
            asked, None if docs is None else sources.read_docs(docs), (by,) if isinstance(by, str) else tuple(by)
        ),
        level=level,
    )
    board = replace(board, notes=tuple([*board.notes, *notes]), overrides=overrides)
    if out is not None:
        store.write_manifest(write(board, out)["json"], **work)
    return board


def write(board: Leaderboard, folder: str | Path) -> dict[str, Path]:
    """Writes leaderboard.html, .md and .json into a folder, and gives their paths by "html", "md" and "json"."""
    texts = {"html": page.html(board), "md": page.markdown(board), "json": board.to_json() + "\n"}
    paths = {kind: Path(folder) / f"leaderboard.{kind}" for kind in texts}
    for kind, path in paths.items():
        store.write_text(path, texts[kind])
    return paths


def _checked(files: Sequence[Any], hour_price: float | None, allow: Collection[str], control: Any, treatment: Any) -> None:
    """Raises: InputError for parameters that mean nothing."""
    if not files:
        raise InputError("no judgments: name one file a judge, after gold")
    if hour_price is not None and not hour_price > 0:
        raise InputError(f"--hour-price {hour_price:g}: give what an hour of the machine costs, above 0, as 1.01")
    if unknown := sorted(set(allow) - set(ALLOW)):
        raise InputError(f"--allow {unknown[0]}: there is no such override here; known are {', '.join(ALLOW)}")
    if (control is None) != (treatment is None):
        raise InputError("a paired difference needs both arms: give control and treatment (one ranked list is given as run)")


def _work(given: Sequence[Any], scale: Scale, **parameters: Any) -> dict[str, Any]:
    """What the manifest says was done: the files, with the manifests that speak of judges, and the parameters."""
    files = [Path(source) for source in given if isinstance(source, str | Path)]
    files += [beside for path in files if (beside := store.manifest_path(path)).is_file()]
    return {"verb": "leaderboard", "inputs": files, "parameters": {"scale": scale, **parameters}}


def _made(folder: Path, work: Mapping[str, Any]) -> bool:
    """Whether the folder holds the board of the same work on the same files."""
    whole = all((folder / f"leaderboard.{kind}").is_file() for kind in ("html", "md", "json"))
    return whole and all(path.is_file() for path in work["inputs"]) and store.up_to_date(folder / "leaderboard.json", **work)


def _run(source: Any) -> Run | None:
    return None if source is None else sources.read_run(source)


def _read(source: Any, scale: Scale, hour_price: float | None) -> _Said:
    """A judge's answers, and what its manifest says of it: only where that is of this file and this judge."""
    table = sources.read_judgments(source, scale=scale)
    name = str(source) if isinstance(source, str | Path) else "judgments"
    if not isinstance(source, str | Path):
        return _Said(Entrant(table, JudgeFacts(), name), {}, "")
    manifest = store.read_manifest(source)
    if manifest is None:
        stale = store.manifest_path(source).is_file()
        return _Said(Entrant(table, JudgeFacts(), name), {}, f"{name}: its manifest is of other content" if stale else "")
    said = manifest.extra.get("judge") or {}
    if not isinstance(said, Mapping):
        raise InputError(f"{store.manifest_path(source)}: extra.judge is {said!r:.60}: expected an object")
    made_by = {fingerprint for _, fingerprint in distinct(table, "judge", "fingerprint")}
    if said.get("fingerprint") and {said["fingerprint"]} != made_by:
        return _Said(Entrant(table, JudgeFacts(), name), {}, f"{name}: its manifest speaks of another judge's fingerprint")
    return _Said(Entrant(table, _facts(said, f"{store.manifest_path(source)}", hour_price), name), said, "")


def _facts(said: Mapping[str, Any], where: str, hour_price: float | None) -> JudgeFacts:
    """What a manifest says of a judge; cost per million pairs as paid, else by its speed and the price of an hour."""
    speed, cost, rows = (_number(said, key, where) for key in ("rows_per_s", "cost", "rows"))
    million, paid = None, ""
    if cost is not None and rows:
        million, paid = cost / rows * 1e6, "paid"
    elif hour_price is not None and speed:
        million, paid = hour_price / speed / 3600 * 1e6, f"{hour_price:g} an hour"
    return JudgeFacts(
        str(said.get("kind") or ""),
        str(said.get("base") or ""),
        _texts(said, "lineage", where),
        _texts(said, "taught_by", where),
        speed or None,
        str(said.get("machine") or ""),
        million,
        paid,
        bool(said.get("random_weights")),
        _number(said, "latency_ms", where),
    )


def _number(said: Mapping[str, Any], key: str, where: str) -> float | None:
    value = said.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise InputError(f"{where}: extra.judge.{key} is {value!r}: expected a number, 0 or more, or null")
    return float(value)


def _texts(said: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = said.get(key) or ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InputError(f"{where}: extra.judge.{key} is {value!r:.60}: expected a list of texts")
    return tuple(map(str, value))


def _trained_on(
    judges: Sequence[_Said], gold: pa.Table, queries: pa.Table | None, allow: Collection[str]
) -> tuple[list[str], tuple[str, ...]]:
    """What is to be said of manifests and training, and the overrides that were needed.

    Raises: Refusal for a judge that was trained on queries of gold: by their words, or by id where the texts are not given.
    """
    ids = {str(name) for name in gold["query_id"].unique().to_pylist()}
    texts = {} if queries is None else dict(zip(queries["query_id"].to_pylist(), queries["query"].to_pylist(), strict=True))
    digests = {query_digest(text) for name in ids if (text := texts.get(name))}
    notes, needed = [each.note + ": what it says of the judge was left out" for each in judges if each.note], []
    for each in judges:
        where = f"{each.entrant.source}"
        seen, seen_ids = (set(_texts(each.said, key, where)) for key in ("training_queries", "training_query_ids"))
        both = len(seen & digests) if digests and seen else len(seen_ids & ids)
        if seen and not digests and not seen_ids:
            notes.append(
                f"{where}: whether its judge was trained on gold's queries cannot be seen without their texts (--queries)"
            )
        if not both:
            continue
        if "trained-on-gold" not in allow:
            raise Refusal(
                f"{where}: its judge was trained on {both:,} of gold's {len(ids):,} queries, whose grades it may have seen.",
                "--allow trained-on-gold",
            )
        needed.append(f"--allow trained-on-gold: {ALLOW['trained-on-gold']} ({where}, {both:,} of {len(ids):,} queries)")
    return notes, tuple(needed)
