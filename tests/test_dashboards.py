"""The dashboards over HTTP: what a page says, whom it lets in, what it asks of the registry, and what it does with harm."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from uuid import uuid4

import histories
import pytest
import sqlalchemy as sa
from histories import HOSTILE
from registries import PASSWORD, Clock, new_database, postgres, team

from germane import cli
from germane.registry import accounts, alerting, looking, telling
from germane.registry.database import open_registry
from germane.report.timeline import timeline
from germane.types import Estimate, InputError
from germane.web.access import NOBODY

fastapi = pytest.importorskip("fastapi")

from germane.web.app import create_app  # noqa: E402
from germane.web.boards import api, gathering, pages, serving, sharing, site  # noqa: E402

SECRET = b"s" * 64
READABLE = ["/", "/segments", "/alerts", "/alerts/1", "/days/2026-03-20", "/judges", "/api", "/openapi.json"]
READABLE += ["/api/overview", "/api/overview.csv", "/api/segments", "/api/segments.csv", "/api/alerts", "/api/alerts/1"]
READABLE += ["/experiments", "/api/experiments"]
READABLE += ["/api/days/2026-03-20", "/api/judges", "/golden-samples", "/api/golden-samples", "/api/golden-samples.csv"]
READABLE += ["/labels", "/api/labels", "/api/labels.csv", "/costs", "/api/costs"]
READABLE += ["/api/costs.csv", "/golden", "/api/golden", "/api/golden.csv"]


@pytest.fixture
def clock():
    made = Clock()
    made.at = made.at.replace(month=4, day=11)  # 40 days from 2 March are over
    return made


@pytest.fixture(scope="module")
def server():
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request, tmp_path, clock):
    place = tmp_path / "registry.sqlite"
    if request.param == "postgresql":
        place = new_database(request.getfixturevalue("server"), f"boards_{uuid4().hex[:12]}")
    opened = open_registry(place, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def history(registry):
    return histories.write(registry, gaps=(9,), missing=(20, 21), judged_anew=(30,), alerts=(25,))


class Browser:
    """Somebody's browser; without a name, on this machine before there is an account."""

    def __init__(self, registry, tmp_path, name=None, guest=True):
        from starlette.testclient import TestClient

        board = site.Board(registry, project=tmp_path, secret=SECRET, guest=site.guest() if guest else None)
        self.http = TestClient(create_app(board, pages.PAGES), follow_redirects=False, raise_server_exceptions=False)
        if name is not None:
            page = self.http.get("/login")
            done = self.http.post("/login", data={"csrf": hidden(page.text), "name": name, "password": PASSWORD})
            assert done.status_code == 303, done.text

    def get(self, path, status=200):
        answer = self.http.get(path)
        assert answer.status_code == status, (path, answer.text)
        return answer

    def post(self, path, page, **fields):
        return self.http.post(path, data={"csrf": hidden(page.text), **fields})


@pytest.fixture
def browser(registry, tmp_path):
    return Browser(registry, tmp_path)


def hidden(html):
    found = re.search(r'name="csrf" value="([^"]*)"', html)
    return unescape(found[1]) if found else ""


# --- what pages say ---------------------------------------------------------------------------------------------------


def test_the_overview_has_a_chart_a_table_and_a_link_to_its_data(browser, history):
    page = browser.get("/").text
    assert page.count('class="band"') == 2 * 4  # two metrics; a gap, missing days and a new judge part the line in four
    assert page.count("judge changed") == 3  # on both charts, and in the table
    assert 'aria-label="Alert 1: fell, raised on 2026-03-27"' in page
    assert "/api/overview.csv?" in page
    row = re.search(r"<tr><th scope=\"row\"><a href=\"/days/2026-04-10\">.*?</tr>", page, re.DOTALL)[0]
    e = looking.series(browser_registry(browser), ["sdcg@25"], "all", "2026-04-10", "2026-04-10")[0].estimate
    assert f"{e.value:.3f}" in row
    assert f"{e.low:.3f} to {e.high:.3f}" in row
    assert ">2,000<" in row


