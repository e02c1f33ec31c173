"""`germane train ...`: commands that make judges, and commands that choose between ways to make them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import SCALES, OutOption, Output, OutputOption, SeedOption, app, call, place, words
from germane.cli.data import whole_numbers
from germane.cli.label import ImageColumnOption, ImageDocsOption, ImagesOption, pictures
from germane.show import show
from germane.types import InputError

train = typer.Typer(
    name="train",
    help="How do I make a judge of my own?\n\nTrain judges on labelled pairs, and choose between ways to train them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(train, name="train")

PairsArgument = Annotated[Path, typer.Argument(help="Queries and documents' texts, from `pairs`.")]
LabelsArgument = Annotated[Path, typer.Argument(help="Their grades: one judgment a pair.")]
ScaleOption = Annotated[str, typer.Option(help=SCALES)]
DevPairs = Annotated[Path | None, typer.Option(help="Pairs to calibrate and stop by; else a part of PAIRS, by query.")]
DevLabels = Annotated[Path | None, typer.Option(help="Grades of --dev-pairs.")]
Sealed = Annotated[Path | None, typer.Option(help="Pairs or queries of the golden test: refused if among PAIRS.")]
DropSealed = Annotated[bool, typer.Option("--drop-sealed", help="Leave queries of --sealed out instead.")]
Before = Annotated[
    list[str] | None, typer.Option(help="PAIRS,LABELS,SCALE of another task to learn first; may be given again.")
]
Number = Annotated[int | None, typer.Option(min=1)]
Epochs = Annotated[float | None, typer.Option(help="Times that each pair is read.", min=0.01)]
MaxSteps = Annotated[int | None, typer.Option(help="End after so many updates.", min=1)]
Batch = Annotated[int | None, typer.Option(help="Pairs a step and device.", min=1)]
Accumulate = Annotated[int | None, typer.Option(help="Steps to one update of the weights.", min=1)]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Of AdamW, at its highest.", min=0.0)]
Precision = Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")]
Checkpointing = Annotated[bool, typer.Option("--gradient-checkpointing", help="Less memory, about a third slower.")]
Patience = Annotated[int | None, typer.Option(help="Stop after so many epochs without a better score.", min=1)]
Device = Annotated[str | None, typer.Option(help="cuda, mps or cpu; the best that is there by default.")]
MaxLength = Annotated[int | None, typer.Option(help="Tokens of query and document together.", min=8)]
Decision = Annotated[str | None, typer.Option(help="'likeliest' grade; weighted for 'macro F1' on dev, or by 'prior'.")]
Lora = Annotated[int | None, typer.Option(help="Rank of LoRA adapters; 0 trains all weights.", min=0)]
Quantised = Annotated[bool, typer.Option("--quantised", help="QLoRA: the base in 4 bits; needs bitsandbytes and CUDA.")]
Name = Annotated[str | None, typer.Option(help="The judge's name; by default that of --out.")]


@train.command("cross-encoder")
def cross_encoder(
    pairs: PairsArgument,
    labels: LabelsArgument,
    scale: ScaleOption,
    base: Annotated[str, typer.Option(help="Encoder or language model: hub name or folder.")],
    out: OutOption = None,
    dev_pairs: DevPairs = None,
    dev_labels: DevLabels = None,
    sealed: Sealed = None,
    drop_sealed: DropSealed = False,
    before: Before = None,
    before_epochs: Annotated[float | None, typer.Option(help="Of what is learned first; as many by default.")] = None,
    before_rate: Annotated[float | None, typer.Option(help="Learning rate of that; the same by default.", min=0.0)] = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="Documents: first learn word matching by searches made of their titles.")
    ] = None,
    held_out: Annotated[float | None, typer.Option(help="Share of the queries to calibrate by, without --dev-pairs.")] = None,
    loss: Annotated[str | None, typer.Option(help="cross-entropy, ordinal, soft or pairwise.")] = None,
    class_weighting: Annotated[str | None, typer.Option(help="'balanced': rare grades count more.")] = None,
    label_smoothing: Annotated[float | None, typer.Option(min=0.0, max=0.5)] = None,
    decision: Decision = None,
    evidence: Annotated[bool, typer.Option("--evidence", help="Tell it in words what query and document share.")] = False,
    marks: Annotated[
        bool, typer.Option("--marks", help="Tell it which tokens both have, by kinds of tokens; for small models.")
    ] = False,
    stop_on: Annotated[str | None, typer.Option(help="'macro F1' or 'tau' of dev picks the epoch; or the 'last'.")] = None,
    lora: Lora = None,
    quantised: Quantised = False,
    max_length: MaxLength = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    learning_rate: Rate = None,
    precision: Precision = None,
    gradient_checkpointing: Checkpointing = False,
    patience: Patience = None,
    device: Device = None,
    name: Name = None,
    seed: SeedOption = 0,
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I get a judge that reads query and document together?

    Fine-tune an encoder on labelled pairs: accurate, and fast enough to label millions of pairs.
    """
    here = dict(locals())
    more = _options(
        here,
        "loss class_weighting label_smoothing stop_on held_out before_epochs before_rate evidence marks quantised "
        "max_length name",
    )
    _train("cross-encoder", here, more | _lora(lora))


