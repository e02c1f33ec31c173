"""Kept pages: the same as those that are not kept, no token in another's page, never stale, made once, not without end."""

import gzip
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from html import unescape

import histories
import pytest
from registries import Clock, postgres, team
from test_dashboards import SECRET, Browser

from germane.registry import alerting, looking
from germane.registry.accounts import Account, Role, Session
from germane.registry.database import open_registry
from germane.types import InputError

pytest.importorskip("fastapi")

from starlette.responses import Response

from germane.web.access import Call, Missing
from germane.web.boards import api, keeping, pages, site
from germane.web.boards.keeping import Keep, Kept

CLOCK = Clock()
CLOCK.at = CLOCK.at.replace(month=4, day=11)
PLAIN = {
    "/": pages.overview,
    "/?days=365&segment=language%3Dl2&x=1": pages.overview,
    "/segments": pages.segments,
    "/segments?date=2026-04-02": pages.segments,
    "/alerts": pages.alerts,
    "/alerts?state=all": pages.alerts,
    "/alerts/1": pages.alert,
    "/days/2026-03-20": pages.day,
    "/days/2026-03-11": pages.day,
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    opened = open_registry(tmp_path_factory.mktemp("history") / "registry.sqlite", clock=CLOCK)
    histories.write(opened, gaps=(9,), missing=(20, 21), judged_anew=(30,), alerts=(25, 27))
    yield opened
    opened.close()


def call_of(path, registry, *, session=None, base="", headers=None):
    """(the page that is kept, the call) of a path."""
    board = site.Board(registry, secret=SECRET)
    bare, _, query = path.partition("?")
    pairs = dict(pair.split("=", 1) for pair in query.replace("%3D", "=").split("&") if pair)
    for entry in pages.READING:
        found = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", entry.path), bare)
        if found:
            named = found.groupdict() | ({"token": "t"} if base else {})
            return entry, Call(board, session, {}, named, pairs, {}, "", base=base, headers=headers or {})
    raise AssertionError(path)


def session(name="<i>olga</i> & \"co\" 'x'", role=Role.OWNER, csrf="a-token_&<>", number=7):
    return Session(number, Account(3, name, role, False, CLOCK.at), csrf)


CALLERS = {
    "owner": {"session": session()},
    "adjudicator": {"session": session("cem", Role.ADJUDICATOR, "c" * 32)},
    "guest": {"session": session("somebody on this machine", Role.OWNER, "g" * 32, 0)},
    "link": {"base": "/s/1799999999.abcdefgh.0123456789abcdefghij"},
}


@pytest.mark.parametrize("who", CALLERS)
def test_a_kept_page_is_to_the_letter_what_the_page_is(registry, who):
    for path, plain in PLAIN.items():
        entry, call = call_of(path, registry, **CALLERS[who])
        first, again = entry.handle(call), entry.handle(call)
        assert first.body == again.body == plain(call).body, path
        assert first.headers["content-type"] == plain(call).headers["content-type"]
        assert first.headers["content-security-policy"] == plain(call).headers["content-security-policy"]
        assert call.site.keep.made == 1
        assert b"hole" not in first.body
    entry, call = call_of("/", registry, **CALLERS[who])
    values = [CALLERS[who].get("base", "")] + ([s.csrf, s.account.name] if (s := CALLERS[who].get("session")) else [])
    kept = next(iter(_filled(entry, call)._kept.values()))
    for value in filter(None, values):
        assert all(value.encode() not in part for part in kept.parts)


def _filled(entry, call):
    entry.handle(call)
    return call.site.keep


def test_data_is_kept_as_it_is(registry):
    for path in ("/api/overview", "/api/segments", "/api/alerts?state=all", "/api/alerts/1", "/api/days/2026-03-20"):
        entry, call = call_of(path, registry, **CALLERS["owner"])
        wanted = next(e for e in api.ENTRIES if e.path == entry.path)
        assert entry.handle(call).body == api.json_of(wanted.find(call), wanted.of)
        other = replace(call, session=None, base="/s/t")
        assert entry.handle(other).body == entry.handle(call).body
        assert call.site.keep.made == 2  # one for all readers, as no name is in it, and one for links, which show less
    entry, call = call_of("/api/overview.csv", registry)
    assert entry.handle(call).headers["content-disposition"] == 'attachment; filename="overview.csv"'
    entry, call = call_of("/api/judges", registry)
    entry.handle(call)
    assert call.site.keep.made == 0  # it shows files, which the registry's stamp does not speak for


def test_nobody_gets_what_is_anothers(registry, tmp_path):
    where = open_registry(tmp_path / "registry.sqlite", clock=CLOCK)
    histories.write(where, alerts=(25,))
    team(where, olga="owner", cem="adjudicator")
    olga = Browser(where, tmp_path, "olga")
    cem = Browser(where, tmp_path, "cem")
    cem.http.app = cem.http._transport.app = olga.http.app  # the same process serves both
    link = unescape(re.search(r'"http://testserver(/s/[^"]+)/"', olga.post("/shares", olga.get("/shares"), days="1").text)[1])
    csrf = {name: re.search(r'name="csrf" value="([^"]+)"', b.get("/alerts").text)[1] for name, b in (("o", olga), ("c", cem))}
    assert csrf["o"] != csrf["c"]
    for path in PLAIN:
        of_olga, of_cem, of_link = olga.get(path).text, cem.get(path).text, cem.http.get(link + path).text
        assert csrf["o"] in of_olga
        assert csrf["c"] not in of_olga
        assert ">olga<" in of_olga
        assert "/s/" not in of_olga
        assert csrf["c"] in of_cem
        assert csrf["o"] not in of_cem
        assert ">cem<" in of_cem
        assert "olga" not in of_cem
        assert 'href="/shares"' in of_olga
        assert 'href="/shares"' not in of_cem
        assert not {"olga", "cem", csrf["o"], csrf["c"]} & set(re.findall(r"[\w-]+", of_link))
        assert f'href="{link}/segments"' in of_link
    where.close()


def test_what_another_process_writes_is_shown_at_once(tmp_path):
    path = tmp_path / "registry.sqlite"
    registry = open_registry(path, clock=CLOCK)
    histories.write(registry, alerts=(25,))
    browser = Browser(registry, tmp_path)
    assert "Acknowledge" in browser.get("/alerts").text
    assert browser.get("/api/alerts").json()["raised"] == 1
    program = "import sys; from germane.registry import alerting, database\n"
    program += "alerting.acknowledge(database.open_registry(sys.argv[1]), 1, actor='elsewhere', note='seen it')"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert "seen it" in browser.get("/alerts").text
    assert "seen it" in browser.get("/alerts/1").text
    assert browser.get("/api/alerts").json()["acknowledged"] == 1
    other = open_registry(path, clock=CLOCK)
    assert browser.get("/api/overview").json()["last"] == "2026-04-10"
    histories.write_day(other, 40)
    assert browser.get("/api/overview").json()["last"] == "2026-04-11"
    assert "2026-04-11" in browser.get("/").text
    other.close()
    registry.close()


def test_a_page_that_says_how_late_the_history_is_knows_the_day(tmp_path):
    clock = Clock()
    clock.at = CLOCK.at
    registry = open_registry(tmp_path / "registry.sqlite", clock=clock)
    histories.write(registry)
    browser = Browser(registry, tmp_path)
    assert "yesterday is not in it yet" not in browser.get("/").text
    clock.pass_(days=1)
    assert "yesterday is not in it yet" in browser.get("/").text
    registry.close()


def test_on_postgres_too_a_page_is_new_when_its_alert_is(tmp_path):
    with postgres() as url:
        registry = open_registry(url, clock=CLOCK)
        assert looking.stamp(registry) == (0,) * 6
        histories.write(registry, 10, alerts=(5,))
        before = looking.stamp(registry)
        assert before[:2] == (10, 10)
        other = open_registry(url, clock=CLOCK)
        alerting.resolve(other, 1, actor="elsewhere")
        assert looking.stamp(registry) != before
        other.close()
        registry.close()


def test_a_browser_that_has_the_page_gets_none(registry, tmp_path):
    browser = Browser(registry, tmp_path)
    first = browser.get("/segments")
    assert first.headers["cache-control"] == "private, no-cache"
    headers = {"If-None-Match": f'"other", {first.headers["etag"]}'}
    again = browser.http.get("/segments", headers=headers)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert "content-security-policy" in again.headers
    assert browser.http.get("/segments?date=2026-04-01", headers=headers).status_code == 200
    tags = set()
    for who in CALLERS.values():
        entry, call = call_of("/segments", registry, **who)
        tags.add(entry.handle(call).headers["etag"])
    assert len(tags) == len(CALLERS)
    assert browser.get("/shares").headers["cache-control"] == "no-store"
    assert "etag" not in browser.get("/shares").headers


def test_a_compressed_page_is_the_page_and_no_token_is_compressed(registry):
    for path in PLAIN:
        for who, given in CALLERS.items():
            entry, call = call_of(path, registry, headers={"accept-encoding": "br, gzip"}, **given)
            packed = entry.handle(call)
            assert packed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(packed.body) == entry.handle(replace(call, headers={})).body, (path, who)
    csrf = CALLERS["adjudicator"]["session"].csrf
    entry, call = call_of("/alerts", registry, headers={"accept-encoding": "gzip"}, **CALLERS["adjudicator"])
    assert entry.handle(call).body.count(csrf.encode()) == 3  # two alerts, and the way out
    for refused in ("", "identity", "gzip;q=0", "gzip; q=0.0, br"):
        assert "content-encoding" not in entry.handle(replace(call, headers={"accept-encoding": refused})).headers


def test_what_is_not_asked_by_the_page_makes_no_other_one(registry):
    entry, call = call_of("/segments", registry)
    for number in range(50):
        entry.handle(replace(call, query={"x": str(number), "date": ""}, cookies={"a": str(number)}, address=str(number)))
    assert call.site.keep.made == 1


def test_of_many_who_ask_at_once_one_makes_it():
    keep, made = Keep(), []

    def make():
        made.append(1)
        time.sleep(0.2)
        return keeping.taken(Response("x" * 5000))

    threads = [threading.Thread(target=lambda: keep.of("key", make)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), keep.made, keep.found) == (1, 1, 19)


def test_what_cannot_be_made_is_told_to_all_and_not_kept():
    keep, told = Keep(), []

    def fail():
        time.sleep(0.1)
        raise InputError("no")

    def ask():
        try:
            keep.of("key", fail)
        except InputError as problem:
            told.append(str(problem))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["no"] * 5
    assert keep.of("key", lambda: keeping.taken(Response("good"))).parts == (b"good",)


def test_only_so_much_is_kept_and_what_was_asked_for_last_stays():
    keep = Keep(most=20_000)
    kept = Kept((b"x" * 3000,), (), (), (), b"")
    for number in range(10):
        keep.of(number, lambda: kept)
        keep.of(0, lambda: kept)
    assert keep.size <= 20_000
    assert 0 in keep._kept
    assert 9 in keep._kept
    assert 1 not in keep._kept
    keep.of("large", lambda: Kept((b"x" * 6000,), (), (), (), b""))
    assert "large" not in keep._kept
    assert keep.size == sum(each.size for each in keep._kept.values())


def test_a_missing_alert_is_missing_each_time(registry):
    entry, call = call_of("/alerts/99", registry)
    for _ in range(2):
        with pytest.raises((Missing, InputError)):
            entry.handle(call)
    assert not call.site.keep._kept
