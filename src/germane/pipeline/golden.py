"""`germane golden`: how good are people's votes, freeze them, look for leaks, and hand the set to other tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import scales, sources, store
from germane.golden import exporting, folder, votes
from germane.golden import leaks as leaking
from germane.golden import quality as measuring
from germane.golden.results import Quality
from germane.golden.rules import rule_of
from germane.golden.seal import freeze
from germane.judges.folder import trained_on
from germane.store import sealed
from germane.types import InputError, Scale

if TYPE_CHECKING:
    import pyarrow as pa


class Sealed(NamedTuple):
    """What was sealed. made: False if the same work was done before. queries, pairs: of dev and test. left_out: by reason."""

    out: str
    made: bool
    hash: str
    scale: str
    guide_version: str
    rule: str
    queries: dict[str, int]
    pairs: dict[str, int]
    settled: dict[str, int]
    left_out: dict[str, int]
    notes: tuple[str, ...]


class Leaks(NamedTuple):
    """What other files share with a golden set. checked: golden pairs; found: the leaks, none if it is apart."""

    golden: str
    checked: int
    against: tuple[str, ...]
    found: tuple[leaking.Leak, ...]


class Status(NamedTuple):
    """What a sealed folder is: verified, and how often its test was read."""

    golden: str
    hash: str
    scale: str
    guide_version: str
    queries: dict[str, int]
    pairs: dict[str, int]
    test_reads: int
    readers: dict[str, int]


def quality(
    source: Path,
    *,
    scale: str,
    raters: Sequence[str] = (),
    pairs: Path | None = None,
    controls: Path | None = None,
    out: Path | None = None,
    **options: Any,
) -> Quality:
    """The quality of votes; see `golden.quality.quality`. out: a folder for quality.html, quality.md and quality.json.

    Raises: InputError for files that cannot be read.
    """
    of = scales.get(scale)
    known = votes.known_controls(source)
    if controls is not None:
        said = sources.read_judgments(controls, scale=of)
        rows = zip(*(said[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True)
        known = {(str(q), str(d)): int(grade) for q, d, grade in rows if grade is not None}
    weighed = None if pairs is None else sources.read_pairs(pairs)
    found = measuring.quality(votes.read(source, of, raters), of, pairs=weighed, controls=known, **options)
    if out is not None:
        from germane.report import golden as page

        texts = {"html": page.page(found), "md": page.markdown(found), "json": found.to_json() + "\n"}
        for kind, text in texts.items():
            store.write_text(out / f"quality.{kind}", text)
        given = [path for path in (source, pairs, controls) if path is not None]
        asked = {"scale": of, "raters": list(raters), **options}
        store.write_manifest(out / "quality.json", verb="golden quality", inputs=given, parameters=asked)
    return found


def seal(
    source: Path,
    out: Path,
    *,
    scale: str,
    raters: Sequence[str] = (),
    pairs: Path | None = None,
    docs: Path | None = None,
    queries: Path | None = None,
    rule: str | None = None,
    raters_per_pair: int | None = None,
    test: float = 0.5,
    seed: int,
    leave_out: bool = False,
) -> Sealed:
    """A sealed folder of votes or judgments by people; see `golden.seal.freeze`. The same work again does nothing.

    docs, queries: the texts of pairs that have none. rule, raters_per_pair: by default what the task of the votes asked for
    (any disagreement to be adjudicated is the rule "unanimous"), else a majority of two. Parameters: options of the command.

    Raises: InputError for mixed scales or guides, a folder that is there, and votes on pairs with odds where `pairs`, which
    has them, is not given; Refusal `--leave-out` for unsettled pairs.
    """
    of = scales.get(scale)
    task = votes.asked_of(source)
    rule = rule or rule_of(str(task.get("adjudicate", "majority")))
    raters_per_pair = raters_per_pair or int(task.get("raters", 2))
    if pairs is None and (docs or queries):
        raise InputError("--docs and --queries hold the texts of pairs: give these with --pairs")
    asked = {
        "scale": of,
        "rule": rule,
        "raters": raters_per_pair,
        "test": test,
        "leave_out": leave_out,
        "columns": list(raters),
    }
    given = [path for path in (source, pairs, docs, queries) if path is not None]
    work: dict[str, Any] = {"verb": "golden seal", "inputs": given, "parameters": asked, "seed": seed}
    if folder.is_sealed(out) and store.up_to_date(out / "dev.parquet", **work):
        return _sealed(out, False, folder.verified(out))
    texts = None if pairs is None else _with_texts(pairs, docs, queries)
    _has_odds(source, task, texts)
    frozen = freeze(
        votes.read(source, of, raters),
        of,
        pairs=texts,
        rule=rule,
        raters=raters_per_pair,
        test=test,
        seed=seed,
        leave_out=leave_out,
    )
    version = frozen.facts["guide_version"]
    guide = of.guide if version in ("", of.version) else task.get("guides", {}).get(version, "")
    said = folder.write(out, frozen.labels, texts, {**frozen.facts, "guide": guide, "notes": list(frozen.notes)}, work=work)
    return _sealed(out, True, said)


def _with_texts(pairs: Path, docs: Path | None, queries: Path | None) -> pa.Table:
    known = sources.read_words(pairs).column_names
    options = (("query", queries, "--queries"), ("text", docs, "--docs"))
    for column, given, option in options:
        if column not in known and given is None:
            raise InputError(f"{pairs} has no column {column!r}: give the texts with {option}, as to `germane annotate`")
    return sources.read_pairs(pairs, docs=docs, queries=queries)


def _has_odds(source: Path, task: Mapping[str, Any], texts: pa.Table | None) -> None:
    """Raises: InputError where pairs with odds would be sealed as pairs without."""
    lost = {"inclusion_probability", "part"} & set(task.get("columns", ())) - set(() if texts is None else texts.column_names)
    if lost:
        names = " and ".join(sorted(lost))
        raise InputError(
            f"the pairs of {source} have odds, and would be sealed without them ({names}): give the drawn pairs with --pairs"
        )


def _sealed(out: Path, made: bool, said: dict[str, Any]) -> Sealed:
    same = {name: said[name] for name in ("hash", "scale", "guide_version", "rule", "queries", "pairs", "settled", "left_out")}
    return Sealed(str(out), made, **same, notes=tuple(said["notes"]))


def leaks(golden: Path, against: Sequence[Path], *, similarity: float = leaking.NEAR) -> Leaks:
    """What training data, examples, audits or trained judges share with a golden set: a sealed folder, or any table of pairs.

    Raises: InputError for files without queries or pairs.
    """
    if not against:
        raise InputError("against what? name files with --against")
    if not 0 < similarity <= 1:
        raise InputError(f"--similarity {similarity:g}: expected above 0 and up to 1")
    mine = folder.words_of(golden)
    found: list[leaking.Leak] = []
    for path in against:
        if path.is_dir() and not folder.is_sealed(path):
            if not (digests := trained_on(path)):
                raise InputError(f"{path} is no sealed set, and no judge that says which queries it learned from: give a file")
            found += leaking.of_digests(mine, digests, str(path))
        else:
            found += leaking.leaks(mine, folder.words_of(path), str(path), similarity=similarity)
    return Leaks(str(golden), mine.num_rows, tuple(map(str, against)), tuple(found))


class Exported(NamedTuple):
    """What `export` wrote. pairs: in each file, by its name. left_out: pairs without a grade that the form has no place for."""

    out: str
    form: str
    pairs: dict[str, int]
    left_out: int


def export(
    golden: Path, out: Path, *, form: str, scale: str | None = None, pairs: Path | None = None, licence: str = "unknown"
) -> Exported:
    """A golden set for other tools: a sealed folder (a file a part), or one file of judgments; see `golden.exporting`.

    Whole qrels, CSV and the like hold one grade a pair. Exporting a sealed folder reads its test, which is counted.
    Raises: InputError for an unknown form, and one that needs texts where there are none.
    """
    if form not in exporting.FORMS:
        raise InputError(f"--to {form}: expected one of {', '.join(exporting.FORMS)}")
    parts, facts, inputs = _parts(golden, pairs, scale)
    of = scales.get(scale or str(facts["scale"]))
    made: dict[str, Any] = {"verb": "golden export", "inputs": inputs, "parameters": {"to": form, "scale": of}}
    counts: dict[str, int] = {}
    if form == "hf":
        shown = {key: value for key, value in facts.items() if key not in ("files", "labels", "germane", "guide")}
        exporting.hugging_face(parts, out, of, name=golden.stem, licence=licence, facts=shown, guide=_guide(facts, of))
        return Exported(str(out), form, {name: table.num_rows for name, table in parts.items()}, 0)
    suffix = exporting.FORMS[form]
    single = len(parts) == 1
    if single and out.suffix != suffix:
        raise InputError(f"--out {out}: --to {form} writes a {suffix} file")
    for name, table in parts.items():
        path = out if single else out / f"{name}{suffix}"
        counts[path.name] = exporting.write(table, path, form, of, made=made)
    held = sum(table.num_rows for table in parts.values())
    lost = sum(table["relevance"].null_count for table in parts.values())
    return Exported(str(out), form, counts, lost if sum(counts.values()) < held else 0)


def _guide(facts: Mapping[str, Any], scale: Scale) -> str:
    """The guide that raters were shown, "" where it is not known."""
    if "guide" in facts:
        return str(facts["guide"])
    return scale.guide if facts.get("guide_version") in ("", scale.version) else ""


def _parts(golden: Path, pairs: Path | None, scale: str | None) -> tuple[dict[str, pa.Table], dict[str, Any], list[Path]]:
    """(judgments with texts by part, what the seal says, the files read)."""
    texts = None if pairs is None else sources.read_pairs(pairs)
    if not folder.is_sealed(golden):
        if scale is None:
            raise InputError("on which scale are the judgments? pass --scale")
        labels = sources.read_judgments(golden, scale=scales.get(scale), more=folder.MORE)
        if twice := store.first_duplicate(labels, ["query_id", "doc_id"]):
            raise InputError(
                f"{golden}: rows {twice[0] + 1} and {twice[1] + 1} judge one pair: seal the votes first (golden seal)"
            )
        given = [golden] if pairs is None else [golden, pairs]
        return {golden.stem: exporting.joined(labels, texts)}, {"scale": scale}, given
    said = folder.verified(golden)
    found, inputs = {}, []
    for part in folder.PARTS:
        path = golden / f"{part}.parquet"
        labels = sources.read_judgments(path, more=folder.MORE)
        beside = golden / f"{part}-pairs.parquet"
        found[part] = exporting.joined(labels, sources.read_pairs(beside) if texts is None and beside.is_file() else texts)
        inputs += [path, *([beside] if beside.is_file() else [])]
    return found, said, inputs


def status(golden: Path) -> Status:
    """A sealed folder, held against its seal; nothing of the test is counted as read."""
    said = folder.verified(golden)
    lines = golden / sealed.READS
    readers: dict[str, int] = {}
    if lines.is_file():
        import json

        for line in lines.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                name = str(json.loads(line)["reader"])
            except (ValueError, KeyError, TypeError):
                name = "unreadable line"
            readers[name] = readers.get(name, 0) + 1
    same = {name: said[name] for name in ("hash", "scale", "guide_version", "queries", "pairs")}
    return Status(str(golden), **same, test_reads=sealed.reads(golden / "test.parquet"), readers=readers)
