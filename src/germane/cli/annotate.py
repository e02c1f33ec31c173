"""Commands for people: the judging screens, their accounts, their votes, and the registry that keeps them."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from germane.cli.app import SCALES, OutOption, Output, OutputOption, app, call, table_place
from germane.settings import load
from germane.show import busy, show
from germane.types import InputError

VARIABLE = "GERMANE_REGISTRY"
DEMO = Path("demo")
RegistryOption = Annotated[
    str | None,
    typer.Option(
        help=f"A file (SQLite) or postgresql://...; by default ${VARIABLE}, else registry.sqlite.", show_default=False
    ),
]


class Adjudicate(StrEnum):
    ANY = "any"
    MAJORITY = "majority"


class Kind(StrEnum):
    GOLDEN = "golden"
    AUDIT = "audit"


class RoleName(StrEnum):
    RATER = "rater"
    ADJUDICATOR = "adjudicator"
    OWNER = "owner"


@app.command("annotate")
def annotate(
    pairs: Annotated[
        Path | None,
        typer.Option(help="What to judge, from `pairs`, `route` or `sample`; without it, the demo's.", show_default=False),
    ] = None,
    scale: Annotated[str | None, typer.Option(help=SCALES)] = None,
    raters: Annotated[int, typer.Option(help="Votes that a pair gets, each by another person.", min=1, max=99)] = 2,
    guide: Annotated[Path | None, typer.Option(help="Markdown to show instead of the scale's own guide.")] = None,
    docs: Annotated[Path | None, typer.Option(help="The documents: whole fields, and images.")] = None,
    queries: Annotated[Path | None, typer.Option(help="The queries' text, where the pairs have none.")] = None,
    controls: Annotated[Path | None, typer.Option(help="Hidden pairs with a known label.")] = None,
    control_every: Annotated[int, typer.Option(help="One hidden control in so many pairs.", min=2)] = 10,
    images: Annotated[Path | None, typer.Option(help="The folder of the documents' images.")] = None,
    image_column: Annotated[
        str | None, typer.Option(help="The column that names them; image by default.", show_default=False)
    ] = None,
    search_url: Annotated[str, typer.Option(help="A link to search, with {query} in it.")] = "",
    adjudicate: Annotated[
        Adjudicate, typer.Option(help="Who waits for a third person: any disagreement, or no majority.")
    ] = Adjudicate.ANY,
    entropy: Annotated[
        float | None, typer.Option(help="Adjudicate from this entropy of the judge on, though people agree.")
    ] = None,
    lease: Annotated[
        float, typer.Option(help="Minutes until a pair that nobody votes on goes to somebody else.", min=0.1)
    ] = 30.0,
    task: Annotated[
        str | None, typer.Option(help="The task's name; that of the pairs' file by default.", show_default=False)
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="golden or audit; by default as the pairs' columns say.", show_default=False)
    ] = None,
    used: Annotated[
        list[Path] | None, typer.Option(help="Pairs of prompts or training, which no audit may hold; may be given again.")
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(help="A refusal to insist past: golden-audit.")] = None,
    seed: Annotated[int, typer.Option(help="Of the random orders.")] = 1,
    registry: RegistryOption = None,
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to serve on.", min=0, max=65535)] = 8137,
    public_url: Annotated[str, typer.Option(help="How browsers reach it behind a proxy, as https://golden.example.org.")] = "",
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the screens, or only load the pairs.")] = True,
    output: OutputOption = Output.TEXT,
) -> None:
    """What do people say of these pairs?

    Serves screens on which people judge, adjudicate, and see how far they are. Without --pairs: the demo's pairs, with
    logins that are printed. A second call adds new pairs to the task; nothing that was said is lost.
    """
    if pairs is None:
        if given := [flag for flag, value in {"--docs": docs, "--controls": controls, "--queries": queries}.items() if value]:
            raise InputError(f"{given[0]} goes with --pairs: say which pairs are to be judged")
        scale = "five-level"
    elif scale is None:
        raise InputError("--scale is needed: the grades that people give")
    demo = pairs is None
    opened = _opened(registry, demo=demo)
    from germane.registry.tasks import Asked
    from germane.web import serving

    screens = serving.application(opened, images=images, public_url=public_url)
    if pairs is None:
        with busy("making the demo's pairs"):
            pairs = serving.demo_files(DEMO)
        task = task or "demo"
    asked = Asked(raters, adjudicate.value, entropy, control_every, round(lease * 60), serving.template(search_url), seed)
    more: dict[str, Any] = {"guide": guide, "task": task, "kind": kind and kind.value, "allow": tuple(allow or ())}
    files = (pairs, docs, queries, controls, tuple(used or ()), image_column)
    logins = serving.demo_logins(opened) if demo else ()
    show(call("annotate", opened, files, scale=scale, asked=asked, **more), as_json=output == Output.JSON)
    for login in logins:
        print(f"login: {login.name} ({login.role}), password {login.password}")
    if serve:
        serving.serve(screens, host=host, port=port, tell=lambda address: print(f"open {public_url or address}", flush=True))


account = typer.Typer(name="account", no_args_is_help=True, rich_markup_mode=None, help="Who may judge?")
app.add_typer(account)


@account.command("add")
def account_add(
    name: Annotated[str, typer.Argument(help="The name that their votes carry: human:NAME.")],
    role: Annotated[RoleName, typer.Option(help="rater, adjudicator or owner.")] = RoleName.RATER,
    registry: RegistryOption = None,
) -> None:
    """Let somebody in.

    The password comes from the environment variable GERMANE_PASSWORD, or standard input, or is asked for.
    """
    from germane.registry import accounts

    made = accounts.add(_opened(registry), name, role.value, _password(), actor=_actor())
    print(f"account {made.name}: {made.role}")


@account.command("list")
def account_list(registry: RegistryOption = None, output: OutputOption = Output.TEXT) -> None:
    """Who is there?"""
    from germane.registry import accounts

    rows = accounts.listed(_opened(registry))
    if output == Output.JSON or rows:
        plain = [row._replace(created_at=row.created_at.strftime("%Y-%m-%d %H:%M UTC"))._asdict() for row in rows]  # type: ignore[arg-type]
        if output == Output.JSON:
            show(plain, as_json=True)
        for row in plain if output == Output.TEXT else ():
            print(f"{row['name']}  {row['role']}  {'disabled' if row['disabled'] else 'since ' + row['created_at']}")
    else:
        print("nobody yet: germane account add NAME --role owner")


@account.command("disable")
def account_disable(
    name: Annotated[str, typer.Argument(help="Whose.")],
    enable: Annotated[bool, typer.Option("--enable", help="Let them in again.")] = False,
    registry: RegistryOption = None,
) -> None:
    """Let somebody in no more; their votes stay."""
    from germane.registry import accounts

    found = accounts.disable(_opened(registry), name, actor=_actor(), disabled=not enable)
    print(f"account {found.name}: {'disabled' if found.disabled else 'enabled'}")


@account.command("password")
def account_password(name: Annotated[str, typer.Argument(help="Whose.")], registry: RegistryOption = None) -> None:
    """Set a new password, and end their sessions."""
    from germane.registry import accounts

    found = accounts.set_password(_opened(registry), name, _password(), actor=_actor())
    print(f"account {found.name}: the password is set")


@app.command("votes")
def votes(
    out: OutOption = None,
    task: Annotated[str | None, typer.Option(help="Of which task; needed where there are several.", show_default=False)] = None,
    registry: RegistryOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """What did people say?

    Writes a judgments table, a row a pair and rater; beside it OUT-final, one grade a pair, and OUT-every, each vote as it
    came.
    """
    show(call("votes", _opened(registry), task, table_place(out, "judgments", task or "votes")), as_json=output == Output.JSON)


registry_app = typer.Typer(name="registry", no_args_is_help=True, rich_markup_mode=None, help="What keeps the votes?")
app.add_typer(registry_app)


@registry_app.command("backup")
def registry_backup(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    registry: RegistryOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Write a snapshot, while people vote."""
    from germane.registry import backups

    show(backups.backup(_opened(registry), file, actor=_actor()), as_json=output == Output.JSON)


