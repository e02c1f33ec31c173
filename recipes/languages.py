"""A judge trained on English reads German, Spanish and Japanese: what it keeps, and what helps it.

    python recipes/languages.py [--base multilingual-e5-small] [--device cuda] [--out DIR] [--questions 1190]

XQuAD-R (questions and sentences, human translations, GERMANE_DATA/xquad_r_en_de_es) in three tasks of the same judge:
question and answering sentence in one language. Half of the paragraphs teach, the other half test. Three judges:

- English: labels by people in English alone.
- teacher-labelled: the English judge labels the English pairs of the teaching half, and their German and Spanish
  translations carry its probabilities: no label by people in these languages. Japanese: none, so it shows what spills over.
- translated: the labels by people on the translations, the most that such pairs can give.

Printed: macro F1 against people per language; agreement of one judge with itself between languages on the same pairs, all
with intervals clustered by paragraph; paired gains over the English judge; JSTS-ja (Japanese sentences and their similarity):
rank correlation with people; Fashion12K: share of product queries judged alike in English and German. The same judgments go
through `germane leaderboard --by language` into OUT/leaderboard.html.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from germane.judges import as_table, loading
from germane.stats import agreement, ranks, retention
from germane.stats.clustered import Undefined
from germane.training import cross_encoder
from germane.training.examples import Examples, joined
from germane.training.finishing import Lineage
from germane.training.running import Settings
from germane.types import Doc, Estimate, Pair, Query, Scale

ANSWERS = Scale(
    "answers",
    ("no", "yes"),
    (0.0, 1.0),
    "Does the sentence answer the question?\n\n- **yes**: the answer stands in it.\n- **no**: it does not.\n",
)
LANGUAGES = ("en", "de", "es")
NEGATIVES = 3
"""Sentences of the same paragraph that answer other questions, beside the one that answers this one."""


def main() -> int:
    given = arguments()
    data = Path(os.environ.get("GERMANE_DATA", "GERMANE_DATA is not set"))
    if not (data / "xquad_r_en_de_es").is_dir():
        print(f"no data in {data}: set GERMANE_DATA (docs/data.md says how to get it)", file=sys.stderr)
        return 2
    out = given.out or Path(tempfile.mkdtemp(prefix="languages-"))
    out.mkdir(parents=True, exist_ok=True)
    teach, test = halves(pairs(data / "xquad_r_en_de_es", given.questions))
    recipe = cross_encoder.CrossEncoderRecipe(
        base=given.base,
        max_length=128,
        settings=Settings(epochs=given.epochs, batch=32, learning_rate=given.learning_rate, patience=2, device=given.device),
    )
    judges = trained(teach, out, recipe, given.device)
    said = {name: {lang: grades(judge, part) for lang, part in test.items()} for name, judge in judges.items()}
    report: dict[str, Any] = {"base": given.base, "pairs": len(test["en"]), "paragraphs": len(set(paragraphs(test["en"])))}
    report["people"] = against_people(said, test)
    report["between languages"] = between(said, test)
    if (data / "jsts_ja").is_dir():
        report["Japanese"] = japanese(judges, data / "jsts_ja", given.sentences)
    if (data / "fashion12k_en_de_queries").is_dir():
        report["fashion"] = fashion(judges, data / "fashion12k_en_de_queries", given.sentences)
    (out / "languages.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    write_tables(judges, test, out)
    print(f"files for `germane leaderboard`: {out}")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", default="multilingual-e5-small")
    parser.add_argument("--device", default=None)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--questions", type=int, default=10_000, help="of XQuAD-R, at most")
    parser.add_argument("--sentences", type=int, default=1_500, help="of JSTS and Fashion12K")
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    return parser.parse_args()


# --- pairs ----------------------------------------------------------------------------------------------------------


def pairs(folder: Path, questions: int) -> dict[str, Examples]:
    """The same pairs of question and sentence in each language, row by row. query_id: paragraph and question.

    A sentence that answers question j is taken for question i in every language, so that a pair has translations whatever
    the sentences are numbered.
    """
    asked = pq.read_table(folder / "questions.parquet").to_pylist()
    text = {
        (r["lang"], r["paragraph_id"], r["sentence_id"]): r["text"]
        for r in pq.read_table(folder / "sentences.parquet").to_pylist()
    }
    by: dict[str, dict[str, dict[str, Any]]] = {lang: {} for lang in LANGUAGES}
    for row in asked:
        by[row["lang"]][row["question_id"]] = row
    of_paragraph: dict[int, list[str]] = {}
    for name, row in by["en"].items():
        of_paragraph.setdefault(row["paragraph_id"], []).append(name)
    chance = np.random.default_rng(0)
    chosen: list[tuple[str, str, int]] = []
    for name in sorted(by["en"])[:questions]:
        inside = [o for o in of_paragraph[by["en"][name]["paragraph_id"]] if o != name]
        mine = {lang: by[lang][name]["relevant_sentence_id"] for lang in LANGUAGES}
        other = [o for o in inside if all(by[lang][o]["relevant_sentence_id"] != mine[lang] for lang in LANGUAGES)]
        chosen.append((name, name, 1))
        chosen += [(name, str(o), 0) for o in chance.permutation(other)[:NEGATIVES]] if other else []
    found = {}
    for lang in LANGUAGES:
        rows = by[lang]
        sentence = [text[lang, rows[o]["paragraph_id"], rows[o]["relevant_sentence_id"]] for _, o, _ in chosen]
        grade = np.array([g for *_, g in chosen], dtype=np.int64)
        ids = tuple(f"{lang}:{by['en'][n]['paragraph_id']}:{n}" for n, *_ in chosen)
        asked_for = tuple(rows[n]["question"] for n, *_ in chosen)
        docs = tuple(f"{lang}:{o}" for _, o, _ in chosen)
        found[lang] = Examples(ids, docs, asked_for, tuple(sentence), grade, np.eye(2)[grade], ANSWERS, (("human:xquad", ""),))
    return found


def halves(all_pairs: dict[str, Examples]) -> tuple[dict[str, Examples], dict[str, Examples]]:
    """The pairs that teach and those that test, by paragraph, the same ones in each language."""
    paragraph = np.array(paragraphs(all_pairs["en"]))
    held = np.random.default_rng(1).permutation(np.unique(paragraph))[: len(np.unique(paragraph)) // 2]
    test = np.isin(paragraph, held)
    parts = ({lang: e.take(np.flatnonzero(rows)) for lang, e in all_pairs.items()} for rows in (~test, test))
    teach, tested = parts
    return teach, tested


def paragraphs(of: Examples) -> list[str]:
    return [query_id.split(":")[1] for query_id in of.query_id]


# --- judges ---------------------------------------------------------------------------------------------------------


def trained(teach: dict[str, Examples], out: Path, recipe: Any, device: str | None) -> dict[str, Any]:
    """The judges by name. dev is a tenth of the teaching paragraphs, in English: nothing else is known in practice."""
    paragraph = np.array(paragraphs(teach["en"]))
    names = np.unique(paragraph)
    held = np.isin(paragraph, np.random.default_rng(2).permutation(names)[: max(len(names) // 8, 1)])
    learn = {lang: e.take(np.flatnonzero(~held)) for lang, e in teach.items()}
    dev = teach["en"].take(np.flatnonzero(held))
    cross_encoder.train(learn["en"], dev, out / "english", recipe=recipe)
    english: Any = loading.load(out / "english", device=device)
    probs = np.array([j.probs for j in ask(english, learn["en"])])
    taught = [
        learn["en"],
        *(replace(learn[lang], target=probs, judges=((english.name, english.fingerprint),)) for lang in ("de", "es")),
    ]
    soft = replace(recipe, loss="soft")
    lineage = Lineage((english.name,), (english.fingerprint,))
    cross_encoder.train(joined(taught), dev, out / "teacher-labelled", recipe=soft, lineage=lineage)
    cross_encoder.train(joined([learn[lang] for lang in LANGUAGES]), dev, out / "translated", recipe=recipe)
    return {
        "english": english,
        "teacher-labelled": loading.load(out / "teacher-labelled", device=device),
        "translated": loading.load(out / "translated", device=device),
    }


def ask(judge: Any, of: Examples) -> list[Any]:
    rows = zip(of.query_id, of.query, of.doc_id, of.text, strict=True)
    return list(judge(Pair(Query(q, query), Doc(d, {"text": text})) for q, query, d, text in rows))


def grades(judge: Any, of: Examples) -> NDArray[np.int64]:
    return np.array([j.relevance for j in ask(judge, of)], dtype=np.int64)


# --- findings -------------------------------------------------------------------------------------------------------


def against_people(said: dict[str, dict[str, NDArray[np.int64]]], test: dict[str, Examples]) -> dict[str, Any]:
    """macro F1 of each judge in each language, and its gain over the English judge on the same pairs."""
    print(f"macro F1 against people, {len(test['en']):,} pairs a language (gain over the judge of English alone)")
    found: dict[str, Any] = {}
    for lang, of in test.items():
        clusters = np.array(paragraphs(of))
        for name, by_language in said.items():
            e = agreement.macro_f1(of.grade, by_language[lang], clusters=clusters)
            gain = retention.difference(of.grade, by_language[lang], said["english"][lang], clusters=clusters)
            found[f"{name} {lang}"] = {"macro F1": shown(e), "gain": shown(gain)}
            print(f"  {lang}  {name:17} {text(e)}" + ("" if name == "english" else f"   {text(gain, sign=True)}"))
    return found


def between(said: dict[str, dict[str, NDArray[np.int64]]], test: dict[str, Examples]) -> dict[str, Any]:
    """How often a judge gives a pair and its translation the same grade; kappa, since most pairs have one grade."""
    print("the same grade for the same pair in two languages (kappa in brackets)")
    clusters, found = np.array(paragraphs(test["en"])), {}
    for name, by_language in said.items():
        for one, other in (("en", "de"), ("en", "es"), ("de", "es")):
            a, b = by_language[one], by_language[other]
            same = agreement.exact_agreement(a, b, clusters=clusters)
            try:
                kappa: Estimate | None = agreement.cohen_kappa(a, b, clusters=clusters)
            except Undefined:  # every pair got one grade
                kappa = None
            found[f"{name} {one}-{other}"] = {"same": shown(same), "kappa": kappa and shown(kappa)}
            print(f"  {one}-{other}  {name:17} {text(same)}   [{text(kappa) if kappa else 'no value: one grade only'}]")
    return found


def japanese(judges: dict[str, Any], folder: Path, most: int) -> dict[str, Any]:
    """Spearman's rho of the probability of "yes" with the similarity that people gave, on JSTS's validation part."""
    table = pq.read_table(folder / "pairs.parquet")
    rows = [r for r in table.to_pylist() if r["split"] == "valid"][:most]
    people = np.array([r["label"] for r in rows])
    print(f"Japanese sentence pairs, n = {len(rows):,}: rho of the chance of yes with similarity by people")
    found = {}
    for name, judge in judges.items():
        made = judge(Pair(Query(r["pair_id"], r["sentence1"]), Doc(r["pair_id"], {"text": r["sentence2"]})) for r in rows)
        e = ranks.spearman_rho(people, np.array([j.probs[1] for j in made]))
        found[name] = shown(e)
        print(f"  ja  {name:17} {text(e)}")
    return found


def fashion(judges: dict[str, Any], folder: Path, most: int) -> dict[str, Any]:
    """Product queries: the same item (its English words) asked for in English and in German: the share judged alike.

    No label by people: half of the items are those of the query's image, half are of another.
    """
    table = pq.read_table(folder / "queries.parquet").slice(0, most + 1).to_pylist()
    print(f"product queries in English and German about the same item, n = {2 * most:,}: judged alike")
    found = {}
    for name, judge in judges.items():
        said = {}
        for lang in ("en", "de"):
            rows = [(table[i][f"query_{lang}"], table[i + far]["query_en"]) for i in range(len(table) - 1) for far in (0, 1)]
            made = judge(Pair(Query(str(i), q), Doc(str(i), {"text": d})) for i, (q, d) in enumerate(rows))
            said[lang] = np.array([j.relevance for j in made], dtype=np.int64)
        clusters = np.repeat(np.arange(len(said["en"]) // 2), 2)
        e = agreement.exact_agreement(said["en"], said["de"], clusters=clusters)
        right = np.tile([1, 0], len(said["de"]) // 2)
        told = {lang: agreement.macro_f1(right, said[lang], clusters=clusters) for lang in said}
        found[name] = {"alike": shown(e)} | {f"own item against another's, {lang}": shown(t) for lang, t in told.items()}
        print(f"  en-de  {name:17} {text(e)}   own item or another's: en {text(told['en'])}, de {text(told['de'])}")
    return found


def write_tables(judges: dict[str, Any], test: dict[str, Examples], out: Path) -> None:
    """gold.parquet, queries.parquet and a file of judgments a judge, all languages in one: for `germane leaderboard`."""
    every = joined([test[lang] for lang in LANGUAGES])
    n = len(every)
    gold = {"query_id": every.query_id, "doc_id": every.doc_id, "relevance": pa.array(every.grade, pa.int32())}
    said = {
        "judge": ["human:xquad"] * n,
        "fingerprint": [""] * n,
        "scale": ["answers"] * n,
        "guide_version": [ANSWERS.version] * n,
    }
    pq.write_table(pa.table(gold | said | {"outcome": ["label"] * n}), out / "gold.parquet")
    seen = dict(zip(every.query_id, every.query, strict=True))
    languages = [query_id.split(":")[0] for query_id in seen]
    pq.write_table(
        pa.table({"query_id": list(seen), "query": list(seen.values()), "language": languages}), out / "queries.parquet"
    )
    for name, judge in judges.items():
        pq.write_table(as_table(ask(judge, every)), out / f"{name}.parquet")
    labels, gains = json.dumps(ANSWERS.labels), json.dumps(ANSWERS.gains)
    (out / "answers.toml").write_text(
        f'name = "answers"\nlabels = {labels}\ngains = {gains}\nguide = {json.dumps(ANSWERS.guide)}\n', encoding="utf-8"
    )


def shown(e: Estimate) -> dict[str, Any]:
    return {"value": e.value, "low": e.low, "high": e.high, "n": e.n}


def text(e: Estimate, *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    return f"{e.value:{form}} ({e.low:{form}} to {e.high:{form}})"


if __name__ == "__main__":
    sys.exit(main())
