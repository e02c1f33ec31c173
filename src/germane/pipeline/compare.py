"""`germane compare`: is the treatment's ranking more relevant than the control's, and by how much?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from germane import cards, experiment, sampling, scales, sources, store
from germane.types import Design, Input, InputError, JudgeCard, Report, Run, Scale


def compare(
    control: Any,
    treatment: Any,
    judgments: Any,
    *,
    scale: Scale | str | Path,
    design: Any = None,
    metric: str = "sDCG@25",
    level: float = 0.95,
    condensed: bool = False,
    allow: Sequence[str] = (),
    card: JudgeCard | str | Path | None = None,
    queries: Any = None,
    docs: Any = None,
    groups: str | None = None,
    question: str | None = None,
    audit: Any = None,
    audit_sample: Any = None,
    population: Any = None,
    by: str = "",
    adjust: str | None = None,
    clusters: str | None = None,
    unpaired: bool = False,
    expected: bool = False,
    multiple: str = "bh",
    finite: bool = False,
) -> Report:
    """The report on two runs of the same queries; `report.delta` is treatment minus control, in units of the metric.

    control, treatment: runs; judgments: grades on `scale`; queries, docs: texts for the lists that are shown. Each is a
    file, an Arrow table, a data frame or a dict. design: the sampled queries with what they stand for, as a file, an Arrow
    table or a data frame. card: what
    `germane check` found of a machine judge. groups: the column of docs whose exposure is reported. condensed: take
    unjudged documents out of both lists. allow: refusals to insist past (`germane.experiment.ALLOW`); the report says so.
    audit: people's judgments of the pairs that `sample --for audit` drew; audit_sample: the drawn pairs, where `audit` does
    not hold their odds. population: all queries that a simple random sample was drawn from, with segments: the sample is
    post-stratified. by, adjust, clusters, unpaired, expected, multiple, finite: see `germane.experiment.Choices`.

    Raises: Refusal where a number could be wrong and look right, naming the flag that insists; InputError for bad input.

    >>> control = {"q1": {"a": 2.0, "b": 1.0}, "q2": {"a": 2.0, "b": 1.0}, "q3": {"a": 2.0, "b": 1.0}}
    >>> treatment = {"q1": {"a": 1.0, "b": 2.0}, "q2": {"a": 1.0, "b": 2.0}, "q3": {"a": 2.0, "b": 1.0}}
    >>> grades = {"q1": {"a": 0, "b": 3}, "q2": {"a": 1, "b": 3}, "q3": {"a": 2, "b": 0}}
    >>> report = compare(control, treatment, grades, scale="trec", metric="sDCG@2")
    >>> round(report.delta.value, 3), report.verdict
    (0.126, 'not reliable')
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    runs = [_read(run, name) for run, name in ((control, "control"), (treatment, "treatment"))]
    if runs[0].name == runs[1].name:
        runs = [run._replace(name=f"{run.name} ({arm})") for run, arm in zip(runs, ("control", "treatment"), strict=True)]
    grades = sources.open_judgments(judgments, scale=of)
    tables = {
        "design": None if design is None else sources.read_design(design),
        "queries": None if queries is None else sources.read_queries(queries),
        "docs": None if docs is None else sources.read_docs(docs),
    }
    for role, key in (("queries", "query_id"), ("docs", "doc_id")):
        _shares_ids(tables[role], role, key, runs[0])
    given: list[tuple[str, Any, Any]]
    given = [("control", control, runs[0].table), ("treatment", treatment, runs[1].table), ("judgments", judgments, grades)]
    given += [(role, {"design": design, "queries": queries, "docs": docs}[role], table) for role, table in tables.items()]
    said: tuple[str, ...] = ()
    if population is not None:
        everything = sources.read_queries(population)
        tables["design"], said = _post_stratified(tables["design"], runs, everything)
        given.append(("population", population, everything))
    audited = None if audit is None else _audited(audit, audit_sample, of)
    if audited is None and audit_sample is not None:
        raise InputError("--audit-sample says what was drawn, and no --audit says what people answered: pass both")
    if audited is not None:
        given.append(("audit", audit, audited.said))
        given += [("audit sample", audit_sample, audited.drawn)] if audit_sample is not None else []
    report = experiment.compare(
        runs[0],
        runs[1],
        grades,
        scale=of,
        choices=experiment.Choices(
            metric,
            level,
            condensed,
            (allow,) if isinstance(allow, str) else tuple(allow),
            groups,
            question,
            by=by,
            adjust=adjust,
            clusters=clusters,
            unpaired=unpaired,
            poststratified=population is not None,
            expected=expected,
            multiple=multiple,
            finite=finite,
        ),
        audit=audited,
        card=cards.read(card) if isinstance(card, str | Path) else card,
        inputs=tuple(_input(role, source, table) for role, source, table in given if table is not None),
        **tables,
    )
    warnings = (*report.warnings, *said, *_unnamed(judgments, grades))
    return replace(report, warnings=warnings, design=_drawn(report.design, design))


