"""`germane bridge`: a new judge takes over from an old one; what changes, and would past decisions have been others?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import cards, experiment, scales, sources, store
from germane.experiment import bridging
from germane.experiment.bridging import PastDecision
from germane.experiment.results import Results, per_query
from germane.report.render import markdown_text
from germane.report.visible import visible
from germane.types import Estimate, InputError, JudgeCard, Refusal, Run, Scale

if TYPE_CHECKING:
    import pyarrow as pa

OVERLAP = "overlap"
"""The override of a bridge whose judges graded different pairs."""

Card = JudgeCard | str | Path | None


class Past(NamedTuple):
    """A past experiment: its two runs, and the design of its queries if it had one."""

    control: Any
    treatment: Any
    design: Any = None


@dataclass(frozen=True)
class Bridge:
    """What a change of judge does. table: grades of both on the same pairs. past: experiments under both judges."""

    old: str
    new: str
    scale: str
    metric: str
    answer: str
    table: bridging.Table
    past: tuple[PastDecision, ...]
    overrides: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def turned(self) -> tuple[str, ...]:
        """Names of the past experiments whose verdict is another one under the new judge."""
        return tuple(decision.name for decision in self.past if decision.turned)

    def to_json(self) -> str:
        """The whole bridge, with `overlap` and `turned` beside what they follow from."""
        held = asdict(self) | {"turned": self.turned, "overlap": self.table.overlap}
        return json.dumps(held, indent=2, ensure_ascii=False, allow_nan=False)

    def lines(self) -> str:
        """The bridge as text for a terminal or a pipe."""
        parts = [[visible(self.answer)]]
        for rows in (_crossed(self), _shifts(self), _agreement(self), _past(self)):
            if len(rows) > 1:
                parts.append(_columns(rows))
        parts.append([f"! overridden: {visible(text)}" for text in self.overrides])
        parts.append([f"! {visible(text)}" for text in self.notes])
        return "\n".join(line for part in parts for line in part)

    def markdown(self) -> str:
        """The bridge as GitHub-flavoured Markdown."""
        head = f"# From judge {markdown_text(self.old)} to {markdown_text(self.new)}\n\n{markdown_text(self.answer)}\n"
        tables = [_piped(rows) for rows in (_crossed(self), _shifts(self), _agreement(self), _past(self)) if len(rows) > 1]
        said = [f"- overridden: {markdown_text(text)}" for text in self.overrides]
        said += [f"- {markdown_text(text)}" for text in self.notes]
        return "\n".join([head, *tables, *said]).rstrip() + "\n"


def bridge(
    old: Any,
    new: Any,
    *,
    scale: Scale | str | Path,
    past: Mapping[str, Sequence[Any]] | None = None,
    metric: str = "sDCG@25",
    old_card: Card = None,
    new_card: Card = None,
    allow: Sequence[str] = (),
    level: float = 0.95,
    out: str | Path | None = None,
) -> Bridge:
    """How a new judge's grades map onto an old one's on the same pairs, and what past experiments would have said.

    old, new: judgments of one judge each, as files, Arrow tables, data frames or dicts. past: name -> (control, treatment)
    or (control, treatment, design) of experiments that were decided by the old judge. old_card, new_card: from `check`;
    machine judges need them, as in `compare`. allow: refusals to insist past: those of `compare`, and "overlap". out: a
    folder for bridge.md and bridge.json.

    Raises: Refusal where the judges graded different pairs, and as `compare` does; InputError for one judge in both roles.
    """
    of = scale if isinstance(scale, Scale) else scales.get(scale)
    known = {*experiment.ALLOW, OVERLAP}
    if unknown := sorted(set(allow) - known):
        raise InputError(
            f"--allow {unknown[0]}: there is no such override; known are {', '.join([*experiment.ALLOW, OVERLAP])}"
        )
    rest = tuple(name for name in allow if name != OVERLAP)
    tables = [sources.read_judgments(given, scale=of) for given in (old, new)]
    held = [cards.read(card) if isinstance(card, str | Path) else card for card in (old_card, new_card)]
    overrides: list[str] = []
    for role, table, card in zip(("old", "new"), tables, held, strict=True):
        admitted = _named(role, lambda t=table, c=card: cards.gate(t, c, scale=of, allow=set(rest) & set(cards.ALLOW)))
        overrides += [f"{role} judge: {text}" for text in admitted]
    names = _judges(tables)
    found = bridging.table(*tables, scale=of, level=level)
    overrides += _overlapping(found, names, allow)
    choices = experiment.Choices(metric, level, allow=rest)
    decided, said = [], []
    for name, files in (past or {}).items():
        both = list(_under_both(name, Past(*files), tables, held, of, choices))
        decided.append(bridging.decision(name, *both, level=level, minimum_nonzero=choices.minimum_nonzero))
        said += _said(name, both[0], both[1])
    notes = [*_notes(tables, found), *(f"{d.name}: {text}" for d in decided for text in d.notes), *dict.fromkeys(said)]
    answer = _answer(names, found, decided)
    made = Bridge(*names, of.name, metric, answer, found, tuple(decided), tuple(overrides), tuple(notes))
    if out is not None:
        store.write_text(Path(out) / "bridge.md", made.markdown())
        store.write_text(Path(out) / "bridge.json", made.to_json() + "\n")
    return made


def _named(role: str, read: Any) -> Any:
    """What `read` gives; where it refuses, the refusal says which judge or experiment it is about."""
    try:
        return read()
    except Refusal as refusal:
        message = str(refusal).partition(" To insist, pass ")[0]
        raise Refusal(f"{role}: {message}", refusal.override) from None
    except InputError as problem:
        raise InputError(f"{role}: {problem}") from None


def _under_both(
    name: str, files: Past, tables: list[pa.Table], held: list[JudgeCard | None], scale: Scale, choices: experiment.Choices
) -> Iterator[Results]:
    """The experiment's results under the old judge, then under the new one."""
    runs: list[Run] = [sources.read_run(run) for run in (files.control, files.treatment)]
    design = None if files.design is None else sources.read_design(files.design)
    for role, table, card in zip(("old", "new"), tables, held, strict=True):
        yield _named(
            f"{name}, {role} judge",
            lambda t=table, c=card: per_query(runs[0], runs[1], t, scale=scale, choices=choices, design=design, card=c),
        )


