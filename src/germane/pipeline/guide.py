"""`germane guide`: what the guide says, what changed in it, which golden pairs that touches, and what people changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from germane import scales, sources, store
from germane.golden import folder, votes
from germane.golden.drift import Drift
from germane.golden.drift import drift as drifted
from germane.golden.guides import GuideDiff, lines_of, rejudge, touched
from germane.golden.guides import diff as compared
from germane.types import InputError, Scale


class Guide(NamedTuple):
    """A version of a guide. grades: lines about each; examples: of them, lines of examples."""

    scale: str
    version: str
    labels: tuple[str, ...]
    grades: dict[str, int]
    examples: dict[str, int]
    guide: str
    notes: tuple[str, ...]


class Diff(NamedTuple):
    """What changed, and the scale whose grades it names."""

    scale: Scale
    found: GuideDiff


class Impact(NamedTuple):
    """What a change may touch. golden: pairs; touched: of them; drawn: to be judged again, of both kinds. terms: looked for."""

    out: str
    made: bool
    old: str
    new: str
    golden: int
    touched: int
    drawn: dict[str, int]
    grades: tuple[str, ...]
    terms: tuple[str, ...]
    notes: tuple[str, ...]


def scale_of(name: str | Path, scale: str | None = None) -> Scale:
    """A version of a scale: its name, its TOML file, or a guide in Markdown with the scale whose grades it explains.

    Raises: InputError for a Markdown file without a scale, and one that cannot be read or is empty.
    """
    if not str(name).endswith((".md", ".markdown")):
        return scales.get(name)
    if scale is None:
        raise InputError(f"{name} is a guide: say with --scale which grades it explains")
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"guide {name}: {problem}") from problem
    if not text.strip():
        raise InputError(f"guide {name} is empty: write what each grade means, with examples")
    return replace(scales.get(scale), guide=text)


def show(guide: str | Path, *, scale: str | None = None) -> Guide:
    """The guide of a scale with its version; a note for each grade of which it says nothing, or gives no example."""
    of = scale_of(guide, scale)
    lines = lines_of(of)
    grades = {label: sum(line.grade == i for line in lines) for i, label in enumerate(of.labels)}
    examples = {label: sum(line.grade == i and line.example for line in lines) for i, label in enumerate(of.labels)}
    silent = [label for label, count in grades.items() if not count]
    bare = [label for label, count in examples.items() if not count and grades[label]]
    notes = (
        [f"says nothing of {', '.join(silent)}: begin a heading or a list item with the grade's name in bold"] if silent else []
    )
    notes += [f"no example of {', '.join(bare)}: raters agree more on a guide that shows some"] if bare else []
    return Guide(of.name, of.version, of.labels, grades, examples, of.guide, tuple(notes))


def diff(old: str | Path, new: str | Path, *, scale: str | None = None, out: Path | None = None) -> Diff:
    """What changed between two versions; out: an HTML page of it."""
    before, after = scale_of(old, scale), scale_of(new, scale)
    found = Diff(after, compared(before, after))
    if out is not None:
        from germane.report import guide as page

        store.write_text(out, page.html(found.scale, found.found))
    return found


def impact(
    golden: Path,
    out: Path,
    *,
    old: str | Path,
    new: str | Path,
    scale: str | None = None,
    pairs: Path | None = None,
    n: int = 200,
    share: float = 0.8,
    seed: int,
) -> Impact:
    """The golden pairs to judge again after a change of the guide, as a pairs table with odds; see `golden.guides.rejudge`.

    golden: a sealed folder (dev and test: grades of the test are read, and counted), or people's judgments with `pairs`.
    Raises: InputError where nothing changed, and for a golden set without texts.
    """
    before, after = scale_of(old, scale), scale_of(new, scale)
    changes = compared(before, after)
    if not changes.changes and not changes.labels:
        raise InputError(f"both guides are version {before.version}: nothing changed, and nothing is to be judged again")
    files = _files(golden, pairs)
    work: dict[str, Any] = {"verb": "guide impact", "inputs": [path for each in files for path in each], "seed": seed}
    work["parameters"] = {"old": before, "new": after, "n": n, "share": share}
    if store.up_to_date(out, **work) and (manifest := store.read_manifest(out)):
        return Impact(str(out), False, **_tuples(manifest.extra["impact"]))
    import pyarrow as pa

    parts = [(sources.read_judgments(labels, scale=after), sources.read_pairs(texts)) for labels, texts in files]
    table = pa.concat_tables([t for _, t in parts], promote_options="default")
    rows = (zip(*(g[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True) for g, _ in parts)
    grade = {(q, d): relevance for part in rows for q, d, relevance in part}
    ids = list(zip(table["query_id"].to_pylist(), table["doc_id"].to_pylist(), strict=True))
    table = table.filter([pair in grade for pair in ids])
    if not table.num_rows:
        raise InputError(f"no pair of the texts has a grade in {golden}: are they of the same set?")
    kept = [pair for pair in ids if pair in grade]
    texts = [f"{q} {t}" for q, t in zip(table["query"].to_pylist(), table["text"].to_pylist(), strict=True)]
    hit = touched(changes, texts, [grade[pair] for pair in kept], after)
    drawn = rejudge(table, hit, n=n, share=share, seed=seed)
    counts = {name: drawn["stratum"].to_pylist().count(name) for name in ("touched", "untouched")}
    some = tuple(after.labels[g] for g in sorted(changes.grades()))
    notes = [] if counts["untouched"] else ["no untouched pair is judged again: what the words missed will not be seen"]
    facts = {"old": before.version, "new": after.version, "golden": table.num_rows, "touched": int((hit.score > 0).sum())}
    facts |= {"drawn": counts, "grades": some, "terms": hit.terms[:50], "notes": notes}
    store.write_table(drawn, out, "pairs", **work, extra={"impact": facts, "role": "golden"})
    return Impact(str(out), True, **_tuples(facts))


def _tuples(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}


def _files(golden: Path, pairs: Path | None) -> list[tuple[Path, Path]]:
    if not folder.is_sealed(golden):
        if pairs is None:
            raise InputError("guide impact reads the pairs' texts: give them with --pairs")
        return [(golden, pairs)]
    folder.verified(golden)
    found = [(golden / f"{part}.parquet", pairs or golden / f"{part}-pairs.parquet") for part in folder.PARTS]
    if missing := [texts for _, texts in found if not texts.is_file()]:
        raise InputError(f"{missing[0]} is not there: seal with --pairs, or give the texts with --pairs")
    return found


def drift(
    source: Path | Sequence[Path], *, scale: str, old: str, new: str, odds: Path | None = None, level: float = 0.95
) -> Drift:
    """What people's grades changed from one version of the guide to another; see `golden.drift.drift`.

    source: votes under both versions, in one file or several.

    old, new: versions, or what has one: a scale's TOML file, or a guide in Markdown.
    """
    of = scales.get(scale)
    versions = [_version(each, scale) for each in (old, new)]
    known = None
    if odds is not None:
        table = sources.read_pairs(odds)
        if "inclusion_probability" not in table.column_names:
            raise InputError(f"{odds} has no column 'inclusion_probability': give what germane guide impact wrote")
        ids = zip(*(table[c].to_pylist() for c in ("query_id", "doc_id", "inclusion_probability")), strict=True)
        known = {(str(q), str(d)): float(p) for q, d, p in ids if p is not None}
    return drifted(
        votes.read(source if isinstance(source, Path) else list(source), of),
        of,
        old=versions[0],
        new=versions[1],
        odds=known,
        level=level,
    )


def _version(name: str, scale: str) -> str:
    return scale_of(name, scale).version if name.endswith((".md", ".markdown", ".toml")) else name
