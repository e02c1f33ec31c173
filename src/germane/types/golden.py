"""People's votes, as the registry keeps them and as everything that measures raters reads them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class VoteKind(StrEnum):
    """What a vote is for. Only `VOTE` decides a pair's grade among the raters; an adjudication stands above all votes."""

    VOTE = "vote"
    CONTROL = "control"
    ADJUDICATION = "adjudication"


class Vote(NamedTuple):
    """What one person said of one pair at one moment. Rows are only added: a changed mind is a new row with a later `at`.

    rater: the account's name, which becomes judge `human:RATER`. relevance: index on the scale, or None for "cannot judge",
    whose why is `reason`. guide_version: `Scale.version` under which the vote was made. at: UTC. seconds: that the pair was
    on the screen, None where not known. kind: CONTROL is a hidden pair with a known grade. stratum: the pair's, for tables.
    withdrawn: an undo; the rater's earlier vote on this pair no longer counts. queued: a third person decides this pair even
    if people agree, since a judge was unsure of it.
    """

    query_id: str
    doc_id: str
    rater: str
    relevance: int | None
    guide_version: str
    at: datetime
    kind: VoteKind = VoteKind.VOTE
    reason: str = ""
    note: str = ""
    seconds: float | None = None
    stratum: str = ""
    withdrawn: bool = False
    queued: bool = False
