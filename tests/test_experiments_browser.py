"""Experiments in a real browser: readable wide and narrow, light and dark; a decision is written down by keyboard."""

import subprocess
import sys

import experiments_made as made
import pytest
from experiments_made import HOSTILE, STATED
from test_dashboards_browser import opened
from test_web_browser import CHECKS, chromium, shot  # noqa: F401  (chromium is a fixture)

from germane.pipeline import experiments

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """(address, project) of three experiments, one of 20 looks, one without any, one whose words are hostile."""
    project = made.project(tmp_path_factory.mktemp("shop"))
    for name, more in (
        ("title-boost", {"mde": 0.01, "queries": 900, "margin": 0.01}),
        ("empty", {}),
        ("hostile", {"question": HOSTILE * 3, "population": HOSTILE * 5, "owner": HOSTILE, "card": made.card(project)}),
    ):
        experiments.open_(name, actor="test", project=project, **(STATED | more))
    for i in range(20):
        files = made.batch(project, str(i), first=60 * i, queries=60, quality=0.49, strata=True)
        arms = {"control": files.control, "treatment": files.treatment, "judgments": files.judgments}
        experiments.look("title-boost", actor="test", project=project, design=files.design, note="release 7" * (i == 9), **arms)
    for i in (1, 2):  # with a machine as judge, each look has warnings to unfold
        kind = {"judge": "machine", "fingerprint": "f1", "guide": made.SCALE.version}
        files = made.batch(project, f"m{i}", first=5000 * i, queries=200, **kind)
        arms = {"control": files.control, "treatment": files.treatment, "judgments": files.judgments}
        experiments.look("hostile", actor="test", project=project, note=HOSTILE, **arms)
    experiments.decide("title-boost", "keep", by="olga", why="not enough queries yet", actor="test", project=project)
    command = [sys.executable, "-m", "germane.cli", "web", "--project", str(project), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address = next(line for line in process.stdout if line.startswith("open "))
    yield address.removeprefix("open ").strip().rstrip("/"), project
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_are_readable_wide_and_narrow_light_and_dark(chromium, server, width, scheme):  # noqa: F811
    address, _ = server
    page, faults = opened(chromium, viewport={"width": width, "height": 900}, color_scheme=scheme)
    for name in ("", "/title-boost", "/empty", "/hostile"):
        page.goto(f"{address}/experiments{name}")
        assert page.evaluate(CHECKS) == [], (name, width, scheme)
        shot(page, f"experiments{name.replace('/', '-')}-{width}-{scheme}")
    assert faults == []


def test_a_decision_is_written_down_by_keyboard(chromium, server):  # noqa: F811
    address, project = server
    page, faults = opened(chromium, viewport={"width": 1280, "height": 900})
    page.goto(f"{address}/experiments")
    page.click("text=title-boost")
    page.focus("select[name=what]")
    page.select_option("select[name=what]", "stop")
    page.keyboard.press("Tab")
    page.keyboard.type("no gain in twenty looks")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    found = experiments.show("title-boost", project)
    assert (found.state, found.decisions[-1].why) == ("stopped", "no gain in twenty looks")
    assert "no gain in twenty looks" in page.inner_text("main")
    assert faults == []
