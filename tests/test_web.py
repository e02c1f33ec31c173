"""The screens over HTTP: who may call what, votes that are counted once, and input that means harm shown as text or refused."""

import re
from html import unescape

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from registries import PASSWORD, Clock, a_task, team

from germane.registry import accounts, adjudicating, assigning, tables, tasks, telling
from germane.registry.accounts import Role
from germane.registry.database import open_registry
from germane.registry.tasks import Asked, NewPair, TaskKind
from germane.scales import get
from germane.types import InputError, VoteKind
from germane.web import showing
from germane.web.access import EVERYONE, NOBODY, Site
from germane.web.app import LARGEST, PAGES, create_app

fastapi = pytest.importorskip("fastapi")
ROLES = {"ana": "rater", "ben": "rater", "cem": "adjudicator", "olga": "owner"}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def registry(tmp_path, clock):
    opened = open_registry(tmp_path / "registry.sqlite", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def people(registry):
    return team(registry, **ROLES)


class Browser:
    """Somebody's browser: cookies, and forms filled in as they came."""

    def __init__(self, registry, name=None, **site):
        from starlette.testclient import TestClient

        self.http = TestClient(create_app(Site(registry, **site)), follow_redirects=False, raise_server_exceptions=False)
        if name is not None:
            page = self.http.get("/login")
            done = self.http.post("/login", data={"csrf": hidden(page.text, "csrf"), "name": name, "password": PASSWORD})
            assert done.status_code == 303, done.text

    def get(self, path):
        return self.http.get(path)

    def post(self, path, page, **fields):
        return self.http.post(
            path,
            data={name: hidden(page.text, name) for name in ("csrf", "assignment", "token", "done") if hidden(page.text, name)}
            | fields,
        )


def hidden(html, name):
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    return unescape(found[1]) if found else ""


def load(registry, *given, name="t", **asked):
    return tasks.load(registry, name, TaskKind.GOLDEN, get("esci"), given, Asked(**asked), actor="test").task


# --- who may call what ------------------------------------------------------------------------------------------------


def address(path, task, pair):
    return path.format(task=task, pair=pair, which="final", remark=1)


@pytest.mark.parametrize("who", [None, *ROLES])
def test_every_page_is_for_its_roles_and_for_nobody_else(registry, people, who):
    task = a_task(registry, 3)
    assigning.take(registry, task, people["ana"])
    browser = Browser(registry, who)
    app = browser.http.app
    served = {(method, route.path) for route in app.routes for method in route.methods - {"HEAD"}}
    assert served == {(page.method, page.path) for page in PAGES}  # nothing is served that is not in the table
    role = None if who is None else Role(ROLES[who])
    csrf = hidden(browser.get("/owner/accounts").text + browser.get("/").text + browser.get("/judge/1").text, "csrf")
    for page in PAGES:
        if page.path in ("/logout", "/login"):
            continue
        path = address(page.path, task.id, 1)
        answer = browser.get(path) if page.method == "GET" else browser.http.post(path, data={"csrf": csrf})
        if page.roles == NOBODY:
            assert answer.status_code < 400, path
        elif role is None:
            way = "/login" if page.method == "GET" else "/login?lost=1"
            assert (answer.status_code, answer.headers["location"]) == (303, way), path
            assert ("was not counted" in browser.get(way).text) == (page.method == "POST")
        elif role in page.roles:
            assert answer.status_code not in (401, 403, 500), path
        else:
            assert answer.status_code == 403, path
            assert "not for your role" in answer.text
    assert {role for page in PAGES for role in page.roles} == set(EVERYONE)


def test_a_form_needs_the_token_of_its_own_session_and_its_own_site(registry, people):
    task = a_task(registry, 3)
    ana, ben = Browser(registry, "ana"), Browser(registry, "ben")
    page, other = ana.get(f"/judge/{task.id}"), ben.get(f"/judge/{task.id}")
    assert ana.post(f"/judge/{task.id}", page, csrf="", grade="1").status_code == 403
    assert ana.post(f"/judge/{task.id}", page, csrf=hidden(other.text, "csrf"), grade="1").status_code == 403
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        ana.http.headers.update(headers)
        assert ana.post(f"/judge/{task.id}", page, grade="1").status_code == 403
        for name in headers:
            del ana.http.headers[name]
    assert telling.votes_of(registry, task) == []
    assert ana.post(f"/judge/{task.id}", page, grade="1").status_code == 303


def test_cookies_are_read_by_no_script_and_sent_by_no_other_site(registry, people):
    from starlette.testclient import TestClient

    for url, name, secure in (("", "germane", False), ("https://golden.example", "__Host-germane", True)):
        http = TestClient(create_app(Site(registry, None, url)), follow_redirects=False, base_url=url or "http://localhost")
        page = http.get("/login")
        done = http.post("/login", data={"csrf": hidden(page.text, "csrf"), "name": "ana", "password": PASSWORD})
        cookie = next(c for c in done.headers.get_list("set-cookie") if c.startswith(f"{name}="))
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert ("Secure" in cookie) == secure
        assert ("strict-transport-security" in done.headers) == secure


def test_every_answer_has_the_headers_that_let_nothing_run(registry, people):
    browser = Browser(registry, "ana")
    for path in ("/login", "/", "/nowhere", "/static/app.js", "/alive"):
        answer = browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
    assert not re.search(r"<script>|<script [^>]*>[^<]|\son\w+=|style=", browser.get("/login").text)


def test_wrong_passwords_wait_and_say_nothing_of_names(registry, people):
    browser = Browser(registry)
    page = browser.get("/login")

    def enter(name, password):
        return browser.http.post("/login", data={"csrf": hidden(page.text, "csrf"), "name": name, "password": password})

    known, unknown = enter("ana", "wrong wrong"), enter("nobody", "wrong wrong")
    assert known.status_code == unknown.status_code == 401
    assert known.text.replace("ana", "") == unknown.text.replace("nobody", "")
    for _ in range(accounts.PER_ACCOUNT):
        last = enter("ana", "wrong wrong")
    assert last.status_code == 429
    assert int(last.headers["retry-after"]) > 600
    assert enter("ana", PASSWORD).status_code == 429


def test_a_host_that_is_not_ours_and_a_form_that_is_too_large_are_refused(registry, people):
    browser = Browser(registry, "ana")
    assert browser.http.get("/login", headers={"Host": "evil.example"}).status_code == 421
    assert browser.http.post("/login", content=b"x" * (LARGEST + 1)).status_code == 413

    def parts():
        for _ in range(20):
            yield b"x" * 10_000

    assert (
        browser.http.post("/login", content=parts(), headers={"Content-Type": "application/x-www-form-urlencoded"}).status_code
        == 413
    )


# --- judging ----------------------------------------------------------------------------------------------------------


def test_a_pair_is_judged_by_a_plain_form_and_a_replay_is_acknowledged_and_not_counted_twice(registry, people):
    task = a_task(registry, 4)
    ana = Browser(registry, "ana")
    page = ana.get(f"/judge/{task.id}")
    assert "Judge what the product is" in page.text
    for _ in range(3):
        assert ana.post(f"/judge/{task.id}", page, grade="3", note="fits").status_code == 303
    assert (
        ana.post(f"/judge/{task.id}", page, grade="0").status_code == 409
    )  # another answer from the same page is said to count nothing
    (vote,) = telling.votes_of(registry, task)
    assert (vote.relevance, vote.note, vote.rater, vote.guide_version) == (3, "fits", "ana", task.scale.version)
    assert "<strong>1</strong> judged" in ana.get(f"/judge/{task.id}").text


def test_forged_votes_are_refused(registry, people):
    task = a_task(registry, 4)
    ana, ben = Browser(registry, "ana"), Browser(registry, "ben")
    page, other = ana.get(f"/judge/{task.id}"), ben.get(f"/judge/{task.id}")
    forged = [
        {"assignment": hidden(other.text, "assignment"), "token": hidden(other.text, "token"), "grade": "1"},
        {"token": "x" * 30, "grade": "1"},
        {"assignment": "1; DROP TABLE votes", "grade": "1"},
        {"assignment": "9" * 30, "grade": "1"},
        {"grade": "7"},
        {"grade": "-1"},
        {"grade": "٣"},
        {"grade": "1e3"},
        {},
        {"reason": "   "},
    ]
    for fields in forged:
        assert ana.post(f"/judge/{task.id}", page, **fields).status_code in (409, 422), fields
    for path in (
        "/judge/999",
        "/judge/x",
        "/judge/1'--",
        "/adjudicate/1/next/",
        "/judge/%00",
        "/rest/1/99999?field=title",
        "/image/../../etc/passwd",
    ):
        assert ana.get(path).status_code in (403, 404), path
    assert telling.votes_of(registry, task) == []


def test_cannot_judge_needs_a_reason_and_undo_shows_the_pair_again(registry, people, clock):
    task = a_task(registry, 4)
    ana = Browser(registry, "ana")
    page = ana.get(f"/judge/{task.id}")
    ana.post(f"/judge/{task.id}", page, reason="I do not know the language", seconds="nan")
    clock.pass_(seconds=1)
    after = ana.get(f"/judge/{task.id}")
    undone = ana.post(f"/judge/{task.id}/undo", after)
    again = ana.get(undone.headers["location"])
    assert "taken back" in again.text
    assert ana.post(f"/judge/{task.id}/undo", after).status_code == 409, "sent twice, it takes back one"
    assert re.search(r"<h2><bdi[^>]*>(.*?)</bdi>", again.text)[1] == re.search(r"<h2><bdi[^>]*>(.*?)</bdi>", page.text)[1]
    assert [(v.relevance, v.reason, v.withdrawn) for v in telling.votes_of(registry, task)] == [
        (None, "I do not know the language", False),
        (None, "", True),
    ]


def test_a_late_vote_is_told_that_it_was_not_counted(registry, people, clock):
    task = a_task(registry, 1, raters=1)
    ana, ben = Browser(registry, "ana"), Browser(registry, "ben")
    page = ana.get(f"/judge/{task.id}")
    clock.pass_(minutes=31)
    ben.get(f"/judge/{task.id}")
    late = ana.post(f"/judge/{task.id}", page, grade="1")
    assert "was not counted" in ana.get(late.headers["location"]).text


def test_raters_see_no_ranks_odds_votes_or_controls(registry, people):
    more = {"control_rank": 777001, "inclusion_probability": 0.777002, "value": 777003.5}
    task = load(
        registry,
        NewPair("q", "d", "a query", (("title", "an item"),), stratum="777004", control=None, more=more, entropy=0.777),
    )
    ben = Browser(registry, "ben")
    ben.post(f"/judge/{task.id}", ben.get(f"/judge/{task.id}"), grade="2", note="777005")
    page = Browser(registry, "ana").get(f"/judge/{task.id}").text
    assert "an item" in page
    assert "777" not in page
    assert "ben" not in page


def test_adjudicators_see_both_votes_and_notes_without_names_and_decide_with_a_reason(registry, people):
    task = a_task(registry, 1)
    for name, grade, note in (("ana", "3", "all there"), ("ben", "1", "wrong size")):
        browser = Browser(registry, name)
        browser.post(f"/judge/{task.id}", browser.get(f"/judge/{task.id}"), grade=grade, note=note)
    cem = Browser(registry, "cem")
    assert "Decide the next of 1" in cem.get(f"/adjudicate/{task.id}").text
    page = cem.get(f"/adjudicate/{task.id}/next")
    assert "all there" in page.text
    assert "wrong size" in page.text
    assert "ana" not in re.sub(r"\w*ana\w+", "", page.text)
    assert ">ben<" not in page.text
    pair = hidden(page.text, "pair")
    assert cem.post(f"/adjudicate/{task.id}", page, grade="2", why=" ", pair=pair).status_code == 422
    asked = cem.post(f"/remark/{task.id}/{pair}", page, kind="question", text="Is a size a part of the query? <b>")
    assert "collected" in cem.get(asked.headers["location"]).text
    assert "&lt;b&gt;" in cem.get(f"/questions/{task.id}").text
    cem.post(f"/remark/{task.id}/{pair}", page, kind="discussion", text="Olga?")
    olga = Browser(registry, "olga")
    assert "In discussion" in olga.get(f"/adjudicate/{task.id}").text
    held = olga.get(f"/adjudicate/{task.id}/{pair}")
    assert "Olga?" in held.text
    assert olga.post(f"/adjudicate/{task.id}", held, grade="2", why="it is the size").status_code == 303
    assert cem.post(f"/adjudicate/{task.id}", page, grade="0", why="no").status_code == 409
    assert [v.rater for v in telling.votes_of(registry, task) if v.kind == VoteKind.ADJUDICATION] == ["olga"]
    assert adjudicating.queue(registry, task, people["cem"]) == []


def test_an_owner_adds_people_sees_progress_and_takes_the_votes_away(registry, people):
    task = a_task(registry, 2, raters=1)
    ana = Browser(registry, "ana")
    while "Nothing is left" not in (page := ana.get(f"/judge/{task.id}")).text:
        ana.post(f"/judge/{task.id}", page, grade="3")
    olga = Browser(registry, "olga")
    page = olga.get("/owner/accounts")
    assert "expected 10 or more" in olga.post("/owner/accounts", page, name="dia", role="rater", password="short").text
    olga.post("/owner/accounts", page, name="dia", role="rater", password=PASSWORD)
    assert Browser(registry, "dia").get("/").status_code in (200, 303)
    olga.post("/owner/accounts/change", page, name="ana", what="disable")
    assert ana.get("/").headers["location"] == "/login"
    assert "the last owner" in olga.post("/owner/accounts/change", page, name="olga", what="disable").text
    assert "2 of 2 votes" in olga.get("/owner").text
    assert olga.get(f"/owner/quality/{task.id}").status_code == 200
    assert "account disabled" in olga.get("/owner/log").text
    assert olga.get(f"/owner/votes/{task.id}/final").content[:4] == b"PAR1"


# --- input that means harm --------------------------------------------------------------------------------------------

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}"


