"""Annotators for tests: a model behind a server that behaves as a test wants, and pairs to ask it about."""

import socket
from pathlib import Path

import nasty_server

from germane.judges.calls import Calling
from germane.judges.graph import Voting
from germane.judges.llm import LLM, Asked
from germane.judges.prompts.annotating import Instructions
from germane.judges.providers import Endpoint, Model
from germane.judges.replies import Replies
from germane.scales import get
from germane.types import Doc, Pair, Query

ESCI = get("esci")
QUICK = Calling(at_once=8, timeout=5, tries=3, wait=0.001, patience=2)


def pairs(*texts, query="blue chair"):
    return [Pair(Query(f"q{i}", query), Doc(f"d{i}", {"text": text})) for i, text in enumerate(texts or ("a blue chair",))]


def asked(*, models=("llm:compatible/m",), voting=None, mode="reasons", examples=None, phrasing=0, **decoding):
    many = tuple(Model.named(name, **decoding) for name in models)
    return Asked(Instructions(ESCI, phrasing, mode), many, voting or Voting(), examples)


def annotator(url, *, of=None, replies=None, calling=QUICK, **options):
    of = of or asked()
    held = Replies(Path(replies)) if replies else None
    return LLM(of, [Endpoint(url)] * len(of.models), replies=held, calling=calling, **options)


def free_port():
    """Of a server that comes back at the same address: what is said at another one is kept apart."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def judged(behaviour, which=None, *, port=0, **options):
    """Judgments of pairs, what was asked, and the judge."""
    with nasty_server.server(behaviour, port=port) as (url, calls):
        judge = annotator(url, **options)
        return list(judge(which or pairs())), calls, judge
