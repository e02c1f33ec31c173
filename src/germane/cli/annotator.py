"""The options of a language model as judge, the same for every command that asks one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from germane.types import InputError

PREFIX = "llm:"


def _options(
    *,
    url: Annotated[str | None, typer.Option(help="Ask on this server, as http://localhost:8000/v1 (vLLM).")] = None,
    key_env: Annotated[str | None, typer.Option(help="The environment variable with the key.")] = None,
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
    temperature: Annotated[
        float | None, typer.Option(help="llm: by default 1 with --samples, 0 in mode symbol.", min=0)
    ] = None,
    most_tokens: Annotated[int | None, typer.Option(help="llm: of a reply; 1024, or 8192 if it reasons.", min=1)] = None,
    effort: Annotated[str | None, typer.Option(help="llm: of reasoning models: low, medium, high.")] = None,
    structured: Annotated[str | None, typer.Option(help="llm: how replies are bound: schema, tool or text.")] = None,
    prices: Annotated[Path | None, typer.Option(help="llm: a table of prices (TOML) that wins over the built-in one.")] = None,
    budget: Annotated[float | None, typer.Option(help="llm: stop before more dollars than this are spent.")] = None,
    at_once: Annotated[int, typer.Option(help="llm: calls in flight at most.", min=1)] = 16,
    timeout: Annotated[float, typer.Option(help="llm: seconds that a reply may take.", min=0.001)] = 120.0,
    tries: Annotated[int, typer.Option(help="llm: of one call.", min=1)] = 5,
    replies: Annotated[Path | None, typer.Option(help="llm: folder where replies are kept; by default beside --out.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="llm: read kept replies again, and ask nothing.")] = False,
) -> None:
    """Only its signature is used."""


OPTIONS: Mapping[str, inspect.Parameter] = inspect.signature(_options).parameters
SHARED = ("url", "key_env")  # a trained teacher behind a server takes them too


def with_annotator(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of a language model, which it gets as `llm`: name -> value."""
    own = {name: p for name, p in inspect.signature(command).parameters.items() if name != "llm"}

    @functools.wraps(command)
    def run(**given: Any) -> None:
        llm = {name: given.pop(name) for name in OPTIONS}
        command(**given, llm=llm)

    hints = get_type_hints(command, include_extras=True) | get_type_hints(_options, include_extras=True)
    every = {**own, **OPTIONS}
    kept = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]) for name, p in every.items()]
    # Those of the output come last, as in every other command.
    last = [p for p in kept if p.name in ("out", "output")]
    signature = inspect.Signature([p for p in kept if p not in last] + last, return_annotation=None)
    run.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {name: hints[name] for name in every} | {"return": None}
    return run


def is_annotator(judge: str | None) -> bool:
    """True for the name of a language model, without loading what asks one."""
    return judge is not None and judge.startswith(PREFIX)


def given(context: typer.Context) -> set[str]:
    """The names of the parameters that stand on the command line."""
    return {n for n in context.params if str(context.get_parameter_source(n)).endswith("COMMANDLINE")}


def refuse_options(judge: str | None, names: set[str]) -> None:
    """Raises: InputError where options of a language model were given for another judge."""
    if not is_annotator(judge) and (extra := sorted(names & (set(OPTIONS) - set(SHARED)))):
        raise InputError(f"--{extra[0].replace('_', '-')} is of language models (llm:PROVIDER/MODEL), and {judge} is none")


def annotator(judge: str, scale: str | None, llm: Mapping[str, Any], **more: Any) -> Any:
    """The annotator that the options name. more: further fields of `Annotator`, as card and golden.

    Raises: InputError for options that do not go together.
    """
    from germane import scales
    from germane.judges.calls import Calling
    from germane.judges.graph import Voting
    from germane.judges.voting import RULES
    from germane.labelling.annotators import Annotator, FewShot

    if scale is None:
        raise InputError(f"{judge} needs --scale: it grades by the scale's guide")
    if llm["vote"] not in RULES:
        raise InputError(f"--vote {llm['vote']}: expected {' or '.join(RULES)}")
    if (llm["examples"] is None) != (llm["example_labels"] is None):
        raise InputError("--examples (pairs) and --example-labels (people's grades of them) go together: give both")
    if llm["first"] is not None and llm["samples"] < 2:
        raise InputError("--first hands a pair on where its samples differ: it needs --samples 2 or more")
    if not llm["first"] and llm["accept"] != 1.0:
        raise InputError("--accept is of --first: the self-agreement at which the cheaper model's grade stands")
    if llm["examples"] is None and (llm["sealed"] is not None or llm["each"] != 1):
        raise InputError(
            f"--{'sealed' if llm['sealed'] is not None else 'each'} is of examples: give --examples, or leave it out"
        )
    few = None
    if llm["examples"] is not None:
        few = FewShot(llm["examples"], llm["example_labels"], llm["sealed"], llm["each"])
    same = (
        "url",
        "key_env",
        "first",
        "mode",
        "phrasing",
        "temperature",
        "effort",
        "structured",
        "prices",
        "replies",
        "offline",
    )
    return Annotator(
        judge,
        scales.get(scale),
        **{name: llm[name] for name in same},
        voting=Voting(llm["samples"], llm["vote"], llm["early"], llm["accept"]),
        most=llm["most_tokens"],
        few_shot=few,
        calling=Calling(llm["at_once"], llm["timeout"], llm["tries"], budget=llm["budget"]),
        **more,
    )
