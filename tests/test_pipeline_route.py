"""`route`: the folder that it writes, who goes where, what raters may see, what it refuses, and the command line."""

import json
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt

from germane import cli, scales, sources, store
from germane.cards import routing, signals
from germane.pipeline.route import PAGES, TABLES, route
from germane.report import route as page
from germane.stats import agreement
from germane.types import InputError, Refusal, Routing

TREC = scales.get("trec")
QUERIES, DOCS, GOLDEN = 90, 10, 45
IDS = [(f"q{q:02}", f"d{d}") for q in range(QUERIES) for d in range(DOCS)]
NASTY = "<script>alert('x')</script>\u202e|[a](b)"


def world(seed=3, useful=True):
    """Truth, and a judge that is asked five times; with useful=False its agreement has nothing to do with its errors."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, len(IDS))
    ease = 1 / (1 + np.exp(-rng.normal(1.5, 1.3, len(IDS))))
    right = rng.binomial(5, ease)
    wrong = (truth + rng.choice([1, 2, 3], len(IDS))) % 4
    grade = np.where(right >= 3, truth, wrong)
    sure = np.maximum(right, 5 - right) / 5
    return truth, grade, sure if useful else rng.permutation(sure)


def judged(seed=3, useful=True, *, silent=(), names=IDS, **columns):
    """The judge's table. silent: rows without an answer. columns: in place of self_agreement."""
    _, grade, sure = world(seed, useful)
    n = len(names)
    answers = [None if at in silent else int(g) for at, g in enumerate(grade)]
    table = {"query_id": [q for q, _ in names], "doc_id": [d for _, d in names], "relevance": pa.array(answers, pa.int16())}
    table |= {"outcome": ["refused" if a is None else "label" for a in answers]}
    table |= columns or {"self_agreement": [None if at in silent else s for at, s in enumerate(sure.tolist())]}
    for name, value in (("judge", "llm"), ("fingerprint", "f-llm"), ("scale", "trec")):
        table[name] = [value] * n
    return pa.table(table)


def people(seed=3, queries=GOLDEN, **columns):
    truth = world(seed)[0]
    n = queries * DOCS
    return pa.table({"query_id": [q for q, _ in IDS[:n]], "doc_id": [d for _, d in IDS[:n]], "relevance": truth[:n]} | columns)


