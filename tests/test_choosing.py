"""`germane train shootout`, `--tiers` and `ablate`: files in, a folder out, and what it says to a reader."""

import json

import counted_judges
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import store
from germane.judges import loading
from germane.pipeline import ablate as ablation_stage
from germane.pipeline import shootout as stage
from germane.pipeline.leaderboard import leaderboard
from germane.report import choosing
from germane.text import query_digest
from germane.training import ablation, cross_encoder
from germane.training import shootout as training
from germane.training.beside import Field
from germane.training.folds import Cost, out_of_fold, recipe
from germane.types import InputError, JudgeFacts, Refusal

NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with docs, queries, pairs, people's labels and a run."""
    folder = tmp_path_factory.mktemp("shop")
    docs, pairs, gold = counted_judges.world(20)
    text = {row["doc_id"]: f"{row['title']} {row['brand']} {row['description']}" for row in docs.to_pylist()}
    whole = pairs.append_column("text", pa.array([text[d] for d in pairs["doc_id"].to_pylist()]))
    queries = pairs.select(["query_id", "query"]).group_by(["query_id", "query"]).aggregate([])
    made = {"docs": docs, "queries": queries, "pairs": whole, "judgments": gold}
    for kind, table in made.items():
        store.write_table(table, folder / f"{kind}.parquet", kind, verb="test", parameters={})
    lines = [f"{row['query_id']} Q0 {row['doc_id']} 1 {i % 12} x" for i, row in enumerate(pairs.to_pylist())]
    (folder / "bm25.run").write_text("\n".join(lines))
    return folder


@pytest.fixture
def counted(monkeypatch):
    """Cross-encoders are replaced by judges that count; `trained` holds the recipe of each training."""
    trained = []

    def train(rows, dev, out, *, recipe):
        assert dev is None
        trained.append(recipe)
        return counted_judges.trainer(noise=0.9 if "noisy" in recipe.base else 0.0)(rows, out)

    monkeypatch.setattr(cross_encoder, "train", train)
    monkeypatch.setattr(loading, "load", counted_judges.load)
    monkeypatch.setitem(training.shootout.__kwdefaults__, "load", counted_judges.load)
    monkeypatch.setitem(ablation.ablate.__kwdefaults__, "load", counted_judges.load)
    return trained


def shoot(shop, out, **options):
    given = {"scale": "esci", "bases": ["hub/plain", "hub/noisy"], "folds": 3} | options
    return stage.shootout(shop / "pairs.parquet", shop / "judgments.parquet", out, **given)


def test_a_shootout_is_a_folder_and_the_same_again_does_nothing(shop, counted, tmp_path):
    found = shoot(shop, tmp_path / "out", run=shop / "bm25.run", metric="sDCG@10", options={"epochs": 2, "loss": "ordinal"})
    assert [each.name for each in found.contestants] == ["plain", "noisy"]
    assert {(each.base, each.loss, each.settings.epochs) for each in counted} == {
        ("hub/plain", "ordinal", 2),
        ("hub/noisy", "ordinal", 2),
    }
    assert len(counted) == 6
    assert found.board.metric == "sDCG@10"
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"shootout.json", "shootout.md", "shootout.html", "shootout.json.manifest.json", "folds"}
    assert json.loads((tmp_path / "out" / "shootout.json").read_text())["front"]
    again = shoot(shop, tmp_path / "out", run=shop / "bm25.run", metric="sDCG@10", options={"epochs": 2, "loss": "ordinal"})
    assert again == found
    assert len(counted) == 6
    shoot(shop, tmp_path / "out", options={"epochs": 3, "loss": "ordinal"}, bases=["hub/plain"], hour_price=2.0)
    assert len(counted) == 9


