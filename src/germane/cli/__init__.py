"""The command line: one command a verb. Parse, call, print; the docstring is the question that a user has."""

from __future__ import annotations

import io
import os
import sys

from germane.cli import about, data, measure, out, plan  # noqa: F401  (their commands join the app)
from germane.cli.app import EXIT_CODES, VERBS, app
from germane.types import InputError

__all__ = ["EXIT_CODES", "VERBS", "app", "main"]


def main() -> None:
    """Run the command line. Wrong input is one line on stderr; GERMANE_DEBUG=1 shows where it was found."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console that cannot print a query's letters is no fault
    try:
        app(prog_name="germane")
    except Exception as problem:
        if os.environ.get("GERMANE_DEBUG"):
            raise
        sys.exit(fail(problem))
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read our output has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(problem: Exception) -> int:
    """One line on stderr about what went wrong, and the exit code that it has."""
    if isinstance(problem, InputError | OSError):
        what, code = str(problem), 2
    else:
        what = f"this is a fault of germane, not of your input: {type(problem).__name__}: {problem}"
        what, code = f"{what} (GERMANE_DEBUG=1 shows where; please report it)", 70
    from germane.report.visible import visible

    print(f"germane: {visible(what)}", file=sys.stderr)
    return code