def test_markup_in_every_place_is_text(registry, people):
    pair = NewPair(
        "q", "d", SCRIPT, (("title", SCRIPT), (SCRIPT[:30], SCRIPT), ("description", SCRIPT * 50)), context=SCRIPT, image=SCRIPT
    )
    task = load(registry, pair, name=SCRIPT)
    ana, ben = Browser(registry, "ana"), Browser(registry, "ben")
    pages = []
    for browser, grade in ((ana, "3"), (ben, "0")):
        pages.append(browser.get(f"/judge/{task.id}"))
        browser.post(f"/judge/{task.id}", pages[-1], grade=grade, note=SCRIPT)
    cem, olga = Browser(registry, "cem"), Browser(registry, "olga")
    pages += [cem.get("/"), cem.get(f"/adjudicate/{task.id}"), cem.get(f"/adjudicate/{task.id}/next")]
    pages += [olga.get("/owner"), olga.get(f"/owner/quality/{task.id}"), olga.get("/owner/log")]
    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "49" not in re.sub(r"[\w-]*49[\w-]+|[\w-]+49[\w-]*|:49", "", page.text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[0].text


def test_characters_that_hide_or_reorder_are_written_out_and_each_text_is_isolated(registry, people):
    task = load(
        registry,
        NewPair("q", "d", "blue\u202eeulb\u2066", (("title", "a\x00b\x07\u200b"), ("description", "x\u202ey\nz\u2029w"))),
    )
    page = Browser(registry, "ana").get(f"/judge/{task.id}").text
    assert not re.search("[\x00-\x08\x0e-\x1f\u200b\u202a-\u202e\u2066-\u2069]", page)
    assert "blue[U+202E]eulb[U+2066]" in page
    assert "x[U+202E]y\nz\nw" in page
    assert '<bdi dir="auto">blue' in page


def test_a_description_of_a_megabyte_makes_no_page_of_a_megabyte_and_can_be_read_to_its_end(registry, people):
    text = "".join(f"word{i} " for i in range(100_000))
    task = load(registry, NewPair("q", "d" * 5000, "q" * 100_000, (("title", "t" * 100_000), ("description", text))))
    ana = Browser(registry, "ana")
    page = ana.get(f"/judge/{task.id}").text
    assert len(page) < 100_000
    path = unescape(re.search(r'href="(/rest/[^"]*description[^"]*)"', page)[1])
    read = text[: showing.PAGE].rstrip()
    while path:
        part = ana.get(path).text
        assert len(part) < 100_000
        read += unescape(re.search(r'<p class="text" dir="auto">(.*?)</p>', part, re.DOTALL)[1])
        found = re.search(r'href="(/rest/[^"]*)"', part)
        path = unescape(found[1]) if found else None
    assert re.sub(r"\s", "", read) == re.sub(r"\s", "", text)
    assert Browser(registry, "ben").get(re.search(r'href="(/rest/[^"]*)"', page)[1]).status_code == 404  # not given to Ben


@pytest.mark.parametrize(
    "named",
    [
        "javascript:alert(1)",
        "data:text/html;base64,PHNjcmlwdD4=",
        "file:///etc/passwd",
        "//evil.example/x.png",
        "https://user:pw@evil.example/x.png",
        "https://evil.example/x.png; script-src *",
        "http://[::1",
        "../secret.png",
        "/etc/passwd",
        "page.svg",
        "text.png",
        "link.png",
        "a\x00.png",
        "x" * 5000,
    ],
)
def test_an_image_that_is_no_image_of_ours_is_text(registry, people, tmp_path, named):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    (folder / "page.svg").write_text("<svg onload='alert(1)'/>")
    (folder / "text.png").write_text("<script>alert(1)</script>")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    task = load(registry, NewPair("q", "d", "query", (("title", "t"),), image=named))
    ana = Browser(registry, "ana", images=folder)
    page = ana.get(f"/judge/{task.id}")
    assert "<img" not in page.text
    assert "img-src 'self';" in page.headers["content-security-policy"]
    assert ana.get("/image/1").status_code == 404


def test_images_of_the_folder_and_of_a_shop_are_shown_and_only_to_whom_the_pair_was_given(registry, people, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a b.jpg").write_bytes(b"\xff\xd8\xff rest")
    given = [NewPair("q", "d", "query", (("title", "t"),), image="in/a b.jpg")]
    task = load(registry, *given, raters=1)
    ana = Browser(registry, "ana", images=tmp_path)
    assert '<img src="/image/1"' in ana.get(f"/judge/{task.id}").text
    answer = ana.get("/image/1")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/jpeg", b"\xff\xd8\xff rest")
    assert Browser(registry, "ben", images=tmp_path).get("/image/1").status_code == 404
    shop = load(
        registry,
        NewPair("q", "d2", "query", (("title", "t"),), image="https://img.shop.example:8443/x.jpg?a=1&b=2"),
        name="shop",
    )
    page = ana.get(f"/judge/{shop.id}")
    assert "img-src 'self' https://img.shop.example:8443;" in page.headers["content-security-policy"]
    assert 'src="https://img.shop.example:8443/x.jpg?a=1&amp;b=2"' in page.text


def test_a_guide_is_markdown_and_nothing_in_it_runs(registry, people):
    from dataclasses import replace

    guide = "# Guide\n\n- **E** exact\n\n<script>alert(1)</script> [a](javascript:alert(1)) [b](https://x.example) ![i](https://evil.example/p.png)"
    scale = replace(get("esci"), guide=guide)
    task = tasks.load(
        registry, "t", TaskKind.GOLDEN, scale, [NewPair("q", "d", "q", (("title", "t"),))], Asked(), actor="test"
    ).task
    page = Browser(registry, "ana").get(f"/judge/{task.id}").text
    assert "<strong>E</strong> exact" in page
    assert "<script>alert" not in page
    assert 'href="javascript' not in page
    assert '<a href="https://x.example" rel="noopener noreferrer nofollow">' in page
    assert "<img" not in page


def test_the_link_to_search_holds_the_query_as_one_value():
    assert (
        showing.search_link("https://shop.example/s?q={query}&x=1", "a&b=c #/ä\ud800")
        == "https://shop.example/s?q=a%26b%3Dc%20%23%2F%C3%A4%3F&x=1"
    )
    for wrong in (
        "javascript:alert('{query}')",
        "https://{query}/",
        "https://shop.example/",
        "ftp://x.example/{query}",
        "//x/{query}",
    ):
        with pytest.raises(InputError, match="--search-url"):
            showing.search_template(wrong)


@pytest.mark.parametrize(
    ("scale", "keys"), [("esci", "icse"), ("five-level", "12345"), ("trec", "0123"), ("three-level", "012")]
)
def test_each_grade_has_a_key(scale, keys):
    assert "".join(grade.key for grade in showing.grades(get(scale))) == keys


# --- real raters ------------------------------------------------------------------------------------------------------


def test_the_quality_page_gives_the_known_agreement_of_icecats_three_raters(registry, data):
    table = pq.read_table(data("icecat_multirater") / "broad_query_set_3raters.parquet")
    rows = table.select(["query", "doc_id", "name", "rater_1", "rater_2", "rater_3"]).to_pylist()
    pairs = [NewPair(str(r["query"]), str(r["doc_id"]), str(r["query"]), (("title", str(r["name"])),)) for r in rows]
    scale = get("trec")
    task = tasks.load(registry, "icecat", TaskKind.GOLDEN, scale, pairs, Asked(raters=3), actor="test").task
    who = team(registry, rater_1="rater", rater_2="rater", rater_3="rater", olga="owner")
    with registry.writing() as connection:  # as the screens write them; 9,564 posts would take minutes
        ids = {(r.query_id, r.doc_id): r.id for r in connection.execute(sa.select(tables.pairs))}
        said = [
            {"task_id": task.id, "pair_id": ids[str(r["query"]), str(r["doc_id"])], "account_id": who[name].id, "kind": "vote"}
            | {"relevance": r[name], "guide_version": scale.version, "at": registry.clock(), "reason": "", "note": ""}
            | {"seconds": 4.0, "withdrawn": False, "token": f"{name} {i}"}
            for name in ("rater_1", "rater_2", "rater_3")
            for i, r in enumerate(rows)
        ]
        connection.execute(tables.votes.insert(), said)
    page = Browser(registry, "olga").get(f"/owner/quality/{task.id}").text
    for figure in ("0.682", "0.646", "0.601", "0.799", "0.776", "0.737", "71.5%"):
        assert figure in page
