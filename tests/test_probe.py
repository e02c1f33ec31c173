"""The verb: a judge that obeys is told from one that does not, calls are counted, files are whole, and a card takes them."""

import json
import re
import shutil

import foolable_judges as judges
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane import cards, cli, report, scales
from germane.cards import probing
from germane.judges.probes import SUITE
from germane.pipeline import probe as stage
from germane.pipeline.check import check
from germane.pipeline.paraphrases import paraphrases
from germane.store import read_manifest
from germane.types import InputError, JudgeCard, Probes, Sensitivity

TREC = scales.get("trec")
HOSTILE = "<script>alert(1)</script>\x1b[31m | [x](http://y)"


@pytest.fixture
def pairs(tmp_path):
    rows = range(160)
    table = {
        "query_id": [f"q{i // 4}" for i in rows],
        "query": [f"thing of kind {i // 4}" for i in rows],
        "doc_id": [f"d{i}" for i in rows],
        "text": [f"title: product {i}\ndescription: a good one for the house, number {i % 7}" for i in rows],
    }
    pq.write_table(pa.table(table), tmp_path / "pairs.parquet")
    return tmp_path / "pairs.parquet"


def asked(monkeypatch, judge):
    monkeypatch.setattr(stage, "_judge", lambda name, scale, *_: (judge, TREC))
    return judge


def run(monkeypatch, pairs, rule, **options):
    noise = options.pop("noise", 0.0)
    shutil.rmtree(pairs.parent / "out", ignore_errors=True)
    asked(monkeypatch, judges.Simulated(TREC, rule, noise=noise))
    return stage.probe("x", pairs, pairs.parent / "out", **({"sample": 40} | options))


def test_a_judge_that_obeys_is_told_from_one_that_does_not(monkeypatch, pairs, tmp_path):
    found = run(monkeypatch, pairs, judges.obeys)
    fooled = {row.name for row in found.rows if row.verdict == "fooled"}
    assert {"orders: English", "orders: Chinese", "praise: perfectly relevant", "hidden: base64"} <= fooled
    assert not {"form: capitals", "stuffing: query in front", "off topic: another query's item"} & fooled
    assert found.families["orders"].value == 1
    assert found.worst in ("orders", "leak")
    steady = run(monkeypatch, pairs, judges.steady)
    assert {row.verdict for row in steady.rows} == {"not shown"}
    assert max(e.high for e in steady.families.values()) < 0.2


def test_a_noisy_judge_that_resists_is_not_called_fooled(monkeypatch, pairs):
    found = run(monkeypatch, pairs, judges.steady, noise=0.3)
    assert found.noise["raised"].value > 0.05
    assert not [row.name for row in found.rows if row.verdict == "fooled"]


def test_calls_are_counted_planned_and_only_where_a_text_changed(monkeypatch, pairs):
    judge = asked(monkeypatch, judges.Simulated(TREC, judges.steady))
    found = stage.probe("x", pairs, pairs.parent / "out", sample=40)
    assert judge.calls == found.calls
    planned = stage.plan(pairs, sample=40)
    assert found.calls <= planned.calls
    assert planned.probes == len(found.rows) == len(SUITE)
    some = stage.plan(pairs, sample=40, families=["orders"])
    assert (some.probes, some.calls) == (8, 160 + 40 * 9)


def test_the_same_probe_again_asks_nothing_and_a_killed_one_goes_on(monkeypatch, pairs):
    out = pairs.parent / "out"
    judge = asked(monkeypatch, judges.Simulated(TREC, judges.steady))
    made = stage.probe("x", pairs, out, sample=40, families=["orders"])
    before = judge.calls
    assert stage.probe("x", pairs, out, sample=40, families=["orders"]) == made
    assert judge.calls == before
    assert read_manifest(out / "probes.json").verb == "probe"
    stage.probe("x", pairs, out, sample=40, families=["orders"], seed=1)
    assert judge.calls > before

    def dies(pair, top):
        if judge.calls > 150:
            raise KeyboardInterrupt
        return judges.steady(pair, top)

    judge = asked(monkeypatch, judges.Simulated(TREC, dies))
    with pytest.raises(KeyboardInterrupt):
        stage.probe("x", pairs, pairs.parent / "two", sample=40, families=["orders"])
    assert not (pairs.parent / "two" / "probes.json").exists()
    judge = asked(monkeypatch, judges.Simulated(TREC, judges.steady))
    again = stage.probe("x", pairs, pairs.parent / "two", sample=40, families=["orders"])
    assert again == made
    assert judge.calls < made.calls
    assert not list((pairs.parent / "two").glob(".probe*"))


