"""A pair as people are shown it: the item as a buyer sees it, and nothing in it that runs, hides, reorders or never ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from germane.registry.telling import Shown
from germane.report.visible import visible
from germane.types import InputError, Scale

TITLES = ("title", "name", "product_name")
LONG = ("description", "text", "bullet_points", "body", "content", "passage")
QUERY, TITLE, VALUE, PROSE, PAGE = 1000, 300, 400, 600, 20_000  # characters at once
KINDS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF87a": "image/gif", b"GIF89a": "image/gif"}
LARGEST = 20_000_000  # bytes of an image
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")
_BREAKS = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


class Text(NamedTuple):
    """A text that may be long. start: what is shown at once; more: what a click unfolds; rest: characters after that, on a
    page of their own."""

    name: str
    start: str
    more: str = ""
    rest: int = 0


class Image(NamedTuple):
    """An image: src is its address, "" where none is shown and `said` tells what the data has instead. origin: for the CSP."""

    src: str
    origin: str = ""
    said: str = ""


class Item(NamedTuple):
    """What the page shows of a pair."""

    query: str
    context: str
    title: str
    attributes: tuple[Text, ...]
    prose: tuple[Text, ...]
    image: Image | None
    search: str


class Grade(NamedTuple):
    """A grade as a button: its number on the scale, what it says and its key."""

    number: int
    label: str
    key: str


def item(pair: Shown, *, images: Path | None, search_url: str) -> Item:
    """What is shown of a pair."""
    names = [name for name, _ in pair.fields]
    title_name = next((name for name in TITLES if name in names), None)
    title = next((value for name, value in pair.fields if name == title_name), "") or pair.doc_id
    rest = [(name, value) for name, value in pair.fields if name != title_name and value.strip()]
    if len(title) > TITLE:
        rest.insert(0, (title_name or "id", title))
    prose = [(name, value) for name, value in rest if name in LONG or len(value) > VALUE or "\n" in value.strip()]
    plain = [(name, value) for name, value in rest if (name, value) not in prose]
    return Item(
        query=visible(pair.query, QUERY),
        context=visible(pair.context, QUERY),
        title=visible(title, TITLE),
        attributes=tuple(Text(label(name), visible(value, VALUE)) for name, value in plain),
        prose=tuple(folded(name, value) for name, value in prose),
        image=image_of(pair, images),
        search=search_link(search_url, pair.query),
    )


def folded(name: str, value: str) -> Text:
    """The first lines of a text, what a click unfolds, and how much is left for a page of its own."""
    start = seen(value[:PROSE])
    more = seen(value[PROSE:PAGE])
    return Text(label(name), start, more, max(len(value) - PAGE, 0))


def seen(text: str) -> str:
    """A text with its line breaks, whose hidden characters are written out."""
    lines = _BREAKS.sub("\n", text).split("\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(visible(line, len(line) + 1) for line in lines))


def label(name: str) -> str:
    """A field's name in words."""
    return visible(name.replace("_", " "), 60)


def image_of(pair: Shown, images: Path | None) -> Image | None:
    """The pair's image: an http(s) address, or a file of the folder; anything else is text."""
    named = pair.image.strip()
    if not named:
        return None
    if remote := remote_origin(named):
        return Image(named, remote)
    if images is not None and image_file(named, images) is not None:
        return Image(f"/image/{pair.id}")
    return Image("", said=visible(named, 200))


def remote_origin(address: str) -> str:
    """The origin of an http(s) address, as https://host:port; "" for every other."""
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or parts.username or not _HOST.fullmatch(host) or len(address) > 2000:
        return ""
    return "" if re.search(r"[\s\"'<>;,\\\x00-\x1f]", address) else f"{parts.scheme}://{host}{port}"


def image_file(named: str, folder: Path) -> tuple[Path, str] | None:
    """A file of the folder with its media type; None for what is outside of it, not there, too large, or no image."""
    try:
        path = (folder / named).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file() or path.stat().st_size > LARGEST:
            return None
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, ValueError):
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return path, "image/webp"
    kind = next((kind for magic, kind in KINDS.items() if head.startswith(magic)), None)
    return (path, kind) if kind else None


def search_template(template: str) -> str:
    """The template of links to search. Raises: InputError for one that is no http(s) address with {query} in it."""
    if not template:
        return ""
    host = template.split("{query}")[0]
    if "{query}" not in template or not remote_origin(template.replace("{query}", "q")) or not remote_origin(host):
        raise InputError(f"--search-url {template}: expected an http or https address with {{query}} after its host")
    return template


def search_link(template: str, query: str) -> str:
    """The address that searches for a query; "" without a template."""
    return template.replace("{query}", quote(query[:QUERY].encode(errors="replace"), safe="")) if template else ""


def grades(scale: Scale) -> tuple[Grade, ...]:
    """The scale's grades, worst first, each with a key: its letter, the digit that it goes by, or its number from 1.

    >>> from germane.scales import get
    >>> "".join(grade.key for grade in grades(get("esci"))), "".join(grade.key for grade in grades(get("trec")))
    ('icse', '0123')
    >>> [grade.label for grade in grades(get("esci"))]
    ['irrelevant', 'complement', 'substitute', 'exact']
    """
    letters = [name.casefold() for name in scale.labels]
    digits = [_digit(scale, index) for index in range(len(letters))]
    if all(len(letter) == 1 and letter not in "unxgk?" for letter in letters) and len(set(letters)) == len(letters):
        keys = letters
    elif all(digits) and len(set(digits)) == len(digits):
        keys = digits
    else:
        keys = [str(index + 1) if index < 9 else "" for index in range(len(letters))]
    return tuple(Grade(i, _said(scale, i), key) for i, key in enumerate(keys))


def _said(scale: Scale, index: int) -> str:
    """The label, or its longest other name where it is a single letter, which says nothing by itself."""
    label = scale.labels[index]
    words = [alias for alias, at in scale.aliases.items() if at == index and len(alias) > 1 and alias.isalpha()]
    return label if len(label) > 1 else max(words, key=len, default=label)


def _digit(scale: Scale, index: int) -> str:
    names: Sequence[str] = [scale.labels[index], *(alias for alias, at in scale.aliases.items() if at == index)]
    return next((name for name in names if len(name) == 1 and name.isdecimal()), "")
