"""A day of the log: which requests are of it, who is sampled, and what they were shown."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from germane import store
from germane.settings import Settings, Watch, load
from germane.types import InputError
from germane.watching import calendar, drawing, measuring, plan, reading, texts
from germane.watching.measuring import measured

DAY = date(2026, 3, 2)


def planned(folder, **said):
    """A plan of a folder, as its settings would have it."""
    watch = Watch(**{"log": "{date}.parquet", "docs": "docs.parquet", "judge": "fake", "sample": 50, **said})
    return plan.of(Settings(scale="esci", watch=watch, path=folder / "germane.toml"))


def sampled(of, day, *files):
    with reading.opened(of, day, list(files)) as log:
        return log, drawing.draw(log, day)


def logged(path, rows, kind="us"):
    """A log of (time, query, shown) rows."""
    times, queries, shown = zip(*rows, strict=True)
    pq.write_table(pa.table({"time": list(times), "query": list(queries), "shown": list(shown)}), path)
    return path


def many(n, *, queries=300, seed=1, start=datetime(2026, 3, 2)):
    rng = np.random.default_rng(seed)
    picked = rng.zipf(1.5, n) % queries
    return [
        (start + timedelta(seconds=int(s)), f"query {q}", [f"d{q}", f"d{q + 1}"])
        for s, q in zip(rng.integers(0, 86_400, n), picked, strict=True)
    ]


# --- days -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Africa/Cairo", date(2026, 4, 24), 23),  # the clock is put on at midnight: the day begins at one
        ("Africa/Cairo", date(2026, 10, 29), 25),  # and back at the midnight that ends the day
        ("America/Havana", date(2026, 3, 8), 23),
        ("America/Havana", date(2026, 11, 1), 25),  # midnight comes twice
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
    ],
)
def test_days_tile_time_whatever_the_clock_does_at_midnight(zone, day, hours):
    of = ZoneInfo(zone)
    before, found, after = (calendar.span(day + timedelta(days=d), of) for d in (-1, 0, 1))
    assert (found.end - found.start) / timedelta(hours=1) == hours
    assert before.end == found.start
    assert found.end == after.start
    inside = found.start
    while inside < found.end:
        assert inside.astimezone(of).date() == day
        inside += timedelta(minutes=15)


def test_every_request_around_a_clock_change_is_of_exactly_one_day(tmp_path):
    begin = datetime(2026, 10, 28, tzinfo=UTC)
    rows = [(begin + timedelta(minutes=10 * i), f"q{i % 5}", ["d"]) for i in range(6 * 24 * 3)]
    path = logged(tmp_path / "log.parquet", rows)
    of = planned(tmp_path, log="log.parquet", zone="Africa/Cairo")
    counts = []
    for day in calendar.days(date(2026, 10, 27), date(2026, 10, 31)):
        with reading.opened(of, day, [path]) as log:
            counts.append(log.rows)
    assert sum(counts) == len(rows)
    assert counts[2] == 6 * 25


def test_a_log_of_naive_times_is_read_by_the_clock_of_the_log(tmp_path):
    path = logged(
        tmp_path / "log.parquet", [(datetime(2026, 3, 1, 23, 30), "a", ["d"]), (datetime(2026, 3, 2, 0, 30), "b", ["d"])]
    )
    for log_zone, zone, found in (("UTC", "UTC", 1), ("UTC", "Europe/Berlin", 2), ("Europe/Berlin", "Europe/Berlin", 1)):
        with reading.opened(planned(tmp_path, log_zone=log_zone, zone=zone), DAY, [path]) as log:
            assert log.rows == found


def test_a_day_in_one_zone_is_read_from_the_files_of_another(tmp_path):
    of = planned(tmp_path, zone="Asia/Tokyo", log="{date}-*.parquet")
    for name in ("2026-03-01-a", "2026-03-01-b", "2026-03-02-a", "2026-03-03-a"):
        (tmp_path / f"{name}.parquet").touch()
    assert [path.stem for path in of.files(DAY)] == ["2026-03-01-a", "2026-03-01-b", "2026-03-02-a"]
    assert of.has_log(DAY)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_text_logs_are_read_as_parquet_is(tmp_path, suffix):
    rows = [
        ("2026-03-02T00:10:00Z", 'say "hi", you', ["d1", "d2"]),
        ("2026-03-02 01:10:00+02:00", "late", ["d1"]),  # of the day before in UTC
        ("no time", "lost", ["d1"]),
        ("2026-03-02T05:00:00", "ＦＵＬＬ  width", []),
    ]
    path = tmp_path / f"log{suffix}"
    if suffix == ".jsonl":
        lines = [json.dumps({"time": t, "query": q, "shown": s}) for t, q, s in rows]
    else:
        mark = "," if suffix == ".csv" else "\t"
        lines = [mark.join(("time", "query", "shown"))]
        lines += [mark.join((t, '"' + q.replace('"', '""') + '"', f'"{",".join(s)}"')) for t, q, s in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    log, drawn = sampled(planned(tmp_path), DAY, path)
    assert drawn.table["query"].to_pylist() == ["full width", 'say "hi", you']
    assert drawn.table["shown"].to_pylist() == [[], ["d1", "d2"]]
    assert log.undated == 1


@pytest.mark.parametrize(("kind", "scale"), [("int64", 1), ("int64", 1000), ("float64", 1)])
def test_unix_seconds_and_milliseconds_are_times(tmp_path, kind, scale):
    seconds = [datetime(2026, 3, 2, tzinfo=UTC).timestamp() + s for s in (-1, 0, 86_399, 86_400)]
    times = np.array([s * scale for s in seconds]).astype(kind)
    pq.write_table(pa.table({"time": times, "query": list("abcd"), "shown": [["d"]] * 4}), tmp_path / "log.parquet")
    _, drawn = sampled(planned(tmp_path), DAY, tmp_path / "log.parquet")
    assert drawn.table["query"].to_pylist() == ["b", "c"]


def test_what_is_no_query_is_counted_and_left_out(tmp_path):
    rows = [(datetime(2026, 3, 2, 9), q, ["d"]) for q in ("good", "", "   ", None, "x" * 1_001, "nul\x00byte", "Good ")]
    log, drawn = sampled(planned(tmp_path), DAY, logged(tmp_path / "log.parquet", rows))
    assert drawn.table["query"].to_pylist() == ["good", "nul byte"]
    assert (log.rows, log.empty, log.overlong) == (7, 3, 1)
    assert dict(zip(drawn.table["query"].to_pylist(), drawn.table["requests"].to_pylist(), strict=True))["good"] == 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"time": "when"}, "no column 'when'"),
        ({"shown": "time"}, "named for two things"),
        ({"shown": "query2"}, "no column 'query2'"),
        ({"zone": "Mars/Olympus"}, "watch.zone 'Mars/Olympus' is no time zone"),
        ({"sample": 1}, "watch.sample is 1"),
        ({"panel": 1.5}, "watch.panel is 1.5"),
        ({"start": "yesterday"}, "watch.start 'yesterday' is no day"),
        ({"docs": ""}, "set one of watch.docs"),
        ({"pairs": "p.parquet"}, "set one of watch.docs"),
        ({"judge": ""}, "watch.judge is not set"),
        ({"relevant": "superb"}, "'superb' is not on scale"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, change, complaint):
    path = logged(tmp_path / "log.parquet", [(datetime(2026, 3, 2, 9), "a", ["d"])])
    with pytest.raises(InputError, match=complaint) as caught:
        sampled(planned(tmp_path, **change), DAY, path)
    assert "\n" not in str(caught.value)


def test_a_list_setting_that_is_no_list_is_one_line(file):
    file("germane.toml", '[watch]\nsegments = "language"\n')
    with pytest.raises(InputError, match=r"'watch.segments' must be a list of texts"):
        load(file("x", "").parent)


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"\x00\x01"])
def test_a_damaged_log_is_one_line(tmp_path, content):
    (tmp_path / "log.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"log.parquet cannot be read") as caught:
        sampled(planned(tmp_path), DAY, tmp_path / "log.parquet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_unix_times_are_read_in_any_unit_as_numbers_and_as_text(tmp_path, unit, ending):
    moments = [datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 3, 9, tzinfo=UTC)]
    table = pa.table({"time": [int(m.timestamp()) * unit for m in moments], "query": ["a", "b"], "shown": ["d1", "d2"]})
    path = tmp_path / f"log{ending}"
    if ending == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    log = sampled(planned(tmp_path), DAY, path)[0]
    assert (log.rows, log.undated) == (1, 0)


@pytest.mark.parametrize("times", [["02/03/2026 09:00", "02/03/2026 10:00"], ["2026-03-01 09:00:00", "2026-03-03 10:00:00"]])
def test_a_log_without_a_request_of_its_day_is_no_day_without_traffic(tmp_path, times):
    pa.csv.write_csv(pa.table({"time": times, "query": ["a", "b"], "shown": ["d", "d"]}), tmp_path / "log.csv")
    with pytest.raises(InputError, match=r"none of the 2 requests of the log .*log.csv is of 2026-03-02 in UTC"):
        sampled(planned(tmp_path), DAY, tmp_path / "log.csv")


def test_a_list_that_is_not_known_is_no_empty_list(tmp_path):
    rows = [("known", ["d"]), ("known", None), ("none", None), ("empty", []), ("two", ["d"]), ("two", ["e"])]
    table = pa.table(
        {
            "time": pa.array([datetime(2026, 3, 2, 9, tzinfo=UTC)] * len(rows)),
            "query": [query for query, _ in rows],
            "shown": pa.array([shown for _, shown in rows], pa.list_(pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    log, drawn = sampled(planned(tmp_path), DAY, tmp_path / "log.parquet")
    assert {row["query"]: (row["requests"], row["lists"]) for row in drawn.table.to_pylist()} == {
        "known": (2, 1),
        "none": (1, 0),
        "empty": (1, 1),
        "two": (2, 2),
    }
    assert any("2 of 6 requests have no list" in note for note in log.notes)
    ids = pa.array([f"id-{row['query']}" for row in drawn.table.to_pylist()])
    labels = store.SCHEMAS["judgments"].arrow().empty_table()
    totals = measuring.totals({"strata": [s._asdict() for s in drawn.strata]})
    day, _ = measuring.day(
        str(DAY), drawn.table.append_column("query_id", ids), labels, planned(tmp_path), judge="", totals=totals
    )
    said = dict(zip(day.query.tolist(), day.metrics["sdcg@25"].tolist(), strict=True))
    assert said["empty"] == 0.0
    assert np.isnan(said["none"])
    assert day.varied.tolist() == [query == "two" for query in day.query.tolist()]


def test_in_csv_a_field_without_anything_is_missing_and_an_empty_text_is_an_empty_list(tmp_path):
    lines = ["time,query,shown", "2026-03-02 09:00:00,none,", '2026-03-02 09:00:00,empty,""', "2026-03-02 09:00:00,listed,[]"]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    log, drawn = sampled(planned(tmp_path), DAY, tmp_path / "log.csv")
    assert {row["query"]: row["lists"] for row in drawn.table.to_pylist()} == {"none": 0, "empty": 1, "listed": 1}
    assert any("1 of 3 requests have no list" in note for note in log.notes)


def test_numbers_and_texts_in_one_column_of_json_lines_are_what_they_say(tmp_path):
    lines = ['{"time": "2026-03-02 09:00:00", "query": 12345, "shown": ["a", 7]}']
    lines += ['{"time": "2026-03-02 09:00:00", "query": "b \\"c\\"", "shown": ["a"]}']
    (tmp_path / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    drawn = sampled(planned(tmp_path), DAY, tmp_path / "log.jsonl")[1]
    said = {row["query"]: row["shown"] for row in drawn.table.to_pylist()}
    assert said == {"12345": ["a", "7"], 'b "c"': ["a"]}


def test_lists_of_objects_are_no_lists_of_ids(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"time": "2026-03-02 09:00:00", "query": "a", "shown": [{"id": "d"}]}\n')
    with pytest.raises(InputError, match=r"the column 'shown' is of type .*: expected a list of document ids"):
        sampled(planned(tmp_path), DAY, tmp_path / "log.jsonl")


# --- the sample -------------------------------------------------------------------------------------------------------


def test_the_same_log_in_any_order_gives_the_same_sample(tmp_path):
    rows = many(3000)
    one = sampled(planned(tmp_path), DAY, logged(tmp_path / "a.parquet", rows))[1]
    two = sampled(planned(tmp_path), DAY, logged(tmp_path / "b.parquet", rows[::-1]))[1]
    assert one.table.equals(two.table)
    assert one.strata == two.strata


def test_sql_and_python_agree_on_who_is_in_the_panel(tmp_path):
    of = planned(tmp_path, sample=80)
    drawn = sampled(of, DAY, logged(tmp_path / "log.parquet", many(5000, queries=2000)))[1]
    aimed = {stratum.name: stratum for stratum in drawn.strata}
    for row in drawn.table.to_pylist():
        u, stratum = drawing.permanent(of.seed, row["query"], DAY, of.step), aimed[row["stratum"]]
        assert row["panel"] == (u < stratum.panel)
        assert row["probability"] == stratum.drawn / stratum.queries
        assert row["panel_probability"] == stratum.drawn_panel / stratum.queries
    assert 0 < sum(drawn.table["panel"].to_pylist()) < drawn.table.num_rows


def test_most_of_the_panel_is_there_the_next_day_and_all_of_it_leaves_in_time(tmp_path):
    rows = many(6000, queries=3000)
    path = logged(tmp_path / "log.parquet", rows)
    of = planned(tmp_path, log="log.parquet", sample=400, step=0.05)

    def panel(days):
        path_of_day = logged(tmp_path / "day.parquet", [(t + timedelta(days=days), q, s) for t, q, s in rows])
        table = sampled(of, DAY + timedelta(days=days), path_of_day)[1].table
        return {
            q
            for q, inside, p in zip(*(table[c].to_pylist() for c in ("query", "panel", "panel_probability")), strict=True)
            if inside and p < 1
        }

    first, second, late = panel(0), panel(1), panel(40)
    assert path.is_file()
    assert len(first & second) / len(first) > 0.85
    assert len(first & late) / len(first) < 0.4


def test_the_sample_stands_for_the_day(tmp_path, repetitions):
    """Requests over the odds add up to the day's, on average over seeds; tolerance: four standard errors."""
    path = logged(tmp_path / "log.parquet", many(4000, queries=1500))
    totals = []
    for seed in range(repetitions(reduced=20, whole=200)):
        of = plan.of(
            Settings(scale="esci", seed=seed, watch=Watch(log="l", docs="d", judge="fake", sample=200), path=tmp_path / "g")
        )
        table = sampled(of, DAY, path)[1].table
        totals.append((table["requests"].to_numpy() / table["probability"].to_numpy()).sum())
    error = np.std(totals, ddof=1) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - 4000) < 4 * error


