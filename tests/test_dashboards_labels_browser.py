"""The label explorer, costs and the golden set in a real browser: wide and narrow, light and dark, in print and by keyboard."""

import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import quote_plus

import histories
import pytest
import sqlalchemy as sa
from registries import team
from test_dashboards_costs import judged, labels
from test_dashboards_labels import NASTY, write_day
from test_web_browser import CHECKS, chromium, enter, shot  # noqa: F401  (chromium is a fixture)

from germane.registry import tables
from germane.registry.database import open_registry

pytestmark = pytest.mark.browser
PATHS = {"labels": "/labels", "none": "/labels?grade=none", "nothing": "/labels?query=nothing", "costs": "/costs?days=180"}
PATHS |= {"pair": "/labels/pair?query=red+shoes&doc=d1", "golden": "/golden"}
PATHS |= {"nograde": f"/labels/pair?query=red+shoes&doc={quote_plus(NASTY)}"}


@pytest.fixture
def address(tmp_path):
    """Where the dashboards of 120 generated days and a golden task are served, by a process of their own."""
    (tmp_path / "germane.toml").write_text('scale = "five-level"\n', encoding="utf-8")
    registry = open_registry(tmp_path / "registry.sqlite", clock=lambda: datetime(2026, 6, 30, tzinfo=UTC))
    facts = {n: {"labels": labels(n % 40, n / 100, "USD"), "anchors": labels(20, 0.1, "USD")} for n in range(40, 120)}
    options = {"gaps": (30,), "missing": (50, 51, 52), "judged_anew": (60, 118), "alerts": (119,), "facts": facts}
    for number, day in enumerate(histories.write(registry, 120, segments=3, metrics=2, **options)[-5:]):
        write_day(tmp_path, day, grade=3 if number < 3 else 1)
    judged(registry, pairs=90)
    team(registry, olga="owner")
    with registry.writing() as connection:
        pair = connection.scalar(sa.select(tables.pairs.c.id).where(tables.pairs.c.doc_id == "d1"))
        connection.execute(sa.update(tables.pairs).where(tables.pairs.c.id == pair).values(query="red shoes"))
    registry.close()
    command = [sys.executable, "-m", "germane.cli", "web", "--project", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = next(line for line in process.stdout if line.startswith("open "))
    yield found.removeprefix("open ").strip().rstrip("/")
    process.terminate()
    process.wait()
    process.stdout.close()


def test_every_page_is_readable_wide_and_narrow_light_and_dark(chromium, address):  # noqa: F811
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        page, faults = enter(chromium, address, "olga", viewport={"width": width, "height": 1400}, color_scheme=scheme)
        page.set_default_timeout(120_000)
        for name, path in PATHS.items():
            page.goto(address + path)
            assert page.evaluate(CHECKS) == [], (path, width, scheme)
            shot(page, f"board-{name}-{width}-{scheme}")
        assert page.locator("svg.field").count() == 0
        page.emulate_media(media="print", color_scheme=scheme)
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("() => getComputedStyle(document.querySelector('pre')).maxHeight") == "none"
        assert faults == []
        page.context.close()


def test_from_a_search_to_the_pair_by_keyboard(chromium, address):  # noqa: F811
    page, faults = enter(chromium, address, "olga", viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.goto(f"{address}/labels")
    page.focus("input[name=query]")
    page.keyboard.type("red")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "3 pairs" in page.inner_text("main")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.textContent") == "d1":
            break
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "/labels/pair?" in page.url
    assert "Graded “irrelevant”" in page.inner_text("h1")
    page.focus("pre.read")
    assert page.evaluate("() => document.activeElement.textContent").startswith("title: <b>Red</b> shoes")
    assert faults == []
