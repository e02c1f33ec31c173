"""What the commands share: the table of verbs, the options that mean the same everywhere, and where a file goes."""

from __future__ import annotations

import importlib
import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from germane import __version__, settings
from germane.ops import logs
from germane.show import busy
from germane.types import InputError

# The only dynamic imports of our own: a verb's module is loaded when the verb is called.
VERBS = {
    "init": "germane.pipeline.init:init",
    "import": "germane.pipeline.import_:import_",
    "segment": "germane.pipeline.sample:segment",
    "plan": "germane.pipeline.plan:plan",
    "sample": "germane.pipeline.sample:sample",
    "collect": "germane.pipeline.collect:collect",
    "pairs": "germane.pipeline.pairs:pairs",
    "enrich": "germane.pipeline.enrich:enrich",
    "train": "germane.pipeline.train:cross_encoder",
    "encode": "germane.pipeline.encode:encode",
    "label": "germane.pipeline.label:label",
    "probe": "germane.pipeline.probe:probe",
    "guide": "germane.pipeline.guide:show",
    "golden": "germane.pipeline.golden:quality",
    "check": "germane.pipeline.check:check",
    "route": "germane.pipeline.route:route",
    "annotate": "germane.pipeline.annotate:annotate",
    "account": "germane.registry.accounts:add",
    "votes": "germane.pipeline.votes:votes",
    "registry": "germane.registry.backups:backup",
    "leaderboard": "germane.pipeline.leaderboard:leaderboard",
    "signal": "germane.pipeline.signal_filter:choose",
    "evaluate": "germane.pipeline.evaluate:evaluate",
    "compare": "germane.pipeline.compare:compare",
    "experiment": "germane.pipeline.experiments:show",
    "serve": "germane.serve.serving:prepare",
    "export": "germane.pipeline.export:export",
    "bridge": "germane.pipeline.bridge:bridge",
    "watch": "germane.pipeline.watch:run",
    "web": "germane.web.boards.serving:prepare",
    "backup": "germane.pipeline.backup:backup",
    "restore": "germane.pipeline.backup:restore",
    "demo": "germane.pipeline.demo:demo",
    "tour": "germane.tour.story:tour",
    "doctor": "germane.pipeline.doctor:doctor",
    "bench": "germane.pipeline.bench:bench",
    "schema": "germane.pipeline.schema:schema",
}

TRAIN = {
    "cross-encoder": "germane.pipeline.train:cross_encoder",
    "teacher": "germane.pipeline.train:teacher",
    "student": "germane.pipeline.train:student",
    "committee": "germane.pipeline.train:committee",
    "interests": "germane.pipeline.interests:train_interests",
    "shootout": "germane.pipeline.shootout:shootout",
    "ablate": "germane.pipeline.ablate:ablate",
}

GUIDE = {name: f"germane.pipeline.guide:{name}" for name in ("show", "diff", "impact", "drift")}
GOLDEN = {name: f"germane.pipeline.golden:{name}" for name in ("quality", "seal", "status", "leaks", "export")}
GOLDEN["health"] = "germane.web.boards.telling:health"

SIGNAL = {
    "filter": "germane.pipeline.signal_filter:choose",
    "features": "germane.pipeline.signal_features:write",
    "weights": "germane.pipeline.signal_weights:write",
    "boost": "germane.pipeline.signal_boost:fit",
    "policy": "germane.pipeline.signal_policy:learn",
}

WATCH = {name: f"germane.pipeline.watch:{name}" for name in ("run", "init", "status", "alerts", "history", "golden")}
WATCH |= {name: f"germane.web.boards.telling:{name}" for name in ("labels", "costs")}

EXPERIMENT = {"open": "germane.pipeline.experiments:open_", "list": "germane.pipeline.experiments:listed"}
EXPERIMENT |= {name: f"germane.pipeline.experiments:{name}" for name in ("look", "decide", "show")}

PARTS = {"sample --for audit": "germane.pipeline.audit:audit"}  # what a verb does with another goal
PARTS |= {"pairs --judged": "germane.pipeline.pairs:of_judgments"}
PARTS |= {"demo --serve": "germane.serve.search_page:prepare"}
PARTS |= {"doctor --judge": "germane.pipeline.doctor:doctor_of"}
PARTS |= {"label --plan": "germane.pipeline.forecast:plan", "label --sample": "germane.pipeline.recorded:sample"}
PARTS |= {"probe --plan": "germane.pipeline.probe:plan", "probe --paraphrases": "germane.pipeline.paraphrases:paraphrases"}
PARTS |= {"export --vectors": "germane.pipeline.export_vectors:export_vectors"}
PARTS |= {"train shootout --tiers": "germane.pipeline.shootout:tiers"}
PARTS |= {"sample --for golden": "germane.pipeline.sample_golden:sample"}
PARTS |= {f"guide {what}": function for what, function in GUIDE.items()}
PARTS |= {f"golden {what}": function for what, function in GOLDEN.items()}
PARTS |= {f"signal {what}": function for what, function in SIGNAL.items()}
PARTS |= {f"watch {what}": function for what, function in WATCH.items()}
PARTS |= {f"experiment {what}": function for what, function in EXPERIMENT.items()}
PARTS |= {"experiment as text": "germane.report.experiments:lines"}
PARTS |= {"watch alerts as text": "germane.pipeline.watch:listed"}
PARTS |= {"watch golden as text": "germane.watching.samples:tables"}
PARTS |= {"signal --apply": "germane.pipeline.signal_apply:apply"}
PARTS |= {"signal features --to opensearch": "germane.pipeline.signal_features:feature_set"}
PARTS |= {f"train {what}": function for what, function in TRAIN.items()}