def test_a_price_and_kept_judges_are_asked_for(shop, counted, tmp_path):
    found = shoot(shop, tmp_path / "out", hour_price=2.0, keep=True, bases=["plain"], seed=4)
    assert found.contestants[0].cost.per_million > 0
    assert len(list((tmp_path / "out").rglob("counts.json"))) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bases": []}, "name each once"),
        ({"bases": ["a", "a"]}, "name each once"),
        ({"options": {"colour": 1}}, "no option 'colour'"),
        ({"folds": 99}, "99 folds of 20 queries"),
    ],
)
def test_a_wrong_shootout_is_refused(shop, counted, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        shoot(shop, tmp_path / "out", **options)


def test_bases_with_one_last_name_keep_their_whole_names(shop, counted, tmp_path):
    found = shoot(shop, tmp_path / "out", bases=["one/plain", "two/plain"])
    assert {each.name for each in found.contestants} == {"one/plain", "two/plain"}


@pytest.fixture(scope="module")
def tier_files(shop):
    """Three tiers' judgments, two of them with a manifest that says speed and latency."""
    rows = counted_judges.whole(*(store.read_table(shop / f"{k}.parquet", k) for k in ("docs", "pairs", "judgments")))
    paths = []
    for name, noise, speed in (("teacher", 0.0, 5.0), ("student", 0.05, 500.0), ("tiny", 0.97, None)):
        trainer = counted_judges.trainer(noise=noise)
        table = out_of_fold(rows, trainer, name=name, folder=shop / "folds" / name, load=counted_judges.load).judgments
        said = {"kind": "counted", "fingerprint": table["fingerprint"][0].as_py(), "rows": 1000, "machine": "one machine"}
        said |= {"rows_per_s": speed, "latency_ms": 1000 / speed} if speed else {"cost": 0.01}
        path = shop / f"{name}.parquet"
        store.write_table(table, path, "judgments", verb="label", parameters={}, extra={"judge": said})
        paths.append(path)
    return paths


def test_tiers_are_read_from_files_and_manifests(shop, tier_files, tmp_path):
    def run(**options):
        return stage.tiers(shop / "judgments.parquet", tier_files, tmp_path / "out", scale="esci", **options)

    found = run(hour_price=1.8)
    said = {(pair.dear, pair.cheap): pair for pair in found.pairs}
    assert said["teacher", "student"].verdict == "can be merged"
    assert said["teacher", "student"].faster == 100
    assert said["teacher", "student"].saved == pytest.approx(0.99)
    assert said["teacher", "tiny"].verdict == "worth its cost"
    costs = {tier.name: tier.cost for tier in found.tiers}
    assert costs["teacher"].per_million == pytest.approx(100.0)
    assert costs["tiny"].per_million == pytest.approx(10.0)
    assert run(hour_price=1.8) == found
    assert run(margin=0.9).pairs[1].verdict == "can be merged"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"tiers.{k}" for k in ("json", "md", "html")} | {
        "tiers.json.manifest.json"
    }


def test_a_tier_that_comes_twice_is_refused(shop, tier_files, tmp_path):
    files = [tier_files[0], tier_files[0]]
    with pytest.raises(InputError, match="give each tier once"):
        stage.tiers(shop / "judgments.parquet", files, tmp_path / "out", scale="esci")


@pytest.fixture(scope="module")
def half_targeted(shop):
    """People's grades with half of the queries targeted, and the others drawn with a known chance."""
    gold = store.read_table(shop / "judgments.parquet", "judgments")
    odd = [int(query[1:]) % 2 for query in gold["query_id"].to_pylist()]
    gold = gold.append_column("part", pa.array(["targeted" if each else "random" for each in odd]))
    gold = gold.append_column("inclusion_probability", pa.array([None if each else 0.5 for each in odd]))
    pq.write_table(gold, shop / "half.parquet")
    return shop / "half.parquet"


def test_tiers_stand_on_the_random_part_of_gold_as_on_the_leaderboard(half_targeted, tier_files, tmp_path):
    found = stage.tiers(half_targeted, tier_files, tmp_path / "out", scale="esci")
    board = leaderboard(half_targeted, tier_files, scale="esci")
    assert found.board.common == board.common == 120
    assert [tier.found["macro F1"].value for tier in found.tiers] == [s.found["macro F1"].value for s in board.judges]
    assert {pair.difference["exact"].n for pair in found.pairs} == {120}
    assert found.board.judges[0].found["exact"].method.startswith("weighted")


