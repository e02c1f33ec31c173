"""Commands that bring files in, draw samples, and say what is to be judged."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from germane import settings
from germane.cli.app import (
    DepthOption,
    LevelOption,
    OutOption,
    Output,
    OutputOption,
    ScaleOption,
    SeedOption,
    app,
    call,
    named,
    numbers,
    place,
    table_place,
    values,
    words,
)
from germane.show import show
from germane.text import TextPlan
from germane.types import InputError


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder; made where it does not exist.")] = Path(),
    scale: Annotated[str, typer.Option(help="The scale that the project's judgments use.")] = "five-level",
    output: OutputOption = Output.TEXT,
) -> None:
    """Where do I put my files?

    Makes the project's folders and germane.toml, and touches nothing that is there.
    """
    show(call("init", folder, scale=scale), as_json=output == Output.JSON)


@app.command("import")
def import_(
    kind: Annotated[str, typer.Argument(help="queries, docs, run, judgments, pairs or design")],
    source: Annotated[Path, typer.Argument(help='The file to read; "-" for standard input.')],
    out: OutOption = None,
    scale: ScaleOption = None,
    judge: Annotated[str | None, typer.Option(help="Who judged; human:FILE by default.", show_default=False)] = None,
    signal: Annotated[
        list[Path] | None,
        typer.Option(help="Of a run: features, weights or judgments that its ranker used; again for each.", show_default=False),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I bring my own file in?

    Reads TREC, ESCI, Quepid, UBI, CSV, JSON lines; writes a checked table, or a run or judgments in another format.
    """
    to = place(out, f"{kind.rstrip('s')}s" if kind != "queries" else kind, f"{source.stem}.parquet")
    result = call("import", kind, source, to, scale=scale, judge=judge, signals=tuple(signal or ()))
    if str(to) != "-":
        show(result, as_json=output == Output.JSON)


@app.command("segment")
def segment(
    log: Annotated[Path, typer.Argument(help="A query log: .parquet, .csv, .tsv or .jsonl; one row a search, or a count.")],
    out: OutOption = None,
    column: Annotated[list[str] | None, typer.Option(help="ROLE=COLUMN where a column has a name of its own.")] = None,
    threshold: Annotated[list[str] | None, typer.Option(help="As head=0.5: where a segment ends, by share of traffic.")] = None,
    by: Annotated[str | None, typer.Option(help="users or impressions; users where the log has them.")] = None,
    normalise: Annotated[str, typer.Option(help="Which spellings are one query; none to keep all.")] = "unicode+case+space",
    output: OutputOption = Output.TEXT,
) -> None:
    """Which of my queries are head, torso, tail and single?

    Counts who asked what, and cuts queries into segments by their share of traffic.
    """
    options: dict[str, Any] = {"columns": named(column, "--column"), "by": by, "normalise": normalise}
    options["thresholds"] = numbers(threshold, "--threshold") or None
    show(call("segment", log, table_place(out, "queries", log.stem), **options), as_json=output == Output.JSON)


class Goal(StrEnum):
    EXPERIMENT = "experiment"
    AUDIT = "audit"
    GOLDEN = "golden"


