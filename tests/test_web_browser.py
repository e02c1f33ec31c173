"""A real browser: judge by keyboard, adjudicate, export; and what a screen reader, a keyboard and weak eyes need."""

import os
import re
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from registries import PASSWORD, a_task, team

from germane.pipeline.votes import write_votes
from germane.registry import tasks, telling
from germane.registry.database import open_registry
from germane.registry.tasks import Asked, NewPair, TaskKind
from germane.scales import get

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Contrast (WCAG 2.2, 1.4.3) of every text that is seen, names of all controls, headings and width, computed in the page.
CHECKS = """() => {
  const channel = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const parts = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = parts(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const faults = [];
  const seen = (e) => e.checkVisibility() && e.getBoundingClientRect().width > 2;
  for (const e of document.body.querySelectorAll("*")) {
    const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!text || !seen(e)) continue;
    const style = getComputedStyle(e), a = light(parts(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${e.textContent.trim().slice(0, 40)}`);
  }
  const controls = "input:not([type=hidden]), select, textarea, button, a[href], summary, img, progress";
  for (const e of document.querySelectorAll(controls)) {
    const name = e.ariaLabel || e.alt || e.labels?.[0]?.textContent || e.textContent || "";
    if (!name.trim()) faults.push(`no name: ${e.outerHTML.slice(0, 80)}`);
  }
  if (!document.documentElement.lang) faults.push("no language");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
  if (document.querySelector("[tabindex]:not([tabindex='0'])")) faults.push("an order of its own");
  for (const e of document.querySelectorAll(".votes button, .votes input")) {
    if (seen(e) && e.getBoundingClientRect().right > innerWidth) faults.push(`beyond the screen: ${e.outerHTML.slice(0, 60)}`);
  }
  if (document.documentElement.scrollWidth > innerWidth + 1) faults.push("scrolls sideways");
  return faults;
}"""


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'germane[dev]'")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def server(tmp_path):
    """(address, registry) of screens with 20 pairs, served by a process of their own."""
    where = tmp_path / "registry.sqlite"
    registry = open_registry(where)
    team(registry, ana="rater", ben="rater", cem="adjudicator", olga="owner")
    a_task(registry, 20, search_url="https://shop.example/?q={query}")
    program = "from germane.registry.database import open_registry; from germane.web import serving\n"
    program += f"app = serving.application(open_registry({str(where)!r}))\n"
    program += "serving.serve(app, host='127.0.0.1', port=0, tell=lambda a: print(a, flush=True))"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    yield process.stdout.readline().strip().rstrip("/"), registry
    process.terminate()
    process.wait()
    process.stdout.close()
    registry.close()