def browser_registry(browser):
    return browser.http.app.user_middleware[0].kwargs["site"].registry


def test_a_missing_day_and_a_gap_are_no_zero_anywhere(browser, history):
    found = browser.get("/api/overview").json()
    by_day = {day["date"]: day for day in found["days"]}
    assert len(by_day) == 40
    assert (by_day["2026-03-11"]["state"], by_day["2026-03-22"]["state"]) == ("gap", "missing")
    for day in ("2026-03-11", "2026-03-22"):
        assert by_day[day]["levels"] == {"sdcg@25": None, "relevant@25": None}
    assert by_day["2026-03-22"]["requests"] is None
    rows = list(csv.DictReader(io.StringIO(browser.get("/api/overview.csv").text)))
    assert len(rows) == 80
    gap = next(row for row in rows if row["date"] == "2026-03-22")
    assert (gap["value"], gap["low"], gap["n"], gap["state"]) == ("", "", "", "missing")
    page = browser.get("/").text
    assert re.search(
        r'<tr class="gap"><th scope="row">2026-03-22</th>\s*<td class="number">missing</td><td></td><td></td>', page
    )
    assert page.count("3 days have no level.") == 2


def test_the_line_is_broken_by_gaps_and_by_another_judge():
    e = Estimate(0.5, 0.01, 0.48, 0.52, 10, "", 0.95)
    days = {f"2026-03-0{n}": e for n in (1, 2, 4, 5, 6, 8)}
    found = timeline("2026-03-01", "2026-03-08", days, drawn=[("2026-03-06", "guide")], raised=[("2026-03-05", "fell", 3)])
    assert [len(run.line.split()) for run in found.runs] == [2, 2]
    assert [dot.date for dot in found.dots if dot.alone] == ["2026-03-06", "2026-03-08"]
    assert found.missing == 2
    assert [(at.text, at.number) for at in found.raised] == [("fell", 3)]
    assert found.drawn[0].x == pytest.approx(100 * 5.5 / 8, abs=0.01)
    assert timeline("2026-03-01", "2026-03-02", {}) is None
    assert timeline("2026-03-01", "2026-03-01", {"2026-03-01": replace(e, value=float("nan"))}) is None


def test_segments_are_compared_with_a_week_before_unless_the_judge_changed_or_the_day_is_missing(browser, history):
    found = browser.get("/api/segments").json()
    assert (found["date"], found["before"]) == ("2026-04-10", "2026-04-03")
    row = found["rows"][1]
    assert (row["segment"], row["metric"]) == ("language=l1", "sdcg@25")
    now, then, change = row["level"], row["before"], row["change"]
    assert change["value"] == pytest.approx(now["value"] - then["value"])
    assert change["se"] == pytest.approx((now["se"] ** 2 + then["se"] ** 2) ** 0.5)
    assert (change["low"], change["high"]) == pytest.approx(
        (change["value"] - 1.96234 * change["se"], change["value"] + 1.96234 * change["se"]), abs=1e-6
    )  # Student's t at 999
    assert change["n"] == 1000
    for day, why in (("2026-04-02", "the judge changed on 2026-04-01"), ("2026-03-29", "2026-03-22 is not in the history")):
        found = browser.get(f"/api/segments?date={day}").json()
        assert why in found["why"]
        assert all(row["change"] is None and row["level"]["n"] for row in found["rows"])
        assert why in unescape(browser.get(f"/segments?date={day}").text)
    assert len(browser.get("/api/segments.csv").text.splitlines()) == 1 + 8


