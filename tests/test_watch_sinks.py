"""Alerts: raised by a drop, sent once to each sink, acknowledged and resolved; and that nothing hostile gets through."""

import json
import smtplib
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from watched import FIRST, project, write_log

from germane.monitor import alerts as alarms
from germane.pipeline import watch
from germane.registry import alerting, database, days
from germane.report import day as page
from germane.types import Estimate, InputError
from germane.watching import plan, sinks

NOW = datetime(2026, 3, 5, 9, tzinfo=UTC)
HOSTILE = "<!channel> *bold* </script><script>alert(1)</script> & \u202egnp.exe\n`rm`"


class Hook:
    """A webhook that keeps what it is sent, and does as it is told: answer, refuse, hang, trickle or redirect."""

    def __init__(self):
        self.got, self.way = [], "answer"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.way == "hang":
                    outer.over.wait(20)
                    return
                if outer.way == "trickle":
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                    while not outer.over.wait(0.05):
                        try:
                            self.wfile.write(b".")
                            self.wfile.flush()
                        except OSError:
                            return
                    return
                outer.got.append(json.loads(body))
                self.send_response({"refuse": 500, "redirect": 302}.get(outer.way, 200))
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.over = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/T0KEN"

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook(monkeypatch):
    made = Hook()
    monkeypatch.setenv("HOOK", made.url)
    yield made
    made.close()


def settled(folder, **said):
    """A plan with sinks."""
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())
    project(folder, more=f"[sinks]\n{lines}")
    from germane.settings import load

    return plan.of(load(folder))


def raised(registry, *names, segment=HOSTILE, sinks_of=("webhook",), date="2026-03-02"):
    """Alerts of a day, written as the job writes them."""
    size = {"value": -0.02, "se": 0.004, "low": -0.028, "high": -0.012, "n": 300}
    example = {"query": HOSTILE, "part": -0.01, "before": ["d1", HOSTILE], "after": ["d2"]}
    parts = {name: size for name in ("search", "traffic", "catalogue", "judge", "total")}
    detail = {
        "size": size,
        "carried_by": [HOSTILE],
        "also": [],
        "split": {**parts, "cause": "search", "examples": [example], "notes": []},
    }
    row = days.DayRow(date, "done", "UTC", 9, 9, 9, 9, "fake", "f", "g", "esci", "watch/x/report.html", {})
    new = [days.NewAlert(date, date, name, segment, "same queries", "down", detail) for name in names]
    held = days.claim(registry, date)
    days.write(registry, days.NewDay(row, alerts=new, sinks=list(sinks_of)), held)
    return page.DayReport(row, "2026-03-01", "sdcg@5", (), (), (), tuple(new), (), (), (), (), (), (HOSTILE,), ("a", "b"))


@pytest.fixture
def registry(tmp_path):
    opened = database.open_registry(tmp_path / "alerts.sqlite")
    yield opened
    opened.close()


def test_an_alert_is_sent_once_to_each_sink(tmp_path, registry, hook):
    of = settled(tmp_path, file="out/alerts.jsonl", webhook_env="HOOK")
    raised(registry, "sdcg@5", "relevant@5", sinks_of=("file", "webhook"))
    assert sinks.deliver(registry, of, ["file", "webhook"]) == sinks.Sent(4, {})
    assert sinks.deliver(registry, of, ["file", "webhook"]) == sinks.Sent(0, {})
    lines = [json.loads(line) for line in (tmp_path / "out/alerts.jsonl").read_text().splitlines()]
    assert [line["metric"] for line in lines] == ["sdcg@5", "relevant@5"]
    assert lines[0]["split"]["cause"] == "search"
    assert len(hook.got) == 2


def test_a_line_that_a_kill_left_unmarked_is_not_written_again(tmp_path, registry):
    of = settled(tmp_path, file="alerts.jsonl")
    raised(registry, "sdcg@5", sinks_of=("file",))
    alert = alerting.listed(registry)[0]
    sinks._to_file(tmp_path / "alerts.jsonl", alert, of)
    (tmp_path / "alerts.jsonl").write_text((tmp_path / "alerts.jsonl").read_text() + '{"cut')  # and another one was cut short
    assert sinks.deliver(registry, of, ["file"]).sent == 1
    assert (tmp_path / "alerts.jsonl").read_text().count('"id": 1') == 1


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("hang", "no answer within 0.3 s"),
        ("trickle", "no answer within 0.3 s"),
        ("refuse", "HTTP 500"),
        ("redirect", "HTTP 302"),
    ],
)
def test_a_webhook_that_fails_stops_nothing_and_is_tried_by_the_next_run(tmp_path, registry, hook, way, why, caplog):
    of = settled(tmp_path, webhook_env="HOOK", file="alerts.jsonl", seconds=0.3)
    raised(registry, "sdcg@5", "relevant@5", sinks_of=("webhook", "file"))
    hook.way = way
    found = sinks.deliver(registry, of, ["webhook", "file"])
    assert [tries for _, _, tries, _, _ in alerting.unsent(registry)] == [1, 0]  # one try in all, not one an alert
    assert found.sent == 2
    assert why in found.failed["webhook"]
    assert "T0KEN" not in caplog.text + str(found) + str(alerting.unsent(registry))
    hook.way = "answer"
    hook.got.clear()
    assert sinks.deliver(registry, of, ["webhook", "file"]) == sinks.Sent(2, {})
    assert len(hook.got) == 2


