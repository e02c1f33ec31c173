"""The command line as a user meets it: what is printed where, exit codes, one line for wrong input, pipes."""

import importlib
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from germane import cli, settings
from germane.cli.app import EXPERIMENT, GOLDEN, GUIDE, PARTS, SIGNAL, TRAIN, WATCH
from germane.types import InputError

QRELS = "q1 0 a 3\nq1 0 b 0\nq1 0 c 1\nq2 0 a 2\nq2 0 d 0\nq3 0 e 1\n"
RUN = "q1 Q0 b 1 9.5 base\nq1 Q0 a 2 7.1 base\nq1 Q0 x 3 2.0 base\nq2 Q0 a 1 4.2 base\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a small qrels file and run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "j.qrels").write_text(QRELS)
    (tmp_path / "base.run").write_text(RUN)
    return tmp_path


@pytest.fixture
def germane(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Call the command line in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["germane", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        out, err = capfd.readouterr()
        return code, out, err

    return call


OF_GROUPS = {"train": TRAIN, "guide": GUIDE, "golden": GOLDEN, "signal": SIGNAL, "watch": WATCH, "experiment": EXPERIMENT}
COMMANDS = [f"{group} {what}" for group, of in OF_GROUPS.items() for what in of]


def run(command: str, **options) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | options.pop("env", {})
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env, **options)


# --- shape ----------------------------------------------------------------------------------------------------------


def test_every_verb_has_a_command_and_every_command_a_verb(germane):
    code, out, _ = germane("--help")
    assert code == 0
    assert re.findall(r"^  ([a-z]+)  +[A-Z]", out.partition("Commands:")[2], re.MULTILINE) == list(cli.VERBS)


@pytest.mark.parametrize("verb", [*cli.VERBS, *COMMANDS])
def test_the_help_of_a_verb_starts_with_a_question(germane, verb):
    code, out, _ = germane(*verb.split(), "--help")
    assert code == 0
    assert re.match(r"Usage: germane \S+ .*\n\n  [A-Z][^.]*?\?\n", out, re.DOTALL)


# Of commands that have options of their own.
GROUPS = ("train", "guide", "golden", "signal", "account", "registry", "watch", "experiment")


@pytest.mark.parametrize("verb", [*(verb for verb in cli.VERBS if verb not in GROUPS), *COMMANDS, "account list"])
def test_every_verb_can_print_json(germane, verb):
    assert "--output" in germane(*verb.split(), "--help")[1]


@pytest.mark.parametrize("path", sorted({*cli.VERBS.values(), *PARTS.values()}))
def test_every_command_leads_to_a_function(path):
    module, _, name = path.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_every_way_to_train_is_a_command(germane):
    out = germane("train", "--help")[1]
    assert re.findall(r"^  ([a-z-]+)  +[A-Z]", out.partition("Commands:")[2], re.MULTILINE) == list(TRAIN)


# --- wrong input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("evaluate", "none.qrels", "base.run", "RR"), "cannot read none.qrels"),
        (("evaluate", "j.qrels", "base.run", "nDGC@10"), "metric 'nDGC' is not known"),
        (("evaluate", "j.qrels", "base.run", "RR", "--scale", "esc"), "esci"),
        (("evaluate", "other.qrels", "base.run", "RR"), "no query is in both"),
        (("schema", "run"), "did you mean 'runs'?"),
        (("import", "judgements", "j.qrels"), "--out"),
        (("import", "rnu", "j.qrels", "--out", "x.parquet"), "did you mean 'run'?"),
        (("import", "run", "base.run", "--out", "x.parquet", "--judge", "me"), "--judge"),
        (("sample", "j.qrels", "-n", "3", "--out", "x.csv"), "x.csv: a table of germane is a .parquet file"),
        (("collect", "q.csv", "d.csv", "--out", "x.parquet", "--option", "k1"), "--option k1: expected NAME=VALUE"),
        (("segment", "q.csv", "--out", "x.parquet", "--threshold", "head=a"), "expected NAME=NUMBER"),
    ],
)
def test_wrong_input_is_one_line_on_stderr_and_exit_code_2(folder, germane, arguments, complaint):
    (folder / "other.qrels").write_text("z9 0 a 1\n")
    before = sorted(folder.iterdir())
    code, out, err = germane(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("germane: ")
    assert err.count("\n") == 1
    assert complaint in err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "arguments", [("compare",), ("evaluate", "--nope"), ("nope",), ("evaluate", "a", "b", "RR", "-p", "x")]
)
def test_wrong_usage_is_exit_code_2_too(germane, arguments):
    code, out, err = germane(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("germane: ")
    assert err.count("\n") == 1
    assert "--help" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--multiple", "holm"), "expected one of bh, by, hierarchical"),
        (("--finite",), "--finite needs a design"),
        (("--by", "weight"), "expected queries"),
        (("--by", "traffic"), "needs a design"),
        (("--adjust", "past"), "needs a design"),
        (("--clusters", "user"), "needs a design"),
        (("--expected",), "not every judgment has probabilities"),
        (("--unpaired", "--clusters", "user"), "two estimators"),
        (("--audit-sample", "base.run"), "pass both"),
    ],
)
def test_every_option_of_compare_reaches_it(folder, germane, options, said):
    rng, rows, grades = random.Random(1), {"control": [], "treatment": []}, []
    for q in range(40):
        truth = [rng.randrange(4) for _ in range(6)]
        grades += [f"q{q} 0 d{d} {grade}" for d, grade in enumerate(truth)]
        for arm, lines in rows.items():
            lines += [f"q{q} Q0 d{d} 0 {grade + rng.gauss(0, 2):.4f} {arm}" for d, grade in enumerate(truth)]
    for arm, lines in rows.items():
        (folder / f"{arm}.run").write_text("\n".join(lines) + "\n")
    (folder / "all.qrels").write_text("\n".join(grades) + "\n")
    runs = ("--control", "control.run", "--treatment", "treatment.run", "--judgments", "all.qrels", "--scale", "trec")
    assert germane("compare", *runs)[0] == 0
    code, _, err = germane("compare", *runs, *options)
    assert code == 2
    assert said in err


