"""`germane leaderboard`: every judge on the same golden set, in one table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane import cards, scales, sources, store
from germane.cards import facts
from germane.cards.entrants import Entrant
from germane.cards.leaderboard import stand
from germane.golden import folder
from germane.report import leaderboard as page
from germane.types import InputError, Leaderboard, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

ALLOW = {"trained-on-gold": facts.FLATTERED}
"""What `--allow` accepts, and what the page then says."""


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
    queries = folder.texts_beside(gold) if queries is None else queries
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
    notes, overrides = _trained_on([said for _, said in judges], people, asked, allow)
    board = stand(
        people,
        [entrant for entrant, _ in judges],
        scale=of,
        name=str(gold) if isinstance(gold, str | Path) else "gold",
        ceiling=None if ceiling is None else _read(ceiling, of, hour_price)[0],
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


def _read(source: Any, scale: Scale, hour_price: float | None) -> tuple[Entrant, facts.Said]:
    """A judge's answers, and what its manifest says of it."""
    table = sources.read_judgments(source, scale=scale)
    said = facts.said_of(source, table, hour_price=hour_price)
    return Entrant(table, said.facts, said.source), said


def _trained_on(
    judges: Sequence[facts.Said], gold: pa.Table, queries: pa.Table | None, allow: Collection[str]
) -> tuple[list[str], tuple[str, ...]]:
    """What is to be said of manifests and training, and the overrides that were needed.

    Raises: Refusal for a judge that was trained on queries of gold: by their words, or by id where the texts are not given.
    """
    ids = {str(name) for name in gold["query_id"].unique().to_pylist()}
    notes, needed = [said.note for said in judges if said.note], []
    for said in judges:
        found, override = facts.trained_on(said, ids, queries, allow)
        notes += found
        needed += override
    return notes, tuple(needed)