SECRET = re.compile(r"(?i)(_KEYS?|_TOKEN|_SECRET|PASSWORD|_DSN)$")
"""Names of variables whose values no log has."""

EXIT_CODES = """
Exit codes: 0 the verb did what was asked; 1 it did, and the answer is no (a bar that is not met, something broken that is
needed); 2 wrong input or usage, said in one line, nothing half-written; 70 a fault of germane; 130 interrupted.

Files: a suffix names the format (.run .qrels .txt .csv .tsv .jsonl .parquet); "-" is standard input
or output of evaluate, compare and import.
"""


class InOrder(TyperGroup):
    """Commands in the order of the table of verbs, which is that of the work."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)


app = typer.Typer(
    name="germane",
    cls=InOrder,
    help="Measure search relevance with judges you have checked, and put that measure to work.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Text for people, or one JSON document.")]
SCALES = "A built-in scale (five-level, three-level, esci, trec) or a TOML file."
ScaleOption = Annotated[str | None, typer.Option(help=SCALES)]
DepthOption = Annotated[int, typer.Option("--k", "-k", help="Results a query.", min=1)]
SeedOption = Annotated[int, typer.Option(help="Of the draw: the same seed, the same draw.")]
LevelOption = Annotated[float, typer.Option(help="Confidence level of every interval.", min=0.5, max=0.9999)]
OutOption = Annotated[
    Path | None, typer.Option(help="Where to write; in a project, its folder by default.", show_default=False)
]


def call(verb: str, *arguments: Any, **options: Any) -> Any:
    """Load a verb's module, call its function, and show a sign of life meanwhile."""
    module, _, name = (VERBS | PARTS)[verb].partition(":")
    from germane.store import sealed

    with logs.verb(verb), busy(f"germane {verb}"), sealed.reading(f"germane {verb}"):
        return getattr(importlib.import_module(module), name)(*arguments, **options)


def place(out: Path | None, kind: str, name: str) -> Path:
    """`out`, or inside a project the named file in the project's folder for its kind.

    Raises: InputError outside a project without `out`.
    """
    if out is None and not (found := settings.load()).path:
        raise InputError("where to? name the file to write with --out, or make this folder a project with `germane init`")
    return found.folder(kind) / name if out is None else out


def table_place(out: Path | None, kind: str, name: str) -> Path:
    """As `place`, for a table of our own, which is parquet.

    Raises: InputError for another suffix.
    """
    path = place(out, kind, f"{name}.parquet")
    if path.suffix != ".parquet":
        raise InputError(f"--out {path}: a table of germane is a .parquet file; `germane import` writes other formats from it")
    return path


def named(pairs: list[str] | None, flag: str) -> dict[str, str]:
    """{"k1": "1.2"} from ["k1=1.2"]."""
    found = [pair.partition("=") for pair in pairs or []]
    for name, equals, value in found:
        if not (name and equals and value):
            raise InputError(f"{flag} {name}{equals}{value}: expected NAME=VALUE")
    return {name: value for name, _, value in found}


def numbers(pairs: list[str] | None, flag: str) -> dict[str, float]:
    """{"k1": 1.2} from ["k1=1.2"]."""
    try:
        return {name: float(value) for name, value in named(pairs, flag).items()}
    except ValueError as problem:
        raise InputError(f"{flag}: {problem}: expected NAME=NUMBER") from problem


def values(pairs: list[str] | None, flag: str) -> dict[str, float | str]:
    """{"k1": 1.2, "stopwords": "en"} from ["k1=1.2", "stopwords=en"]."""
    found = named(pairs, flag)
    return {name: float(value) if re.fullmatch(r"[\d.]+", value) else value for name, value in found.items()}


def words(text: str | None) -> list[str] | None:
    """["title", "brand"] from "title,brand"; None for None and for "all"."""
    return None if text in (None, "all") else [word.strip() for word in str(text).split(",") if word.strip()]


def print_version(wanted: bool) -> None:
    if wanted:
        print(f"germane {__version__}")
        raise typer.Exit


def logged(context: typer.Context, found: settings.Settings) -> None:
    """The log is written as these settings have it, unless the command line or the environment said how; and hides what they
    name as secret."""
    logs.hide(found.secrets)
    form = logs.form_of(found.logs.form, what=f"{found.path}: logs.form")
    if context.meta.get("log") is None:
        logs.begin(form)


def of_project(context: typer.Context, folder: Path | None) -> Path | None:
    """The folder that --project names, whose settings say how the log is written."""
    if folder is not None and (folder / settings.FILE).is_file():
        logged(context, settings.load(folder))
    return folder


@app.callback()
def project(
    context: typer.Context,
    log: Annotated[
        logs.Form | None,
        typer.Option("--log", help="How the log is written: text, or json, a line an event; $GERMANE_LOG.", show_default=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    said = os.environ.get(logs.VARIABLE, "")
    asked = log or (logs.form_of(said, what=logs.VARIABLE) if said else None)
    logs.hide(value for name, value in os.environ.items() if SECRET.search(name))
    logs.begin(asked or logs.Form.TEXT)
    context.meta["log"] = asked
    # A verb's options take their defaults from germane.toml. The verbs that mend or explain a project do not need one.
    if context.invoked_subcommand not in ("init", "doctor", "schema", "restore"):
        found = settings.load()
        logged(context, found)
        defaults = {name: getattr(found, name) for name in ("scale", "metric", "k", "level", "seed")}
        by_verb: dict[str, Any] = dict.fromkeys(VERBS, defaults) | {
            group: dict.fromkeys(commands, defaults)
            for group, commands in {
                "experiment": ("open",),
                "train": TRAIN,
                "guide": GUIDE,
                "golden": GOLDEN,
                "signal": SIGNAL,
            }.items()
        }
        context.default_map = by_verb if found.path else {}