def test_debug_shows_where_an_error_was_found(folder, germane, monkeypatch):
    monkeypatch.setenv("GERMANE_DEBUG", "1")
    with pytest.raises(InputError, match=r"none\.qrels"):
        germane("evaluate", "none.qrels", "base.run", "RR")


def test_a_fault_of_ours_says_so_and_exits_70(folder, germane, monkeypatch):
    monkeypatch.setitem(cli.VERBS, "schema", "germane.pipeline.schema:no_such_function")
    code, out, err = germane("schema")
    assert (code, out) == (70, "")
    assert err.count("\n") == 1
    assert "a fault of germane" in err
    assert "GERMANE_DEBUG=1" in err


def test_a_message_of_several_lines_becomes_one(capsys):
    assert cli.fail(InputError("two\n  lines")) == 2
    assert capsys.readouterr().err == "germane: two lines\n"


# --- pipes ----------------------------------------------------------------------------------------------------------


def test_a_reader_that_has_had_enough_is_no_error(folder):
    (folder / "long.qrels").write_text("".join(f"q{i} 0 a 1\n" for i in range(20000)))
    (folder / "long.run").write_text("".join(f"q{i} Q0 a 1 1.0 x\n" for i in range(20000)))
    for command in ("germane evaluate -q long.qrels long.run RR | head -1", "germane schema | true"):
        done = run(command, cwd=folder)
        assert done.stderr == ""
        assert done.stdout in ("q0\tRR\t1.0000\n", "")