def test_an_alert_says_its_size_its_parts_and_its_queries(browser, history):
    for path in ("/alerts", "/alerts/1"):
        page = unescape(browser.get(path).text)
        for text in (
            "−0.0200",
            "(−0.0240 to −0.0160; n\u00a0800)",
            "2026-03-25",
            "other results for the same queries",
            "Made up.",
        ):
            assert text in page, (path, text)
    found = browser.get("/api/alerts").json()
    assert (found["raised"], found["acknowledged"], found["resolved"]) == (1, 0, 0)
    alert = found["alerts"][0]
    assert sum(part["value"] for part in alert["parts"][:4]) == pytest.approx(alert["parts"][4]["value"])
    assert alert["cause"] == "search"


def test_the_day_page_has_the_report_of_the_day(browser, history):
    page = unescape(browser.get("/days/2026-03-20").text)
    assert "sDCG@25 was" in page
    assert "Levels by segment" in page
    assert "2,000 queries" in page
    gap = unescape(browser.get("/days/2026-03-11").text)
    assert "Nothing is known of 2026-03-11: there was no traffic" in gap
    for day in ("2026-03-22", "2020-01-01", "yesterday", "%00", "2026-03-20%27"):
        browser.get(f"/days/{day}", 404)
        browser.get(f"/api/days/{day}", 404)


def test_judge_cards_of_the_project_are_shown_with_intervals(browser, history, tmp_path):
    e = {"value": 0.71, "se": 0.02, "low": 0.67, "high": 0.75, "n": 400, "method": "m", "level": 0.95, "df": None, "caveat": ""}
    card = {"judge": HOSTILE, "fingerprint": "f1", "scale": "five-level", "guide_version": "1", "gold": "g", "confusion": []}
    card |= {"agreement": {"exact": e}, "outcomes": {}, "bars": {"exact": 0.7}}
    (tmp_path / "judges").mkdir()
    (tmp_path / "judges" / "card.json").write_text(json.dumps(card))
    (tmp_path / "judges" / "other.json").write_text(json.dumps({"fingerprint": 1, "agreement": 2, "bars": 3}))
    (tmp_path / "settings.json").write_text("[1]")
    found = browser.get("/api/judges").json()
    assert [(c["judge"], c["watches"], c["passed"]) for c in found["cards"]] == [(HOSTILE, True, False)]
    assert found["unreadable"] == ["judges/other.json cannot be read: make it again with germane check"]
    page = unescape(browser.get("/judges").text)
    assert "0.670 to 0.750" in page
    assert "watches search now" in page


def test_without_a_day_pages_say_so(browser):
    for path in ("/", "/segments", "/alerts", "/judges", "/api/overview", "/api/segments.csv", "/labels", "/costs", "/golden"):
        browser.get(path)
    assert "No day yet" in browser.get("/").text


@pytest.mark.parametrize("path", ["/?metric=x", "/?segment=x", "/?days=7", "/?until=x", "/segments?date=x", "/alerts?state=x"])
def test_what_is_not_known_is_said_in_one_line(browser, history, path):
    assert 'role="alert"' in browser.get(path, 422).text
    api_path = path.replace("/?", "/overview?")
    assert set(browser.get(f"/api{api_path}", 422).json()) == {"error"}


def test_a_segment_without_a_request_on_the_last_day_still_has_its_chart(browser, history, registry, clock):
    histories.write_day(registry, 40)
    clock.pass_(days=1)
    found = browser.get("/api/overview?segment=language%3Dl1").json()
    assert any(day["levels"]["sdcg@25"] for day in found["days"])
    assert any("language=l1 has no level on the last day" in note for note in found["notes"])


def test_the_first_day_of_the_calendar_has_no_week_before_it(browser, history):
    assert browser.get("/api/segments?date=0001-01-05").json()["rows"] == []


def test_a_history_that_ends_early_says_so(browser, history, clock):
    clock.pass_(days=3)
    assert "The history ends on 2026-04-10: the last 3 days are not in it yet" in browser.get("/").text


