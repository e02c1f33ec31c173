"""`germane label --judge llm:...` from files to files: the gate, the forecast, kills, budgets, examples, and wrong input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nasty_server as nasty
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("langgraph")

from germane import cli, sources, store
from germane.scales import ESCI

SAME = nasty.good()
N = 12


@pytest.fixture
def germane(tmp_path, monkeypatch, capsys):
    """The command line in a folder with pairs.parquet and golden.csv: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    pq.write_table(pairs(N), "pairs.parquet")
    rows = [f"q{i // 4},d{i},{'ICSE'[i % 4]}" for i in range(N)]
    (tmp_path / "golden.csv").write_text("\n".join(["query_id,doc_id,label", *rows]) + "\n")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["germane", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        told = capsys.readouterr()
        return end.value.code or 0, told.out, told.err

    return run


def pairs(n, start=0):
    rows = range(start, start + n)
    columns = {"query_id": [f"q{i // 4}" for i in rows], "query": [f"chair {i // 4}" for i in rows]}
    return pa.table(columns | {"doc_id": [f"d{i}" for i in rows], "text": [f"title: chair number {i}" for i in rows]})


def options(url, **more):
    said = {"judge": "llm:compatible/m", "url": url, "scale": "esci", "pairs": "pairs.parquet", "out": "j.parquet"} | more
    flags = []
    for name, value in said.items():
        flags += [f"--{name.replace('_', '-')}"] if value is True else [f"--{name.replace('_', '-')}", value]
    return [flag for flag in flags if flag is not None]


def test_golden_pairs_are_labelled_without_a_card_and_others_need_one(germane):
    with nasty.server(SAME) as (url, calls):
        code, _, err = germane("label", *options(url))
        assert (code, calls) == (2, [])
        assert "has no judge card on scale 'esci'" in err
        assert "--allow no-card" in err
        code, out, _ = germane("label", *options(url, golden="golden.csv"))
        assert code == 0
        assert "outcomes: label 12" in out
        pq.write_table(pairs(N + 3), "more.parquet")
        code, _, err = germane("label", *options(url, golden="golden.csv", pairs="more.parquet", out="k.parquet"))
        assert code == 2
        assert "3 of these pairs are not golden" in err
        code, out, _ = germane("label", *options(url, pairs="more.parquet", out="k.parquet", allow="no-card"))
        assert code == 0
        assert "note: --allow no-card: the annotator has no passing card" in out
    assert len(calls) == N + 3, "the golden pairs were known"
    assert store.read_manifest("k.parquet").extra["label"]["overrides"] == [
        "--allow no-card: the annotator has no passing card for this scale and guide"
    ]


def test_a_card_that_passed_opens_the_gate_and_one_of_another_annotator_does_not(germane, tmp_path):
    truth = nasty.good(lambda said: "ICSE"[int(said.partition("chair number ")[2].split("\n")[0]) % 4])
    rows = [f"q{i // 4},d{i},{'ICSE'[i % 4]}" for i in range(400)]
    (tmp_path / "golden.csv").write_text("\n".join(["query_id,doc_id,label", *rows]) + "\n")
    pq.write_table(pairs(400), "golden.parquet")
    pq.write_table(pairs(4, 400), "pairs.parquet")
    with nasty.server(truth) as (url, _):
        assert germane("label", *options(url, golden="golden.csv", pairs="golden.parquet"))[0] == 0
        assert germane("check", "golden.csv", "j.parquet", "--scale", "esci", "--out", "card")[0] == 0
        code, out, _ = germane("label", *options(url, card="card", out="k.parquet"))
        assert (code, "note:" in out) == (0, False)
        code, _, err = germane("label", *options(url, card="card", out="l.parquet", phrasing="1"))
        assert code == 2
        assert "the card is of llm:" in err


def test_a_forecast_asks_nothing_needs_no_key_and_shows_a_prompt(germane):
    asked = ["--judge", "llm:openai/o3", "--scale", "esci", "--pairs", "pairs.parquet", "--samples", "5", "--early"]
    code, out, _ = germane("label", *asked, "--plan")
    assert code == 0
    assert "calls: 36 to 60" in out
    assert "dollars: $" in out
    assert "  [system]" in out
    assert "title: chair number 0" in out


def test_a_forecast_knows_what_is_known(germane):
    with nasty.server(SAME) as (url, _):
        germane("label", *options(url, golden="golden.csv"))
        _, out, _ = germane("label", *options(url, plan=True, output="json"))
    said = json.loads(out)
    assert said["known"] == "100% of the calls have a reply already"
    assert said["calls"] == "0"


def test_without_a_key_it_says_so_before_anything_else(germane):
    code, _, err = germane(
        "label", "--judge", "llm:openai/o3", "--scale", "esci", "--pairs", "pairs.parquet", "--out", "j.parquet"
    )
    assert code == 2
    assert "OPENAI_API_KEY" in err
    assert err.count("\n") == 1


def test_a_budget_ends_with_exit_code_1_and_the_next_call_goes_on(germane, tmp_path):
    (tmp_path / "prices.toml").write_text('[compatible]\n"m" = [10, 10, 10]\n')
    with nasty.server(SAME) as (url, calls):
        tight = options(url, golden="golden.csv", prices="prices.toml", budget="0.03", at_once="1")
        code, _, err = germane("label", *tight)
        assert code == 1
        assert "stopped before the budget of $0.03 was passed" in err
        assert not (tmp_path / "j.parquet").exists()
        before = len(calls)
        assert 0 < before < N
        code, out, _ = germane("label", *options(url, golden="golden.csv", prices="prices.toml", budget="1"))
    assert code == 0
    assert len(calls) == N
    assert f"{N - before} answered, {before} known from before" in out
    table = pq.read_table("j.parquet")
    assert sum(table["cost"].to_pylist()) == pytest.approx(float(out.partition("cost: $")[2].split(" ")[0]), abs=1e-4)


def test_low_coverage_is_exit_code_1_and_retry_asks_for_what_has_no_answer(germane):
    bad = [True]

    def answer(request, number):
        lame = "number 3" in nasty.words(request) and bad[0]
        return nasty.error(400, "no", "odd") if lame else SAME(request, number)

    with nasty.server(answer) as (url, calls):
        code, out, _ = germane("label", *options(url, golden="golden.csv", coverage="0.95"))
        assert code == 1
        assert "refused 1" in out
        bad[0] = False
        assert germane("label", *options(url, golden="golden.csv", coverage="0.95"))[0] == 1, "nothing had changed"
        code, out, _ = germane("label", *options(url, golden="golden.csv", coverage="0.95", retry=True))
    assert code == 0
    assert len(calls) == N + 1


def test_examples_are_of_golden_dev_and_never_of_what_is_sealed(germane, tmp_path):
    with nasty.server(SAME) as (url, calls):
        of = {"examples": "pairs.parquet", "example_labels": "golden.csv", "golden": "golden.csv"}
        assert germane("label", *options(url, **of))[0] == 0
        said = nasty.words(calls[0].request)
        assert said.count("Grade: ") == 4
        asked = said.partition("<query-")[2].partition("\n")[2].split("\n")[0]
        assert f"Query: {asked}\n" not in said, "no example of the query itself"
        facts = store.read_manifest("j.parquet").extra["judge"]
        assert len(facts["training_queries"]) == 3
        code, _, err = germane("label", *options(url, **of, sealed="pairs.parquet", out="k.parquet"))
        assert code == 2
        assert "12 examples are of queries in the sealed pairs" in err
        sealing = ("--scale", "esci", "--pairs", "pairs.parquet", "--raters", "1", "--out", "sealed")
        assert germane("golden", "seal", "golden.csv", *sealing)[0] == 0
        code, _, err = germane("label", *options(url, **of, sealed="sealed", out="k.parquet"))
        assert code == 2
        assert "examples are of queries in the sealed pairs sealed" in err
        (tmp_path / "test.csv").write_text("query_id,doc_id,label,split\nq0,d0,E,test\nq0,d1,I,dev\n")
        code, _, err = germane("label", *options(url, **(of | {"example_labels": "test.csv"}), out="k.parquet"))
        assert code == 2
        assert "holds golden test" in err


def test_a_judge_that_was_shown_golden_queries_is_refused_a_card_on_them(germane):
    pq.write_table(pairs(N).select(["query_id", "query"]).group_by(["query_id", "query"]).aggregate([]), "queries.parquet")
    with nasty.server(SAME) as (url, _):
        of = {"examples": "pairs.parquet", "example_labels": "golden.csv", "golden": "golden.csv"}
        germane("label", *options(url, **of))
    code, _, err = germane("check", "golden.csv", "j.parquet", "--scale", "esci", "--queries", "queries.parquet")
    assert code == 2
    assert "trained-on-gold" in err


def test_a_context_column_makes_pairs_differ_and_is_read(germane):
    table = pairs(2).set_column(3, "text", pa.array(["same", "same"])).append_column("context", pa.array(["cars", "pets"]))
    pq.write_table(table, "pairs.parquet")
    with nasty.server(SAME) as (url, calls):
        assert germane("label", *options(url, allow="no-card"))[0] == 0
    assert sorted("cars" in nasty.words(c.request) for c in calls) == [False, True]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--judge", "llm:openai"], "names no model"),
        (["--judge", "llm:nobody/m"], "there is no provider 'nobody'"),
        (["--judge", "llm:openai/m$(id)"], "names no model"),
        (["--vote", "mean"], "--vote mean: expected majority or median"),
        (["--samples", "200"], "give 1 to 99"),
        (["--early"], "it needs --samples 3 or more"),
        (["--mode", "symbol", "--samples", "3"], "leave --samples out"),
        (["--phrasing", "9"], "phrasing 9"),
        (["--structured", "xml"], "--structured xml: expected schema, tool or text"),
        (["--examples", "pairs.parquet"], "go together"),
        (["--first", "llm:compatible/n"], "--samples 2 or more"),
        (["--accept", "0.5"], "--accept is of --first"),
        (["--allow", "everything"], "no such override"),
        (["--engine", "onnx"], "trained judges"),
        (["--model", "x"], "trained teacher"),
        (["--prices", "absent.toml"], "prices absent.toml"),
        (["--budget", "0"], "--budget 0"),
        (["--budget", "5", "--judge", "llm:anthropic/unknown"], "needs"),
        (["--budget", "5"], "the price of llm:compatible/m is not known"),
        (["--budget", "inf"], "--budget inf"),
        (["--timeout", "inf"], "a time limit above 0 seconds that ends"),
        (["--temperature", "inf"], "--temperature inf: expected 0 to 2"),
        (["--effort", "huge"], "--effort huge: expected none, minimal, low"),
        (["--sealed", "pairs.parquet"], "--sealed is of examples"),
        (["--each", "2"], "--each is of examples"),
        (["--url", "http://me:secret@127.0.0.1:9/v1"], "--url holds a login"),
        (["--replies", "pairs.parquet"], "pairs.parquet"),
        (["--card", "absent"], "judge card"),
        (["--pairs", "absent.parquet"], "absent.parquet"),
        (["--url", "ftp://x"], "no address of a server"),
        (["--judge", "llm:sample/recorded", "--replies", "nowhere"], "recording.jsonl"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(germane, tmp_path, more, said):
    code, _, err = germane("label", *options("http://127.0.0.1:9/v1", golden="golden.csv"), *more)
    assert code == 2, err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "j.parquet").exists()


def test_options_of_language_models_are_refused_for_other_judges(germane):
    code, _, err = germane(
        "label", "--judge", "fake", "--scale", "esci", "--pairs", "pairs.parquet", "--out", "j.parquet", "--samples", "3"
    )
    assert code == 2
    assert "--samples is of language models" in err


def test_the_recorded_sample_walks_the_whole_path_without_a_key(germane):
    code, out, _ = germane("label", "--sample", "s")
    assert code == 0
    assert "simulated: no model wrote these replies" in out
    steps = [f"germane {step}" for step in out.partition("next: germane ")[2].split("\n")[0].split(", germane ")]
    assert len(steps) == 4
    for step in steps:
        code, out, err = germane(*step.split()[1:])
        assert code == 0, err
    judged = pq.read_table("s/judged.parquet")
    assert set(judged["fingerprint"].to_pylist()) == {judged["fingerprint"][0].as_py()}
    assert judged["fingerprint"][0].as_py().startswith("fake:"), "compare refuses what no model said"


def test_a_label_job_that_is_killed_has_lost_nothing_that_was_answered(tmp_path):
    n = 400
    pq.write_table(pairs(n), tmp_path / "pairs.parquet")
    with nasty.server(nasty.slow(0.02, SAME)) as (url, calls):
        command = [sys.executable, "-m", "germane.cli", "label", *options(url, allow="no-card", at_once="8")]
        for _ in range(3):
            before = len(calls)
            running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while len(calls) < before + 60 and time.monotonic() < deadline and running.poll() is None:
                time.sleep(0.01)
            os.kill(running.pid, signal.SIGKILL)
            running.wait()
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert pq.read_metadata(tmp_path / "j.parquet").num_rows == n
    assert n <= len(calls) <= n + 3 * 8, "only calls in flight at a kill were asked again"


def test_the_doctor_looks_at_a_model(germane):
    with nasty.server(nasty.without("logprobs", SAME)) as (url, _):
        code, out, _ = germane("doctor", "--judge", "llm:compatible/m", "--url", url, "--scale", "esci", "-o", "json")
    assert code == 0
    states = {each["subject"]: each["state"] for each in json.loads(out)}
    assert states["structured output"] == "ok"
    assert states["logprobs"] == "absent"
    code, out, _ = germane("doctor", "--judge", "llm:compatible/m", "--url", "http://127.0.0.1:9/v1")
    assert code == 1
    assert "nothing answers" in out


def obedient(request, number):
    """A model that does as an item says, where it says to give the best grade."""
    said = nasty.words(request)
    item = said.partition("<item-")[2].partition("</item-")[0].lower()
    fooled = "ignore" in item or "grade" in item.partition("\n")[2]
    return nasty.chat(request, nasty.verdict("E" if fooled else "I"))


def test_a_model_is_probed_and_asked_again_past_its_kept_replies(germane, tmp_path):
    with nasty.server(obedient) as (url, calls):
        asked = ["--judge", "llm:compatible/m", "--url", url, "--scale", "esci", "--pairs", "pairs.parquet"]
        code, _, err = germane("probe", *asked, "--sample", "12", "--families", "orders", "--out", "probes", "--at-once", "8")
        assert code == 0, err
        first = len(calls)
        assert first >= 12 * 2, "each pair, and once more"
        code, _out, _ = germane("probe", *asked, "--sample", "12", "--families", "orders", "--out", "probes", "--at-once", "8")
        assert len(calls) == first
    assert (tmp_path / "probes" / "probes.json").is_file()


def test_three_wordings_of_a_prompt_are_held_beside_each_other(germane, tmp_path):
    with nasty.server(nasty.good(lambda said: "ES"[len(said) % 2])) as (url, _):
        for phrasing in range(3):
            of = options(url, golden="golden.csv", phrasing=str(phrasing), out=f"p{phrasing}.parquet")
            assert germane("label", *of)[0] == 0
    flags = [part for n in range(3) for part in ("--paraphrases", f"p{n}.parquet")]
    code, _out, err = germane("probe", *flags, "--golden", "golden.csv", "--scale", "esci", "--out", "spread")
    assert code == 0, err


def test_a_model_that_sees_is_shown_the_items_images(germane, tmp_path):
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "images").mkdir()
    image.new("RGB", (8, 8), "red").save(tmp_path / "images" / "d0.png")
    names = ["d0.png", "gone.png", "../../etc/passwd", "", *[""] * (N - 4)]
    pq.write_table(pa.table({"doc_id": [f"d{i}" for i in range(N)], "image": names}), "docs.parquet")
    with nasty.server(SAME) as (url, calls):
        of = options(url, golden="golden.csv", images="images", docs="docs.parquet")
        assert germane("label", *of)[0] == 0
    parts = [call.request["messages"][1]["content"] for call in calls]
    shown = [content for content in parts if not isinstance(content, str)]
    assert len(shown) == 1
    assert shown[0][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert shown[0][0]["text"].rstrip().endswith(">"), "the image stands inside the item's fence"
    notes = pq.read_table("j.parquet")["note"].to_pylist()
    assert "its image is not there" in notes[1]
    assert "lies outside" in notes[2]
    assert store.read_manifest("j.parquet").extra["judge"]["images"] is True


def test_a_forecast_counts_every_sample_and_both_models(germane, tmp_path):
    (tmp_path / "prices.toml").write_text('[compatible]\n"m" = [10, 10, 10]\n"cheap" = [1, 1, 1]\n')
    with nasty.server(SAME) as (url, _):
        germane("label", *options(url, golden="golden.csv"))
        asked = options(url, plan=True, output="json", prices="prices.toml")
        _, out, _ = germane("label", *asked, "--samples", "3", "--temperature", "0")
        assert json.loads(out)["calls"] == "36", "those known were asked at another temperature"
        germane("label", *options(url, golden="golden.csv", samples="3", out="k.parquet", limit="6"))
        _, out, _ = germane("label", *asked, "--samples", "3")
        assert json.loads(out)["calls"] == "18", "three samples of half of the pairs are known"
        _, alone, _ = germane("label", *asked, "--samples", "2", "--phrasing", "1")
        _, both, _ = germane("label", *asked, "--samples", "2", "--phrasing", "1", "--first", "llm:compatible/cheap")
    assert json.loads(both)["calls"] == "24 to 48, if the cheaper model hands every pair on"
    dollars = [float(json.loads(told)["dollars"].partition("$")[2].split(",")[0]) for told in (alone, both)]
    assert dollars[1] > dollars[0] > 0


def test_a_card_with_bars_of_its_own_is_said(germane):
    with nasty.server(SAME) as (url, _):
        germane("label", *options(url, golden="golden.csv"))
        code, _, err = germane("check", "golden.csv", "j.parquet", "--scale", "esci", "--bar", "exact=-1", "--out", "card")
        assert code == 0, err
        pq.write_table(pairs(4, N), "more.parquet")
        code, out, err = germane("label", *options(url, card="card", pairs="more.parquet", out="k.parquet"))
    assert code == 0, err
    assert "its card passed bars that are not the usual ones: exact -1, no bar for " in out


def test_pairs_that_nobody_has_graded_are_not_golden(germane, tmp_path):
    rows = Path("golden.csv").read_text().splitlines()
    empty = [rows[0], *(f"{row.rpartition(',')[0]}," for row in rows[1:])]
    (tmp_path / "empty.csv").write_text("\n".join(empty) + "\n")
    code, _, err = germane("label", *options("http://127.0.0.1:9/v1", golden="empty.csv"))
    assert code == 2
    assert f"{N} of these pairs are not golden" in err


def test_golden_labels_of_what_is_no_person_are_refused(germane, tmp_path):
    gold = store.read_table(store_judgments(tmp_path), "judgments")
    machine = gold.set_column(gold.column_names.index("judge"), "judge", pa.array(["a model"] * gold.num_rows))
    store.write_table(machine, tmp_path / "machine.parquet", "judgments", verb="test", inputs=(), parameters={}, seed=1)
    code, _, err = germane("label", *options("http://127.0.0.1:9/v1", golden="machine.parquet"))
    assert code == 2
    assert "it holds judgments of 'a model', and these must be people's (human:NAME)" in err


def store_judgments(folder):
    """The golden grades as a table of judgments."""
    table = sources.read_judgments(Path("golden.csv"), scale=ESCI)
    store.write_table(table, folder / "gold.parquet", "judgments", verb="test", inputs=(), parameters={}, seed=1)
    return folder / "gold.parquet"


def test_the_manifest_says_what_let_a_judge_in(germane):
    with nasty.server(SAME) as (url, _):
        germane("label", *options(url, golden="golden.csv"))
    assert store.read_manifest("j.parquet").extra["label"]["admitted_by"] == {"golden": "golden.csv"}


def test_the_cost_of_an_answer_that_stands_on_several_rows_is_there_once(germane, tmp_path):
    (tmp_path / "prices.toml").write_text('[compatible]\n"m" = [10, 10, 10]\n')
    table = pairs(4).set_column(1, "query", pa.array(["q"] * 4)).set_column(3, "text", pa.array(["a", "a", "b", "a"]))
    pq.write_table(table, "pairs.parquet")
    with nasty.server(SAME) as (url, calls):
        code, out, _ = germane("label", *options(url, allow="no-card", prices="prices.toml", output="json"))
    assert code == 0
    cost = pq.read_table("j.parquet")["cost"].to_pylist()
    said = json.loads(out)
    assert (said["asked"], said["currency"], len(calls)) == (2, "USD", 2)
    assert said["paid"] == pytest.approx(sum(cost))
    assert [c > 0 for c in cost] == [True, False, True, False]


def test_another_server_under_the_same_name_is_asked(germane):
    with nasty.server(SAME) as (url, _):
        germane("label", *options(url, golden="golden.csv"))
    with nasty.server(nasty.saying(nasty.verdict("I", "no"))) as (url, calls):
        germane("label", *options(url, golden="golden.csv"))
    assert len(calls) == N
    assert set(pq.read_table("j.parquet")["relevance"].to_pylist()) == {0}


def test_a_probe_says_what_it_may_cost_before_it_asks(germane, tmp_path):
    (tmp_path / "prices.toml").write_text('[compatible]\n"m" = [10, 10, 10]\n')
    said = ["--judge", "llm:compatible/m", "--url", "http://127.0.0.1:9/v1", "--scale", "esci", "--pairs", "pairs.parquet"]
    code, out, _ = germane("probe", *said, "--prices", "prices.toml", "--samples", "3", "--plan", "-o", "json")
    assert code == 0
    three = json.loads(out)
    _, out, _ = germane("probe", *said, "--prices", "prices.toml", "--plan", "-o", "json")
    one = json.loads(out)
    assert three["calls"] == 3 * one["calls"]
    assert three["dollars"] == pytest.approx(3 * one["dollars"], abs=0.02)
    assert one["dollars"] > 0


@pytest.mark.parametrize("name", ["pairs.parquet", "golden.parquet"])
def test_what_is_read_is_never_written_over(germane, tmp_path, name):
    store_judgments(tmp_path)
    (tmp_path / "gold.parquet").rename(tmp_path / "golden.parquet")
    before = (tmp_path / name).read_bytes()
    code, _, err = germane("label", *options("http://127.0.0.1:9/v1", golden="golden.parquet", out=name))
    assert code == 2
    assert f"{name} is a file that this reads" in err
    assert (tmp_path / name).read_bytes() == before


def test_prices_that_are_given_afterwards_are_counted_without_asking_again(germane, tmp_path):
    with nasty.server(SAME) as (url, calls):
        germane("label", *options(url, golden="golden.csv"))
        (tmp_path / "prices.toml").write_text('[compatible]\n"m" = [10, 10, 10]\n')
        _, out, _ = germane("label", *options(url, golden="golden.csv", prices="prices.toml"))
    assert "cost: $" in out
    assert len(calls) == N
    assert all(cost > 0 for cost in pq.read_table("j.parquet")["cost"].to_pylist())
