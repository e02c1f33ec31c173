"""Numbers to the words of a report: sensible digits, real minus signs, nothing that pretends to be a number."""

from __future__ import annotations

import math

from germane.types import Estimate

MINUS = "\N{MINUS SIGN}"


def digits(se: float, *, least: int = 3, most: int = 6) -> int:
    """Decimal places that keep two significant digits of a standard error.

    >>> digits(0.0036), digits(0.02), digits(0.0)
    (4, 3, 4)
    """
    if not se > 0 or not math.isfinite(se):
        return 4
    return min(most, max(least, 1 - math.floor(math.log10(se))))


def plain(x: float, places: int = 3) -> str:
    """A number with a real minus sign and no sign on zero.

    >>> plain(-0.1234), plain(-0.00001)
    ('−0.123', '0.000')
    """
    if 0 < x < 999:  # nearly always, and pages write thousands
        return f"{x:.{places}f}"
    text = f"{abs(x):,.{places}f}"
    return MINUS + text if x < 0 and float(text.replace(",", "")) else text


def signed(x: float, places: int = 4) -> str:
    """A difference: always with its sign, unless it rounds to zero.

    >>> signed(0.01234), signed(-0.5, 2), signed(0.00001)
    ('+0.0123', '−0.50', '0.0000')
    """
    text = plain(x, places)
    return "+" + text if x > 0 and float(text.replace(",", "")) else text


def percent(share: float, *, sign: bool = False) -> str:
    """A share (0 to 1) as a percentage with the digits that its size deserves.

    >>> percent(0.2345), percent(0.0342), percent(0.0002), percent(0.021, sign=True), percent(-0.4, sign=True)
    ('23.4%', '3.4%', '0.02%', '+2.1%', '−40.0%')
    """
    places = 1 if abs(share) >= 0.001 or share == 0 else 2
    if share in (0, 1):
        places = 0
    return (signed if sign else plain)(100 * share, places) + "%"


def points(share: float, places: int = 1) -> str:
    """A difference of shares in percentage points, with its sign.

    >>> points(-0.018), points(0.00012, 2)
    ('−1.8', '+0.01')
    """
    return signed(100 * share, places)


def count(n: int) -> str:
    """A whole number, grouped in thousands.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{n:,}".replace("-", MINUS)


def chance(p: float) -> str:
    """A p or q value; never a bare 0.

    >>> chance(0.00002), chance(0.0312), chance(0.4)
    ('under 0.001', '0.031', '0.40')
    """
    if p < 0.001:
        return "under 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def interval(e: Estimate, places: int | None = None, *, sign: bool = True) -> str:
    """The ends of an interval in words.

    >>> interval(Estimate(0.012, 0.0036, 0.005, 0.0191, 400, "", 0.95))
    '+0.0050 to +0.0191'
    """
    places = digits(e.se) if places is None else places
    write = signed if sign else plain
    return f"{write(e.low, places)} to {write(e.high, places)}"


def level(e: Estimate) -> str:
    """The name of an interval's level: "95% interval".

    >>> level(Estimate(0.0, 0.0, 0.0, 0.0, 1, "", 0.9))
    '90% interval'
    """
    return f"{100 * e.level:.4g}% interval"


def many(n: int, one: str, more: str | None = None) -> str:
    """A count with its noun.

    >>> many(1, "query", "queries"), many(1200, "query", "queries")
    ('1 query', '1,200 queries')
    """
    return f"{count(n)} {one if n == 1 else more or one + 's'}"
