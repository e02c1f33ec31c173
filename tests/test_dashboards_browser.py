"""The dashboards in a real browser: alerts by keyboard; contrast, names and width, wide and narrow, light and dark."""

import subprocess
import sys

import histories
import pytest
from test_web_browser import CHECKS, chromium, shot  # noqa: F401  (chromium is a fixture)

from germane.registry import alerting
from germane.registry.database import open_registry

pytestmark = pytest.mark.browser
PATHS = {"overview": "/", "segments": "/segments", "alerts": "/alerts", "alert": "/alerts/2", "day": "/days/2026-05-30"}
PATHS |= {"judges": "/judges", "data": "/api", "shares": "/shares", "year": "/?days=365&metric=sdcg@25&segment=language%3Dl2"}


@pytest.fixture
def server(tmp_path):
    """(address, registry) of the dashboards of 90 generated days, served by a process of their own."""
    (tmp_path / "germane.toml").write_text('scale = "five-level"\n', encoding="utf-8")
    registry = open_registry(tmp_path / "registry.sqlite")
    histories.write(registry, 100, segments=8, gaps=(30,), missing=(50, 51, 52), judged_anew=(60,), alerts=(40, 68, 90))
    command = [sys.executable, "-m", "germane.cli", "web", "--project", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address = next(line for line in process.stdout if line.startswith("open "))
    yield address.removeprefix("open ").strip().rstrip("/"), registry
    process.terminate()
    process.wait()
    process.stdout.close()
    registry.close()


def opened(browser, **context):
    page = browser.new_context(**context).new_page()
    faults = []
    page.on("pageerror", lambda problem: faults.append(str(problem)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url.startswith("http://127.0.0.1") else faults.append(request.url))
    return page, faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_is_readable_wide_and_narrow_light_and_dark(chromium, server, width, scheme):  # noqa: F811
    address, _ = server
    page, faults = opened(chromium, viewport={"width": width, "height": 900}, color_scheme=scheme)
    for name, path in PATHS.items():
        page.goto(address + path)
        assert page.evaluate(CHECKS) == [], (path, width, scheme)
        shot(page, f"board-{name}-{width}-{scheme}")
    page.goto(address)
    page.emulate_media(media="print", color_scheme=scheme)
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.is_visible("form.ask")
    assert faults == []


def test_from_the_chart_an_alert_is_reached_and_resolved_by_keyboard(chromium, server):  # noqa: F811
    address, registry = server
    page, faults = opened(chromium, viewport={"width": 1280, "height": 900}, java_script_enabled=True)
    page.goto(address)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.getAttribute('aria-label') || ''").startswith("Alert 2"):
            break
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith("/alerts/2")
    page.focus("input[name=note]")
    page.keyboard.type("rolled back")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    found = alerting.listed(registry, number=2)[0]
    assert (found.state, found.note) == ("resolved", "rolled back")
    assert "rolled back" in page.inner_text("main")
    assert faults == []
