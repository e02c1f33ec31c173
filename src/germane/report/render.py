"""Templates to text. All values pass one gate: outside text is made visible and escaped, a bare float is an error."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from germane.report import charts, words
from germane.report.visible import LIMIT, TITLE, visible
from germane.types import is_error

if TYPE_CHECKING:
    import jinja2

NUMBERS = ("plain", "signed", "percent", "points", "count", "chance", "interval", "level", "many")
_MARKDOWN = re.compile(r"[\\`*_\[\]|~$]")
_ENTITY = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Written(str):
    """Text of our own making (numbers, ready Markdown) that needs no escape. In HTML, jinja's Markup plays this part."""

    __slots__ = ()


def markdown_text(text: str, limit: int = LIMIT) -> Written:
    """One line that Markdown shows as it is: no markup, no HTML, no table cells, no links, no lists.

    >>> str(markdown_text("a | <b> [x](y)"))
    'a \\\\| &lt;b&gt; \\\\[x\\\\](y)'
    """
    shown = re.sub("[&<>]", lambda m: _ENTITY[m[0]], visible(text, limit))
    shown = re.sub(r"(?i)\b(https?|ftp|mailto|www)([:.])", r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", shown))
    shown = re.sub(r"^(\d+)([.)])(\s|$)", r"\1\\\2\3", shown)
    return Written(re.sub(r"^([-+=#])", r"\\\1", shown))


def _gate(value: Any, clean: Callable[[str], str]) -> Any:
    """What may be printed: clean text and whole numbers. None and floats must be written in words first."""
    from markupsafe import Markup

    if isinstance(value, Markup | Written):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"a template printed {value!s} as it is: write it in words first")  # an undefined name says its own


def _parameter(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _environment(**options: Any) -> jinja2.Environment:
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.PackageLoader("germane.report"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    env.filters["parameter"] = _parameter
    env.tests["error"] = is_error
    return env


def environment(folder: Path) -> jinja2.Environment:
    """The Jinja environment of an app's pages: templates of its folder, all values escaped, none left out. Filter: visible."""
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["visible"] = visible
    return env


@functools.cache
def html_environment() -> jinja2.Environment:
    """The Jinja environment of HTML pages. Filters: bdi, at, and the numbers of words.py."""
    from markupsafe import Markup, escape

    env = _environment(autoescape=True, finalize=lambda value: _gate(value, visible))
    for name in NUMBERS:
        env.filters[name] = getattr(words, name)
    env.filters["mark"] = lambda e, axis: charts.mark(axis, e)
    env.filters["at"] = lambda x: Markup(f"{x:.2f}".rstrip("0").rstrip("."))
    env.filters["bdi"] = lambda text, limit=TITLE: Markup("<bdi>{}</bdi>").format(escape(visible(text, limit)))
    return env


@functools.cache
def markdown_environment() -> jinja2.Environment:
    """The Jinja environment of Markdown pages: the same filters, escaping for Markdown."""
    env = _environment(autoescape=False, finalize=lambda value: _gate(value, markdown_text))
    for name in NUMBERS:
        env.filters[name] = _written(getattr(words, name))
    env.filters["bdi"] = lambda text, limit=TITLE: markdown_text(text, limit)
    return env


def _written(write: Callable[..., str]) -> Callable[..., Written]:
    return lambda *args, **kwargs: Written(write(*args, **kwargs))


def html_page(template: str, **values: Any) -> str:
    """A self-contained page: the stylesheet is inside, and the content security policy allows nothing else."""
    from markupsafe import Markup

    env = html_environment()
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return env.get_template(template).render(style=Markup(style), policy=Markup(policy), words=words, **values)


def markdown_page(template: str, **values: Any) -> str:
    """A Markdown page with at most one empty line between its parts."""
    text = markdown_environment().get_template(template).render(words=words, **values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@functools.cache
def _style() -> str:
    from importlib.resources import files

    return files("germane.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