def _post_stratified(design: Any, runs: Sequence[Run], population: Any) -> tuple[Any, tuple[str, ...]]:
    """The design after strata are made of the population, and what had to be merged. The draw must have been simple."""
    import pyarrow.compute as pc

    if design is not None and (drawn := sampling.read_design_table(design).unit) != sampling.UNIT:
        raise InputError(f"the design was drawn by {drawn}: --population is for a simple random sample of distinct queries")
    if design is not None and len(pc.unique(design["stratum"])) > 1:
        raise InputError("the design has strata already: --population is for a simple random sample, drawn without them")
    if design is None:
        ids = sorted({str(query) for run in runs for query in pc.unique(run.table["query_id"]).to_pylist()})
    else:
        ids = [str(query) for query in design["query_id"].to_pylist()]
    table, notes = sampling.post_stratified(ids, population)
    return table, tuple(f"Post-stratification: {note}." for note in notes)


def _audited(audit: Any, sample: Any, scale: Scale) -> experiment.Audited:
    """What people said, and what was drawn: from a file of its own, or from the columns beside people's answers."""
    for source in (audit, sample):
        if isinstance(source, str | Path) and store.sealed.entry(source) is not None:
            raise InputError(
                f"{source} is of a sealed golden set: an audit is drawn inside the experiment, of pairs that teach nobody"
            )
    drawn = sources.read_audit(audit if sample is None else sample)
    name = Path(audit).name if isinstance(audit, str | Path) else "the audit"
    files = [Path(source) for source in (audit, sample) if isinstance(source, str | Path)]
    told = [manifest.extra.get("overrides", ()) for path in files if (manifest := store.read_manifest(path))]
    overrides = tuple(dict.fromkeys(str(said) for each in told for said in each))
    return experiment.Audited(drawn, sources.read_judgments(audit, scale=scale), name, overrides)


def _read(run: Any, arm: str) -> Run:
    """A run under its own name, or under that of its arm if it has none."""
    return sources.open_run(run, name=None if isinstance(run, str | Path | Run) else arm)


def _shares_ids(table: Any, role: str, key: str, run: Run) -> None:
    """Raises: InputError for texts of other queries or documents than the run's: its lists would show none of them."""
    import pyarrow.compute as pc

    if table is None or pc.any(pc.is_in(run.table[key], value_set=table[key].combine_chunks())).as_py():
        return
    raise InputError(
        f"none of the {role} is in {run.name}: its first {key} is {run.table[key][0].as_py()!r}, theirs is "
        f"{table[key][0].as_py()!r}: are these the {role} of these runs?"
    )


def _unnamed(judgments: Any, grades: Any) -> tuple[str, ...]:
    """A warning where the judgments do not say who made them."""
    stem = Path(judgments).name.split(".")[0] if isinstance(judgments, str | Path) else "given"
    if set(store.kinds_of(grades)["judge"].unique().to_pylist()) != {f"human:{stem}"}:
        return ()
    return ("The judgments do not say who made them: they are taken as people's.",)


def _drawn(used: Design, source: Any) -> Design:
    """The design with the seed and the way of drawing that its file's manifest tells."""
    manifest = store.read_manifest(source) if isinstance(source, str | Path) and str(source) != "-" else None
    if manifest is None or manifest.verb != "sample":
        return used
    return replace(used, seed=manifest.seed, origin=str(manifest.extra["design"]["origin"]))


def _input(role: str, source: Any, table: Any) -> Input:
    """What the report says of a file that it rests on; data given from memory has no path and no digest."""
    if not isinstance(source, str | Path) or str(source) == "-":
        return Input(role, "(from memory)" if str(source) != "-" else "(standard input)", "", table.num_rows)
    path = Path(source)
    if not path.is_file():  # a pipe has been read, and has no digest
        return Input(role, str(path), "", table.num_rows, store.attribution(table))
    return Input(role, str(path), store.sha256(path), table.num_rows, store.attribution(table) or store.attribution(path))