# --- harm --------------------------------------------------------------------------------------------------------------


def test_hostile_text_is_text_on_every_page(browser, history):
    for path in ("/", "/alerts", "/alerts/1", "/days/2026-04-01", "/days/2026-03-27", "/judges", "/?until=2026-04-01"):
        answer = browser.get(path)
        assert "<script>alert" not in answer.text
        assert "<b>d2" not in answer.text
        assert "\u202e" not in answer.text
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r'(src|href)="(https?:)?//', answer.text)
    assert "&lt;script&gt;alert(1)" in browser.get("/alerts").text
    assert browser.get("/api/alerts").json()["alerts"][0]["examples"][0]["query"] == HOSTILE
    assert "<script>" not in browser.get('/?segment="><script>', 422).text


def test_a_cell_of_text_is_no_formula():
    assert [api._cell(value) for value in ("=1+1", "@x", "-x", -0.5, "a=b")] == ["'=1+1", "'@x", "'-x", -0.5, "a=b"]


# --- who may ------------------------------------------------------------------------------------------------------------


def test_an_alert_is_acknowledged_and_resolved_by_a_form_of_this_site_alone(browser, registry, history):
    page = browser.get("/alerts")
    for fields in ({"csrf": ""}, {"csrf": "x"}):
        assert browser.post("/alerts/1", page, what="resolve", **fields).status_code == 403
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        browser.http.headers.update(headers)
        assert browser.post("/alerts/1", page, what="resolve").status_code == 403
        for name in headers:
            del browser.http.headers[name]
    assert browser.http.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert alerting.listed(registry)[0].state == "raised"
    assert browser.post("/alerts/1", page, what="acknowledge", note=HOSTILE).status_code == 303
    assert "&lt;script&gt;" in browser.get("/alerts/1").text
    assert browser.post("/alerts/1", page, what="resolve").status_code == 303
    assert browser.post("/alerts/1", page, what="acknowledge").status_code == 422
    assert browser.post("/alerts/1", page, what="x").status_code == 422
    assert browser.post("/alerts/9", page, what="resolve").status_code == 422
    assert "No alert is open" in browser.get("/alerts").text
    assert browser.get("/api/alerts?state=all").json()["resolved"] == 1
    assert alerting.listed(registry)[0].by == "somebody on this machine"


def test_with_accounts_owners_and_adjudicators_read_and_nobody_else(registry, tmp_path, history):
    stranger = Browser(registry, tmp_path)
    stranger.get("/")
    team(registry, olga="owner", cem="adjudicator", ana="rater")
    for path in READABLE:  # the guest of before is one no more
        assert stranger.http.get(path).status_code in (303, 401), path
    assert stranger.get("/api/overview", 401).json()["error"]
    olga, cem, ana = (Browser(registry, tmp_path, name) for name in ("olga", "cem", "ana"))
    for path in READABLE:
        olga.get(path)
        cem.get(path)
        ana.get(path, 403)
    assert cem.post("/alerts/1", cem.get("/alerts"), what="acknowledge").status_code == 303
    assert alerting.listed(registry)[0].by == "cem"
    assert cem.get("/shares", 403)
    assert olga.post("/alerts/1", cem.get("/alerts"), what="resolve").status_code == 403  # another session's form
    served = {(m, route.path) for route in olga.http.app.routes for m in route.methods - {"HEAD"}}
    assert served == {(page.method, page.path) for page in pages.PAGES}
    accounts.disable(registry, "cem", actor="test")
    assert cem.http.get("/").status_code == 303