def test_trained_contestants_and_rungs_are_measured_on_the_random_part_too(shop, half_targeted, counted, tmp_path):
    options = {"scale": "esci", "folds": 2}
    shot = stage.shootout(shop / "pairs.parquet", half_targeted, tmp_path / "s", bases=["plain"], **options)
    files = (shop / "docs.parquet", half_targeted, shop / "queries.parquet")
    ladder = ablation_stage.ablate(*files, tmp_path / "l", fields=["title"], base="plain", **options)
    assert (shot.board.common, ladder.board.common) == (120, 120)


def test_a_tier_that_was_trained_on_golds_queries_is_refused_unless_allowed(shop, tier_files, tmp_path):
    table = store.read_table(tier_files[1], "judgments")
    said = {"fingerprint": table["fingerprint"][0].as_py(), "training_queries": [query_digest("w3a w3b w3c w3d"), "other"]}
    store.write_table(table, tmp_path / "seen.parquet", "judgments", verb="label", parameters={}, extra={"judge": said})

    def run(out, **options):
        files = [tier_files[0], tmp_path / "seen.parquet"]
        return stage.tiers(shop / "judgments.parquet", files, tmp_path / out, scale="esci", **options)

    with pytest.raises(Refusal, match=r"trained on 1 of gold's 20 queries.*--allow trained-on-gold"):
        run("a", queries=shop / "queries.parquet")
    assert not (tmp_path / "a").exists()
    allowed = run("a", queries=shop / "queries.parquet", allow=["trained-on-gold"])
    assert allowed.board.overrides
    assert allowed.board.overrides[0] in allowed.notes
    assert "--allow trained-on-gold" in (tmp_path / "a" / "tiers.md").read_text()
    assert any("cannot be seen without their texts (--queries)" in note for note in run("b").notes)
    with pytest.raises(InputError, match="--allow no-card: there is no such override here"):
        run("c", allow=["no-card"])


def climb(shop, out, **options):
    given = {"scale": "esci", "fields": ["title", "brand", "description"], "base": "plain", "folds": 3} | options
    files = (shop / f"{kind}.parquet" for kind in ("docs", "judgments", "queries"))
    return ablation_stage.ablate(*files, out, **given)


def test_a_ladder_is_a_folder_and_the_same_again_does_nothing(shop, counted, tmp_path):
    found = climb(shop, tmp_path / "out", budgets={"title": 5}, options={"max_length": 99}, run=shop / "bm25.run")
    assert [rung.field for rung in found.rungs] == ["title", "brand", "description"]
    assert found.rungs[0].cut > 0
    assert {each.max_length for each in counted} == {99}
    assert len(counted) == 9
    assert climb(shop, tmp_path / "out", budgets={"title": 5}, options={"max_length": 99}, run=shop / "bm25.run") == found
    assert len(counted) == 9
    assert (tmp_path / "out" / "ladder.html").is_file()


def test_a_query_that_was_judged_and_is_missing_is_named(shop, counted, tmp_path):
    queries = store.read_table(shop / "queries.parquet", "queries").slice(1)
    store.write_table(queries, tmp_path / "queries.parquet", "queries", verb="test", parameters={})
    files = (shop / "docs.parquet", shop / "judgments.parquet", tmp_path / "queries.parquet")
    with pytest.raises(InputError, match="lacks query 'q0'"):
        ablation_stage.ablate(*files, tmp_path / "out", scale="esci", fields=["title"], base="plain")