def test_two_runs_do_not_send_one_message_twice(tmp_path, registry, hook):
    raised(registry, "sdcg@5")
    message = alerting.waiting(registry, ["webhook"])[0]
    assert alerting.take(registry, message)
    assert not alerting.take(registry, message)
    assert alerting.waiting(registry, ["webhook"]) == []


def test_nothing_hostile_is_markup_in_slack(tmp_path, registry, hook):
    of = settled(tmp_path, webhook_env="HOOK")
    raised(registry, "sdcg@5")
    sinks.deliver(registry, of, ["webhook"])
    [said] = hook.got
    assert "<!channel>" not in said["text"]
    assert "&lt;!channel&gt;" in said["text"]
    assert said["mrkdwn"] is False
    assert [block["text"]["type"] for block in said["blocks"]] == ["plain_text"]
    assert "\u202e" not in json.dumps(said, ensure_ascii=False)
    assert len(said["blocks"][0]["text"]["text"]) <= 3000


def test_nothing_hostile_is_markup_on_the_page(registry):
    report = raised(registry, "sdcg@5")
    text = page.html(report)
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;" in text
    json.loads(page.to_json(report))


class Server:
    """A mail server that keeps what it is sent."""

    sent: ClassVar[list] = []

    def __init__(self, host, port, timeout):
        self.login_as = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def starttls(self, context):
        self.secure = context is not None

    def login(self, user, password):
        if password != "right":
            raise smtplib.SMTPAuthenticationError(535, b"secret words")

    def send_message(self, message):
        assert self.secure
        Server.sent.append(message)


def test_mail_is_plain_text_and_its_password_comes_from_the_environment(tmp_path, registry, monkeypatch):
    said = {"email_to": ["team@example.org"], "email_from": "germane@example.org", "smtp_host": "mail.example.org"}
    of = settled(tmp_path, **said, smtp_user="u", password_env="MAIL")
    raised(registry, "sdcg@5", sinks_of=("email",))
    monkeypatch.setattr(smtplib, "SMTP", Server)
    monkeypatch.setattr(Server, "sent", [])
    assert "MAIL is not set" in sinks.deliver(registry, of, ["email"]).failed["email"]
    monkeypatch.setenv("MAIL", "wrong")
    found = sinks.deliver(registry, of, ["email"])
    assert found.failed == {"email": "the mail server said 535"}
    monkeypatch.setenv("MAIL", "right")
    assert sinks.deliver(registry, of, ["email"]) == sinks.Sent(1, {})
    [message] = Server.sent
    assert message.get_content_type() == "text/plain"
    assert "\n" not in message["Subject"]
    assert "fell by 0.0200" in message.get_content()


def test_an_alert_is_acknowledged_then_resolved_and_both_are_kept(registry):
    raised(registry, "sdcg@5")
    assert alerting.listed(registry)[0].state == "raised"
    assert alerting.acknowledge(registry, 1, actor="ana", note="looking").state == "acknowledged"
    assert alerting.acknowledge(registry, 1, actor="bob").by == "ana"  # the first one counts
    assert alerting.resolve(registry, 1, actor="bob").state == "resolved"
    assert alerting.listed(registry, open_only=True) == []
    with pytest.raises(InputError, match="is resolved"):
        alerting.acknowledge(registry, 1, actor="ana")
    with pytest.raises(InputError, match="there is no alert 9"):
        alerting.resolve(registry, 9, actor="ana")


# --- from a drop to an alert ------------------------------------------------------------------------------------------


def test_a_drop_raises_one_alert_with_its_split_and_an_open_one_is_not_raised_again(tmp_path, monkeypatch, hook):
    """The detector itself is tested in test_monitor; here it says what it is told to."""
    real = database.open_registry
    monkeypatch.setattr(database, "open_registry", partial(real, clock=lambda: datetime(2026, 3, 7, 9, tzinfo=UTC)))
    folder = project(tmp_path, days=2, anchors=True, more='[sinks]\nwebhook_env = "HOOK"\nseconds = 5.0')
    text = (folder / "germane.toml").read_text().replace('anchors = "anchors.parquet"', "")
    (folder / "germane.toml").write_text(text.replace("k = 5\n", 'k = 5\nanchors = "anchors.parquet"\n', 1))
    for number in (2, 3, 4):
        write_log(folder, FIRST + timedelta(days=number), worse=True)

    def detect(changes, dates, rules, *, lines, level):
        assert changes[0] == []
        size = Estimate(-0.05, 0.01, -0.07, -0.03, 50, "made up")
        return [alarms.Alert("sdcg@5", "all", date, "2026-03-04", size, "down") for date in dates if date >= "2026-03-04"]

    monkeypatch.setattr(alarms, "detect", detect)
    found = watch.run(folder)
    assert [day.alerts for day in found.days] == [0, 0, 1, 0, 0]
    [alert] = watch.alerts(folder)
    split = alert.detail["split"]
    parts = [split[name]["value"] for name in ("search", "traffic", "catalogue", "judge")]
    assert sum(parts) == pytest.approx(split["total"]["value"], abs=1e-9)
    assert abs(split["search"]["value"]) > abs(split["traffic"]["value"])
    assert split["examples"]
    assert len(hook.got) == 1
    watch.alerts(folder, resolve=alert.id)
    write_log(folder, FIRST + timedelta(days=5), worse=True)
    monkeypatch.setattr(database, "open_registry", partial(real, clock=lambda: datetime(2026, 3, 8, 9, tzinfo=UTC)))
    assert [day.alerts for day in watch.run(folder).days] == [1]  # once it is resolved, the series may raise another
    assert "What the change is made of" in (folder / "watch/2026-03-04/report.html").read_text()
