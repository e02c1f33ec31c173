"""The command that lets a judge grade pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import SCALES, OutOption, Output, OutputOption, app, call, table_place
from germane.show import show
from germane.types import InputError

ImagesOption = Annotated[Path | None, typer.Option(help="Folder of the documents' images, for a model that sees.")]
ImageDocsOption = Annotated[Path | None, typer.Option("--docs", help="Documents, a column of which names their images.")]
ImageColumnOption = Annotated[str | None, typer.Option(help="That column; by default image.", show_default=False)]
AnnotatorScale = f"Of the fake judge and of language models; trained judges have their own. {SCALES}"


@app.command("label")
def label(
    context: typer.Context,
    judge: Annotated[
        str | None,
        typer.Option(help="A trained judge's folder; llm:PROVIDER/MODEL, as llm:openai/o3; or fake.", show_default=False),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="What to grade: query_id, query, doc_id, text; from `pairs`.", show_default=False)
    ] = None,
    scale: Annotated[str | None, typer.Option(help=AnnotatorScale)] = None,
    device: Annotated[str | None, typer.Option(help="As torch names it: cpu, cuda; by default the best there is.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs at once, of a trained judge.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many pairs.", min=1)] = None,
    coverage: Annotated[float, typer.Option(help="Exit code 1 if less of the pairs gets a grade.", min=0, max=1)] = 0.8,
    retry: Annotated[bool, typer.Option("--retry", help="Ask again where the table that is there has no answer.")] = False,
    engine: Annotated[str | None, typer.Option(help="Of a two-tower judge: torch, onnx or onnx-int8.")] = None,
    images: ImagesOption = None,
    docs: ImageDocsOption = None,
    image_column: ImageColumnOption = None,
    url: Annotated[str | None, typer.Option(help="Ask on this server, as http://localhost:8000/v1 (vLLM).")] = None,
    model: Annotated[str | None, typer.Option(help="A trained teacher's name on that server.")] = None,
    key_env: Annotated[str | None, typer.Option(help="The environment variable with the key.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="llm: say what it would take and show a prompt; ask nothing.")] = False,
    samples: Annotated[int, typer.Option(help="llm: replies a pair; the vote of several is the grade.", min=1)] = 1,
    vote: Annotated[str, typer.Option(help="llm: median (of the ordered grades) or majority.")] = "median",
    early: Annotated[bool, typer.Option("--early", help="llm: stop asking where the vote cannot change.")] = False,
    mode: Annotated[str, typer.Option(help="llm: reasons, or symbol (one token's probabilities, cheap).")] = "reasons",
    phrasing: Annotated[int, typer.Option(help="llm: another wording of the prompt, 0 to 3.", min=0)] = 0,
    first: Annotated[str | None, typer.Option(help="llm: a cheaper model that is asked before.", show_default=False)] = None,
    accept: Annotated[float, typer.Option(help="llm: least self-agreement at which the cheaper one's grade stands.")] = 1.0,
    examples: Annotated[Path | None, typer.Option(help="llm: pairs to show as examples, of golden dev.")] = None,
    example_labels: Annotated[Path | None, typer.Option(help="llm: people's grades of them.")] = None,
    each: Annotated[int, typer.Option(help="llm: examples of every grade.", min=1)] = 1,
    sealed: Annotated[Path | None, typer.Option(help="llm: pairs whose queries must not be among the examples.")] = None,
    temperature: Annotated[float | None, typer.Option(help="llm: 1 with --samples by default, else its own.", min=0)] = None,
    most_tokens: Annotated[int, typer.Option(help="llm: of a reply, reasoning included.", min=1)] = 1024,
    effort: Annotated[str | None, typer.Option(help="llm: of reasoning models: low, medium, high.")] = None,
    structured: Annotated[str | None, typer.Option(help="llm: how replies are bound: schema, tool or text.")] = None,
    prices: Annotated[Path | None, typer.Option(help="llm: a table of prices (TOML) that wins over the built-in one.")] = None,
    budget: Annotated[float | None, typer.Option(help="llm: stop before more dollars than this are spent.")] = None,
    at_once: Annotated[int, typer.Option(help="llm: calls in flight at most.", min=1)] = 16,
    timeout: Annotated[float, typer.Option(help="llm: seconds that a reply may take.", min=0.001)] = 120.0,
    tries: Annotated[int, typer.Option(help="llm: of one call.", min=1)] = 5,
    replies: Annotated[Path | None, typer.Option(help="llm: folder where replies are kept; by default beside --out.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="llm: read kept replies again, and ask nothing.")] = False,
    card: Annotated[Path | None, typer.Option(help="llm: its judge card; needed beyond the golden pairs.")] = None,
    golden: Annotated[Path | None, typer.Option(help="llm: people's judgments, whose pairs need no card.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="llm: no-card: label without one; the manifest says so.")] = None,
    sample: Annotated[
        Path | None,
        typer.Option(help="Write a recorded sample here, to walk the path without a key.", show_default=False),
    ] = None,
    out: OutOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What does this judge say of these pairs?

    Equal pairs are asked once. Killed at any moment and run again, it goes on where it stood; no reply is paid for twice.
    Options that begin with "llm:" are of language models.
    """
    if sample is not None:
        show(call("label --sample", sample), as_json=output == Output.JSON)
        return
    if judge is None or pairs is None:
        raise InputError("--judge and --pairs are needed: who grades, and what (or --sample DIR, for a recorded sample)")
    of = context.get_parameter_source
    given = {name for name in context.params if str(of(name)).endswith("COMMANDLINE")}
    annotator = None
    if judge.startswith("llm:"):
        annotator = _annotator(context.params)
    elif extra := sorted(given & LLM_ONLY):
        raise InputError(f"--{extra[0].replace('_', '-')} is of language models (llm:PROVIDER/MODEL), and {judge} is none")
    if plan:
        path = None if out is None else table_place(out, "judgments", pairs.stem)
        _forecast(call("label --plan", pairs, annotator, out=path, limit=limit), as_json=output == Output.JSON)
        return
    path = table_place(out, "judgments", pairs.stem)
    # A trained judge may have another scale than a project.
    options: dict[str, Any] = {"scale": scale if judge == "fake" or "scale" in given else None, "device": device}
    options |= {"batch": batch, "limit": limit, "engine": engine, "pictures": pictures(images, docs, image_column)}
    options |= {"annotator": annotator, "retry": retry, "server": None if annotator else _server(url, model, key_env)}
    found = call("label", judge, pairs, path, **options)
    show(found, as_json=output == Output.JSON)
    if found.coverage < coverage:
        raise typer.Exit(1)