def test_queries_that_are_asked_most_are_always_taken_and_all_of_them_are_in_the_panel(tmp_path):
    rows = [(datetime(2026, 3, 2, 9), f"q{q}", ["d"]) for q in range(800) for _ in range(1 if q else 200)]
    drawn = sampled(planned(tmp_path, sample=100), DAY, logged(tmp_path / "log.parquet", rows))[1]
    [top] = [stratum for stratum in drawn.strata if stratum.name == drawing.TOP]
    assert (top.queries, top.drawn, top.drawn_panel, top.odds) == (1, 1, 1, 1.0)
    [row] = [row for row in drawn.table.to_pylist() if row["stratum"] == drawing.TOP]
    assert (row["query"], row["panel"], row["probability"]) == ("q0", True, 1.0)


def test_a_list_that_was_shown_more_often_is_drawn_more_often(tmp_path):
    rows = [(datetime(2026, 3, 2, 9), f"q{q}", ["common"] if i < 3 else ["rare"]) for q in range(400) for i in range(4)]
    of = planned(tmp_path, sample=400)
    shown = sampled(of, DAY, logged(tmp_path / "log.parquet", rows))[1].table["shown"].to_pylist()
    share = sum(docs == ["common"] for docs in shown) / len(shown)
    assert abs(share - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 400)