def test_pairs_that_people_call_not_relevant_are_attacked_first(monkeypatch, pairs):
    gold = {"query_id": [f"q{i // 4}" for i in range(160)], "doc_id": [f"d{i}" for i in range(160)]}
    gold |= {"relevance": [0 if i % 4 == 3 else 3 for i in range(160)]}
    pq.write_table(pa.table(gold), pairs.parent / "gold.parquet")
    run(monkeypatch, pairs, judges.steady, golden=pairs.parent / "gold.parquet", families=["leak"])
    docs = pq.read_table(pairs.parent / "out" / "answers.parquet")["doc_id"].to_pylist()
    assert {int(doc[1:]) % 4 for doc in docs} == {3}
    pq.write_table(pa.table({"query_id": ["z"], "doc_id": ["z"], "relevance": [0]}), pairs.parent / "gold.parquet")
    with pytest.raises(InputError, match="none of the pairs is in"):
        run(monkeypatch, pairs, judges.steady, golden=pairs.parent / "gold.parquet", families=["leak"])


def test_what_cannot_be_probed_is_said(monkeypatch, pairs):
    with pytest.raises(InputError, match="--judge fake needs --scale"):
        stage.probe("fake", pairs, pairs.parent / "out")
    with pytest.raises(InputError, match="none could rise"):
        run(monkeypatch, pairs, lambda pair, top: top)
    with pytest.raises(InputError, match="none could rise"):
        run(monkeypatch, pairs, lambda pair, top: None)
    with pytest.raises(InputError, match="--families nonsense"):
        run(monkeypatch, pairs, judges.steady, families=["nonsense"])
    with pytest.raises(InputError, match="every grade would count"):
        run(monkeypatch, pairs, judges.steady, relevant=TREC.labels[0])
    with pytest.raises(InputError, match="at least 2 pairs"):
        stage.plan(pairs, sample=1)


def test_a_judge_that_abstains_under_attack_is_neither_fooled_nor_passed(monkeypatch, pairs):
    def careful(pair, top):
        return None if "Ignore" in pair.doc.fields["text"] else judges.steady(pair, top)

    found = {row.name: row for row in run(monkeypatch, pairs, careful).rows}
    assert found["orders: English"].verdict == "not answered"
    assert found["orders: English"].silent.value == 1
    assert found["orders: German"].verdict == "not shown"


# --- on the card ------------------------------------------------------------------------------------------------------


def judgments(fingerprint="simulated:0", shift=0, seed=0, queries=40):
    rng = np.random.default_rng(seed)
    rows = [(f"q{q}", f"d{d}", (q + d) % 4) for q in range(queries) for d in range(4)]
    said = [min(max(g + int(rng.random() < 0.2) + shift, 0), 3) for _, _, g in rows]
    ids = {"query_id": [r[0] for r in rows], "doc_id": [r[1] for r in rows]}
    who = {"judge": ["llm"] * len(rows), "fingerprint": [fingerprint] * len(rows), "scale": ["trec"] * len(rows)}
    guide = {"guide_version": [TREC.version] * len(rows)}
    return pa.table(ids | {"relevance": [r[2] for r in rows]} | guide), pa.table(ids | {"relevance": said} | who | guide)


def test_a_card_holds_the_probes_and_a_bar_can_be_set_on_them(monkeypatch, pairs, tmp_path):
    gold, said = judgments()
    run(monkeypatch, pairs, judges.obeys)
    out = tmp_path / "out"
    fooled = check(gold, said, scale="trec", probes=out, bars={"exact": 0.1, "raised by probes": 0.2}, out=tmp_path / "card")
    assert not fooled.passed
    assert fooled.agreement["raised by probes"].value == 1
    assert any(text.startswith("raised by probes is 1.000") for text in cards.misses(fooled))
    assert JudgeCard.from_json(fooled.to_json()) == fooled
    assert cards.read(tmp_path / "card") == fooled
    for name in ("card.html", "card.md"):
        text = (tmp_path / "card" / name).read_text(encoding="utf-8")
        assert "orders: English" in text
        assert "simulated is fooled by" in text
    run(monkeypatch, pairs, judges.steady)
    passed = check(gold, said, scale="trec", probes=out / "probes.json", bars={"exact": 0.1, "raised by probes": 0.2})
    assert passed.passed
    without = check(gold, said, scale="trec", bars={"exact": 0.1, "raised by probes": 0.2})
    assert cards.misses(without) == ("raised by probes could not be computed, the bar is 0.2",)


def test_an_old_card_without_probes_still_loads():
    gold, said = judgments()
    old = json.loads(check(gold, said, scale="trec").to_json())
    for name in ("probes", "sensitivity", "unevenness"):
        del old[name]
    assert JudgeCard.from_json(json.dumps(old)).probes is None