@app.command("sample")
def sample(
    queries: Annotated[Path, typer.Argument(help="All queries, from `segment` or `import`; of an audit, the design.")],
    n: Annotated[int | None, typer.Option("-n", "--n", help="How many queries to draw.", min=1, show_default=False)] = None,
    goal: Annotated[
        Goal, typer.Option("--for", help="An experiment's queries, what people audit in it, or golden pairs.")
    ] = Goal.EXPERIMENT,
    mde: Annotated[float | None, typer.Option(help="Instead of -n: the effect to find; needs --sd or --pilot.")] = None,
    out: OutOption = None,
    strata: Annotated[str | None, typer.Option(help="Columns, as interest,segment; none for a simple sample.")] = None,
    by: Annotated[str, typer.Option(help="What the sample stands for: queries, or traffic (impressions, users).")] = "queries",
    allocation: Annotated[str, typer.Option(help="neyman, proportional, equal or power.")] = "neyman",
    pilot: Annotated[Path | None, typer.Option(help="SDs by stratum, or an earlier experiment's results or report.")] = None,
    sd: Annotated[float | None, typer.Option(help="SD of the paired difference, the same in all strata.")] = None,
    floor: Annotated[
        list[str] | None, typer.Option(help="As head=100: a reported segment's least; segment=50 for each.")
    ] = None,
    minimum: Annotated[int, typer.Option(help="Queries in each stratum at least.", min=1)] = 2,
    exponent: Annotated[float, typer.Option(help="Of allocation power: 1 as neyman, 0 equal precision.")] = 0.5,
    power: Annotated[float, typer.Option(help="Chance to find an effect of the MDE.")] = 0.8,
    level: LevelOption = 0.95,
    seed: SeedOption = 1,
    allow: Annotated[list[str] | None, typer.Option(help="A refusal to insist past: same-outcomes.")] = None,
    control: Annotated[Path | None, typer.Option(help="Audit: the run as it is today.")] = None,
    treatment: Annotated[Path | None, typer.Option(help="Audit: the run that may replace it.")] = None,
    texts: Annotated[
        Path | None, typer.Option("--queries", help="Audit: the queries' text, if they are not the argument.")
    ] = None,
    docs: Annotated[Path | None, typer.Option(help="Audit: the documents' fields.")] = None,
    unit: Annotated[str, typer.Option(help="Audit: whole queries, or single documents.")] = "queries",
    k: DepthOption = 25,
    judgments: Annotated[Path | None, typer.Option(help="Audit: the judge's grades; with --card, look where it errs.")] = None,
    card: Annotated[Path | None, typer.Option(help="Audit: the judge's card.")] = None,
    fields: Annotated[str, typer.Option(help="Audit, golden: fields that raters read, as title,brand.")] = "all",
    run: Annotated[list[Path] | None, typer.Option(help="Golden: a ranker's lists; again for each arm.")] = None,
    targeted: Annotated[int, typer.Option(help="Golden: so many hard pairs beside the random ones.", min=0)] = 0,
    says: Annotated[list[Path] | None, typer.Option(help="Golden: judgments of a judge; again for each.")] = None,
    scale: ScaleOption = None,
    relevant: Annotated[str | None, typer.Option(help="Golden: the lowest relevant label, for pairs near it.")] = None,
    clicks: Annotated[Path | None, typer.Option(help="Golden: query_id, doc_id, clicks, impressions.")] = None,
    design: Annotated[Path | None, typer.Option(help="Golden: only its queries, with their odds.")] = None,
    without: Annotated[
        list[Path] | None, typer.Option(help="Golden, audit: leave out what these files or sealed sets hold.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which queries do I have to judge?

    Draws queries with known odds from strata, so that the sample stands for all of them. With --for audit: the pairs of an
    experiment that people judge, blind, to correct its judge. With --for golden: pairs of all arms' lists, n at random with
    known odds, and hard ones by choice.
    """
    if goal == Goal.GOLDEN:
        if docs is None or not run or n is None:
            raise InputError("golden pairs are drawn from rankers' lists: pass --run for each arm, --docs and -n")
        how: dict[str, Any] = {"runs": run, "docs": docs, "n": n, "targeted": targeted, "seed": seed, "k": k, "design": design}
        how |= {"strata": [] if strata == "none" else words(strata), "judgments": says or (), "scale": scale}
        how |= {"relevant": relevant, "clicks": clicks, "without": without or ()}
        how["allocation"] = "root" if allocation == "neyman" else allocation
        order = words(fields)
        how["plan"] = TextPlan(None if order is None else tuple(order))
        to = table_place(out, "pairs", "golden")
        show(call("sample --for golden", queries, to, **how), as_json=output == Output.JSON)
        return
    if goal == Goal.AUDIT:
        needed = {"--control": control, "--treatment": treatment, "--docs": docs, "-n": n}
        if missing := [flag for flag, value in needed.items() if value is None]:
            raise InputError(f"an audit is drawn inside an experiment: pass {', '.join(missing)} too")
        given = {"--strata": strata, "--mde": mde, "--pilot": pilot, "--sd": sd, "--floor": floor}
        if set_ := [flag for flag, value in given.items() if value is not None]:
            raise InputError(f"{set_[0]} draws an experiment, and this draws an audit inside one: leave it out")
        of: dict[str, Any] = {"control": control, "treatment": treatment, "queries": texts, "docs": docs, "n": n, "unit": unit}
        of |= {"k": k, "judgments": judgments, "card": card, "fields": words(fields), "seed": seed}
        of["without"] = without or ()
        to = out or place(out, "audits", f"{queries.stem}.csv")
        show(call("sample --for audit", queries, to, **of), as_json=output == Output.JSON)
        return
    options: dict[str, Any] = {"n": n, "effect": mde, "seed": seed, "strata": [] if strata == "none" else words(strata)}
    options |= {"by": by, "allocation": allocation, "pilot": pilot, "sd": sd, "minimum": minimum, "exponent": exponent}
    options |= {"floors": numbers(floor, "--floor"), "level": level, "power": power, "allow": tuple(allow or ())}
    show(call("sample", queries, table_place(out, "designs", "design"), **options), as_json=output == Output.JSON)


@app.command("collect")
def collect(
    queries: Annotated[Path, typer.Argument(help="The queries to ask.")],
    docs: Annotated[Path | None, typer.Argument(help="The documents to search; engines with their own take none.")] = None,
    out: OutOption = None,
    fields: Annotated[str, typer.Option(help="The fields to search, as title,brand; all for every text.")] = "title",
    engine: Annotated[str, typer.Option(help="The search engine: bm25, vectors, hybrid, opensearch, postgres.")] = "bm25",
    option: Annotated[list[str] | None, typer.Option(help="Of the engine, as k1=1.2; may be given again.")] = None,
    k: DepthOption = 25,
    design: Annotated[Path | None, typer.Option(help="Ask only the queries that it sampled.")] = None,
    candidates: Annotated[Path | None, typer.Option(help="Judgments or pairs: rank only each query's documents there.")] = None,
    student: Annotated[Path | None, typer.Option(help="Whose vectors are searched (vectors, hybrid).")] = None,
    vectors: Annotated[Path | None, typer.Option(help="The folder of vectors, from `encode`.")] = None,
    run: Annotated[list[Path] | None, typer.Option(help="Of hybrid: a run to fuse, in place of engines; again.")] = None,
    url_env: Annotated[str, typer.Option(help="The environment variable with the server's address, and login.")] = "",
    index: Annotated[str, typer.Option("--index", "--table", help="What the server calls the catalogue.")] = "",
    key_env: Annotated[str, typer.Option(help="The environment variable with an API key (opensearch).")] = "",
    template: Annotated[Path | None, typer.Option(help="JSON: how a query is asked (opensearch).")] = None,
    failures: Annotated[str, typer.Option(help="Of single queries: stop, or list them and leave them out.")] = "stop",
    output: OutputOption = Output.TEXT,
) -> None:
    """What does this ranking return for my queries?

    Asks an engine each query, and writes its top k as a run.
    """
    server = _server(engine, url_env, index, key_env, template)
    asked = [engine, *([] if engine == "vectors" or run else [fields.replace(",", "-")]), *(path.stem for path in run or ())]
    asked += [server["name"], *([server["template"].stem] if server["template"] else [])] if server else []
    asked += [*(option or []), *([] if k == 25 else [f"k{k}"])]
    asked += [path.stem for path in (design, candidates) if path]  # another question is another file
    to = table_place(out, "runs", "-".join(asked))
    options: dict[str, Any] = {"engine": engine, "fields": words(fields), "options": values(option, "--option"), "k": k}
    options |= {"design": design, "candidates": candidates, "student": student, "vectors": vectors, "runs": tuple(run or ())}
    options |= {"server": server, "failures": failures}
    show(call("collect", queries, docs, to, **options), as_json=output == Output.JSON)


def _server(engine: str, url_env: str, index: str, key_env: str, template: Path | None) -> dict[str, Any] | None:
    """Where an engine of another process is: what was given, and for the rest germane.toml."""
    if engine not in ("opensearch", "postgres"):
        if given := url_env or index or key_env or template:
            raise InputError(f"{given}: an address, index, key and template are for the engines opensearch and postgres")
        return None
    found = settings.load()
    if engine == "postgres":
        url_env, index = url_env or found.postgres.url_env, index or found.postgres.table
        return {"url_env": url_env, "name": index, "key_env": key_env, "template": template}
    said = found.opensearch
    written = said.template and (found.path.parent if found.path else Path()) / said.template
    path = template or (Path(written) if written else None)
    url_env, index, key_env = url_env or said.url_env, index or said.index, key_env or said.key_env
    return {"url_env": url_env, "name": index, "key_env": key_env, "template": path}


@app.command("pairs")
def pairs(
    queries: Annotated[Path, typer.Option(help="The queries' text.")],
    docs: Annotated[Path, typer.Option(help="The documents' fields.")],
    control: Annotated[Path | None, typer.Argument(help="The run as it is today.")] = None,
    treatment: Annotated[Path | None, typer.Argument(help="The run that may replace it.")] = None,
    out: OutOption = None,
    k: DepthOption = 25,
    judged: Annotated[
        Path | None, typer.Option(help="In place of runs: the pairs of these judgments, to train and check judges on.")
    ] = None,
    design: Annotated[Path | None, typer.Option(help="Only its queries, by what each stands for.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="Leave out the pairs that have a grade here.")] = None,
    scale: ScaleOption = None,
    everything: Annotated[bool, typer.Option("--everything", help="Documents that did not move, too.")] = False,
    fields: Annotated[str, typer.Option(help="Fields that the judge reads, in order, as title,brand.")] = "all",
    budget: Annotated[list[str] | None, typer.Option(help="The most of a field, as description=200.")] = None,
    total: Annotated[int | None, typer.Option(help="The most of a text; the last fields give way first.", min=1)] = None,
    unit: Annotated[str, typer.Option(help="What budgets count: characters or words.")] = "characters",
    tokens: Annotated[
        str | None, typer.Option(help="Budgets count the tokens of this tokenizer: a folder or hub name.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which documents need a grade?

    Only those that moved between the two runs can change the answer: exactly these, most valuable first.
    """
    order, budgets = words(fields), whole_numbers(budget, "--budget")
    plan = TextPlan(None if order is None else tuple(order), budgets, "tokens" if tokens else unit, tokens or "", total)
    options: dict[str, Any] = {"queries": queries, "docs": docs, "plan": plan}
    if judged is not None:
        if control or treatment or design or judgments or everything:
            raise InputError("--judged takes the pairs of a file of judgments: leave runs, --design and --judgments out")
        to = table_place(out, "pairs", judged.stem)
        show(call("pairs --judged", judged, to, scale=scale, **options), as_json=output == Output.JSON)
        return
    if control is None or treatment is None:
        raise InputError("which pairs? name two runs, CONTROL and TREATMENT, or a file of judgments with --judged")
    options |= {"k": k, "design": design, "judgments": judgments}
    options |= {"scale": scale if judgments else None, "everything": everything}
    to = table_place(out, "pairs", f"{control.stem}-{treatment.stem}")
    show(call("pairs", control, treatment, to, **options), as_json=output == Output.JSON)


def whole_numbers(pairs: list[str] | None, flag: str) -> dict[str, int]:
    """{"title": 40} from ["title=40"].

    Raises: InputError for what is no whole number, 0 or more.
    """
    found = named(pairs, flag)
    if wrong := [f"{name}={value}" for name, value in found.items() if not value.isascii() or not value.isdecimal()]:
        raise InputError(f"{flag} {wrong[0]}: expected FIELD=NUMBER, a whole number, 0 or more")
    return {name: int(value) for name, value in found.items()}
