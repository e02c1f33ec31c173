"""A generated history of a watched search, of any length: made up, and written as the daily job would have written it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa

from germane.registry import tables
from germane.registry.database import Registry

FIRST = date(2026, 3, 2)
HOSTILE = "<script>alert(1)</script> \u202e' OR 1=1 --"


def names(segments: int, metrics: int) -> tuple[list[str], list[str]]:
    """Segments, the whole first, and metrics, sDCG and the share relevant first."""
    parts = ["all", *(f"language=l{i}" for i in range(1, segments))]
    return parts, ["sdcg@25", "relevant@25", *(f"grade@25:g{i}" for i in range(2, metrics))][:metrics]


def level(number: int, segment: int, metric: int) -> float:
    """The level of a day: smooth, by weekday, and a drop after two thirds of a hundred days."""
    return 0.6 - 0.01 * metric + 0.002 * segment + 0.01 * math.sin(number / 7 * 2 * math.pi) - 0.02 * (number % 100 > 66)


def write(
    registry: Registry,
    count: int = 40,
    *,
    segments: int = 4,
    metrics: int = 3,
    gaps: tuple[int, ...] = (),
    missing: tuple[int, ...] = (),
    judged_anew: tuple[int, ...] = (),
    alerts: tuple[int, ...] = (),
    facts: Mapping[int, dict[str, Any]] | None = None,
) -> list[str]:
    """The dates of a history of so many days. gaps, missing, judged_anew, alerts: numbers of days, from 0; facts: of some."""
    parts, measured = names(segments, metrics)
    dates = [str(FIRST + timedelta(number)) for number in range(count)]
    there = [number for number in range(count) if number not in missing]
    for chunk in _chunks(iter(there), 50):
        rows: dict[Any, list[dict[str, Any]]] = {tables.days: [], tables.levels: [], tables.changes: [], tables.lines: []}
        for number in chunk:
            gap = number in gaps
            day = _day(number, dates[number], gap=gap, anew=sum(j <= number for j in judged_anew))
            rows[tables.days].append(day | {"facts": day["facts"] | (facts or {}).get(number, {})})
            if gap:
                continue
            for m, metric in enumerate(measured):
                for s, segment in enumerate(parts):
                    named = {"day_id": number + 1, "metric": metric, "segment": segment}
                    value, n = level(number, s, m), 2000 // (1 + s)
                    se = 0.3 / math.sqrt(n)
                    ends = {"low": value - 1.96 * se, "high": value + 1.96 * se, "method": "ratio", "level": 0.95}
                    rows[tables.levels].append({**named, "value": value, "se": se, "n": n, **ends})
                    if number:
                        moved = value - level(number - 1, s, m)
                        for part, of in (("same queries", moved), ("mix of queries", 0.0)):
                            change = {**named, "before": dates[number - 1], "part": part, "value": of}
                            rows[tables.changes].append({**change, "se": se / 3, "n": n // 2})
            if number in judged_anew:
                rows[tables.lines].append({"day_id": number + 1, "kind": "judge", "was": "judge one", "now": HOSTILE})
        with registry.writing() as connection:
            for table, found in rows.items():
                if found:
                    connection.execute(sa.insert(table), found)
    with registry.writing() as connection:
        for number in alerts:
            connection.execute(sa.insert(tables.alerts), _alert(number, dates[number]))
    return dates


def write_day(registry: Registry, number: int) -> None:
    """One day more, with levels of sDCG alone, in one transaction as the job writes it."""
    date = str(FIRST + timedelta(number))
    with registry.writing() as connection:
        connection.execute(sa.insert(tables.days), _day(number, date, gap=False, anew=0))
        ends = {"value": 0.5, "se": 0.01, "low": 0.48, "high": 0.52, "n": 2000, "method": "ratio", "level": 0.95}
        connection.execute(sa.insert(tables.levels), {"day_id": number + 1, "metric": "sdcg@25", "segment": "all", **ends})


def _chunks(numbers: Iterator[int], size: int) -> Iterator[list[int]]:
    while chunk := list(islice(numbers, size)):
        yield chunk


def _day(number: int, date: str, *, gap: bool, anew: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"why": "there was no traffic"} if gap else {"labels": {"pairs": 50_000, "known": 49_000}}
    if not gap:
        facts["labels"] |= {"coverage": 1.0, "cost": ""}
        stratum = {"name": "head", "queries": 90, "requests": 900, "drawn": 9, "drawn_panel": 4, "panel": 0.05, "fresh": 0.05}
        facts["strata"] = [stratum] * 30
    return {
        "id": number + 1,
        "date": date,
        "state": "gap" if gap else "done",
        "zone": "UTC",
        "requests": 0 if gap else 100_000 + number,
        "queries": 0 if gap else 40_000,
        "sampled": 0 if gap else 2000,
        "panel": 0 if gap else 1000,
        "judge": "judge one" if not anew else f"judge {anew + 1}",
        "fingerprint": f"f{anew}",
        "guide_version": "1",
        "scale": "five-level",
        "report": f"watch/{date}/report.html",
        "facts": facts,
        "at": datetime(2026, 3, 2, 5, tzinfo=UTC) + timedelta(number),
    }


def _alert(number: int, date: str) -> dict[str, Any]:
    def part(value: float) -> dict[str, Any]:
        return {"value": value, "se": 0.002, "low": value - 0.004, "high": value + 0.004, "n": 800, "level": 0.95}

    example = {"query": HOSTILE, "part": -0.001, "before": ["d1", "<b>d2</b>"], "after": ["d3"]}
    split: dict[str, Any] = {"search": part(-0.018), "traffic": part(-0.001), "catalogue": part(-0.001), "judge": part(0.0)}
    split |= {"total": part(-0.02), "cause": "search", "notes": ["made up"], "examples": [example] * 5}
    detail = {"size": part(-0.02), "carried_by": ["language=l1"], "split": split}
    named = {"metric": "sdcg@25", "segment": "all", "part": "same queries", "direction": "down"}
    return {"day_id": number + 1, "date": date, "since": str(FIRST + timedelta(max(number - 2, 0))), **named, "detail": detail}