@pytest.fixture(scope="module")
def results(shop):
    """A shootout, a ladder and tiers, with names that a page must not obey."""
    docs, pairs, gold = (store.read_table(shop / f"{kind}.parquet", kind) for kind in ("docs", "pairs", "judgments"))
    rows, on = counted_judges.whole(docs, pairs, gold), Field(gold, counted_judges.ESCI, name="shop")
    options = {"k": 3, "load": counted_judges.load}
    made = {NASTY: counted_judges.trainer(), "noisy": counted_judges.trainer(noise=0.9)}
    shot = training.shootout(rows, made, on, folder=shop / "results", hour_price=1.0, **options)
    fields = ["title", "brand", "description"]
    ladder = ablation.ablate(docs, pairs, fields, made[NASTY], on, folder=shop / "ladder", **options)
    judged = {}
    for name, trainer in made.items():
        table = out_of_fold(rows, trainer, name=name, folder=shop / "tiers" / str(len(judged)), **options).judgments
        judged[name] = (table, Cost(rows_per_s=10.0 ** len(judged)), JudgeFacts("counted"))
    return {"shootout": shot, "ladder": ladder, "tiers": training.tiers(on, judged)}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("shootout", ("is the best by macro F1", "Pareto front", "Difference to the best", "cost a million")),
        ("ladder", ("With title alone macro F1 is", "Shown to help when added:", "+ brand", "Each step")),
        (
            "tiers",
            ("No tier is shown to be replaceable", "worth its cost (noisy loses more than 0.02", "times as fast", "coverage"),
        ),
    ],
)
def test_a_result_is_told_in_text_markdown_and_html(results, kind, said):
    found = results[kind]
    told, page, plain = choosing.text(found), choosing.html(found), choosing.markdown(found)
    for words in said:
        assert words in told
    assert "20 queries" in told or kind == "tiers"
    assert NASTY not in page
    assert NASTY not in plain
    assert "<svg" in page
    assert plain.startswith("# ")


def test_a_recipe_takes_options_of_its_own_and_of_its_settings():
    made = recipe(cross_encoder.CrossEncoderRecipe, {"base": "b", "loss": "soft", "batch": 7})
    assert (made.base, made.loss, made.settings.batch) == ("b", "soft", 7)


def test_rankings_their_metric_and_the_level_reach_the_tiers(shop, tier_files, tmp_path):
    ranked = (shop / "bm25.run").read_text().splitlines()
    (tmp_path / "more.run").write_text("\n".join([*ranked, *(f"q{q} Q0 nobody-graded-{q} 1 99 x" for q in range(20))]))

    def run(out, **options):
        return stage.tiers(shop / "judgments.parquet", tier_files[:2], tmp_path / out, scale="esci", **options)

    plain = run("a", run=tmp_path / "more.run", metric="sDCG@5", level=0.8)
    condensed = run("b", run=[tmp_path / "more.run"], metric="sDCG@5", condensed=True)
    assert (plain.board.metric, plain.board.level, condensed.board.level) == ("sDCG@5", 0.8, 0.95)
    assert "score tau-b" not in plain.tiers[0].found
    assert "score tau-b" in condensed.tiers[0].found
    assert "score tau-b" in condensed.pairs[0].difference


def test_folds_seed_and_level_reach_the_ladder_and_the_shootout(shop, counted, tmp_path):
    found = climb(
        shop, tmp_path / "a", fields=["title"], folds=2, level=0.5, metric="sDCG@3", run=shop / "bm25.run", condensed=True
    )
    other = climb(shop, tmp_path / "b", fields=["title"], folds=2, level=0.5, seed=5)
    assert (found.folds, found.board.level, found.board.metric, other.board.metric) == (2, 0.5, "sDCG@3", "")
    assert found.board.judges[0].fingerprint != other.board.judges[0].fingerprint
    shot = [shoot(shop, tmp_path / f"s{seed}", bases=["plain"], folds=2, level=0.5, seed=seed) for seed in (0, 5)]
    assert (shot[0].folds, shot[0].board.level) == (2, 0.5)
    assert shot[0].board.judges[0].fingerprint != shot[1].board.judges[0].fingerprint