def test_more_strata_than_queries_is_one_line(tmp_path):
    table = pa.table(
        {
            "time": [datetime(2026, 3, 2)] * 40,
            "query": [f"q{i}" for i in range(40)],
            "shown": [["d"]] * 40,
            "market": [f"m{i}" for i in range(40)],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"name fewer columns in watch\.strata"):
        sampled(planned(tmp_path, strata=("market",), sample=10), DAY, tmp_path / "log.parquet")


def test_hostile_names_of_columns_and_queries_are_only_text(tmp_path):
    column = 'x"; DROP TABLE queries; --'
    queries = ["'; DROP TABLE queries; --", "{date}", "*", "\x1f", "<script>", "a\u202eb"]
    table = pa.table({"time": [datetime(2026, 3, 2)] * 6, "query": queries, "shown": [["'; --"]] * 6, column: ["v'\""] * 6})
    pq.write_table(table, tmp_path / "lo'g.parquet")
    log, drawn = sampled(planned(tmp_path, segments=(column,), strata=(column,)), DAY, Path(tmp_path / "lo'g.parquet"))
    assert log.queries == 5  # one is white space to Unicode, and no query
    assert set(drawn.table[column].to_pylist()) == {"v'\""}


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_a_list_with_too_little_judged_has_no_answer_and_an_empty_one_is_zero():
    scale = planned(Path(), judge="fake").scale
    found = measured([[3] * 5, [3, 3, 3, 3, None], [None, 3, 3, 3, 3], []], scale, 5, 3)
    assert found["sdcg@5"].round(6).tolist()[:2] == [1.0, 1.0]
    assert np.isnan(found["sdcg@5"][2])
    assert found["sdcg@5"][3] == 0.0
    assert np.isnan(found["relevant@5"][3])
    assert found["grade@5:E"][1] == 1.0


# --- documents --------------------------------------------------------------------------------------------------------


def test_documents_that_came_and_went_are_known_by_the_catalogues_of_two_days(tmp_path):
    of = planned(tmp_path, docs="docs-{date}.parquet")
    for day, ids in ((DAY, ["d1", "d2"]), (DAY + timedelta(days=1), ["d2", "d3", "d'4"])):
        pq.write_table(pa.table({"doc_id": ids, "title": [f"title of {i}" for i in ids]}), tmp_path / f"docs-{day}.parquet")
    before, after = (texts.catalogue(of, of.documents(DAY + timedelta(days=d))) for d in (0, 1))
    assert texts.among(["d1", "d2", "d3", "d'4"], before).tolist() == [True, True, False, False]
    assert texts.among(["d1", "d2", "d3", "d'4"], after).tolist() == [False, True, True, True]
    found = texts.texts(of, of.documents(DAY + timedelta(days=1)), ["d'4", "d1"])
    assert found == {"d'4": "title: title of d'4"}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_texts_may_come_from_a_file_of_pairs_in_any_format(tmp_path, suffix):
    rows = [("q1", "red", "d1", "one"), ("q2", "blue", "d1", "one"), ("q1", "red", "d2", "two")]
    names = ("query_id", "query", "doc_id", "text")
    path = tmp_path / f"pairs{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}), path)
    elif suffix == ".csv":
        path.write_text("\n".join(",".join(row) for row in (names, *rows)) + "\n")
    else:
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    of = planned(tmp_path, docs="", pairs=path.name)
    assert texts.texts(of, of.documents(DAY), ["d1", "d2", "d3"]) == {"d1": "one", "d2": "two"}
    assert texts.catalogue(of, path).size == 0