def test_a_share_link_reads_everything_changes_nothing_and_expires(registry, tmp_path, clock, history):
    team(registry, olga="owner")
    olga, reader = Browser(registry, tmp_path, "olga"), Browser(registry, tmp_path)
    page = olga.get("/shares")
    assert olga.post("/shares", page, days="36500").status_code == 422
    made = olga.post("/shares", page, days="7")
    link = unescape(re.search(r'<a href="(http://testserver/s/[^"]+)">', made.text)[1])
    base = link.removeprefix("http://testserver").rstrip("/")
    for path in READABLE:
        answer = reader.get(base + path)
        assert "csrf" not in answer.text
        ways = re.findall(r'(?:href|action)="(/[^"]*)"', answer.text)
        assert all(way.startswith((base, "/static/")) for way in ways), path
    assert base not in json.dumps([entry.detail for entry in telling.entries(registry)])
    assert reader.http.post(f"{base}/alerts/1", data={"what": "resolve"}).status_code == 405
    assert reader.http.get(f"{base}/shares").status_code == 404
    for wrong in (base[:-1] + ("A" if base[-1] != "A" else "B"), "/s/x", "/s/99999999999.x.", "/s/9.é.é"):
        assert reader.http.get(f"{wrong}/").status_code == 404, wrong
    clock.pass_(days=7, seconds=-5)
    reader.get(base + "/")
    clock.pass_(seconds=10)
    for path in READABLE:
        gone = reader.get(base + path, 410)
        assert "expired on" in gone.text
        assert "sDCG" not in gone.text


def test_a_share_link_leaves_out_notes_and_who_wrote_them(registry, tmp_path, clock, history):
    team(registry, olga="owner")
    olga, reader = Browser(registry, tmp_path, "olga"), Browser(registry, tmp_path)
    made = olga.post("/shares", olga.get("/shares"), days="7")
    base = unescape(re.search(r'<a href="http://testserver(/s/[^"]+)/">', made.text)[1])
    assert olga.post("/alerts/1", olga.get("/alerts/1"), what="acknowledge", note="ben broke it").status_code == 303
    day = alerting.listed(registry)[0].date
    written = ("/alerts?state=all", "/alerts/1", f"/days/{day}", "/api/alerts?state=all", "/api/alerts/1", f"/api/days/{day}")
    for path in (*written, *written[::-1]):  # whoever comes first
        own, shared = olga.get(path).text, reader.get(base + path).text
        assert "olga" in own, path
        assert "ben broke it" in own or "day" in path
        assert "olga" not in shared, path
        assert "ben broke it" not in shared, path
        assert "acknowledged" in shared, path


def test_a_page_that_breaks_counts_as_a_500(registry, tmp_path, history, monkeypatch, caplog):
    seen = []
    browser = Browser(registry, tmp_path)
    told = type("Told", (), {"count": lambda self, route, status, took: seen.append((route, status))})()
    object.__setattr__(browser.http.app.state.site, "counted", told)
    monkeypatch.setattr(gathering, "segments", lambda call: 1 / 0)
    with caplog.at_level("INFO", logger="germane.access"):
        browser.get("/segments", 500)
        browser.get("/alerts")
    assert seen == [("/segments", 500), ("/alerts", 200)]
    assert [record.status for record in caplog.records if record.name == "germane.access"] == [500, 200]


def test_another_secret_ends_every_link(clock):
    token = sharing.signed(SECRET, clock() + timedelta(days=1))
    assert sharing.expires(SECRET, token) == clock() + timedelta(days=1)
    assert sharing.expires(b"t" * 64, token) is None
    assert sharing.expires(b"", token) is None
    later = token.replace(token.partition(".")[0], "9999999999")
    assert sharing.expires(SECRET, later) is None


def test_the_secret_is_made_once_beside_the_registry_and_for_its_owner_alone(registry, tmp_path):
    project = tmp_path / "elsewhere"
    project.mkdir()
    beside = tmp_path if registry.is_sqlite else project  # a server has no folder
    first = site.secret(registry, project)
    assert (beside / site.SECRET).stat().st_mode & 0o777 == 0o600
    assert site.secret(registry, beside) == first
    (beside / site.SECRET).write_bytes(b"short")
    with pytest.raises(InputError, match="has 5 bytes"):
        site.secret(registry, beside)


