"""Templates to pages: escaped by default, with headers that let nothing run that is not ours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from germane.report import words
from germane.report.day import name as named
from germane.report.render import environment
from germane.report.visible import verbatim

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).parent
STATIC = {"app.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8"}
STATIC |= {"board.css": "text/css; charset=utf-8"}
HEADERS = {
    "Referrer-Policy": "same-origin",  # shops that serve images do not learn what is judged; our forms say where they are from
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def policy(image_origin: str = "") -> str:
    """The content security policy: our own style, script and images, the one shop of this page's image, and nothing else."""
    images = f"'self' {image_origin}".strip()
    return (
        f"default-src 'none'; style-src 'self'; script-src 'self'; img-src {images}; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def page(
    template: str, *, status: int = 200, image_origin: str = "", headers: Mapping[str, str] | None = None, **values: Any
) -> Response:
    """A page that nobody may keep: what it shows is for one person, now."""
    text = _environment().get_template(template).render(**values)
    given = {"Content-Security-Policy": policy(image_origin), "Cache-Control": "no-store", **(headers or {})}
    return HTMLResponse(text, status, given)


def away(path: str) -> Response:
    """A redirect after a form."""
    return RedirectResponse(path, 303)


def static(name: str) -> Response:
    """Our style or script, whose address changes with it."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Content-Security-Policy": policy()}
    return Response((HERE / "static" / name).read_bytes(), media_type=STATIC[name], headers=headers)


@cache
def static_path(name: str) -> str:
    """The address of our style or script: it holds a digest, so that a new one is never mixed with an old page."""
    return f"/static/{name}?{hashlib.sha256((HERE / 'static' / name).read_bytes()).hexdigest()[:12]}"


def markdown(text: str) -> Markup:
    """Markdown as HTML. HTML in it is text, images are left out, and links lead to http, https or mailto only."""
    return Markup(_markdown().render(text))


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")

    def link_open(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        tokens[index].attrSet("rel", "noopener noreferrer nofollow")
        return str(self.renderToken(tokens, index, options, env))

    made.add_render_rule("link_open", link_open)
    valid = made.validateLink
    made.validateLink = lambda url: valid(url) and url.split(":")[0].lower() in ("http", "https", "mailto")  # type: ignore[method-assign]
    return made


def compiled() -> None:
    """Reads every template, so that no first reader waits for it."""
    for name in _environment().list_templates():
        _environment().get_template(name)


@cache
def _environment() -> jinja2.Environment:
    made = environment(HERE / "templates")
    made.filters["moment"] = lambda at: at.strftime("%Y-%m-%d %H:%M UTC")
    made.filters |= {name: getattr(words, name) for name in ("plain", "signed", "count", "interval", "many", "percent")}
    made.filters |= {"metric": named, "verbatim": verbatim}
    made.globals["static"] = static_path
    return made
