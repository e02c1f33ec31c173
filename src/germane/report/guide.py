"""What changed in a guide, and what people changed with it, prepared for reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from germane.report import words
from germane.report.probing import Grid
from germane.report.visible import visible
from germane.types import Scale

if TYPE_CHECKING:
    from germane.golden.drift import Drift
    from germane.golden.guides import Change, GuideDiff


def text(scale: Scale, found: GuideDiff) -> str:
    """The changes for a terminal, section by section: - what went, + what came."""
    lines = [answer(found)]
    for change in found.changes:
        lines += ["", f"@@ {_where(scale, change)}", *(f"- {visible(t)}" for t in change.removed)]
        lines += [f"+ {visible(t)}" for t in change.added]
    return "\n".join(lines)


def html(scale: Scale, found: GuideDiff) -> str:
    """The changes as a self-contained HTML page."""
    from germane.report import render

    rows = [
        (_where(scale, change), sign, visible(line))
        for change in found.changes
        for sign, lines in (("went", change.removed), ("came", change.added))
        for line in lines
    ]
    return render.html_page(
        "grids.html.j2",
        title="A change of the guide",
        what="Guide",
        question=f"What changed in the guide of scale {scale.name}?",
        answer=answer(found),
        notes=(),
        grids=(Grid("Line by line", "In the order of the guide.", ("where", "", "line"), tuple(rows)),),
        facts=(("From version", found.old), ("To version", found.new)),
        foot="Judgments under two versions answer two questions: germane guide impact says which to ask again.",
    )


def answer(found: GuideDiff) -> str:
    """The change in one sentence."""
    if not found.changes and not found.labels:
        return f"Nothing changed: both are version {found.old}."
    went, came = (
        sum(len(side) for side in sides) for sides in zip(*((c.removed, c.added) for c in found.changes), strict=True)
    )
    more = "; the grades' names changed" if found.labels else ""
    return f"From version {found.old} to {found.new}: {words.many(went, 'line')} went, {words.many(came, 'line')} came{more}."


def drift_text(scale: Scale, found: Drift) -> str:
    """What people changed, for a terminal."""
    lines = [f"{words.many(found.pairs, 'pair')} under both versions, {found.how}:"]
    for name, e in found.found.items():
        write = words.signed if name in ("shift", "more than noise") else words.plain
        lines.append(f"  {name}: {write(e.value, 3)} ({write(e.low, 3)} to {write(e.high, 3)}), n = {words.count(e.n)}")
    moved = [
        f"  {scale.labels[i]} to {scale.labels[j]}: {words.count(n)}"
        for i, row in enumerate(found.moves)
        for j, n in enumerate(row)
        if n and i != j
    ]
    return "\n".join([*lines, *(["moved:", *moved] if moved else []), *(f"note: {visible(note)}" for note in found.notes)])


def _where(scale: Scale, change: Change) -> str:
    grade = "all grades" if change.grade is None else scale.labels[change.grade]
    kind = ", examples" if change.example else ""
    return visible(f"{change.section + ': ' if change.section else ''}{grade}{kind}")
