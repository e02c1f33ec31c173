"""A Report, or a judge card, as something to read: HTML, Markdown, the console, and a folder of all three files.

The HTML is one file that needs nothing else: no network, no script. A report holds no clock, so the same inputs give the
same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from germane.types import JudgeCard, Probes, Report, Sensitivity


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


def probes_html(probes: Probes) -> str:
    """A self-contained HTML page of what attacks did to a judge."""
    from germane.report import render

    return render.html_page("grids.html.j2", **_of_probes(probes))


def probes_markdown(probes: Probes) -> str:
    """What attacks did to a judge as GitHub-flavoured Markdown."""
    from germane.report import render

    return render.markdown_page("grids.md.j2", **_of_probes(probes))


def sensitivity_html(found: Sensitivity) -> str:
    """A self-contained HTML page of what other words for a prompt did."""
    from germane.report import render

    return render.html_page("grids.html.j2", **_of_sensitivity(found))


def sensitivity_markdown(found: Sensitivity) -> str:
    """What other words for a prompt did as GitHub-flavoured Markdown."""
    from germane.report import render

    return render.markdown_page("grids.md.j2", **_of_sensitivity(found))


def _of_probes(probes: Probes) -> dict[str, Any]:
    from germane.report import probing

    judge = f"{probes.judge}, fingerprint {probes.fingerprint or 'none'}"
    asked = f"{probes.calls:,} calls, on {probes.pairs}, seed {probes.seed}"
    return {
        "title": f"Attacks on {probes.judge}",
        "what": "Probes of a judge",
        "question": "Can this judge be talked into a better grade?",
        "answer": probing.probes_answer(probes),
        "notes": probing.notes(probes.notes),
        "grids": probing.probes_grids(probes),
        "facts": (
            ("Judge", judge),
            ("Scale", f"{probes.scale}, guide version {probes.guide_version or 'not said'}"),
            ("Asked", asked),
        ),
        "foot": "Known attacks find judges that are easily fooled. One that resists them all may fall for the next.",
    }


def _of_sensitivity(found: Sensitivity) -> dict[str, Any]:
    from germane.report import probing

    judges = "; ".join(f"{each.name} {each.fingerprint or 'none'}" for each in found.paraphrases)
    return {
        "title": "Other words for the prompt",
        "what": "Sensitivity of a judge",
        "question": "How much do the figures hang on the words of the prompt?",
        "answer": probing.sensitivity_answer(found),
        "notes": probing.notes(found.notes),
        "grids": probing.sensitivity_grids(found),
        "facts": (("Fingerprints", judges), ("Scale", f"{found.scale}, guide version {found.guide_version or 'not said'}")),
        "foot": "Gold that chose the best of several prompts flatters it: check the chosen one on gold that chose nothing.",
    }


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