def test_the_api_is_described_with_every_path_and_type(browser):
    found = browser.get("/openapi.json").json()
    served = {page.path for page in pages.READING if page.path.startswith("/api/")}
    assert set(found["paths"]) == served
    assert "Estimate" in found["components"]["schemas"]
    text = json.dumps(found)
    assert {ref for ref in re.findall(r"#/components/schemas/(\w+)", text)} <= set(found["components"]["schemas"])
    page = browser.get("/api").text
    assert all(path in page for path in served)
    assert all(
        page.roles != NOBODY or page.path.startswith(("/s/", "/static/", "/alive", "/favicon", "/login", "/metrics"))
        for page in pages.PAGES
    )


# --- the command ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (False, {}, "there is no germane.toml in it"),
        (True, {}, "has no history yet"),
        (True, {"public_url": "ftp://x"}, "expected an address as"),
    ],
)
def test_a_wrong_project_is_one_clear_line(tmp_path, make, options, says):
    if make:
        (tmp_path / "germane.toml").write_text('scale = "five-level"\n')
    with pytest.raises(InputError, match=says) as problem:
        serving.prepare(tmp_path, **options)
    assert "\n" not in str(problem.value)
    assert not (tmp_path / "registry.sqlite").exists()
    assert not (tmp_path / site.SECRET).exists()


def test_the_command_ends_with_2_for_a_wrong_project(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["germane", "web", "--project", str(tmp_path)])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0
    assert "germane.toml" in told


def test_without_accounts_it_serves_this_machine_alone_and_says_so(tmp_path):
    (tmp_path / "germane.toml").write_text('scale = "five-level"\n')
    registry = open_registry(tmp_path / "registry.sqlite")
    facts, _ = serving.prepare(tmp_path)
    assert "served on 127.0.0.1 only" in facts.notes[0]
    for host in ("0.0.0.0", "::", "192.168.1.4", "example.org"):
        with pytest.raises(InputError, match="has no accounts"):
            serving.prepare(tmp_path, host=host)
    with pytest.raises(InputError, match="has no accounts"):
        serving.prepare(tmp_path, public_url="https://search.example.org")
    team(registry, olga="owner")
    facts, _ = serving.prepare(tmp_path, host="0.0.0.0", public_url="https://search.example.org")
    assert (facts.accounts, "accounts" in " ".join(facts.notes)) == (1, False)
    registry.close()


# --- a long history --------------------------------------------------------------------------------------------------------


def test_a_page_asks_for_few_rows_by_an_index_however_long_the_history(registry, tmp_path):
    histories.write(registry, 400, segments=12, metrics=8, alerts=tuple(range(50, 390, 5)))
    browser, asked = Browser(registry, tmp_path), []
    if not registry.is_sqlite:  # which counts its rows by itself, some time later
        with registry.engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")

    @sa.event.listens_for(registry.engine, "before_cursor_execute")
    def note(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    most = {
        "/": 600,
        "/?days=365": 1700,
        "/segments": 250,
        "/alerts": 60,
        "/alerts/3": 5,
        "/days/2027-03-01": 320,
        "/judges": 5,
    }
    for path, rows in most.items():
        asked.clear()
        browser.get(path)
        seen = 0
        explain = "EXPLAIN QUERY PLAN" if registry.is_sqlite else "EXPLAIN"
        with registry.engine.connect() as connection:
            for statement, parameters in list(asked):
                plan = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
                scans = [row[-1] for row in plan if re.search(r"(SCAN|Seq Scan on) (levels|changes|sampled)", row[-1])]
                assert scans == [], (path, statement)
                seen += connection.exec_driver_sql(f"SELECT count(*) FROM ({statement}) AS asked", parameters).scalar()
        assert 0 < seen <= rows, path
    assert len(gathering.WINDOWS) == 5
