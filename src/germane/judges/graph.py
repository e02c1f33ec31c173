"""The annotator's graph: prompt, ask, read, repair once, vote; then more samples, the stronger model, or the end.

A LangGraph state graph over a few pairs at a time (a cohort): its own cost a step is shared by them, and every call inside
goes out at once. All that was asked and said is in the state, so that the graph can be drawn, traced and stepped through.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, NamedTuple, TypedDict

import numpy as np

from germane.judges import voting
from germane.judges.calls import Caller, Failure, Stopped
from germane.judges.likeliest import graded_tokens
from germane.judges.prompts.annotating import Example, Instructions, Markers, Material
from germane.judges.prompts.examples import Examples
from germane.judges.replies import Reply
from germane.judges.verdicts import Unread, Verdict, verdict
from germane.types import Outcome

_MARKED = re.compile(r"\b[0-9a-f]{8}\b")
QUOTED = 2_000  # characters of a reply that was no verdict, when it is shown to the model again
STEPS = 200  # of the graph for one cohort: n samples one by one, twice, each with a repair


@dataclass(frozen=True)
class Voting:
    """How samples become a grade. n: samples. rule: of `voting.RULES`. early: samples go out in small waves, and end when the
    vote cannot change. accept: least share of the n samples that gave the grade of a first, cheaper model, for it to stand.
    """

    n: int = 1
    rule: str = "median"
    early: bool = False
    accept: float = 1.0


class Read(NamedTuple):
    """One sample as it was read. probs: in the mode "symbol". cost: dollars, of the repair too; None if not known."""

    said: Verdict | Unread
    probs: tuple[float, ...] | None
    cost: float | None


@dataclass
class Case:
    """A pair on its way through the graph."""

    material: Material
    examples: Sequence[Example] = ()
    notes: list[str] = field(default_factory=list)
    at: int = 0  # which model, cheapest first
    first: int = 0  # the number of its first sample, beyond the graph's
    messages: list[dict[str, Any]] = field(default_factory=list)
    marker: str = ""
    replies: dict[int, Reply | Failure] = field(default_factory=dict)  # of the wave in flight, by sample
    reads: dict[int, Read] = field(default_factory=dict)
    repaired: set[int] = field(default_factory=set)
    cost: float | None = 0.0
    asked: bool = False  # now, or before a kill of the same day: not all is kept from before
    vote: voting.Vote | None = None

    @property
    def votes(self) -> list[int | None]:
        said = (self.reads[i].said for i in sorted(self.reads))
        return [each.relevance if isinstance(each, Verdict) else None for each in said]


class State(TypedDict):
    cases: list[Case]


class Graph:
    """The graph, compiled. callers: the models, cheapest first. examples: to choose few-shot examples from, or None.

    first: the number of the first sample: samples of other numbers are other replies.
    """

    def __init__(
        self,
        instructions: Instructions,
        callers: Sequence[Caller],
        voting_: Voting,
        examples: Examples | None = None,
        *,
        first: int = 0,
    ) -> None:
        from langgraph.graph import END, START, StateGraph

        self.instructions, self.callers, self.voting, self.examples = instructions, callers, voting_, examples
        self.size, self.first, self._markers = len(instructions.scale.labels), first, Markers()
        graph = StateGraph(State)
        for name, step in (("prompt", self._prompt), ("ask", self._ask), ("repair", self._repair), ("vote", self._vote)):
            graph.add_node(name, step)
        graph.add_edge(START, "prompt")
        graph.add_edge("prompt", "ask")
        graph.add_conditional_edges("ask", self._after_asking, {"repair": "repair", "vote": "vote"})
        graph.add_edge("repair", "vote")
        graph.add_conditional_edges("vote", self._after_voting, {"ask": "ask", "prompt": "prompt", "end": END})
        self._compiled = graph.compile()

    async def run(self, cases: list[Case]) -> list[Case]:
        """The cases with their votes."""
        state = await self._compiled.ainvoke({"cases": cases}, {"recursion_limit": STEPS})
        found: list[Case] = state["cases"]
        return found

    def drawn(self) -> str:
        """The graph as a Mermaid diagram."""
        return str(self._compiled.get_graph().draw_mermaid())

    # --- the steps ---------------------------------------------------------------------------------------------------

    async def _prompt(self, state: State) -> Mapping[str, Any]:
        for case in state["cases"]:
            if not case.messages:
                if self.examples is not None and not case.examples:
                    case.examples = self.examples.of(case.material.query, case.material.item)
                case.messages = self.instructions.messages(case.material, case.examples, marker=self._markers.of(case.material))
                case.marker = marker_of(case.messages)
        return {"cases": state["cases"]}

    async def _ask(self, state: State) -> Mapping[str, Any]:
        """Sends the next wave of every case that is not decided, and reads what comes back."""
        going = [case for case in state["cases"] if case.vote is None]
        sent = [(case, number) for case in going for number in self._wave(case)]
        replies = await _all(self._call(case, case.messages, number) for case, number in sent)
        for (case, number), reply in zip(sent, replies, strict=True):
            case.replies[number] = reply
            case.reads[number] = self._read(case, reply)
        return {"cases": state["cases"]}

    async def _repair(self, state: State) -> Mapping[str, Any]:
        """Asks once more, with the reply and what is wrong with it, where a reply was no verdict."""
        sent = [(case, number) for case in state["cases"] for number in self._broken(case)]
        replies = await _all(self._call(case, self._again(case, number), number) for case, number in sent)
        for (case, number), reply in zip(sent, replies, strict=True):
            case.repaired.add(number)
            first, second = case.reads[number], self._read(case, reply)
            known = isinstance(second.said, Verdict) or not isinstance(reply, Failure)
            kept = second if known else first
            cost = None if first.cost is None or second.cost is None else first.cost + second.cost
            case.reads[number] = kept._replace(cost=cost)
        return {"cases": state["cases"]}

    async def _vote(self, state: State) -> Mapping[str, Any]:
        for case in state["cases"]:
            if case.vote is not None or self._wave(case):
                continue
            found = self._of(case)
            costs = [read.cost for read in case.reads.values()]
            case.cost = None if case.cost is None or None in costs else case.cost + sum(c for c in costs if c is not None)
            if case.at + 1 < len(self.callers) and _agreed(case.votes, found.relevance, self._n()) < self.voting.accept:
                case.notes.append(self._handed(case, found))
                case.at, case.reads, case.replies, case.repaired = case.at + 1, {}, {}, set()
            else:
                case.vote = found
        return {"cases": state["cases"]}

    def _after_asking(self, state: State) -> str:
        return "repair" if any(self._broken(case) for case in state["cases"]) else "vote"

    def _after_voting(self, state: State) -> str:
        return "ask" if any(case.vote is None for case in state["cases"]) else "end"

    # --- what they are made of ---------------------------------------------------------------------------------------

    def _wave(self, case: Case) -> range:
        """The samples to send next; none where the vote is decided."""
        n = self._n()
        done = len(case.reads)
        more = n - done
        if self.voting.early:
            more = voting.wave(case.votes, self.size, n=n, rule=self.voting.rule)
            if case.at + 1 < len(self.callers):
                more = _to_accept(case.votes, more, self.size, n, self.voting)
        return range(done, min(done + more, n))

    def _n(self) -> int:
        return 1 if self.instructions.mode == "symbol" else self.voting.n

    async def _call(self, case: Case, messages: Sequence[Mapping[str, Any]], number: int) -> Reply | Failure:
        caller, sample = self.callers[case.at], self.first + case.first + number
        said = await caller.ask(messages, marker=case.marker, sample=sample, cut=bool(case.notes))
        case.asked |= caller.now(said)
        return said

    def kept(self, case: Case, first: int) -> bool:
        """Whether a reply is kept of its first sample, counted from `first`."""
        caller = self.callers[0]
        return caller.key(case.messages, marker=case.marker, sample=self.first + first) in caller.replies

    def _broken(self, case: Case) -> list[int]:
        if case.vote is not None or self.instructions.mode == "symbol":
            return []
        return [
            number
            for number, read in case.reads.items()
            if number not in case.repaired
            and isinstance(read.said, Unread)
            and read.said.outcome is Outcome.UNPARSEABLE
            and isinstance(case.replies.get(number), Reply)
        ]

    def _again(self, case: Case, number: int) -> list[dict[str, Any]]:
        reply, said = case.replies[number], case.reads[number].said
        assert isinstance(reply, Reply)
        assert isinstance(said, Unread)
        quoted = _MARKED.sub("", reply.text[:QUOTED])  # read again, the question has another marker, and is the same one
        turn = {"role": "assistant", "content": quoted or "(nothing)"}
        return [*case.messages, turn, {"role": "user", "content": self.instructions.again(_MARKED.sub("", said.why))}]

    def _read(self, case: Case, reply: Reply | Failure) -> Read:
        if isinstance(reply, Failure):
            return Read(Unread(reply.outcome, reply.why), None, 0.0)
        price = self.callers[case.at].price
        cost = price.of(reply.usage) if price is not None else None
        if reply.refusal:
            return Read(Unread(Outcome.REFUSED, reply.refusal[:200]), None, cost)
        if reply.ended == "content_filter":
            return Read(Unread(Outcome.FILTERED, "the server's content filter stopped it"), None, cost)
        if self.instructions.mode == "symbol":
            said, probs = self._symbol(reply)
            return Read(said, probs, cost)
        found = verdict(reply.text, self.instructions.scale)
        if isinstance(found, Unread) and reply.ended in ("length", "max_tokens"):
            found = found._replace(why=f"cut off at its limit of tokens: {found.why}")
        return Read(found, None, cost)

    def _symbol(self, reply: Reply) -> tuple[Verdict | Unread, tuple[float, ...] | None]:
        """The grade by the probabilities of its symbols at the first token."""
        if not reply.tops:
            return Unread(Outcome.UNPARSEABLE, "the server gave no logprobs: probabilities cannot be read without"), None
        found = graded_tokens(reply.tops, self.instructions.symbols)
        if found.why:
            return Unread(Outcome.UNPARSEABLE, found.why), None
        probs = tuple(float(p) for p in found.shares / found.shares.sum())
        return Verdict(int(np.argmax(found.shares)), max(probs), found.note), probs

    def _of(self, case: Case) -> voting.Vote:
        probs = next((read.probs for read in case.reads.values() if read.probs is not None), None)
        if self.instructions.mode == "symbol":
            grade = case.votes[0] if case.votes else None
            return voting.Vote(grade, probs, None, None)  # no samples: how sure it is, its probabilities say
        return voting.vote(case.votes, self.size, n=self._n(), rule=self.voting.rule)

    def _handed(self, case: Case, found: voting.Vote) -> str:
        first = self.callers[case.at].model
        if found.relevance is None:
            return f"{first} gave no grade"
        label = self.instructions.scale.labels[found.relevance]
        return f"{first} said {label} (self-agreement {found.self_agreement or 0:.2f})"


def _agreed(votes: Sequence[int | None], grade: int | None, n: int) -> float:
    """The share of all n samples that gave this grade; of those that were not asked none did."""
    return votes.count(grade) / n if grade is not None else 0.0


def _to_accept(votes: Sequence[int | None], wave: int, size: int, n: int, how: Voting) -> int:
    """Samples to send next where a stronger model follows: until it is settled whether the grade stands, too.

    wave: that settle the grade, 0 where it is. So an early end hands on the pairs that all n samples would hand on.
    """
    left, needed = n - len(votes), ceil(how.accept * n - 1e-9)
    if max((votes.count(grade) for grade in {*votes} - {None}), default=0) + left < needed:
        return 0  # whatever the grade, too few gave it
    if wave:
        return wave
    grade = voting.vote(votes, size, n=n, rule=how.rule).relevance
    have = needed if grade is None else votes.count(grade)
    return 0 if have >= needed or have + left < needed else min(needed - have, left)


def marker_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """The marker of the fences in messages that `Instructions.messages` made."""
    content = messages[-1]["content"]
    last = content if isinstance(content, str) else content[-1]["text"]
    return str(last).rpartition("with code ")[2].partition(" ")[0]


async def _all(calls: Any) -> list[Any]:
    """The results of calls, in order; the first that fails ends the others. At the budget those in flight, paid for, end."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    except Stopped:
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