def _said(name: str, old: Results, new: Results) -> list[str]:
    """What is to be known of a past experiment, once where it holds under both judges; cards were named before."""
    by_role = [
        [text for text in (*of.overrides, *of.warnings) if text.removeprefix("--allow ").partition(":")[0] not in cards.ALLOW]
        for of in (old, new)
    ]
    shared = [text for text in by_role[0] if text in by_role[1]]
    lines = [f"{name}: {text}" for text in shared]
    for role, texts in zip(("old", "new"), by_role, strict=True):
        lines += [f"{name}, {role} judge: {text}" for text in texts if text not in shared]
    return lines


def _judges(tables: list[pa.Table]) -> tuple[str, str]:
    """Names of both judges. Raises: InputError where they are one and the same."""
    made_by = [
        sorted({(row["judge"], row["fingerprint"]) for row in _distinct(table, "judge", "fingerprint")}) for table in tables
    ]
    if made_by[0] == made_by[1]:
        judge, fingerprint = made_by[0][0]
        shown = f"{judge!r} ({fingerprint[:16]})" if fingerprint else repr(judge)
        raise InputError(
            f"both files hold the judgments of {shown}: a bridge is between two judges; if the files do not say who judged, "
            "give them a judge column"
        )
    names = [", ".join(judge for judge, _ in made) for made in made_by]
    if names[0] == names[1]:
        names = [f"{name} ({made[0][1][:12] or 'no fingerprint'})" for name, made in zip(names, made_by, strict=True)]
    return names[0], names[1]


def _distinct(table: pa.Table, *columns: str) -> list[dict[str, Any]]:
    return table.group_by(list(columns)).aggregate([]).to_pylist()


def _overlapping(found: bridging.Table, names: tuple[str, str], allow: Sequence[str]) -> list[str]:
    """Overrides needed because the judges graded different pairs. Raises: Refusal `--allow overlap`."""
    if found.overlap >= bridging.MINIMUM_SHARE:
        return []
    said = (
        f"{names[0]} and {names[1]} both graded {found.pairs:,} pairs, {found.overlap:.0%} of those that either graded "
        f"({found.only_old:,} only the old one, {found.only_new:,} only the new one)."
    )
    if OVERLAP not in allow:
        raise Refusal(
            f"{said} Pairs that one judge left out are seldom like the others: have both judge the same ones.",
            f"--allow {OVERLAP}",
        )
    return [f"--allow {OVERLAP}: {said}"]


