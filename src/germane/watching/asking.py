"""How a language model is asked about a day's pairs: what it said on any day is kept, and anchors are asked anew every day."""

from __future__ import annotations

from pathlib import Path

from germane.judges.calls import Calling
from germane.judges.graph import Voting
from germane.labelling.annotators import Annotator
from germane.watching.plan import Plan

REPLIES, ANCHOR_REPLIES = "replies", "anchor-replies"


def annotator(plan: Plan, folder: Path | None = None, *, day: str = "") -> Annotator:
    """The annotator of the settings. folder: a day's, whose anchors are asked: only a run that was killed that day is gone on
    with; None: replies of all days are one store, so that no pair is paid for twice. day: that pays for what is asked.

    Raises: InputError for what cannot be, as a vote of an unknown kind.
    """
    said = plan.llm
    calling = Calling(said.at_once, said.timeout, said.tries, budget=said.budget or None)
    return Annotator(
        plan.judge,
        plan.scale,
        url=said.url or None,
        key_env=said.key_env or None,
        mode=said.mode,
        phrasing=said.phrasing,
        voting=Voting(said.samples, said.vote),
        effort=said.effort or None,
        structured=said.structured or None,
        prices=plan.root / said.prices if said.prices else None,
        calling=calling,
        replies=plan.folder / REPLIES if folder is None else folder / ANCHOR_REPLIES,
        cards=plan.cards,
        day=day,
    )