def _forecast(planned: Any, *, as_json: bool) -> None:
    """A plan, and the prompt after it in its own lines."""
    from germane.report.visible import visible

    show(planned if as_json else planned._replace(prompt=""), as_json=as_json)
    if not as_json:
        print("a prompt, as it would be sent:\n")
        print("\n".join(f"  {visible(line)}" for line in planned.prompt.splitlines()))


LLM_ONLY = {"plan", "samples", "vote", "early", "mode", "phrasing", "first", "accept", "examples", "example_labels", "each"}
LLM_ONLY |= {"sealed", "temperature", "most_tokens", "effort", "structured", "prices", "budget", "at_once", "timeout", "tries"}
LLM_ONLY |= {"replies", "offline", "card", "golden", "allow"}


def _annotator(of: dict[str, Any]) -> Any:
    """The annotator that the options name. Raises: InputError for some that do not go together."""
    from germane import scales
    from germane.judges.calls import Calling
    from germane.judges.graph import Voting
    from germane.judges.voting import RULES
    from germane.labelling.annotators import NO_CARD, Annotator, FewShot

    if of["scale"] is None:
        raise InputError(f"{of['judge']} needs --scale: it grades by the scale's guide")
    if of["model"] is not None:
        raise InputError("--model is a trained teacher's name on a server; a language model's is in --judge llm:PROVIDER/MODEL")
    if of["vote"] not in RULES:
        raise InputError(f"--vote {of['vote']}: expected {' or '.join(RULES)}")
    if unknown := [name for name in of["allow"] or () if name != NO_CARD]:
        raise InputError(f"--allow {unknown[0]}: there is no such override here; known is {NO_CARD}")
    if (of["examples"] is None) != (of["example_labels"] is None):
        raise InputError("--examples (pairs) and --example-labels (people's grades of them) go together: give both")
    if of["first"] is not None and of["samples"] < 2:
        raise InputError("--first hands a pair on where its samples differ: it needs --samples 2 or more")
    if not of["first"] and of["accept"] != 1.0:
        raise InputError("--accept is of --first: the self-agreement at which the cheaper model's grade stands")
    few = None if of["examples"] is None else FewShot(of["examples"], of["example_labels"], of["sealed"], of["each"])
    return Annotator(
        of["judge"],
        scales.get(of["scale"]),
        url=of["url"],
        key_env=of["key_env"],
        first=of["first"],
        mode=of["mode"],
        phrasing=of["phrasing"],
        voting=Voting(of["samples"], of["vote"], of["early"], of["accept"]),
        temperature=of["temperature"],
        most=of["most_tokens"],
        effort=of["effort"],
        structured=of["structured"],
        few_shot=few,
        prices=of["prices"],
        calling=Calling(of["at_once"], of["timeout"], of["tries"], budget=of["budget"]),
        replies=of["replies"],
        offline=of["offline"],
        images=of["images"] is not None,
        card=of["card"],
        golden=of["golden"],
        allow=tuple(of["allow"] or ()),
    )


def pictures(images: Path | None, docs: Path | None, column: str | None) -> Any:
    """The images that options name; None for no such options. Raises: InputError for one without the other."""
    if images is None and docs is None and column is None:
        return None
    if images is None or docs is None:
        raise InputError("--images (the folder) and --docs (whose --image-column names each image) go together: give both")
    from germane.judges.pictures import Pictures

    return Pictures(images, docs, column or "image")


def _server(url: str | None, model: str | None, key_env: str | None) -> Any:
    if url is None and model is None and key_env is None:
        return None
    if url is None or model is None:
        raise InputError("--url and --model go together (and --key-env with both): where the server is, and which model there")
    from germane.pipeline.label import Server

    return Server(url, model, key_env)
