"""The report as people read it: golden files, hostile text, missing parts, and a look in a real browser."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sample_report
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from germane import report
from germane.report import card, charts, render, segments, view, words
from germane.report.visible import visible
from germane.types import Audit, Effect, Estimate, Histogram, Report, Stratum, Unjudged

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = (
    sample_report.SCRIPT,
    sample_report.BIDI,
    sample_report.PIPES,
    "{{ 7 * 7 }}",
    "</title><script>x</script>",
    "'\" onload=x",
)


class Page(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(re.sub(r"(?s)<style>.*?</style>", "", source))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def full() -> Report:
    return sample_report.full()


@pytest.fixture(scope="module")
def full_page(full: Report) -> str:
    return report.html(full)


def without_style(page: str) -> str:
    page = re.sub(r"<style>.*?</style>", "<style></style>", page, flags=re.DOTALL)
    return re.sub(r"sha256-[^']*", "sha256-", page)


# --- golden files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("report.html", lambda: without_style(report.html(sample_report.full()))),
        ("report.md", lambda: report.markdown(sample_report.full())),
        ("report_bare.html", lambda: without_style(report.html(sample_report.bare()))),
        ("report_bare.md", lambda: report.markdown(sample_report.bare())),
        ("card.html", lambda: without_style(report.card_html(sample_report.card()))),
        ("card.md", lambda: report.card_markdown(sample_report.card())),
    ],
)
def test_a_page_is_as_it_was_when_somebody_last_looked_at_it(name, write):
    """After a wanted change: GERMANE_UPDATE_GOLDEN=1 pytest tests/test_report.py, look at the pages, commit the files."""
    found, path = write(), GOLDEN / name
    if os.environ.get("GERMANE_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def test_the_same_report_gives_the_same_bytes_and_survives_json(full, full_page):
    again = Report.from_json(full.to_json())
    assert again == full
    assert report.html(again) == full_page


def test_writing_gives_three_files_of_one_report(tmp_path, full, full_page):
    paths = report.write(full, tmp_path / "new" / "folder")
    assert {kind: path.name for kind, path in paths.items()} == {
        "html": "report.html",
        "md": "report.md",
        "json": "report.json",
    }
    assert paths["html"].read_text(encoding="utf-8") == full_page
    assert json.loads(paths["json"].read_text(encoding="utf-8"))["delta"]["n"] == 400
    assert sorted(p.name for p in paths["html"].parent.iterdir()) == ["report.html", "report.json", "report.md"]


# --- the HTML stands alone ------------------------------------------------------------------------------------------


def test_the_page_asks_for_nothing_and_runs_nothing(full_page):
    for tag, attributes in Page(full_page).elements:
        assert tag not in {"script", "img", "iframe", "object", "embed", "form", "base"}
        assert not {name for name in attributes if name.startswith("on") or name in {"src", "style", "srcset", "xlink:href"}}
        assert (attributes.get("href") or "#").startswith(("#", "data:image/svg+xml,"))


def test_its_policy_allows_its_own_style_and_nothing_else(full_page):
    style = re.search(r"<style>(.*?)</style>", full_page, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    (policy,) = [a["content"] for t, a in Page(full_page).elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def test_a_page_with_a_megabyte_title_stays_small_and_says_how_long_the_title_was(full_page):
    assert len(full_page.encode()) < 200_000
    assert "(1,000,000 characters)" in full_page


def test_the_page_has_one_h1_landmarks_a_caption_for_each_table_and_a_name_for_each_drawing(full_page):
    elements = Page(full_page).elements
    tags = [tag for tag, _ in elements]
    assert tags.count("h1") == tags.count("main") == tags.count("header") == tags.count("footer") == tags.count("nav") == 1
    assert tags.count("caption") == tags.count("table")
    assert all("scope" in a for tag, a in elements if tag == "th")
    drawings = [a for tag, a in elements if tag == "svg" and a.get("class") != "over"]
    assert drawings
    assert all(a.get("aria-hidden") == "true" or (a.get("role") == "img" and a.get("aria-labelledby")) for a in drawings)
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in elements if tag == "a"} <= set(ids)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_colour_has_the_contrast_of_wcag_aa(full_page, theme):
    light, dark = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in full_page.split("prefers-color-scheme: dark", 1)
    )
    colours = light if theme == "light" else {**light, **dark}
    on_paper = ["ink", "quiet", "better", "worse", "open", "doubt", "link"]
    pairs = [(c, "paper") for c in on_paper] + [(f"g{i}t", f"g{i}") for i in range(5)] + [("ink", "override"), ("ink", "faint")]
    for text, ground in pairs:
        light_one, dark_one = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
        assert (light_one + 0.05) / (dark_one + 0.05) >= 4.5, (text, ground)


# --- hostile text ---------------------------------------------------------------------------------------------------


def test_hostile_titles_are_shown_as_text(full_page):
    page = Page(full_page)
    assert sample_report.SCRIPT in page.text
    assert "\u202e" not in full_page
    assert "\x00" not in full_page
    assert "oak [U+202E]gnp.exe[U+202C] shelf [U+0000] [U+200B] end" in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_no_field_of_a_report_can_bring_markup_into_the_page(full, text):
    sent = replace(
        full,
        question=text, answer=text, verdict=text, metric=text, scale=text, judge=text, control_name=text, treatment_name=text,
        warnings=(text,), overrides=(text,), notes=(text,), version=text, parameters={text: text}, labels=(text,) * 5,
        by_segment=tuple(replace(e, name=text, dimension=text, note=text) for e in full.by_segment),
        inputs=tuple(replace(i, role=text, path=text, sha256=text, attribution=text) for i in full.inputs),
        exposure=tuple(replace(e, group=text) for e in full.exposure),
        grades=tuple(replace(g, label=text) for g in full.grades),
        design=replace(full.design, unit=text, origin=text, strata=(Stratum(text, 9, 3), Stratum(text + "2", 9, 3))),
        delta=replace(full.delta, method=text, caveat=text),
        card=replace(full.card, judge=text, fingerprint=text, gold=text, outcomes={text: 1}, lineage=(text,), caveats=(text,)),
    )  # fmt: skip
    calm = {tag for tag, _ in Page(report.html(full)).elements}
    page = Page(report.html(sent))
    assert {tag for tag, _ in page.elements} <= calm
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert visible(text) in page.text
    tokens = MarkdownIt("commonmark").enable("table").parse(report.markdown(sent))
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"text", "strong_open", "strong_close", "softbreak", "text_special"}
    assert not any(token.type in {"html_block", "fence", "code_block"} for token in tokens)


@given(st.text())
def test_whatever_the_text_markdown_shows_it_as_it_is(text):
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(str(render.markdown_text(text)))
    assert [t.type for t in tokens] in ([], ["paragraph_open", "inline", "paragraph_close"])
    children = tokens[1].children or [] if tokens else []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == visible(text)


@given(st.text(), st.integers(1, 50))
def test_visible_text_is_one_short_line_without_hidden_characters(text, limit):
    shown = visible(text, limit)
    assert len(shown) <= 8 * limit + 30
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)


def test_text_of_other_scripts_is_left_alone():
    for text in ("رف كتب", "Bücherregal", "本棚", "👩‍👩‍👧", "क्‍ष"):
        assert visible(text) == text


def test_a_number_that_nobody_put_into_words_is_an_error_not_a_page():
    with pytest.raises(TypeError, match=r"0\.1"):
        render.html_environment().from_string("{{ x }}").render(x=0.1)
    with pytest.raises(TypeError, match="None"):
        render.markdown_environment().from_string("{{ x }}").render(x=None)


# --- what it says ---------------------------------------------------------------------------------------------------


def test_what_was_not_measured_is_said_and_is_not_a_number():
    page, text = report.html(sample_report.bare()), report.markdown(sample_report.bare())
    for shown in (Page(page).text, text):
        assert "not measured" in shown
        assert not re.search(r"\b(nan|None|inf)\b", shown)
    for part in ("Effect by segment", "Winners and losers", "Exposure", "Grades shown"):
        assert part not in Page(page).text
        assert part not in text


def test_overrides_come_first_among_the_doubts_and_the_judge_is_always_among_them(full):
    found = view.of(full).doubts
    assert found[0].tone == "override"
    assert any("no human audit" in doubt.head for doubt in found)
    assert [
        d.head for d in view.of(replace(full, judge="human:panel", by_people=True, card=None)).doubts if "people" in d.head
    ] == ["Measured by people"]
    assert any("no judge card" in d.text for d in view.of(replace(full, card=None)).doubts)


def test_a_judge_that_fails_a_bar_is_a_warning_even_where_the_statistic_is_missing(full):
    failed = replace(full.card, bars={"exact": 0.9, "macro F1": 0.5})
    (doubt,) = [d for d in view.of(replace(full, card=failed)).doubts if "Measured by" in d.head]
    assert doubt.tone == "warning"
    assert "exact" in doubt.text
    assert "macro F1" in doubt.text
    assert "Not passed" in report.card_html(failed)


def test_a_card_shows_its_bars_first_and_gathers_what_it_says_of_each_grade(full):
    found = card.of(full.card)
    assert [line.name for line in found.lines] == ["exact", "quadratic kappa", "within one", "tau per query"]
    assert [row.label for row in found.by_grade] == list(sample_report.LABELS)
    assert [part is None for part in found.by_grade[0].parts] == [True, False, False]
    assert found.labels == sample_report.LABELS
    assert card.of(replace(full.card, scale="mine")).labels == sample_report.LABELS
    assert card.of(replace(full.card, scale="mine", agreement={})).labels == ("0", "1", "2", "3", "4")


def test_nothing_is_said_twice(full):
    caveat = "only 9 of 400 queries differ"
    doubtful = replace(full, delta=replace(full.delta, caveat=caveat), warnings=("Only 9 of 400 queries differ.",))
    assert sum(caveat in d.text.casefold() for d in view.of(doubtful).doubts) == 1
    named = replace(full, warnings=("Measured by the judge replay-five alone, without an audit by people.",))
    assert sum("Measured by" in d.head + d.text for d in view.of(named).doubts) == 1


@pytest.mark.parametrize(("known", "said"), [(0.0142, "inside"), (0.0, "outside"), (0.03, "outside")])
def test_a_simulation_says_whether_the_interval_holds_the_truth(full, known, said):
    assert f"{said} the interval" in report.html(replace(full, truth=known))


def test_without_a_simulation_there_is_no_truth(full):
    assert "truth" not in Page(report.html(replace(full, truth=None))).text.replace("in truth", "")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.03, "favoured the treatment by 0.0100 a query on average (50% of the measured difference)"),
        (-0.03, -0.01, "favoured the control by 0.0100"),
        (-0.01, 0.03, "favoured the control by 0.0100 a query on average, the treatment would in truth be clearly better"),
        (-0.03, 0.01, "favoured the treatment by 0.0100 a query on average, the treatment would in truth be clearly worse"),
        (0.0, 0.03, "One end of the interval is zero"),
    ],
)
def test_what_would_overturn_the_answer_names_the_side_that_the_judge_would_have_to_favour(full, low, high, said):
    delta = Estimate((low + high) / 2, (high - low) / 4, low, high, 400, "x")
    assert said in view.tipping(replace(full, delta=delta, tipping_bias=min(abs(low), abs(high))), 4)


def test_documents_without_a_grade_are_explained_by_what_was_done_with_them(full):
    def said(mode: str, moved: int, share: float) -> str:
        part = Estimate(share, 0.01, share, share, 400, "share")
        return view.unjudged(replace(full, unjudged=Unjudged(part, part, moved, -0.01, 0.02, mode)), 4)

    assert said("complete", 0, 0.0) == "Every document in the top 25 of both arms has a grade."
    assert "taken out of both lists" in said("condensed", 0, 0.0)
    assert "counted as no gain" in said("as zero", 5, 0.2)
    assert "cannot change the difference" in said("bounds only", 0, 0.2)
    assert "−0.0100, for it +0.0200" in said("bounds only", 5, 0.2)


def test_segments_read_from_head_to_single_and_otherwise_from_large_to_small(full):
    popularity, interest = view.of(full).dimensions
    assert [row.effect.name for row in popularity.rows] == ["head", "torso", "tail", "single"]
    assert [row.effect.share for row in interest.rows] == sorted((r.effect.share for r in interest.rows), reverse=True)


def test_before_any_segment_is_read_the_report_says_whether_they_differ_at_all(full):
    for shown in (Page(report.html(full)).text, report.markdown(full)):
        assert (
            "Yes: their effects differ by more than luck explains (p = 0.021, corrected for asking of 2 dimensions 0.042)"
            in shown
        )
        assert "Nothing says so (p = 0.25" in shown
        assert "as one picked among many +0.0031 to +0.0343" in shown
        assert "the judge's alone" not in shown
    audited = replace(full, audit=Audit("a", "queries", 400, 80, 900, 0.9, 0.8, full.delta, full.delta, full.delta))
    assert "differences are the judge's alone" in Page(report.html(audited)).text
    assert "differences are the judge's alone" in report.markdown(audited)
    (alone,) = [t for t in full.interactions if t.dimension == "interest"]
    assert "explains (p under 0.001)" in segments.differ(
        replace(full, interactions=(replace(alone, p=1e-5, q=1e-5),)), "interest"
    )
    none = replace(full, interactions=(), by_segment=tuple(replace(e, shrunken=None) for e in full.by_segment))
    assert "cannot be asked" in segments.differ(none, "interest")
    assert "hrunken" not in Page(report.html(none)).text + report.markdown(none)
    assert segments.differ(replace(none, by_segment=none.by_segment[:1]), "popularity") == ""


def test_a_segment_that_is_not_reliable_is_grey_and_says_why(full):
    (row,) = [row for dimension in view.of(full).dimensions for row in dimension.rows if row.effect.name == "art & <craft>"]
    assert row.grey
    assert row.remark == "only 7 of its 12 queries differ: not reliable"


def test_an_esci_letter_is_spelled_out_and_any_scale_spreads_over_five_colours(full):
    esci = replace(full, scale="esci", labels=("I", "C", "S", "E"))
    assert [view.grade(esci, i) for i in range(4)] == [
        ("irrelevant", "0"),
        ("complement", "1"),
        ("substitute", "3"),
        ("exact", "4"),
    ]
    assert view.grade(esci, None) == ("no grade", "none")
    assert view.grade(replace(full, scale="mine", labels=("I", "C", "S", "E")), 3).name == "E"


def test_both_lists_say_what_became_of_each_document(full):
    compared = view.of(full).winners[0]
    ranks = (*compared.first, *compared.rest)
    for rank in ranks:
        if rank.control and rank.control.kind in {"up", "down"}:
            other = int(rank.control.move.split()[-1])
            (there,) = [r.treatment for r in ranks if r.treatment and r.treatment.result.doc_id == rank.control.result.doc_id]
            assert there.result.rank == other
            assert there.kind == rank.control.kind
            assert there.move == f"from {rank.rank}"
    assert {r.control.kind for r in ranks if r.control} >= {"gone"}
    assert {r.treatment.kind for r in ranks if r.treatment} >= {"new"}


def test_sides_are_counted_around_zero_even_where_the_middle_edge_is_not_quite_zero(full):
    histogram = Histogram((-0.2, -0.1, 2.7e-17, 0.1, 0.2), (1, 2, 3, 4), 5)
    assert view.sides(replace(full, differences=histogram)) == (3, 5, 7)
    assert view.sides(replace(full, differences=Histogram((-0.1, 0.3), (4,), 5))) is None


# --- numbers and charts ---------------------------------------------------------------------------------------------


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_numbers_have_a_real_minus_sign_and_no_negative_zero(x, places):
    text = words.signed(x, places)
    assert "-" not in text
    assert float(text.replace(words.MINUS, "-").replace(",", "")) == pytest.approx(x, abs=0.51 * 10.0**-places)
    assert text[0] not in "+−" or float(text[1:].replace(",", "")) != 0


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_an_axis_holds_all_its_values_and_zero_and_has_round_ticks(values):
    axis = charts.axis(values)
    assert axis.low <= min(0, *values) <= max(0, *values) <= axis.high
    assert 2 <= len(axis.ticks) <= 9
    assert all(0 <= tick.at <= 100 for tick in axis.ticks)
    if max(map(abs, values)) > 1e-8:
        assert len({words.signed(tick.value, axis.places) for tick in axis.ticks}) == len(axis.ticks)


def test_one_wide_interval_does_not_squash_the_others_and_shows_where_it_is_cut():
    narrow = [Estimate(0.01 * i, 0.005, 0.01 * i - 0.01, 0.01 * i + 0.01, 100, "x") for i in range(4)]
    wide = Estimate(0.0, 2.0, -4.0, 4.0, 3, "x")
    axis = charts.forest([*narrow, wide], narrow[1])
    cut = charts.mark(axis, wide)
    assert cut.cut_low
    assert cut.cut_high
    assert not cut.point_outside
    assert charts.mark(axis, replace(wide, value=3.0)).point_outside
    assert axis.high - axis.low < 0.2
    assert not any(charts.mark(axis, e).cut_low or charts.mark(axis, e).cut_high for e in narrow)


def test_a_report_without_any_difference_can_be_drawn(full):
    none = Estimate(0.0, 0.0, 0.0, 0.0, 40, "x")
    effect = Effect("all", "all", 1.0, none, none, None, None, False)
    flat = replace(full, delta=none, mde=0.0, tipping_bias=0.0, truth=None, by_segment=(effect,))
    flat = replace(flat, differences=Histogram((-1.0, 0.0, 1.0), (0, 0), 40), verdict="no difference at all")
    assert "No difference at all" in report.html(flat)
    assert "0.0000" in report.markdown(flat)


# --- in a browser ---------------------------------------------------------------------------------------------------

PROBE = """<body style="margin:0"><iframe id="f" src="report.html" width="390" height="800" style="border:0"></iframe><script>
onload = () => { const d = document.getElementById("f").contentDocument;
for (const e of d.querySelectorAll("details")) e.open = true;
const out = [...d.querySelectorAll("main *")].filter(e => !e.closest(".scroll, .hidden, thead, svg")
  && e.getBoundingClientRect().right > 391).map(e => e.tagName + "." + e.className);
document.title = JSON.stringify({width: d.documentElement.scrollWidth, out: out.slice(0, 5), scripts: d.scripts.length,
  ground: d.defaultView.getComputedStyle(d.body).backgroundColor, parts: d.querySelectorAll("main > section").length}); }
</script>"""


def test_on_a_phone_nothing_is_wider_than_the_screen(tmp_path, full):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium found: install it to check the report on a phone's width")
    report.write(full, tmp_path)
    (tmp_path / "probe.html").write_text(PROBE, encoding="utf-8")
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
        "--no-first-run",
    ]
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", *quiet, "--allow-file-access-from-files",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=800,900", "--hide-scrollbars",
               "--virtual-time-budget=4000",
               "--blink-settings=preferredColorScheme=1", "--dump-dom", (tmp_path / "probe.html").as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr[-500:]
    found = json.loads(title[1])
    assert found == {"width": 390, "out": [], "scripts": 0, "ground": "rgb(251, 250, 247)", "parts": 11}
