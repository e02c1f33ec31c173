"""`germane label --plan`: what asking a language model would take, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from germane.judges.replies import Replies
from germane.labelling.annotators import REPLIES, Annotator
from germane.labelling.planned import IMAGE, forecast
from germane.labelling.reading import PairsFile


class Planned(NamedTuple):
    """What labelling is expected to take, in words. known: calls whose reply is kept. prompt: one, as it would be sent."""

    judge: str
    fingerprint: str
    pairs: int
    different: int
    known: str
    calls: str
    tokens: str
    dollars: str
    time: str
    assumed: str
    prompt: str


def plan(pairs: Path, annotator: Annotator, *, out: Path | None = None, limit: int | None = None) -> Planned:
    """What it would take to label these pairs, and a prompt as it would be sent. Nothing is asked, and no key is needed.

    out: the table that would be written; replies that are kept beside it cost nothing again.

    Raises: InputError for pairs that cannot be read.
    """
    asked = annotator.asked()
    places = [end.place(model) for model, end in zip(asked.models, annotator.endpoints(asked), strict=True)]
    kept = Replies(annotator.replies or ((out.parent if out else Path()) / REPLIES))
    file = PairsFile(pairs, limit, context=True)
    found = forecast(asked, file, kept, annotator.priced(asked), places=places, at_once=annotator.calling.at_once)
    kept.close()
    cost, sizes = found.cost, found.sizes
    calls = f"{cost.calls_most:,}" if cost.calls_least == cost.calls_most else f"{cost.calls_least:,} to {cost.calls_most:,}"
    more = ", if the cheaper model hands every pair on" if len(asked.models) > 1 else ""
    money = "unknown: name a table with this model's price (--prices FILE)"
    if cost.dollars is not None:
        money = f"${cost.dollars:,.2f}" + (f", ${cost.dollars_a_label:.5f} a label" if cost.dollars_a_label is not None else "")
    measured = f"measured on {sizes.from_replies:,} kept replies" if sizes.from_replies else "assumed: no reply is kept yet"
    cached = f"{cost.tokens_cached:,} of them cached, if the provider does"
    tokens = f"{cost.tokens_read:,} read ({cached}), {cost.tokens_written:,} written"
    each = f"{sizes.written:,.0f} tokens and {sizes.seconds:.1f} s a reply ({measured}), "
    each += f"{sizes.characters_a_token:g} characters a token of Latin letters"
    each += f", {IMAGE:,} tokens an image, which the prompt below does not show" if asked.images else ""
    return Planned(
        asked.name,
        asked.fingerprint,
        found.pairs,
        found.different,
        f"{found.known:.0%} of the calls have a reply already",
        calls + more,
        tokens,
        money,
        f"{60 * cost.hours:,.1f} minutes with {annotator.calling.at_once} calls at once",
        each,
        found.prompt,
    )
