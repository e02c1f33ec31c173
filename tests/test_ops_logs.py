"""The log as JSON: one line an event, of every verb and service, and no secret in any."""

import io
import json
import logging
import re
import subprocess
import sys
import warnings
from datetime import timedelta

import histories
import pytest
from registries import Clock
from watched import FIRST, project

from germane.ops import logs
from germane.registry.database import open_registry
from germane.types import InputError

TOKEN = "1799999999.Ab_-cdef.0123456789_-abcdefghijklmnopqrstuvwx"


@pytest.fixture(autouse=True)
def as_before():
    root, ours = logging.getLogger(), logging.getLogger("germane")
    level, handlers, secrets = ours.level, list(root.handlers), set(logs._secrets)
    yield
    logs.begin(logs.Form.TEXT)
    root.handlers, logs._secrets = handlers, secrets
    ours.setLevel(level)


@pytest.fixture
def lines(monkeypatch):
    """What was logged since, as JSON."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.begin(logs.Form.JSON)
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_line_has_time_level_event_message_and_fields(lines):
    log = logging.getLogger("germane")
    with logs.about(verb="watch run", day="2026-03-02"):
        log.info(
            "%d pairs", 12, extra={"event": "labels", "done": 3, "share": 0.5, "none": float("nan"), "what": {"a": (1, "b")}}
        )
    log.warning("new\nline", extra={"level": "mine", "message_": "kept"})
    first, second = lines()
    assert list(first)[:4] == ["time", "level", "event", "message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "level": "info",
        "event": "labels",
        "message": "12 pairs",
        "verb": "watch run",
        "day": "2026-03-02",
        "done": 3,
        "share": 0.5,
        "none": None,
        "what": {"a": [1, "b"]},
    }
    assert (second["level"], second["event"], second["message"]) == ("warning", "step", "new\nline")
    assert "day" not in second


def test_faults_and_warnings_are_lines_too_and_what_others_chat_is_not(lines):
    try:
        raise ValueError(f"Bearer {'k' * 20}")
    except ValueError:
        logging.getLogger("germane.serve").exception("it failed")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.warn("take care", UserWarning, stacklevel=1)
    logging.getLogger("uvicorn.error").info("chat")
    logging.getLogger("uvicorn.error").error("bad")
    found = lines()
    assert [line["level"] for line in found] == ["error", "warning", "error"]
    assert "ValueError: Bearer [hidden]" in found[0]["exception"]
    assert "take care" in found[1]["message"]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"GET /s/{TOKEN}/days/2026-03-02?x=1", TOKEN),
        (f"GET /wrong/{TOKEN}", TOKEN),
        ("GET /s/anything-else/api", "anything-else"),
        ("postgresql://ana:pa55word@db/germane", "pa55word"),
        ("Authorization: Bearer abcdefghijklmnop", "abcdefghijklmnop"),
        ("authorization=Basic YW5hOnBhNTV3b3Jk", "YW5hOnBhNTV3b3Jk"),
        ("/login?csrf=abcdef&name=ana", "abcdef"),
        ('{"password": "open sesame"}', "open"),
        ("api_key=sk-123456", "sk-123456"),
        ("OPENAI_API_KEY: sk-123456", "sk-123456"),
        ("posted to https://hooks.example/T0/B0/very-secret", "very-secret"),
    ],
)
def test_a_secret_is_in_no_line_wherever_it_stands(lines, text, secret):
    logs.hide(["https://hooks.example/T0/B0/very-secret", "abc"])  # three letters are no secret: they are in half of all words
    log = logging.getLogger("germane")
    log.info("%s", text)
    log.info("field", extra={"field": text, "deep": {"list": [text], text: 1}})
    try:
        raise InputError(text)
    except InputError:
        log.exception("fault")
    assert len(lines()) == 3
    assert secret not in json.dumps(lines())
    assert logs.HIDDEN in logs.clean(text)
    assert logs.clean("abc, 0.123456789.5 and token counts stay") == "abc, 0.123456789.5 and token counts stay"


def test_a_text_without_end_is_cut():
    assert len(logs.clean("x" * 100_000)) <= logs.LONGEST + 3


def run(*arguments, cwd, **environment):
    import os

    command = [sys.executable, "-m", "germane.cli", *arguments]
    env = {**os.environ, "GERMANE_LOG": "", **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_wrong_input_is_one_line_of_json_with_its_exit_code(tmp_path):
    (tmp_path / "germane.toml").write_text('scale = "five-level"\n')
    for arguments, more in ((["--log", "json"], {}), ([], {"GERMANE_LOG": "json"})):
        done = run(*arguments, "watch", "run", cwd=tmp_path, **more)
        begun, failed = map(json.loads, done.stderr.splitlines())
        assert done.returncode == failed["exit_code"] == 2
        assert (begun["event"], begun["verb"]) == ("verb begun", "watch run")
        assert (failed["event"], failed["level"]) == ("failed", "error")
        assert "watch.log is not set" in failed["message"]
    done = run("--log", "json", "watch", "run", "--nothing", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stderr)["event"]) == (2, "usage")
    done = run("watch", "run", cwd=tmp_path, GERMANE_LOG="yaml")
    assert (done.returncode, done.stderr) == (2, "germane: GERMANE_LOG is 'yaml': expected text or json\n")
    (tmp_path / "germane.toml").write_text('scale = "five-level"\n[logs]\nform = "xml"\n')
    done = run("watch", "run", cwd=tmp_path)
    assert (done.returncode, "logs.form is 'xml'" in done.stderr) == (2, True)


def test_the_daily_job_says_each_day_and_no_secret_of_its_settings(tmp_path):
    hook = "http://127.0.0.1:9/hidden-address-of-a-hook"
    folder = project(tmp_path / "shop", days=2, more='\n[sinks]\nwebhook_env = "HOOK"\n[logs]\nform = "json"\n')
    asked = ("watch", "run", "--project", str(folder), "--date", str(FIRST))  # [logs] of the project that is named
    done = run(*asked, cwd=tmp_path, HOOK=hook, SHOP_API_KEY="a-key-of-the-shop")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in found if line["event"] != "step"] == ["verb begun", "day", "verb done"]
    day = next(line for line in found if line["event"] == "day")
    assert (day["day"], day["verb"], day["state"], day["alerts"]) == (str(FIRST), "watch run", "done", 0)
    assert {line["day"] for line in found if line["event"] == "step"} == {str(FIRST)}
    assert found[-1]["seconds"] > 0
    assert "hidden-address" not in done.stderr
    assert "a-key-of" not in done.stderr
    text = run("--log", "text", *asked, cwd=tmp_path, HOOK=hook)
    assert text.stderr == ""


def test_requests_of_the_dashboards_are_told_without_tokens_names_and_questions(tmp_path, lines):
    from test_dashboards import SECRET, Browser

    from germane.web.boards import sharing

    clock = Clock()
    registry = open_registry(tmp_path / "registry.sqlite", clock=clock)
    histories.write(registry, 10)
    token = sharing.signed(SECRET, clock() + timedelta(days=1))
    browser = Browser(registry, tmp_path)
    csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get("/shares").text)[1]
    made = browser.http.post("/shares", data={"csrf": csrf, "days": "1"})
    shared = re.search(r"/s/([^/\"]+)/", made.text)[1]
    for path in (f"/s/{token}/?segment=all", f"/s/{shared}/api/overview", "/?segment=very-private-segment", f"/x/{token}"):
        browser.http.get(path)
    found = lines()
    told = [(line["route"], line["status"]) for line in found if line["event"] == "request"]
    assert told[2:] == [("/s/[hidden]/", 200), ("/s/[hidden]/api/overview", 200), ("/", 422), ("other", 404)]
    assert found[-1]["path"] == "/x/[hidden]"
    text = json.dumps(found)
    for secret in (token, shared, token.rpartition(".")[2], csrf, "very-private", "somebody on"):
        assert secret not in text
    registry.close()
