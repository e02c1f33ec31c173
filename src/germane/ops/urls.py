"""URLs of databases in messages: what they keep secret does not stand there."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

PLAIN = ("host", "port", "warehouse", "sslmode")
"""Parameters of a URL that are no secret."""

SHORT = 2
"""Characters of a secret that is not looked for: it stands in every text."""


def without_secrets(text: str, url: str) -> str:
    """A text in which no secret of a URL stands: login, password, parameters, and what a wrong URL took for the host.

    >>> without_secrets("no login for u:hunter22, hunter22", "postgresql://u:hunter22@h/d")
    'no login for ***, ***'
    >>> without_secrets("no host 'hunter22@h'", "postgresql://u:pa@hunter22@h/d")
    "no host '***@h'"
    """
    text = text.replace(url, "***")
    try:
        found = urlsplit(url)
        login = found.netloc.rpartition("@")[0]
        secrets = {login, found.password or "", *login.split("@"), *login.partition(":")[2].split("@")}
    except ValueError:  # no URL, so nothing of it is safe
        return "its URL cannot be read"
    secrets |= {value for key, value in parse_qsl(found.query) if key not in PLAIN}
    for secret in sorted(secrets | {unquote(each) for each in secrets}, key=len, reverse=True):
        text = text.replace(secret, "***") if len(secret) > SHORT else text
    return text


def place(url: str) -> str:
    """Where a database lies: its URL without a password and without parameters.

    >>> place("postgresql://ana:secret@db.example/shop?password=x"), place("registry.sqlite")
    ('postgresql://ana@db.example/shop', 'registry.sqlite')
    """
    scheme, mark, rest = url.partition("://")
    login, at, host = rest.partition("?")[0].rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{at}{host}" if mark else url