def test_files_come_from_and_go_to_pipes(folder):
    done = run("cat base.run | germane evaluate j.qrels - RR; germane import run - --out - < base.run", cwd=folder)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "RR\t0.5000"
    assert [line.split()[:4] for line in lines[1:]] == [line.split()[:4] for line in RUN.splitlines()]


def test_a_console_without_the_letters_of_a_query_still_prints(folder):
    (folder / "j.qrels").write_text("größe 0 a 1\n", encoding="utf-8")
    (folder / "base.run").write_text("größe Q0 a 1 1.0 x\n", encoding="utf-8")
    done = run("germane evaluate -q -n j.qrels base.run RR", cwd=folder, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout == "gr\\xf6\\xdfe\tRR\t1.0000\n"


# --- evaluate, as ir_measures prints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [[], ["-q"], ["-q", "-n"], ["-p", "6"], ["--by_query", "--places", "-1"]])
def test_evaluate_prints_what_ir_measures_prints(folder, germane, flags):
    metrics = "nDCG@10 P(rel=2)@5 RR"
    theirs = run(f"ir_measures j.qrels base.run '{metrics}' {' '.join(flags)}", cwd=folder).stdout.splitlines()
    code, out, err = germane("evaluate", "j.qrels", "base.run", metrics, *flags)
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == sorted(theirs)


def test_evaluate_gives_each_mean_an_interval_in_json(folder, germane):
    found = json.loads(germane("evaluate", "j.qrels", "base.run", "RR", "-o", "json")[1])
    assert found["queries"] == 3
    assert found["missing"] == ["q3"]
    assert found["measures"]["RR"]["value"] == pytest.approx(0.5)
    assert found["measures"]["RR"]["n"] == 3
    assert found["measures"]["RR"]["low"] < 0.5 < found["measures"]["RR"]["high"]
    assert found["rows"] == []


def test_evaluate_gives_rows_and_means_in_json_and_null_where_there_is_no_number(folder, germane):
    found = json.loads(germane("evaluate", "j.qrels", "base.run", "RR Share(rel=1)@3", "-q", "-o", "json")[1])
    rows = {(row["query_id"], row["measure"]): row["value"] for row in found["rows"]}
    assert len(rows) == 6
    assert rows["q3", "Share(rel=1)@3"] is None
    assert found["measures"]["RR"]["value"] == pytest.approx(sum(rows[q, "RR"] for q in ("q1", "q2", "q3")) / 3)
    (folder / "one.qrels").write_text("q1 0 a 1\n")
    alone = json.loads(germane("evaluate", "one.qrels", "base.run", "RR", "-o", "json")[1])["measures"]["RR"]
    assert alone["value"] == pytest.approx(rows["q1", "RR"])
    assert (alone["low"], alone["high"], alone["n"]) == (None, None, 1)
    assert alone["caveat"] == "no interval: 1 of the queries have a value, 2 are needed"


# --- settings and projects --------------------------------------------------------------------------------------------


def test_init_makes_a_project_and_touches_nothing_that_is_there(folder, germane):
    (folder / "runs").mkdir()
    (folder / "germane.toml").write_text('scale = "trec"\n')
    code, out, _ = germane("init", ".", "--output", "json")
    found = json.loads(out)
    assert code == 0
    assert set(found["kept"]) == {"runs", "germane.toml"}
    assert (folder / "germane.toml").read_text() == 'scale = "trec"\n'
    assert json.loads(germane("init", ".", "-o", "json")[1])["created"] == []


def test_what_init_writes_are_the_defaults(folder, germane):
    germane("init", ".", "--scale", "esci")
    found = settings.load()
    assert found == settings.Settings(scale="esci", path=Path("germane.toml"))


def test_settings_give_defaults_and_the_command_line_wins(folder, germane):
    (folder / "germane.toml").write_text('scale = "trec"\n')
    assert "sDCG@5\t" in germane("evaluate", "j.qrels", "base.run", "sDCG@5")[1]
    code, _, err = germane("evaluate", "j.qrels", "base.run", "sDCG@5", "--scale", "nope")
    assert (code, "nope" in err) == (2, True)


def test_files_go_to_the_project_s_folders(folder, germane):
    germane("init", ".")
    code, out, _ = germane("import", "run", "base.run", "-o", "json")
    assert (code, json.loads(out)["out"]) == (0, str(Path("runs/base.parquet")))
    assert (folder / "runs" / "base.parquet").is_file()


def test_settings_are_found_from_a_folder_below(folder, monkeypatch):
    (folder / "germane.toml").write_text('scale = "mine.toml"\n[folders]\nruns = "rankings"\n')
    (folder / "deep").mkdir()
    monkeypatch.chdir(folder / "deep")
    found = settings.load()
    assert found.folder("runs") == Path("../rankings")
    assert found.scale == str(Path("../mine.toml"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('metrik = "sDCG@10"', "unknown key 'metrik': did you mean 'metric'?"),
        ("zzz = 1", "unknown key 'zzz': known are scale, metric"),
        ('[folders]\nrunz = "r"', "unknown key 'folders.runz': did you mean 'folders.runs'?"),
        ('k = "ten"', "'k' must be of type int, found 'ten'"),
        ("k = true", "'k' must be of type int"),
        ("k = 0", "'k' must be at least 1"),
        ("level = 95", "'level' must lie between 0 and 1"),
        ("folders = 3", "'folders' must be a table"),
        ("ray = 3", "'ray' must be a table ([ray])"),
        ('[ray]\nadress = "auto"', "unknown key 'ray.adress': did you mean 'ray.address'?"),
        ('[ray]\nactors = "two"', "'ray.actors' must be of type int"),
        ("k = ", "germane.toml: "),
    ],
)
def test_a_fault_in_the_settings_is_named(folder, germane, text, complaint):
    (folder / "germane.toml").write_text(text)
    code, out, err = germane("evaluate", "j.qrels", "base.run", "RR")
    assert (code, out) == (2, "")
    assert complaint in err
    code, out, _ = germane("doctor")
    assert code == 1
    assert complaint in out


# --- doctor and schema ------------------------------------------------------------------------------------------------


def test_doctor_finds_this_machine_ready(folder, germane, monkeypatch):
    monkeypatch.delenv("GERMANE_DATA", raising=False)
    code, out, _ = germane("doctor", "-o", "json")
    found = {row["subject"]: row for row in json.loads(out)}
    assert code == 0
    assert found["core packages"]["state"] == "ok"
    assert found["GERMANE_DATA"]["state"] == "absent"
    assert found["extra dev"]["state"] == "ok"


def test_doctor_is_not_content_with_a_folder_that_is_not_there(folder, germane, monkeypatch):
    monkeypatch.setenv("GERMANE_DATA", "/no/such/folder")
    code, out, _ = germane("doctor")
    assert code == 1
    assert "/no/such/folder is not a folder" in out


def test_doctor_names_a_package_that_is_too_old_absent_or_too_new():
    from germane.pipeline import doctor

    assert doctor._fault("numpy", ">=99", imported=False).endswith("needed is >=99")
    assert doctor._fault("numpy", ">=1,<2", imported=False).endswith("needed is >=1,<2")
    assert doctor._fault("no-such-package", ">=1", imported=False) == "no no-such-package"
    assert doctor._fault("numpy", ">=1.20", imported=True) == ""
    assert [doctor._module(name) for name in ("ibis-framework", "duckdb", "scikit-learn")] == ["ibis", "duckdb", "sklearn"]
    assert doctor._python((3, 14, 0)).state == "broken"
    assert doctor._python((3, 12, 1)).state == "ok"


def test_schema_lists_every_kind(germane):
    from germane.store import SCHEMAS

    rows = json.loads(germane("schema", "-o", "json")[1])
    assert {row["kind"] for row in rows} == set(SCHEMAS)