@train.command("teacher")
def teacher(
    pairs: PairsArgument,
    labels: LabelsArgument,
    scale: ScaleOption,
    base: Annotated[str | None, typer.Option(help="Language model, or one that also sees: hub name or folder.")] = None,
    out: OutOption = None,
    dev_pairs: DevPairs = None,
    dev_labels: DevLabels = None,
    sealed: Sealed = None,
    drop_sealed: DropSealed = False,
    reasoning: Annotated[bool, typer.Option("--reasoning", help="Learn to give reasons (the labels' notes) first.")] = False,
    no_soft: Annotated[bool, typer.Option("--no-soft", help="Learn the grades alone, not the labels' probabilities.")] = False,
    images: ImagesOption = None,
    docs: ImageDocsOption = None,
    image_column: ImageColumnOption = None,
    unpacked: Annotated[bool, typer.Option("--unpacked", help="One pair a row, where packing is not supported.")] = False,
    decision: Decision = None,
    lora: Lora = None,
    quantised: Quantised = False,
    max_length: MaxLength = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    learning_rate: Rate = None,
    precision: Precision = None,
    gradient_checkpointing: Checkpointing = False,
    patience: Patience = None,
    device: Device = None,
    name: Name = None,
    seed: SeedOption = 0,
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I teach a language model our guide?

    Fine-tune an instruct model on annotator's or people's labels; it grades by the probabilities of the grades' tokens.
    """
    here = dict(locals())
    more = _options(here, "reasoning quantised max_length name") | _lora(lora)
    more |= ({"packed": False} if unpacked else {}) | ({"soft": False} if no_soft else {})
    _train("teacher", here | {"pictures": pictures(images, docs, image_column)}, more)


@train.command("student")
def student(
    pairs: PairsArgument,
    labels: Annotated[Path, typer.Argument(help="The teacher's judgments of them, with probabilities.")],
    scale: ScaleOption,
    base: Annotated[str, typer.Option(help="Sentence encoder: hub name or folder.")],
    out: OutOption = None,
    dev_pairs: DevPairs = None,
    dev_labels: DevLabels = None,
    sealed: Sealed = None,
    drop_sealed: DropSealed = False,
    separate: Annotated[bool, typer.Option("--separate", help="A tower each for queries and documents.")] = False,
    dimension: Annotated[int | None, typer.Option(help="Of the vectors; the base's by default.", min=8)] = None,
    no_lexical: Annotated[bool, typer.Option("--no-lexical", help="Vectors alone, without lexical features.")] = False,
    margin: Annotated[float | None, typer.Option(help="Weight of the teacher's margins in the loss.", min=0.0)] = None,
    hard: Annotated[
        int | None, typer.Option(help="Of a query's lowest grade, learn from so many, the most like it.", min=1)
    ] = None,
    mined_by: Annotated[str | None, typer.Option(help="What --hard finds like: 'bm25', or 'vectors' of the base.")] = None,
    max_query: Annotated[int | None, typer.Option(help="Tokens of a query.", min=4)] = None,
    max_text: Annotated[int | None, typer.Option(help="Tokens of a document.", min=4)] = None,
    head_rate: Annotated[
        float | None, typer.Option(help="Learning rate of the head, which starts from nothing.", min=0.0)
    ] = None,
    stop_on: Annotated[str | None, typer.Option(help="'log loss' or 'macro F1' of dev picks the epoch.")] = None,
    no_onnx: Annotated[bool, typer.Option("--no-onnx", help="Do not export the towers to ONNX.")] = False,
    decision: Decision = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    learning_rate: Rate = None,
    precision: Precision = None,
    gradient_checkpointing: Checkpointing = False,
    patience: Patience = None,
    device: Device = None,
    name: Name = None,
    seed: SeedOption = 0,
    output: OutputOption = Output.TEXT,
) -> None:
    """How do I get a judge that is fast enough for the search path?

    Distil a teacher into two towers, whose document vectors are made once, and a small calibrated head.
    """
    here = dict(locals())
    if mined_by and hard is None:
        raise InputError("--mined-by says how --hard finds documents: give --hard too")
    more = _options(here, "separate dimension margin hard mined_by max_query max_text head_rate stop_on name")
    more |= ({"lexical": False} if no_lexical else {}) | ({"onnx": False} if no_onnx else {})
    _train("student", here, more)


@train.command("committee")
def committee(
    members: Annotated[list[Path], typer.Argument(help="Folders of trained judges on one scale, two or more.")],
    out: OutOption = None,
    name: Name = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Are two judges better than one?

    Puts trained judges together: the mean of their log-probabilities, as one judge with one fingerprint.
    """
    found = call("train committee", members, place(out, "judges", name or "committee"), name=name)
    show(found, as_json=output == Output.JSON)


@train.command("interests")
def interests(
    queries: Annotated[Path, typer.Argument(help="Queries' text, with their interest, or without one beside --docs.")],
    base: Annotated[str, typer.Option(help="Sentence encoder: hub name or folder.")],
    column: Annotated[str, typer.Option(help="The column of QUERIES that holds the interest.")] = "interest",
    docs: Annotated[Path | None, typer.Option(help="Documents: the interest is a category of theirs, by what follows.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="Grades: the category of a query's relevant documents.")] = None,
    scale: Annotated[str | None, typer.Option(help=f"Of --judgments. {SCALES}")] = None,
    clicks: Annotated[Path | None, typer.Option(help="Clicks: the category of a query's clicked documents.")] = None,
    category: Annotated[str, typer.Option(help="The column of documents' categories.")] = "category",
    depth: Annotated[int | None, typer.Option(help="Levels of a category's path; all by default.", min=1)] = None,
    share: Annotated[float, typer.Option(help="Share of a query's documents that its category needs.", min=0, max=1)] = 0.5,
    method: Annotated[str | None, typer.Option(help="vectors (frozen encoder, few examples) or fine-tuned.")] = None,
    least: Annotated[int | None, typer.Option(help="Examples of an interest; rarer ones are 'other'.", min=1)] = None,
    precision: Annotated[float | None, typer.Option(help="Share of answers to be right; the rest is 'other'.")] = None,
    no_names: Annotated[bool, typer.Option("--no-names", help="Do not learn from the interests' own names.")] = False,
    folds: Annotated[int | None, typer.Option(help="By which it is calibrated.", min=2)] = None,
    epochs: Epochs = None,
    batch: Batch = None,
    learning_rate: Rate = None,
    device: Device = None,
    out: OutOption = None,
    seed: SeedOption = 0,
    output: OutputOption = Output.TEXT,
) -> None:
    """What is a query about?

    Trains a classifier of queries to interests, for strata: calibrated, with "other" where it is not sure.
    """
    given = _options(dict(locals()), "method least precision folds epochs batch learning_rate device seed")
    options = given | ({"names": False} if no_names else {})
    of: dict[str, Any] = {"docs": docs, "judgments": judgments, "scale": scale, "clicks": clicks, "category": category}
    of |= {"depth": depth, "share": share, "base": base, "column": column, "options": options}
    found = call("train interests", queries, place(out, "judges", "interests"), **of)
    show(found, as_json=output == Output.JSON)


RunOption = Annotated[list[Path] | None, typer.Option(help="A ranked list, for tau of sDCG; may be given again.")]
Folds = Annotated[int, typer.Option(help="By query; each judges what the others taught.", min=2)]
HourPrice = Annotated[float | None, typer.Option(help="What an hour of this machine costs, for cost per million.")]


@train.command("shootout")
def shootout(
    labels: Annotated[Path, typer.Argument(help="People's grades.")],
    scale: ScaleOption,
    pairs: Annotated[Path | None, typer.Option(help="Their texts, from `pairs`; not with --tiers.")] = None,
    base: Annotated[list[str] | None, typer.Option(help="A base to train; given again for each.")] = None,
    tiers: Annotated[
        list[Path] | None, typer.Option(help="In place of bases: judgments of each tier, the dearest first: which can merge?")
    ] = None,
    out: OutOption = None,
    run: RunOption = None,
    metric: Annotated[str, typer.Option(help="sDCG@K.")] = "sDCG@25",
    condensed: Annotated[bool, typer.Option("--condensed", help="Drop documents without a grade from the runs.")] = False,
    folds: Folds = 5,
    margin: Annotated[float, typer.Option(help="With --tiers: the largest loss of quality that would not matter.")] = 0.02,
    hour_price: HourPrice = None,
    queries: Annotated[Path | None, typer.Option(help="Gold's queries, whose words show who was trained on them.")] = None,
    allow: Annotated[list[str] | None, typer.Option(help="With --tiers: trained-on-gold.")] = None,
    loss: Annotated[str | None, typer.Option(help="cross-entropy, ordinal, soft or pairwise.")] = None,
    decision: Decision = None,
    max_length: MaxLength = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    learning_rate: Rate = None,
    precision: Precision = None,
    patience: Patience = None,
    device: Device = None,
    seed: SeedOption = 0,
    output: OutputOption = Output.TEXT,
) -> None:
    """Which base is best for what it costs, and how many tiers do I need?

    Trains several on the same folds: quality, speed, memory and cost side by side, and the Pareto front.
    """
    here = dict(locals())
    on: dict[str, Any] = {"scale": scale, "run": run or None, "metric": metric, "condensed": condensed}
    if tiers:
        if base or pairs:
            raise InputError("--tiers compares judgments that are there: leave --base and --pairs out")
        on |= {"margin": margin, "hour_price": hour_price, "queries": queries, "allow": allow or ()}
        found = call("train shootout --tiers", labels, tiers, place(out, "reports", "tiers"), **on)
    else:
        if queries or allow:
            raise InputError("--queries and --allow are of --tiers: leave them out")
        if not base or pairs is None:
            raise InputError("what is to be trained? give --pairs and a --base for each contestant, or --tiers")
        names = "loss decision max_length epochs max_steps batch accumulate learning_rate precision patience device"
        more = {"folds": folds, "hour_price": hour_price, "options": _options(here, names), "seed": seed}
        found = call("train shootout", pairs, labels, place(out, "reports", "shootout"), bases=base, **on, **more)
    _show_choice(found, output)


@train.command("ablate")
def ablate(
    docs: Annotated[Path, typer.Argument(help="Documents with a column a field.")],
    labels: Annotated[Path, typer.Argument(help="People's grades.")],
    scale: ScaleOption,
    queries: Annotated[Path, typer.Option(help="The queries' text.")],
    fields: Annotated[str, typer.Option(help="In the order in which they are added, as title,brand,description.")],
    base: Annotated[str, typer.Option(help="Encoder: hub name or folder.")],
    budget: Annotated[list[str] | None, typer.Option(help="Characters of a field, as description=400.")] = None,
    out: OutOption = None,
    run: RunOption = None,
    metric: Annotated[str, typer.Option(help="sDCG@K.")] = "sDCG@25",
    condensed: Annotated[bool, typer.Option("--condensed", help="Drop documents without a grade from the runs.")] = False,
    folds: Folds = 5,
    max_length: MaxLength = None,
    epochs: Epochs = None,
    max_steps: MaxSteps = None,
    batch: Batch = None,
    learning_rate: Rate = None,
    precision: Precision = None,
    device: Device = None,
    seed: SeedOption = 0,
    output: OutputOption = Output.TEXT,
) -> None:
    """What is each field of a document worth to a judge?

    Trains a judge on the first field, the first two, and so on: the ladder, each step with an interval.
    """
    names = "max_length epochs max_steps batch learning_rate precision device"
    on: dict[str, Any] = {"scale": scale, "run": run or None, "metric": metric, "condensed": condensed, "folds": folds}
    on |= {"fields": words(fields) or [], "base": base, "budgets": whole_numbers(budget, "--budget")}
    on |= {"options": _options(dict(locals()), names), "seed": seed}
    _show_choice(call("train ablate", docs, labels, queries, place(out, "reports", "ladder"), **on), output)


def _show_choice(found: Any, output: Output) -> None:
    """A shoot-out, tiers or a ladder: tables for people, or their JSON."""
    from germane.report import choosing

    print(found.to_json() if output == Output.JSON else choosing.text(found))


def _train(kind: str, here: dict[str, Any], options: dict[str, Any]) -> None:
    """Call the stage with the files and options of a command's local variables, and show what it made."""
    from germane.pipeline.train import Given

    if (here["dev_pairs"] is None) != (here["dev_labels"] is None):
        raise InputError("--dev-pairs and --dev-labels go together: give both, or neither")
    if here["drop_sealed"] and here["sealed"] is None:
        raise InputError("--drop-sealed leaves out what is in --sealed: give that file too")
    before = tuple(_task(text) for text in here.get("before") or ())
    dev = (here["dev_pairs"], here["dev_labels"]) if here["dev_pairs"] else None
    files = here["pairs"], here["labels"], here["scale"], dev, here["sealed"], here["drop_sealed"], before
    given = Given(*files, catalogue=here.get("catalogue"), pictures=here.get("pictures"))
    shared = (
        "base decision epochs max_steps batch accumulate learning_rate precision gradient_checkpointing patience device seed"
    )
    out = place(here["out"], "judges", here["name"] or kind)
    found = call(f"train {kind}", given, out, options=_options(here, f"{shared} gradient_checkpointing") | options)
    show(found, as_json=here["output"] == Output.JSON)


def _options(here: dict[str, Any], names: str) -> dict[str, Any]:
    """Those of the named options that were given."""
    return {name: here[name] for name in names.split() if here[name] is not None and here[name] is not False}  # 0 is given


def _lora(rank: int | None) -> dict[str, Any]:
    return {} if rank is None else {"lora": rank or None}


def _task(text: str) -> tuple[Path, Path, str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(parts):
        raise InputError(f"--before {text}: expected PAIRS,LABELS,SCALE, as qa-pairs.parquet,qa-labels.parquet,trec")
    return Path(parts[0]), Path(parts[1]), parts[2]
