"""A Report, or a judge card, as something to read: HTML, Markdown, the console, and a folder of all three files.

The HTML is one file that needs nothing else: no network, no script. A report holds no clock, so the same inputs give the
same bytes.
"""

from __future__ import annotations

from pathlib import Path

from germane.types import JudgeCard, Report


def html(report: Report) -> str:
    """A self-contained HTML page of the report."""
    from germane.report import card as card_view
    from germane.report import render, view

    v = view.of(report)
    return render.html_page("report.html.j2", v=v, judge=view.judge(report), c=report.card and card_view.of(report.card))


def markdown(report: Report) -> str:
    """The report as GitHub-flavoured Markdown."""
    from germane.report import card as card_view
    from germane.report import render, view

    v = view.of(report)
    return render.markdown_page("report.md.j2", v=v, judge=view.judge(report), c=report.card and card_view.of(report.card))


def card_html(card: JudgeCard) -> str:
    """A self-contained HTML page of a judge card."""
    from germane.report import card as card_view
    from germane.report import render

    return render.html_page("card.html.j2", c=card_view.of(card))


def card_markdown(card: JudgeCard) -> str:
    """A judge card as GitHub-flavoured Markdown."""
    from germane.report import card as card_view
    from germane.report import render

    return render.markdown_page("card.md.j2", c=card_view.of(card))


def write(report: Report, folder: str | Path) -> dict[str, Path]:
    """Writes report.html, report.md and report.json into a folder, and gives their paths by "html", "md" and "json".

    Each file is replaced in one step: whoever reads sees the old one or the new one. All are made before any is written.
    """
    from germane.store import write_text

    texts = {"html": html(report), "md": markdown(report), "json": report.to_json() + "\n"}
    paths = {kind: Path(folder) / f"report.{kind}" for kind in texts}
    for kind, path in paths.items():
        write_text(path, texts[kind])
    return paths
