"""Text that came from outside, made safe to look at: nothing hidden, nothing that reorders its neighbours, nothing endless."""

from __future__ import annotations

import re

LIMIT = 2000
TITLE = 160
# C0 and C1 controls, soft hyphen, bidirectional and other invisible format characters, surrogates, private use, tags.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
_SPACE = re.compile(r"[\t\n\r\u2028\u2029 ]+")


def visible(text: str, limit: int = LIMIT) -> str:
    """One line of text: white space collapsed, hidden characters written as [U+202E], the rest cut off and its length said.

    >>> visible("blue\\u202e eulb\\n  shoe")
    'blue[U+202E] eulb shoe'
    >>> visible("x" * 1000, 10)
    'xxxxxxxxxx… (1,000 characters)'
    """
    cut = text[: limit + 1] if len(text) > limit else text
    shown = _HIDDEN.sub(lambda m: f"[U+{ord(m[0]):04X}]", _SPACE.sub(" ", cut).strip())
    if len(text) > limit:
        return f"{shown[:limit].rstrip()}… ({len(text):,} characters)"
    return shown


def verbatim(text: str, limit: int = 20_000) -> str:
    """A text with its lines and spaces as they are; hidden characters are written out, and what is too long is cut off.

    >>> verbatim("title: blue\\u202e eulb\\n  shoe").splitlines()
    ['title: blue[U+202E] eulb', '  shoe']
    """
    shown = _HIDDEN.sub(lambda m: f"[U+{ord(m[0]):04X}]", text[:limit])
    return f"{shown}\n… ({len(text):,} characters)" if len(text) > limit else shown
