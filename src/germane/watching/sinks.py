"""Alerts on their way out: a file, a webhook in Slack's shape, email. Once to each; what fails waits for the next run.

Addresses and passwords come from the environment, and no log and no error says them. Query texts are hostile: Slack gets plain
text blocks, in which nothing is markup, and mail is plain text.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from germane.registry import alerting
from germane.registry.alerting import AlertRow
from germane.registry.database import Registry
from germane.report.day import sentence
from germane.report.visible import visible
from germane.watching.plan import Plan

_LOG = logging.getLogger("germane")
LONGEST = 2900  # characters of a block of Slack's, which may have 3,000
EXAMPLES = 3


class Sent(NamedTuple):
    """What went out, and what did not: sink -> why."""

    sent: int
    failed: Mapping[str, str]


class _Failed(Exception):
    """A message did not go out, for a reason that holds no secret."""


def deliver(registry: Registry, plan: Plan, sinks: list[str]) -> Sent:
    """Sends what the outbox holds for these sinks. A sink that fails once is left alone until the next run."""
    sent, failed = 0, {}
    ways: dict[str, Callable[[AlertRow], None]] = {
        "file": lambda alert: _to_file(plan.root / plan.sinks.file, alert, plan),
        "webhook": lambda alert: _in_time(lambda: _to_webhook(alert, plan), plan.sinks.seconds),
        "email": lambda alert: _in_time(lambda: _to_email(alert, plan), plan.sinks.seconds),
    }
    for message in alerting.waiting(registry, sinks):
        if message.sink in failed or not alerting.take(registry, message):
            continue
        try:
            ways[message.sink](message.alert)
        except _Failed as problem:
            failed[message.sink] = str(problem)
            alerting.told(registry, message, str(problem))
            _LOG.warning("alert %d was not sent to %s: %s", message.alert.id, message.sink, problem)
            continue
        alerting.told(registry, message)
        sent += 1
    return Sent(sent, failed)


def document(alert: AlertRow, plan: Plan) -> dict[str, Any]:
    """An alert as JSON: what a program reads."""
    told = {name: getattr(alert, name) for name in ("id", "date", "since", "metric", "segment", "part", "direction")}
    return {**told, "text": visible(sentence(alert)), **alert.detail, "report": _report(alert, plan)}


def text(alert: AlertRow, plan: Plan) -> str:
    """An alert as lines of plain text: what people read."""
    lines = [f"Search relevance, {alert.date}: {visible(sentence(alert))}."]
    split = alert.detail.get("split") or {}
    for example in split.get("examples", ())[:EXAMPLES]:
        lines.append(f"Query: {visible(example['query'], 120)}")
    lines.append(f"Report: {_report(alert, plan)}")
    lines.append(f"Seen it? germane watch alerts --acknowledge {alert.id}; over? germane watch alerts --resolve {alert.id}")
    return "\n".join(lines)


def slack(alert: AlertRow, plan: Plan) -> dict[str, Any]:
    """The message as an incoming webhook of Slack takes it: a block of plain text, and a line for notifications."""
    said = text(alert, plan)
    short = said.splitlines()[0]
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        short = short.replace(mark, entity)
    block = {"type": "section", "text": {"type": "plain_text", "text": said[:LONGEST], "emoji": False}}
    return {"text": short[:LONGEST], "mrkdwn": False, "blocks": [block]}


def _to_file(path: Path, alert: AlertRow, plan: Plan) -> None:
    """One line of JSON more, unless the alert stands there: a kill may have come after it was written."""
    line = json.dumps(document(alert, plan), ensure_ascii=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.seek(0)
            last = b"\n"
            for last in file:
                if _id_of(last) == alert.id:
                    return
            file.write((b"" if last.endswith(b"\n") else b"\n") + line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise _Failed(problem.strerror or "it cannot be written") from None


def _id_of(line: bytes) -> Any:
    try:
        return json.loads(line)["id"]
    except (ValueError, KeyError, TypeError):
        return None


def _to_webhook(alert: AlertRow, plan: Plan) -> None:
    import http.client
    import urllib.error
    import urllib.request

    url = _secret(plan.sinks.webhook_env)
    if urlsplit(url).scheme not in ("http", "https"):
        raise _Failed(f"the variable {plan.sinks.webhook_env} holds no address that begins with https://")
    data = json.dumps(slack(alert, plan), ensure_ascii=False).encode()

    class Straight(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:  # the address holds a secret, which is for one host alone
            return None

    try:
        request = urllib.request.Request(url, data, {"Content-Type": "application/json", "User-Agent": "germane"})
        with urllib.request.build_opener(Straight).open(request, timeout=plan.sinks.seconds) as answer:
            answer.read(1000)
    except urllib.error.HTTPError as problem:
        problem.close()
        raise _Failed(f"it answered HTTP {problem.code}") from None
    except (OSError, ValueError, http.client.HTTPException) as problem:
        reason = getattr(problem, "reason", problem)
        late = isinstance(reason, TimeoutError)
        raise _Failed(_late(plan.sinks.seconds) if late else f"no answer ({type(reason).__name__})") from None


def _to_email(alert: AlertRow, plan: Plan) -> None:
    import smtplib
    from email.message import EmailMessage

    sinks = plan.sinks
    message = EmailMessage()
    message["Subject"] = visible(f"Search relevance: {sentence(alert)}", 180)
    message["From"] = sinks.email_from or "germane"
    message["To"] = ", ".join(sinks.email_to)
    message["Message-ID"] = f"<germane-alert-{alert.id}-{alert.date}@{sinks.smtp_host}>"  # sent twice, it is one message
    message.set_content(text(alert, plan))
    kind = smtplib.SMTP_SSL if sinks.smtp_port == 465 else smtplib.SMTP
    try:
        with kind(sinks.smtp_host, sinks.smtp_port, timeout=sinks.seconds) as server:
            if sinks.smtp_tls and kind is smtplib.SMTP:
                import ssl

                server.starttls(context=ssl.create_default_context())
            if sinks.smtp_user:
                server.login(sinks.smtp_user, _secret(sinks.password_env))
            server.send_message(message)
    except smtplib.SMTPResponseException as problem:
        raise _Failed(f"the mail server said {problem.smtp_code}") from None
    except (OSError, smtplib.SMTPException, ValueError) as problem:
        raise _Failed(f"no mail went out ({type(problem).__name__})") from None


def _in_time(send: Callable[[], None], seconds: float) -> None:
    """Sends, or gives up: a server that trickles or hangs is left behind with its thread."""
    found: list[BaseException | None] = []

    def run() -> None:
        try:
            send()
            found.append(None)
        except _Failed as problem:
            found.append(problem)
        except Exception as problem:  # a fault of ours must not stop the job, nor say an address
            found.append(_Failed(f"it failed ({type(problem).__name__})"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise _Failed(_late(seconds))
    if found[0] is not None:
        raise found[0]


def _late(seconds: float) -> str:
    return f"no answer within {seconds:g} s"


def _secret(variable: str) -> str:
    if not variable or not os.environ.get(variable):
        raise _Failed(f"the variable {variable or 'for its password'} is not set")
    return os.environ[variable]


def _report(alert: AlertRow, plan: Plan) -> str:
    """Where the day's report is read."""
    path = (plan.folder / alert.date / "report.html").relative_to(plan.root).as_posix()
    return f"{plan.url.rstrip('/')}/{path}" if plan.url else path
