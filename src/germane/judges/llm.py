"""A language model as an annotator: asked in words, several times if wanted, and honest when it does not know.

`LLM` is a `Judge`. It can be asked about any number of pairs: so many calls are in flight at once, replies are kept as they
come (`judges.replies`), and what was asked before, here or in another run, is not asked again.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
import statistics
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from germane.extras import needs
from germane.judges import saying
from germane.judges.calls import Caller, Calling, Gate, Spent, Stopped
from germane.judges.graph import Case, Graph, Voting
from germane.judges.images import Images, without_image
from germane.judges.prices import Price
from germane.judges.prompts.annotating import Instructions, Material
from germane.judges.prompts.examples import Examples
from germane.judges.providers import SAMPLE, Endpoint, Model
from germane.judges.replies import Replies
from germane.judges.sample import Recording
from germane.judges.verdicts import READING, Unread, schema
from germane.types import InputError, Judgment, Outcome, Pair

COHORT = 16
"""Pairs that go through the graph together: they share what its steps cost, and wait for the slowest of them."""
AHEAD = 6  # times as many pairs as calls may be in flight are on their way: a slow one holds up none of the others
CONTEXT = 2_000  # characters of a query's context that are shown
NOTE = 500  # characters of the reasons that a judgment carries
TURNS, TURN = 9, 10_000  # how often a pair can be asked again in other runs, and where the samples of each time begin
UNSETTLED = (Outcome.UNPARSEABLE, Outcome.REFUSED, Outcome.FILTERED)


@dataclass(frozen=True)
class Asked:
    """What an annotator is, whatever it is asked: all that its fingerprint is made of.

    models: cheapest first; the next one is asked where the one before does not agree with itself. examples: to choose
    few-shot examples from. images: whether it is shown the items' images.
    """

    instructions: Instructions
    models: tuple[Model, ...]
    voting: Voting = field(default_factory=Voting)
    examples: Examples | None = None
    images: bool = False

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("an annotator needs a model")
        if self.voting.n < 1 or self.voting.n > 99:
            raise InputError(f"--samples {self.voting.n}: give 1 to 99")
        if not 0 < self.voting.accept <= 1:
            raise InputError(f"--accept {self.voting.accept:g}: a share of samples, above 0 and up to 1")
        if self.instructions.mode == "symbol" and self.voting.n > 1:
            raise InputError("--mode symbol reads probabilities in one call: leave --samples out")
        if self.voting.early and self.voting.n < 3:
            raise InputError("--early ends votes before all samples are in: it needs --samples 3 or more")

    @property
    def scale(self) -> Any:
        return self.instructions.scale

    @property
    def name(self) -> str:
        return " then ".join(map(str, self.models))

    @property
    def fingerprint(self) -> str:
        """ "llm:" and 16 hex digits: model, prompt and its wording, guide, examples, decoding, votes, images."""
        of = self.instructions
        decides: list[Any] = [
            READING,
            CONTEXT,
            of.scale.labels,
            of.scale.version,
            of.version,
            of.mode,
            of.phrasing,
            self.images,
        ]
        decides += [[m.decides for m in self.models], list(self.voting.__dict__.values())]
        decides += [self.examples.digest if self.examples else None]
        kind = "fake" if any(model.provider == SAMPLE for model in self.models) else "llm"
        return f"{kind}:{hashlib.sha256(json.dumps(decides, ensure_ascii=False).encode()).hexdigest()[:16]}"


class LLM:
    """The annotator, ready to be asked. endpoints: where each model is. prices: of each, None where not known.

    replies: where what is said is kept. offline: nothing is asked; pairs that were never asked about have no answer. retry:
    asks once more about pairs whose kept replies are no answer; "cannot judge" is one, and stands.
    suspicious: what looks odd in an item (query, item) -> names; it goes into the note and changes nothing else.
    `spent` says what it has cost since it was made, `gate` how many calls are in flight, `now` which pairs (query_id, doc_id)
    were not answered by replies of other days alone, where `replies` are of a day.

    Raises: InputError for a missing package or key.
    """

    def __init__(
        self,
        asked: Asked,
        endpoints: Sequence[Endpoint],
        *,
        replies: Replies | None = None,
        calling: Calling | None = None,
        prices: Sequence[Price | None] = (),
        offline: bool = False,
        retry: bool = False,
        images: Images | None = None,
        recording: Recording | None = None,
        suspicious: Callable[[str, str], Sequence[str]] | None = None,
    ) -> None:
        needs("llm", "langgraph", "langchain_core", by="judges/llm.py")
        self.asked, self.calling = asked, calling or Calling()
        self.name, self.fingerprint, self.scale = asked.name, asked.fingerprint, asked.scale
        self.images, self.spent, self.suspicious = images, Spent(), suspicious
        self.replies = Replies() if replies is None else replies
        self.prices = tuple(prices) or (None,) * len(asked.models)
        self.now: set[tuple[str, str]] | None = set() if self.replies.day else None
        self._first = 0
        self.endpoints, self.offline, self.recording = tuple(endpoints), offline, recording
        self.retry = retry and not offline and recording is None
        if not offline and recording is None:
            for model, endpoint in zip(asked.models, self.endpoints, strict=True):
                endpoint.key(model)  # before anything else is done: which variable to set
                endpoint.place(model)
            if self.calling.budget is not None and None in self.prices:
                unknown = asked.models[self.prices.index(None)]
                raise InputError(f"--budget: the price of {unknown} is not known: name a table with it (--prices FILE)")

    @property
    def engine(self) -> dict[str, str]:
        """What the servers last said of themselves: several names mean that it changed in mid-run."""
        return {"engine": "; ".join(sorted({name for names in self.spent.engines.values() for name in names if name}))}

    def again(self) -> LLM:
        """The same judge, who answers from samples of its own: what it says when it is asked once more."""
        other = copy.copy(self)
        other._first = self._first + 1000
        return other

    @property
    def latency_ms(self) -> float | None:
        """The median of one call."""
        return 1000 * statistics.median(self.spent.seconds) if self.spent.seconds else None

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Judgment]:
        stream = iter(pairs)
        waiting: deque[Future[list[Judgment]]] = deque()
        most = max(AHEAD * self.calling.at_once // COHORT, 4)
        with _loop() as submit:
            graph = submit(self._opened()).result()
            try:
                while True:
                    while len(waiting) < most and (cohort := list(islice(stream, COHORT))):
                        waiting.append(submit(self._judged(graph, cohort)))
                    if not waiting:
                        return
                    yield from waiting.popleft().result()
            except Stopped:  # what is in flight is paid for
                wait(waiting)
                raise
            finally:
                for each in waiting:
                    each.cancel()
                submit(self._closed(graph)).result()

    # --- inside the loop ---------------------------------------------------------------------------------------------

    async def _opened(self) -> Graph:
        gate = Gate(self.calling.at_once)
        symbol = self.asked.instructions.mode == "symbol"
        callers = [
            Caller(
                model,
                endpoint,
                self.calling,
                self.replies,
                price=price,
                spent=self.spent,
                gate=gate,
                symbol=symbol,
                offline=self.offline,
                recording=self.recording,
            )
            for model, endpoint, price in zip(self.asked.models, self.endpoints, self.prices, strict=True)
        ]
        for caller in callers:
            caller.open(schema(self.scale))
        if not self.offline and self.recording is None:
            self.replies.ready()
        return Graph(self.asked.instructions, callers, self.asked.voting, self.asked.examples, first=self._first)

    async def _closed(self, graph: Graph) -> None:
        for caller in graph.callers:
            await caller.close()
        self.replies.close()

    async def _judged(self, graph: Graph, pairs: Sequence[Pair]) -> list[Judgment]:
        texts = [saying.reads(without_image(pair)) for pair in pairs]
        cases = {i: self._case(pairs[i], *texts[i]) for i in range(len(pairs)) if all(texts[i])}
        if cases:
            await graph.run(list(cases.values()))
            await self._once_more(graph, cases)
        return [self._judgment(pair, cases.get(i), texts[i]) for i, pair in enumerate(pairs)]

    async def _once_more(self, graph: Graph, cases: dict[int, Case]) -> None:
        """Puts, where kept replies are no answer, what was said another time in their place; asks another time to retry."""
        new: set[int] = set()
        for turn in range(1, TURNS + 1):
            first = turn * TURN
            open_ = {i: case for i, case in cases.items() if i not in new and self._outcome(case)[0] in UNSETTLED}
            kept = {i for i, case in open_.items() if graph.kept(case, first)}
            going = {i: case for i, case in open_.items() if i in kept or self.retry}
            if not going:
                return
            for i, case in going.items():
                cases[i] = Case(case.material, case.examples, case.notes, first=first, cost=case.cost, asked=case.asked)
            await graph.run([cases[i] for i in going])
            new |= going.keys() - kept

    def _case(self, pair: Pair, query: str, item: str) -> Case:
        query, item, cut = self.asked.instructions.cut(query, item)
        image, missing = self.images.of(pair.doc) if self.images else (None, "")
        context = pair.query.context or ""
        if len(context) > CONTEXT:
            cut = "; ".join(filter(None, (cut, f"context cut to {CONTEXT:,} of {len(context):,} characters")))
        material = Material(query, item, context[:CONTEXT], as_address(image) if image is not None else "")
        notes = [cut, f"judged on its text: {missing}" if missing else ""]
        return Case(material, notes=[note for note in notes if note])

    def _judgment(self, pair: Pair, case: Case | None, texts: tuple[str, str]) -> Judgment:
        ids = pair.query.query_id, pair.doc.doc_id
        said = self.name, self.fingerprint, self.scale.name, self.scale.version
        if case is None:
            why = "the query is empty" if not texts[0] else "the document has no text"
            return Judgment(*ids, None, None, *said, Outcome.ABSTAINED, why)
        if self.now is not None and case.asked:
            self.now.add(ids)
        vote = case.vote
        assert vote is not None
        notes = [*case.notes]
        if self.suspicious is not None and (seen := self.suspicious(*texts)):
            notes.append(f"flagged: {', '.join(seen)}")
        outcome, why = self._outcome(case)
        note = "; ".join(filter(None, (*notes, why)))[:NOTE]
        probs = vote.probs if vote.relevance is not None else None
        of_samples = (vote.self_agreement, vote.entropy, case.cost)
        return Judgment(*ids, vote.relevance, probs, *said, outcome, note, *of_samples)

    def _outcome(self, case: Case) -> tuple[Outcome, str]:
        """What became of a pair, and the reasons of a sample that gave its grade, or why there is none."""
        reads = [case.reads[i].said for i in sorted(case.reads)]
        assert case.vote is not None
        if case.vote.relevance is not None:
            own = (r.reasoning for r in reads if not isinstance(r, Unread) and r.relevance == case.vote.relevance)
            return Outcome.LABEL, " ".join(next(own, "").split())
        failed = [r for r in reads if isinstance(r, Unread)]
        if 2 * len(failed) > len(reads) or (failed and not any(not isinstance(r, Unread) for r in reads)):
            kinds = [r.outcome for r in failed]
            worst = max(dict.fromkeys(kinds), key=kinds.count)
            return worst, next(r.why for r in failed if r.outcome is worst)
        said = [r for r in reads if not isinstance(r, Unread) and r.relevance is None]
        if len(reads) == 1 and said:
            return Outcome.ABSTAINED, " ".join(said[0].reasoning.split()) or "it cannot judge"
        return Outcome.ABSTAINED, f"no grade has {'a majority' if self.asked.voting.rule == 'majority' else 'enough votes'}"


def as_address(image: Any) -> str:
    """An image as a data address, for a message."""
    import base64
    import io

    held = io.BytesIO()
    image.save(held, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


@contextmanager
def _loop() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Future[Any]]]:
    """An event loop in a thread of its own, which ends with the block, and with it all that still runs in it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="germane-llm", daemon=True)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop)
    finally:
        asyncio.run_coroutine_threadsafe(_ended(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _ended() -> None:
    own = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not own]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def facts(asked: Asked, endpoints: Sequence[Endpoint]) -> Mapping[str, Any]:
    """What a manifest says of an annotator: the model, how it was asked, and whose queries it has seen graded."""
    of = asked.instructions
    return {
        "kind": "llm",
        "name": asked.name,
        "fingerprint": asked.fingerprint,
        "base": str(asked.models[-1]),
        "lineage": [],
        "taught_by": [],
        "random_weights": False,
        "training_queries": list(asked.examples.queries) if asked.examples else [],
        "images": asked.images,
        "blind": False,
        "engine": "llm",
        "prompt": of.version,
        "phrasing": of.phrasing,
        "mode": of.mode,
        "samples": asked.voting.n,
        "rule": asked.voting.rule,
        "early": asked.voting.early,
        "hosts": [endpoint.host(model) for model, endpoint in zip(asked.models, endpoints, strict=True)],
    }
