"""The search page: what it shows of two rankers, grades and policies; hostile queries; and a real browser."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("fastapi")

from starlette.testclient import TestClient

from germane.serve.search_page import POLICIES, Shop, create_page
from germane.simulate import Marketplace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def shop():
    return Shop(Marketplace(items=400, queries=120))


@pytest.fixture(scope="module")
def client(shop):
    return TestClient(create_page(shop))


def test_every_query_of_the_page_has_two_rankers_with_grades_of_the_marketplace(shop, client):
    for query in shop.examples():
        sides = shop.search(query)
        assert [side.name for side in sides] == ["titles", "all fields"]
        for side in sides:
            for row in side.results:
                true = shop.market.probabilities([shop.queries[query]], [row.doc_id])[0]
                np.testing.assert_allclose(row.probs, true)
                assert row.gain == pytest.approx(float(true @ np.asarray(shop.scale.gains)))
            assert [row.place for row in side.results] == list(range(1, len(side.results) + 1))
    text = client.get("/", params={"q": shop.examples()[0]}).text
    assert "A simulation" in text
    assert "expected gain" in text


def test_policies_drop_move_and_say_why(shop):
    rows = [row for query in list(shop.queries)[:40] for side in shop.search(query) for row in (*side.results, *side.dropped)]
    told = [made for row in rows for _, made in row.told]
    assert {made.action for made in told} == {"keep", "drop", "move"}
    assert all(made.why for made in told)
    for row in rows:
        (low,) = [made for name, made in row.told if name == "filter"]
        assert (low.action == "drop") <= (low.value > 0.8)
        assert row.place >= row.before - 3 - len(rows) if row.place else low.action == "drop"
    for query in list(shop.queries)[:40]:
        for side in shop.search(query):
            assert len(side.results) >= min(5, len(side.results) + len(side.dropped))


def test_a_query_without_grades_is_left_as_it_is_and_says_so(shop, client):
    sides = shop.search("chair lamp sofa table")
    assert any(side.results for side in sides)
    for side in sides:
        assert [row.before for row in side.results] == list(range(1, len(side.results) + 1))
        assert {row.gain for row in side.results} <= {None}
        assert (side.before, side.after, side.dropped) == (None, None, ())
    assert "no signal" in client.get("/", params={"q": "chair lamp sofa table"}).text
    assert "Nothing was found" in client.get("/", params={"q": "zzzzqqq"}).text


@pytest.mark.parametrize(
    "query",
    ["<script>alert(1)</script>", "' OR 1=1 --", "{{ 7 * 7 }}", "../../etc/passwd", "a" * 5000, "\u202egnihton", "\x00"],
)
def test_hostile_queries_are_text(client, query):
    found = client.get("/", params={"q": query})
    assert found.status_code == 200
    assert "<script>" not in found.text
    assert ">49<" not in found.text
    assert "\u202e" not in re.sub(r'value="[^"]*"', "", found.text)
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert found.headers["x-content-type-options"] == "nosniff"


def test_the_page_s_policies_are_those_of_the_protocol():
    assert [(policy.name, policy.kind) for policy in POLICIES] == [("filter", "filter"), ("boost", "boost")]


@pytest.mark.browser
def test_a_browser_searches_and_sees_both_sides():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'germane[dev]'")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from test_web_browser import CHECKS

    program = "from germane.serve.running import listening, page\nfrom germane.serve.search_page import Shop, create_page\n"
    program += "from germane.simulate import Marketplace\nsock = listening('127.0.0.1', 0)\n"
    program += "app = create_page(Shop(Marketplace(items=400, queries=120)))\n"
    program += "page(app, sock, tell=lambda a: print(a, flush=True))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    try:
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
                page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
                faults = []
                page.on("pageerror", lambda problem, faults=faults: faults.append(str(problem)))
                page.on("console", lambda said, faults=faults: faults.append(said.text) if said.type == "error" else None)
                page.goto(address)
                assert page.evaluate(CHECKS) == []
                page.click(".examples a >> nth=0")
                page.wait_for_selector("section")
                assert page.locator("section").count() == 2
                assert page.locator("section ol > li").count() > 0
                assert page.locator("section svg").count() > 0
                assert page.evaluate(CHECKS) == []
                if folder := os.environ.get("GERMANE_SHOTS"):
                    page.screenshot(path=f"{folder}/search-{width}-{scheme}.png", full_page=True)
                page.fill("#q", "chair <b>lamp</b>")
                page.keyboard.press("Enter")
                page.wait_for_selector("#no-signal")
                assert page.input_value("#q") == "chair <b>lamp</b>"
                assert faults == []
            browser.close()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