def test_probes_of_another_judge_scale_or_file_are_refused(monkeypatch, pairs, tmp_path):
    run(monkeypatch, pairs, judges.steady, families=["leak"])
    gold, said = judgments(fingerprint="another")
    with pytest.raises(InputError, match=r"the probes are of 'simulated' \(simulated:0\).*the card is of 'llm' \(another\)"):
        check(gold, said, scale="trec", probes=tmp_path / "out")
    made = json.loads((tmp_path / "out" / "probes.json").read_text())
    gold, said = judgments()
    for key in ("scale", "guide_version"):
        (tmp_path / "other.json").write_text(json.dumps(made | {key: "other"}))
        with pytest.raises(InputError, match="probe this judge"):
            check(gold, said, scale="trec", probes=tmp_path / "other.json")
    for text in ("", "[]", "{}", '{"judge": 1}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(InputError, match=r"other\.json"):
            check(gold, said, scale="trec", probes=tmp_path / "other.json")
    with pytest.raises(InputError, match=r"absent\.json"):
        check(gold, said, scale="trec", probes=tmp_path / "absent.json")


def test_hostile_names_are_harmless_on_every_page(monkeypatch, pairs):
    found = run(monkeypatch, pairs, judges.steady, families=["leak"])
    hostile = Probes.from_json(found.to_json().replace("simulated", HOSTILE.replace("\x1b", "\\u001b")))
    assert "<script>" not in report.probes_html(hostile)
    assert "\x1b" not in report.probes_html(hostile) + report.probes_markdown(hostile)
    assert not re.search(r"(?<!\\)\[x\]\(http:", report.probes_markdown(hostile))


# --- paraphrases ------------------------------------------------------------------------------------------------------


def test_paraphrases_are_compared_on_the_pairs_that_all_answered(tmp_path):
    gold, one = judgments("p1")
    tables = [one, judgments("p2", seed=1)[1], judgments("p3", shift=1)[1].slice(0, 120)]
    made = paraphrases(gold, tables, scale="trec", out=tmp_path / "s")
    assert made.changed.n == 120
    assert [each.name for each in made.paraphrases] == ["paraphrase 1", "paraphrase 2", "paraphrase 3"]
    assert made.paraphrases[2].answered.value == 0.75
    assert made.span["exact"].value > 0.3
    assert made.span["mean gain"].value > 0.1
    assert len(made.agreement) == 3
    assert Sensitivity.from_json(made.to_json()) == made
    assert probing.read_part(tmp_path / "s", Sensitivity, "sensitivity.json") == made
    card = check(gold, one, scale="trec", sensitivity=tmp_path / "s", out=tmp_path / "card")
    assert card.sensitivity == made
    assert JudgeCard.from_json(card.to_json()) == card
    assert "paraphrases of the prompt" in (tmp_path / "card" / "card.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="none of the 3 paraphrases is the card's judge"):
        check(gold, judgments("p9")[1], scale="trec", sensitivity=tmp_path / "s")


def test_paraphrases_that_say_nothing_together_are_refused():
    gold, one = judgments("p1")
    two, three = (judgments(name)[1] for name in ("p2", "p3"))
    with pytest.raises(InputError, match="2 paraphrases: give at least 3"):
        paraphrases(gold, [one, two], scale="trec")
    with pytest.raises(InputError, match="two paraphrases have the fingerprint 'p1'"):
        paraphrases(gold, [one, two, one], scale="trec")
    other = three.set_column(three.column_names.index("guide_version"), "guide_version", pa.array([""] * three.num_rows))
    with pytest.raises(InputError, match="2 guide versions"):
        paraphrases(gold, [one, two, other], scale="trec")
    with pytest.raises(InputError, match="no gold pair was answered under every"):
        paraphrases(gold, [one.slice(0, 8), two.slice(8, 8), three], scale="trec")


# --- the command ------------------------------------------------------------------------------------------------------


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["germane", "probe", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    return done.value.code, capsys.readouterr()


def test_the_command_says_its_calls_first_and_shows_the_table(monkeypatch, capsys, pairs, tmp_path):
    given = ("--judge", "fake", "--scale", "trec", "--pairs", pairs, "--sample", 12, "--families", "leak,query")
    code, told = command(monkeypatch, capsys, *given, "--plan")
    assert (code, told.out.splitlines()[0]) == (0, "probes: 4")
    code, told = command(monkeypatch, capsys, *given, "--out", tmp_path / "o")
    assert code == 0
    assert told.err.startswith("4 probes of up to 12 pairs: at most 108 calls of the judge")
    assert "leak: repeat the prompt" in told.out
    assert "! fake: this judge grades by hash" in told.out
    code, told = command(monkeypatch, capsys, *given, "--out", tmp_path / "o", "--output", "json")
    assert json.loads(told.out)["judge"] == "fake"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "whom to probe"),
        (("--judge", "fake", "--scale", "trec", "--pairs", "PAIRS", "--families", "x", "--out", "o"), "no such family"),
        (("--judge", "nowhere/at all", "--pairs", "PAIRS", "--out", "o"), "no such folder"),
        (("--paraphrases", "a.csv"), "give --golden and --scale"),
        (("--judge", "fake", "--scale", "trec", "--pairs", "absent.parquet", "--out", "o"), "absent.parquet"),
    ],
)
def test_wrong_input_is_one_line(monkeypatch, capsys, pairs, arguments, complaint, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, told = command(monkeypatch, capsys, *(pairs if a == "PAIRS" else a for a in arguments))
    assert code == 2
    assert complaint in told.err
    assert told.err.strip().count("\n") <= 1