def _notes(tables: list[pa.Table], found: bridging.Table) -> list[str]:
    guides = [
        sorted({str(row["guide_version"]) for row in _distinct(table, "guide_version") if row["guide_version"]})
        for table in tables
    ]
    said = []
    if guides[0] and guides[1] and guides[0] != guides[1]:
        said.append(f"the judges were shown different guides ({guides[0][0]} and {guides[1][0]}): the change is of both")
    for role, table, alone in (("old", tables[1], found.only_old), ("new", tables[0], found.only_new)):
        if alone:
            other = "new" if role == "old" else "old"
            silent = table["relevance"].null_count
            also = f", who gave no grade to {silent:,} pairs" if silent else ""
            said.append(f"{alone:,} pairs were graded by the {role} judge and not by the {other} one{also}; they are left out")
    return said


def _answer(names: tuple[str, str], found: bridging.Table, past: Sequence[PastDecision]) -> str:
    """What the bridge says, in two or three sentences."""
    exact, shift = found.agreement["exact"], found.shift
    said = f"{names[1]} gives the same grade as {names[0]} to {exact.value:.1%} of {found.pairs:,} pairs "
    said += f"({100 * exact.level:g}% interval {exact.low:.1%} to {exact.high:.1%}); "
    way = "higher" if shift.value > 0 else "lower"
    said += f"its gains are {way} by {abs(shift.value):.4f} on average ({shift.low:+.4f} to {shift.high:+.4f})."
    if not past:
        return f"{said} No past experiments were given, so nothing is known of decisions."
    turned = [decision for decision in past if decision.turned]
    if not turned:
        which = "The past decision stands" if len(past) == 1 else f"All {len(past)} past decisions stand"
        return f"{said} {which}."
    named = "; ".join(f"{d.name} from {d.old_verdict!r} to {d.new_verdict!r}" for d in turned[:5])
    return f"{said} {len(turned)} of {len(past)} past {'decision turns' if len(past) == 1 else 'decisions turn'}: {named}."


def _crossed(found: Bridge) -> list[list[str]]:
    labels = list(found.table.labels)
    rows = [[label, *(f"{n:,}" for n in counts)] for label, counts in zip(labels, found.table.counts, strict=True)]
    return [["old \\ new", *labels], *rows]


def _shifts(found: Bridge) -> list[list[str]]:
    rows = [["old grade", "pairs", "changed", "mean gain shift", "interval"]]
    for row in found.table.by_grade:
        rows.append([row.grade, f"{row.pairs:,}", f"{row.changed:.1%}", *_numbers(row.shift)])
    changed = sum(row.changed * row.pairs for row in found.table.by_grade) / found.table.pairs
    return [*rows, ["all", f"{found.table.pairs:,}", f"{changed:.1%}", *_numbers(found.table.shift)]]


def _agreement(found: Bridge) -> list[list[str]]:
    rows = [["agreement", "value", "interval"]]
    return rows + [[name, f"{e.value:.3f}", f"{e.low:.3f} to {e.high:.3f}"] for name, e in found.table.agreement.items()]


def _past(found: Bridge) -> list[list[str]]:
    rows = [["past experiment", "old delta", "interval", "new delta", "interval", "change", "interval", "verdict"]]
    for d in found.past:
        verdict = f"{d.old_verdict} -> {d.new_verdict}" if d.turned else f"{d.old_verdict}, as before"
        if d.turned and not d.clear:
            verdict += " (the change itself is not clear of 0)"
        rows.append([d.name, *_numbers(d.old), *_numbers(d.new), *_numbers(d.change), verdict])
    return rows


def _numbers(e: Estimate | None) -> tuple[str, str]:
    """A difference and its interval; pairs of one query, and values that are all the same, have none."""
    if e is None:
        return "(one query)", ""
    return f"{e.value:+.4f}", f"{e.low:+.4f} to {e.high:+.4f}" if e.se > 0 else "(nothing varied)"


def _columns(rows: list[list[str]]) -> list[str]:
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _piped(rows: list[list[str]]) -> str:
    cells = [[str(markdown_text(cell)) for cell in row] for row in rows]
    lines = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"
