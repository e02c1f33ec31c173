"""The command line: one command a verb. Parse, call, print; the docstring is the question that a user has."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Any

from germane.cli import (  # noqa: F401  (their commands join the app)
    about,
    annotate,
    backup,
    bench,
    data,
    encode,
    enrich,
    experiment,
    golden,
    guide,
    label,
    leaderboard,
    measure,
    out,
    plan,
    probe,
    route,
    serve,
    signal,
    tour,
    train,
    watch,
    web,
)
from germane.cli.app import EXIT_CODES, VERBS, app
from germane.ops import logs
from germane.types import InputError

__all__ = ["EXIT_CODES", "VERBS", "app", "main"]


def main() -> None:
    """Run the command line. Wrong input is one line on stderr; GERMANE_DEBUG=1 shows where it was found."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console that cannot print a query's letters is no fault
    try:
        sys.exit(app(prog_name="germane", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as problem:
        if type(problem).__name__ == "Abort":  # typer's, which is click's own or a copy of it, by version
            sys.exit(130)
        if getattr(problem, "exit_code", None) == 2 and hasattr(problem, "format_message"):
            sys.exit(wrong_usage(problem))
        if os.environ.get("GERMANE_DEBUG"):
            raise
        sys.exit(fail(problem))
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read our output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def wrong_usage(problem: Any) -> int:
    """One line on stderr about options or arguments that do not fit, and exit code 2; all of the help if none was given."""
    from germane.report.visible import visible

    if type(problem).__name__ == "NoArgsIsHelpError":
        print(problem.format_message(), file=sys.stderr)
        return 2
    command = problem.ctx.command_path if problem.ctx else "germane"
    what = problem.format_message().rstrip(".")
    return said(f"{visible(what)}; see {command} --help", "usage", 2)


def said(what: str, event: str, code: int) -> int:
    """The exit code, once what went wrong is said: in one line on stderr, which is JSON where the log is."""
    if logs.as_json():
        logging.getLogger("germane").error("%s", what, extra={"event": event, "exit_code": code})
    else:
        print(f"germane: {what}", file=sys.stderr)
    return code


def fail(problem: Exception) -> int:
    """One line on stderr about what went wrong, and the exit code that it has."""
    if isinstance(problem, InputError | OSError):
        what, code = str(problem), getattr(problem, "exit_code", 2)
    else:
        what = f"this is a fault of germane, not of your input: {type(problem).__name__}: {problem}"
        what, code = f"{what} (GERMANE_DEBUG=1 shows where; please report it)", 70
    from germane.report.visible import visible

    return said(visible(what), "failed", code)