@pytest.fixture
def files(tmp_path):
    """Writes tables and gives their paths: the judge's and people's, and the texts of all pairs."""

    def make(judgments=None, golden=None, extra=None):
        table = sources.read_judgments(judged() if judgments is None else judgments, scale=TREC)
        store.write_table(table, tmp_path / "llm.parquet", "judgments", verb="label", parameters={}, extra=extra or {})
        pq.write_table(people() if golden is None else golden, tmp_path / "gold.parquet")
        return tmp_path / "llm.parquet", tmp_path / "gold.parquet"

    return make


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "pairs.csv"
    lines = [f"{q},words of {q},{d},text of {d},{world()[1][at]}" for at, (q, d) in enumerate(IDS)]
    path.write_text("query_id,query,doc_id,text,grade\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def germane(monkeypatch, capfd):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["germane", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        return code, *capfd.readouterr()

    return call


def routed(files, tmp_path, judgments=None, golden=None, extra=None, **options):
    asked = {name: options.pop(name) for name in ("by", "measure", "quality", "budget", "people", "price") if name in options}
    return route(*files(judgments, golden, extra), tmp_path / "out", scale="trec", asked=asked, **options)


def read(path):
    return pq.read_table(path).to_pylist()


# --- who goes where -----------------------------------------------------------------------------------------------------


def test_every_pair_is_accepted_or_sent_and_gold_s_are_not_asked_again(files, tmp_path):
    found = routed(files, tmp_path, quality=0.9)
    accepted = {(r["query_id"], r["doc_id"]) for r in read(tmp_path / "out/accept.parquet")}
    sent = [(r["query_id"], r["doc_id"]) for r in read(tmp_path / "out/people.parquet")]
    golden = set(IDS[: GOLDEN * DOCS])
    assert not accepted & set(sent)
    assert not golden & set(sent)
    assert set(IDS) - golden == (accepted | set(sent)) - golden
    assert found.chosen.labels == len(sent) == len(set(sent))
    assert (found.rows, found.known) == (len(IDS) - len(golden), len(golden))
    assert found.chosen.quality.low >= 0.9


def test_the_least_certain_go_first_and_pairs_without_an_answer_before_all(files, tmp_path):
    silent = {500, 700}
    found = routed(files, tmp_path, judged(silent=silent), budget=200)
    rows = read(tmp_path / "out/people.parquet")
    assert [r["reason"] for r in rows[:2]] == ["no answer: refused"] * 2
    assert {(r["query_id"], r["doc_id"]) for r in rows[:2]} == {IDS[at] for at in silent}
    sure = [float(r["reason"].removeprefix("self-agreement ")) for r in rows[2:]]
    assert sure == sorted(sure)
    assert (len(rows), found.unanswered) == (200, 2)


def test_a_level_that_is_divided_is_drawn_by_the_seed_and_not_by_the_order_of_rows(files, tmp_path):
    def sent(**options):
        routed(files, tmp_path, budget=150, **options)
        return [(r["query_id"], r["doc_id"]) for r in read(tmp_path / "out/people.parquet")]

    first, again, other = sent(), sent(judgments=judged().take(np.arange(len(IDS))[::-1])), sent(seed=1)
    assert first == again
    assert first != other
    assert len(other) == 150


def test_the_accepted_table_is_one_of_judgments_with_its_doubts_and_its_judge_s_facts(files, tmp_path):
    facts = {"fingerprint": "f-llm", "name": "llm", "rows_per_s": 9}
    routed(files, tmp_path, extra={"judge": facts}, quality=0.9)
    table = store.read_table(tmp_path / "out/accept.parquet", "judgments")
    assert "self_agreement" in table.column_names
    assert store.read_manifest(tmp_path / "out/accept.parquet").extra["judge"] == facts
    assert min(table["self_agreement"].to_pylist()) >= 0.6


def test_raters_see_texts_and_never_what_the_judge_said(files, tmp_path, texts):
    routed(files, tmp_path, quality=0.9, pairs=texts)
    table = store.read_table(tmp_path / "out/people.parquet", "pairs")
    assert table.column_names == ["query_id", "query", "doc_id", "text", "reason"]  # the table of texts had a grade
    assert table["text"][0].as_py() == f"text of {table['doc_id'][0].as_py()}"
    routed(files, tmp_path, quality=0.9)
    assert pq.read_table(tmp_path / "out/people.parquet").column_names == ["query_id", "doc_id", "reason"]


def test_a_pair_without_a_text_is_named_and_nothing_is_written(files, tmp_path, texts):
    texts.write_text("\n".join(texts.read_text().splitlines()[:500]) + "\n")
    with pytest.raises(InputError, match=r"--pairs lacks .* pairs that go to people, as query 'q"):
        routed(files, tmp_path, quality=0.9, pairs=texts)
    assert not (tmp_path / "out").exists()


def test_where_gold_has_every_pair_labels_are_counted_as_if_it_had_none(files, tmp_path):
    found = routed(files, tmp_path, golden=people(queries=QUERIES), quality=0.9)
    assert (found.rows, found.known) == (len(IDS), 0)
    assert any("rehearsal" in note for note in found.notes)
    assert len(read(tmp_path / "out/people.parquet")) == found.chosen.labels


# --- what the figures are -----------------------------------------------------------------------------------------------


def test_the_levels_are_the_agreement_of_their_golden_pairs(files, tmp_path):
    found = routed(files, tmp_path)
    truth, grade, sure = (part[: GOLDEN * DOCS] for part in world())
    query = np.arange(GOLDEN * DOCS) // DOCS
    assert [level.name for level in found.levels] == ["self-agreement 1", "self-agreement 0.8", "self-agreement 0.6"]
    for level, value in zip(found.levels, (1.0, 0.8, 0.6), strict=True):
        rows = np.isclose(sure, value)
        assert level.found["exact"] == agreement.exact_agreement(truth[rows], grade[rows], clusters=query[rows])
        assert level.pairs == int(np.isclose(world()[2][GOLDEN * DOCS :], value).sum())


def test_without_a_target_the_curve_is_all_and_no_pair_is_routed(files, tmp_path):
    found = routed(files, tmp_path, price=0.5)
    assert (found.chosen, found.reached) == (None, True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*PAGES, "route.json.manifest.json"])
    labels = [point.labels for point in found.curve]
    assert labels == sorted(labels, reverse=True)
    assert (labels[0], labels[-1]) == (found.rows, 0)
    assert [point.money for point in found.curve] == [0.5 * n for n in labels]
    assert found.curve[0].quality.value == 1.0
    assert found.curve[-1].quality.value == pytest.approx(found.curve[-1].random.value)
    middle = found.curve[len(found.curve) // 2]
    assert middle.quality.value > middle.random.value


def test_a_useless_signal_is_said_to_be_no_better_than_chance(files, tmp_path):
    found = routed(files, tmp_path, judged(useful=False), quality=0.9)
    assert not found.telling
    assert "no better than sending at random" in page.telling(found)
    assert routed(files, tmp_path, quality=0.9).telling


@pytest.mark.parametrize("measure", ["exact", "within-one", "quadratic kappa", "macro F1"])
def test_each_measure_is_kept_by_its_own_low_end(files, tmp_path, measure):
    found = routed(files, tmp_path, quality=0.92, measure=measure)
    assert found.chosen.quality.low >= 0.92
    assert found.chosen.labels < found.random_labels


def test_a_higher_quality_needs_more_labels_and_a_budget_tells_what_it_buys(files, tmp_path):
    few, many = (routed(files, tmp_path, quality=target).chosen.labels for target in (0.85, 0.95))
    assert few < many
    found = routed(files, tmp_path, budget=many)
    assert found.chosen.labels == many
    assert found.chosen.quality.low >= 0.95


def test_people_who_err_need_more_of_them_or_cannot_reach_it_at_all(files, tmp_path):
    sure, human = (routed(files, tmp_path, quality=0.88, people=right).chosen.labels for right in (1.0, 0.97))
    assert sure < human
    found = routed(files, tmp_path, quality=0.98, people=0.9)
    assert (found.reached, found.chosen) == (False, None)
    assert "nor people alone: they are at 0.900" in found.why
    assert not any((tmp_path / "out" / name).exists() for name in TABLES)  # those of the rule before are gone


def test_people_as_gold_s_raters_agree(files, tmp_path):
    rng, truth = np.random.default_rng(0), world()[0][: GOLDEN * DOCS]
    rows = {"query_id": [], "doc_id": [], "relevance": [], "judge": []}
    for at, (query, doc) in enumerate(IDS[: GOLDEN * DOCS]):
        for rater in "abc":
            off = rng.random() < 0.1
            rows["query_id"].append(query)
            rows["doc_id"].append(doc)
            rows["relevance"].append(int((truth[at] + off) % 4))
            rows["judge"].append(f"human:{rater}")
    found = routed(files, tmp_path, golden=pa.table(rows), people="raters", adjudicate="majority")
    assert 0.8 < found.curve[0].quality.value < 0.97
    assert found.curve[0].quality.se > 0
    with pytest.raises(InputError, match="--adjudicate"):
        routed(files, tmp_path, golden=pa.table(rows), people="raters")


def test_a_target_beyond_the_budget_is_a_no_with_the_labels_that_it_needs(files, tmp_path):
    needed = routed(files, tmp_path, quality=0.9).chosen.labels
    found = routed(files, tmp_path, quality=0.9, budget=needed - 1)
    assert (found.reached, found.chosen) == (False, None)
    assert f"needs {needed:,} labels of people, more than the {needed - 1:,} of the budget" in found.why
    assert routed(files, tmp_path, quality=0.9, budget=needed).reached
    assert "no answer of the judge" in routed(files, tmp_path, judged(silent=range(600, 620)), budget=5).why


def test_gold_s_random_part_counts_by_its_odds_and_chosen_pairs_stand_apart(files, tmp_path):
    n = GOLDEN * DOCS
    plain = routed(files, tmp_path)
    chosen = routed(files, tmp_path, golden=people(part=["targeted" if at < 100 else "" for at in range(n)]))
    assert (chosen.pairs, plain.pairs) == (n - 100, n)
    assert any("100 golden pairs were chosen" in note for note in chosen.notes)
    odds = routed(files, tmp_path, golden=people(inclusion_probability=[0.1 if at % 2 else 0.9 for at in range(n)]))
    truth, grade, _ = (part[:n] for part in world())
    weights = np.where(np.arange(n) % 2, 10.0, 1 / 0.9)
    assert odds.pairs == n
    assert odds.curve[-1].quality.value != pytest.approx(plain.curve[-1].quality.value)
    design = pa.table({"query_id": sorted({q for q, _ in IDS}), "stratum": ["a", "b"] * 45, "population": [90] * 90})
    design = design.append_column("inclusion_probability", pa.array([0.1, 0.9] * 45))
    pq.write_table(design, tmp_path / "design.parquet")
    weighed = routed(files, tmp_path, design=tmp_path / "design.parquet")
    by_query = 1 / np.array([0.1, 0.9])[np.arange(n) // DOCS % 2]
    assert weighed.curve[-1].quality.value == pytest.approx(np.average(truth == grade, weights=by_query))
    assert np.average(truth == grade, weights=weights) != pytest.approx(plain.curve[-1].quality.value)


def test_gold_that_is_not_like_the_rest_is_said_to_be_so(files, tmp_path):
    _, _, sure = world()
    sure = np.where(np.arange(len(IDS)) < GOLDEN * DOCS, np.maximum(sure, 0.8), 0.6)
    found = routed(files, tmp_path, judged(self_agreement=sure), budget=20)
    assert any("gold is not like what is routed" in note for note in found.notes)
    assert not any("gold is not like" in note for note in routed(files, tmp_path, budget=100).notes)


def test_the_rule_by_segment(files, tmp_path):
    queries = tmp_path / "queries.csv"
    lines = [f"q{q:02},words {q},{'de' if q % 2 else 'en'}" for q in range(QUERIES)]
    queries.write_text("query_id,query,language\n" + "\n".join(lines) + "\n")
    found = routed(files, tmp_path, quality=0.9, queries=queries, by_segment=["language"])
    assert [(part.dimension, part.name) for part in found.slices] == [("language", "de"), ("language", "en")]
    assert set(found.slices[0].found) == {"accepted", "exact where accepted"}
    with pytest.raises(InputError, match="--by-segment nothing: no such column"):
        routed(files, tmp_path, quality=0.9, queries=queries, by_segment=["nothing"])


# --- signals ------------------------------------------------------------------------------------------------------------


def test_self_agreement_comes_first_with_ties_by_entropy():
    table = judged(self_agreement=[0.6] * len(IDS), entropy=[at / 1000 for at in range(len(IDS))])
    found = signals.signal(table, 4)
    assert (found.name, found.note) == ("self-agreement, ties by entropy", "")
    assert found.level.tolist() == list(range(len(IDS)))
    assert found.says(500) == "self-agreement 0.6, entropy 0.5 bits"
    assert [name for name, _ in found.groups()] == ["self-agreement 0.6"]
    assert signals.signal(table, 4, "entropy").name == "entropy of its samples"


def test_a_judge_of_probabilities_is_as_sure_as_its_largest_one_and_that_is_said():
    probs = [[0.7, 0.1, 0.1, 0.1], [0.25] * 4, [0.97, 0.01, 0.01, 0.01]] * 300
    table = judged(probs=pa.array(probs, pa.list_(pa.float32())))
    found = signals.signal(table, 4)
    assert found.name == "largest probability"
    assert "not asked several times" in found.note
    assert found.level[:3].tolist() == [1, 2, 0]
    by_entropy = signals.signal(table, 4, "entropy")
    assert by_entropy.name == "entropy of its probabilities"
    assert by_entropy.level[:3].tolist() == [1, 2, 0]


def test_answers_without_a_signal_are_less_certain_than_all_others(files, tmp_path):
    sure = [None if at % 50 == 0 else s for at, s in enumerate(world()[2].tolist())]
    found = routed(files, tmp_path, judged(self_agreement=sure), budget=100)
    assert [r["reason"] for r in read(tmp_path / "out/people.parquet")][:9] == ["no self-agreement"] * 9
    assert found.levels[-1].name == "no self-agreement"
    assert any("9 answers have no self-agreement" in note for note in found.notes)


def test_many_values_of_a_signal_are_shown_in_buckets():
    table = judged(entropy=np.random.default_rng(0).random(len(IDS)))
    groups = signals.signal(table, 4).groups()
    assert len(groups) == signals.BUCKETS
    assert re.fullmatch(r"entropy 0\.00\d+ to 0\.1\d+ bits", groups[0][0])
    assert sum(int(inside.sum()) for _, inside in groups) == len(IDS)


# --- the folder, twice --------------------------------------------------------------------------------------------------


def test_the_same_inputs_do_nothing_and_other_parameters_or_a_changed_file_do(files, tmp_path):
    def stamps():
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}

    paths = files()
    first = route(*paths, tmp_path / "out", scale="trec", asked={"quality": 0.9})
    before = stamps()
    assert route(*paths, tmp_path / "out", scale="trec", asked={"quality": 0.9}) == first
    assert stamps() == before
    (tmp_path / "out/people.parquet").unlink()
    route(*paths, tmp_path / "out", scale="trec", asked={"quality": 0.9})
    assert (tmp_path / "out/people.parquet").is_file()
    assert route(*paths, tmp_path / "out", scale="trec", asked={"quality": 0.8}).chosen.labels < first.chosen.labels


def test_the_json_is_the_result(files, tmp_path):
    found = routed(files, tmp_path, quality=0.9, price=0.4)
    assert Routing.from_json((tmp_path / "out/route.json").read_text()) == found


def test_pages_have_the_answer_the_chart_and_its_numbers(files, tmp_path):
    found = routed(files, tmp_path, quality=0.9)
    html, markdown = ((tmp_path / "out" / name).read_text() for name in ("route.html", "route.md"))
    for text in (html, markdown):
        assert page.answer(found) in text
        assert found.chosen.rule in text
    tables = [token.type for token in MarkdownIt("commonmark").enable("table").parse(markdown)].count("table_open")
    assert tables == 2
    chart = page.chart(found)
    assert [len(line.pieces) for line in chart.lines] == [len(found.curve) - 1] * 2
    assert html.count("<line") > 2 * (len(found.curve) - 1)
    assert "<table" in html.partition("The numbers")[2]
    assert chart.here[0] > page.LEFT
    assert 0 <= chart.target <= page.HEIGHT


def test_hostile_names_are_shown_and_do_nothing(files, tmp_path):
    routed(files, tmp_path, other("judge", NASTY))
    html, markdown = ((tmp_path / "out" / name).read_text() for name in ("route.html", "route.md"))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "\u202e" not in html + markdown
    assert "<script" not in markdown


# --- what it refuses ----------------------------------------------------------------------------------------------------


def other(name, value):
    table = judged()
    return table.set_column(table.column_names.index(name), name, pa.array([value] * len(IDS)))


def several():
    table = judged()
    names = ["llm" if at % 2 else "other" for at in range(len(IDS))]
    return table.set_column(table.column_names.index("judge"), "judge", pa.array(names))


def of_people():
    table = other("fingerprint", "")
    return table.set_column(table.column_names.index("judge"), "judge", pa.array(["human:x"] * len(IDS)))


@pytest.mark.parametrize(
    ("judgments", "golden", "options", "complaint"),
    [
        (None, None, {"quality": 0}, "--quality 0: give the quality to reach, above 0 and up to 1"),
        (None, None, {"quality": 1.2}, "--quality 1.2"),
        (None, None, {"budget": -1}, "--budget -1"),
        (None, None, {"price": 0.0}, "--price-per-label 0"),
        (None, None, {"people": 1.1}, "people's accuracy is 1.1"),
        (None, None, {"people": "raters"}, "no golden pair has two people's grades"),
        (None, None, {"by": "confidence"}, "--by confidence: the judgments have no probs"),
        (None, None, {"allow": ["anything"]}, "known is trained-on-gold"),
        (None, lambda: people(queries=5), {}, "50 golden pairs of 5 queries have the judge's answer"),
        (None, lambda: people().slice(0, 29), {}, "29 golden pairs of 3 queries"),
        (None, lambda: people().set_column(0, "query_id", pa.array(["z"] * GOLDEN * DOCS)), {}, "both hold query_id 'z'"),
        (None, lambda: people(judge=["gpt"] * GOLDEN * DOCS, fingerprint=["f"] * GOLDEN * DOCS), {}, "gold holds judgments of"),
        (of_people, None, {}, "the judgments are of people"),
        (several, None, {}, "the judgments are of 2 judges"),
        (lambda: judged(self_agreement=[1.5] * len(IDS)), None, {}, "self_agreement 1.5 for query 'q00', document 'd0'"),
        (lambda: judged(entropy=[-1.0] * len(IDS)), None, {}, "entropy -1 for query 'q00'"),
        (lambda: judged(note=[""] * len(IDS)), None, {}, "say nothing of how sure the judge is"),
        (lambda: judged(silent=range(len(IDS))), None, {}, "answered none of 900 pairs"),
    ],
)
def test_what_cannot_be_routed_is_said_in_one_line(files, tmp_path, judgments, golden, options, complaint):
    made = judgments() if judgments else None
    with pytest.raises(InputError, match=re.escape(complaint)) as problem:
        routed(files, tmp_path, made, golden() if golden else None, **options)
    assert "\n" not in str(problem.value)
    assert not (tmp_path / "out").exists()


def test_gold_of_other_pairs_and_another_scale_are_refused(files, tmp_path):
    elsewhere = people().set_column(0, "query_id", pa.array([f"z{q}" for q, _ in IDS[: GOLDEN * DOCS]]))
    with pytest.raises(InputError, match="no golden pair drawn at random is among the judgments"):
        routed(files, tmp_path, golden=elsewhere)
    with pytest.raises(InputError, match="scale"):
        route(*files(), tmp_path / "out", scale="esci")


def test_a_judge_that_learned_from_gold_s_queries_is_refused_unless_insisted(files, tmp_path):
    facts = {"fingerprint": "f-llm", "training_query_ids": ["q00", "q01"]}
    with pytest.raises(Refusal, match="trained on 2 of gold's 45 queries"):
        routed(files, tmp_path, extra={"judge": facts})
    found = routed(files, tmp_path, extra={"judge": facts}, allow=["trained-on-gold"])
    assert found.overrides
    assert found.overrides[0] in page.text(found)


def test_a_fake_judge_is_called_one(files, tmp_path):
    assert any("fake" in note for note in routed(files, tmp_path, other("fingerprint", "fake:1")).notes)


# --- the command line ---------------------------------------------------------------------------------------------------


def test_the_command_writes_the_folder_and_prints_the_answer(files, tmp_path, germane):
    judgments, golden = files()
    arguments = ("route", judgments, "--golden", golden, "--scale", "trec", "--out", tmp_path / "out")
    code, out, err = germane(*arguments, "--quality", "0.9", "--price-per-label", "0.4")
    assert (code, err) == (0, "")
    assert re.match(
        r"Accept \d+ of 450 labels and send \d+ pairs to people, for [\d.]+: exact agreement of all is then 0.9", out
    )
    assert len(out.splitlines()) < 40
    code, out, _ = germane(*arguments, "--measure", "macro F1", "--output", "json")
    assert code == 0
    assert json.loads(out)["measure"] == "macro F1"


def test_exit_codes_say_whether_it_can_be_reached_and_whether_the_input_was_right(files, tmp_path, germane):
    judgments, golden = files()
    arguments = ("route", judgments, "--golden", golden, "--scale", "trec", "--out", tmp_path / "out")
    code, out, _ = germane(*arguments, "--quality", "0.99", "--people", "0.9")
    assert code == 1
    assert out.startswith("No: no rule is shown to reach 0.99")
    for more in (("--quality", "1.5"), ("--people", "many"), ("--budget", "-3")):
        code, out, err = germane(*arguments, *more)
        assert (code, out) == (2, "")
        assert err.startswith(f"germane: {more[0] if more[1] != 'many' else '--people many'}")
        assert len(err.splitlines()) == 1


def test_the_relevant_grade_is_the_one_that_was_named(files, tmp_path):
    usual, strict = (routed(files, tmp_path, relevant=label).curve[-1].accepted["false relevant"].n for label in (None, 1))
    truth = world()[0][: GOLDEN * DOCS]
    assert (usual, strict) == ((truth < routing.labels.threshold(TREC)).sum(), (truth < 1).sum())


def test_real_llm_judges_agree_where_they_are_right(data, tmp_path):
    """Five of llmjudge_2024's submissions as a committee: where all agree, people agree with them more often."""
    table = pq.read_table(data("llmjudge_2024") / "labels.parquet")
    five = ("willia-umbrela1", "h2oloo-zeroshot1", "Olz-gpt4o", "RMITIR-llama70B", "h2oloo-fewself")
    votes = np.clip(np.stack([table[name].to_numpy() for name in five], 1), 0, 3)
    grade, ids = np.sort(votes, 1)[:, 2], {"query_id": table["query_id"], "doc_id": table["passage_id"]}
    n = len(grade)
    who = {"judge": ["committee"] * n, "fingerprint": ["five"] * n, "scale": ["trec"] * n}
    agreed = (votes == grade[:, None]).mean(1)
    pq.write_table(
        pa.table({**ids, "relevance": pa.array(grade, pa.int16()), "self_agreement": agreed, **who}), tmp_path / "c.parquet"
    )
    pq.write_table(pa.table({**ids, "relevance": table["human"]}), tmp_path / "people.parquet")
    found = route(tmp_path / "c.parquet", tmp_path / "people.parquet", tmp_path / "out", scale="trec", asked={"quality": 0.8})
    assert found.telling
    assert found.tells.value == pytest.approx(0.66, abs=0.01)
    assert found.levels[0].found["exact"].value == pytest.approx(0.681, abs=0.001)
    assert found.chosen.labels < found.random_labels