def enter(browser, address, name, **context):
    page = browser.new_context(**context).new_page()
    faults = []
    page.on("pageerror", lambda problem: faults.append(str(problem)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(f"{address}/login")
    page.wait_for_function("() => document.activeElement?.name === 'name'")  # the name has the focus, at once or soon
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "/login" not in page.url
    return page, faults


def press(page, *keys):
    with page.expect_navigation():
        for key in keys:
            page.keyboard.press(key)


def shot(page, name):
    """A picture for whoever looks, where GERMANE_SHOTS names a folder."""
    if folder := os.environ.get("GERMANE_SHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_twenty_pairs_are_judged_by_keyboard_adjudicated_and_exported(chromium, server, tmp_path):
    address, registry = server
    task = tasks.find(registry)
    for name, keys in (("ana", "eeees"), ("ben", "eeeee")):
        page, faults = enter(chromium, address, name, viewport={"width": 1280, "height": 800})
        press(page, "x", "2")  # cannot judge: the second reason
        assert telling.votes_of(registry, task)[-1].reason == "I do not know the subject"
        press(page, "u")
        assert "taken back" in page.inner_text("[role=status]")
        page.keyboard.press("n")
        page.keyboard.type("e: a note, and no grade")
        page.keyboard.press("Enter")
        shot(page, f"judge-{name}")
        for number in range(20):
            press(page, keys[number % 5])
        assert "Nothing is left" in page.inner_text("h1")
        assert faults == []
    said = telling.standing(telling.votes_of(registry, task))
    assert len(said) == 40
    assert sum(vote.note == "e: a note, and no grade" for vote in said) == 2
    assert all(vote.seconds < 60 for vote in said)
    page, faults = enter(chromium, address, "cem", viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/adjudicate/{task.id}")
    shot(page, "queue")
    waiting = int(re.search(r"next of (\d+)", page.inner_text("main"))[1])
    assert waiting == telling.progress(registry, task).waiting > 0
    with page.expect_navigation():
        page.click("a.button.main")
    shot(page, "decide")
    for _ in range(waiting):
        page.keyboard.press("n")
        page.keyboard.type("the guide says so")
        page.keyboard.press("Enter")
        press(page, "c")
    assert "Nothing waits" in page.inner_text("main")
    assert faults == []
    written = write_votes(registry, task, tmp_path / "votes.parquet")
    assert (written.votes, written.adjudicated, written.unanswered) == (40, waiting, 0)
    page, faults = enter(chromium, address, "olga")
    page.goto(f"{address}/owner")
    with page.expect_download() as download:
        page.click("text=Final grades")
    assert pq.read_table(download.value.path()).num_rows == 20
    assert faults == []


def test_a_second_press_while_the_first_is_sent_counts_once(chromium, server):
    address, registry = server
    page, _ = enter(chromium, address, "ana")
    with page.expect_navigation():
        page.evaluate("() => { const b = document.querySelector('button.grade'); b.click(); b.click(); b.click(); }")
    assert len(telling.votes_of(registry, tasks.find(registry))) == 1


def test_it_works_without_javascript(chromium, server):
    address, registry = server
    page, _ = enter(chromium, address, "ana", java_script_enabled=False)
    with page.expect_navigation():
        page.click("button.grade >> nth=1")
    assert len(telling.votes_of(registry, tasks.find(registry))) == 1
    page.click("summary:has-text('Cannot judge')")
    with page.expect_navigation():
        page.click("text=I do not know the language")
    assert telling.votes_of(registry, tasks.find(registry))[-1].reason == "I do not know the language"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_names_contrast_headings_and_width_are_right_on_every_page(chromium, server, width, scheme):
    address, registry = server
    task = tasks.find(registry)
    for name, grade in (("ana", "e"), ("ben", "s")):
        page, _ = enter(chromium, address, name)
        for _ in range(20):
            press(page, grade)
    a_task(registry, 3, name="second", seed=2, raters=3)
    context = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    pages = {
        "ana": ["/", "/judge/2", f"/judge/{task.id}"],
        "cem": ["/", f"/adjudicate/{task.id}", f"/adjudicate/{task.id}/next", f"/questions/{task.id}"],
    }
    pages["olga"] = ["/owner", f"/owner/quality/{task.id}", "/owner/accounts"]
    for name, paths in pages.items():
        page, _ = enter(chromium, address, name, **context)
        for path in paths:
            page.goto(address + path)
            assert page.evaluate(CHECKS) == [], (path, width, scheme)
            shot(page, f"{name}{path.replace('/', '-')}-{width}-{scheme}")


def test_the_tab_key_meets_the_item_then_the_guide_then_the_grades_in_order(chromium, server):
    address, _ = server
    page, _ = enter(chromium, address, "ana", viewport={"width": 1280, "height": 800})
    met = []
    for _ in range(20):
        page.keyboard.press("Tab")
        met.append(page.evaluate("() => document.activeElement.textContent.trim().replace(/\\s+/g, ' ')"))
    order = [
        next(i for i, text in enumerate(met) if text.endswith(name))
        for name in (
            "content",
            "Log out",
            "Search for it",
            "Guide",
            "I irrelevant",
            "C complement",
            "S substitute",
            "E exact",
            "Cannot judge",
            "Undo",
        )
    ]
    assert order == sorted(order)
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_keys_can_be_switched_off(chromium, server):
    address, registry = server
    page, _ = enter(chromium, address, "ana", viewport={"width": 1280, "height": 800})
    page.click("label.keys")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    page.wait_for_timeout(300)
    assert telling.votes_of(registry, tasks.find(registry)) == []
    assert not page.is_visible("kbd >> nth=0")


def test_an_image_that_does_not_load_gives_its_place_to_the_text(chromium, server):
    address, registry = server
    pair = NewPair("q", "d", "a lamp", (("title", "Lamp"),), image="https://127.0.0.1:1/none.jpg")
    task = tasks.load(registry, "pictures", TaskKind.GOLDEN, get("esci"), [pair], Asked(raters=1), actor="test").task
    page, _ = enter(chromium, address, "ana", viewport={"width": 1280, "height": 800})
    page.goto(f"{address}/judge/{task.id}")
    page.get_by_text("The image does not load.").wait_for()
    assert page.locator("img").count() == 0
    assert page.locator(".pictured").count() == 0
    assert page.locator(".grade").all_inner_texts() == ["I irrelevant", "C complement", "S substitute", "E exact"]