@registry_app.command("restore")
def registry_restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Lose what is in the registry now.")] = False,
    registry: RegistryOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Bring a snapshot back, from either database into either."""
    from germane.extras import needs

    needs("web", "sqlalchemy", "alembic", by="the registry")
    from germane.registry import backups

    where = registry or os.environ.get(VARIABLE)
    show(backups.restore(where, file, replace=replace, actor=_actor()), as_json=output == Output.JSON)


def _opened(where: str | None, *, demo: bool = False) -> Any:
    """The registry that an option, the environment or the project names. Raises: InputError."""
    from germane.extras import needs

    needs("web", "sqlalchemy", "alembic", "argon2", by="the registry")
    from germane.registry.database import DEFAULT, open_registry

    found = where or os.environ.get(VARIABLE)
    if demo and not found:
        DEMO.mkdir(exist_ok=True)
        found = str(DEMO / DEFAULT)
    elif not found and (path := load().path):
        found = str(path.parent / DEFAULT)
    return open_registry(found)


def _password() -> str:
    """From the environment, from a pipe, or asked for twice; never from an argument, which other users can see."""
    if said := os.environ.get("GERMANE_PASSWORD"):
        return said
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    typed: str = typer.prompt("password", hide_input=True, confirmation_prompt=True)
    return typed


def _actor() -> str:
    import getpass

    try:
        return f"command line ({getpass.getuser()})"
    except (OSError, KeyError):
        return "command line"
