"""From what a user says of an annotator to an annotator that can be asked: models, examples, prices, replies, and the gate."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from germane import cards, sources, store
from germane.golden.folder import test_pairs
from germane.judges import providers
from germane.judges.calls import Calling, Spent
from germane.judges.graph import Voting
from germane.judges.images import Images
from germane.judges.llm import LLM, Asked, facts
from germane.judges.prices import Price, price
from germane.judges.prompts.annotating import Example, Instructions
from germane.judges.prompts.examples import Examples
from germane.judges.providers import PREFIX, SAMPLE, Endpoint, Model
from germane.judges.replies import Replies
from germane.judges.sample import Recording
from germane.labelling.reading import PairsFile
from germane.text import pair_digest, query_digest
from germane.types import InputError, JudgeCard, Refusal, Scale

if TYPE_CHECKING:
    import pyarrow as pa

UNCHECKED = "the annotator has no passing card for this scale and guide"
NO_CARD = "no-card"
_SPLIT = store.Column("split", "string", "dev or test, of a sealed golden set", nullable=True)
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")  # that providers know, each some of them
REPLIES = "replies"  # the folder beside the output, where no other is named


@dataclass(frozen=True)
class FewShot:
    """Where few-shot examples come from: pairs, and people's grades of them. sealed: pairs, or a sealed golden set, whose test
    must not be among them.

    each: examples of every grade that are shown.
    """

    pairs: Path
    labels: Path
    sealed: Path | None = None
    each: int = 1


@dataclass(frozen=True)
class Annotator:
    """An annotator as options name it. judge: "llm:PROVIDER/MODEL". first: a cheaper model that is asked before it.

    temperature: None: the model's own with one sample, 1 with several, 0 in the mode "symbol". most: tokens of a reply; None:
    1,024, and 8,192 where the model is known to reason first. replies: the folder where replies are kept. card: of this
    annotator; cards: the folder where one may lie, by default the project's; golden: people's judgments, whose pairs it may
    label without one. allow: overrides. day: the watched day that pays: what other days paid for is then no cost, and known.
    """

    judge: str
    scale: Scale
    url: str | None = None
    key_env: str | None = None
    first: str | None = None
    mode: str = "reasons"
    phrasing: int = 0
    voting: Voting = field(default_factory=Voting)
    temperature: float | None = None
    most: int | None = None
    effort: str | None = None
    structured: str | None = None
    few_shot: FewShot | None = None
    prices: Path | None = None
    calling: Calling = field(default_factory=Calling)
    replies: Path | None = None
    offline: bool = False
    images: bool = False
    card: Path | None = None
    cards: Path | None = None
    golden: Path | None = None
    allow: tuple[str, ...] = ()
    day: str = ""

    def asked(self) -> Asked:
        """What the annotator is. Raises: InputError for what cannot be, as a model of an unknown provider."""
        instructions = Instructions(self.scale, self.phrasing, self.mode)
        several = self.voting.n > 1 and self.mode != "symbol"
        temperature = 1.0 if self.temperature is None and several and not self.effort else self.temperature
        if self.temperature is None and self.mode == "symbol":
            temperature = 0.0  # nothing is drawn: some servers put what was drawn among the likeliest, or sharpen them
        options: dict[str, Any] = {"temperature": temperature, "effort": self.effort}
        if self.structured is not None:
            if self.structured not in ("schema", "tool", "text"):
                raise InputError(f"--structured {self.structured}: expected schema, tool or text")
            options["structured"] = self.structured
        if self.effort is not None and self.effort not in EFFORTS:
            raise InputError(f"--effort {self.effort}: expected {', '.join(EFFORTS)}")
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise InputError(f"--temperature {self.temperature:g}: expected 0 to 2")
        if self.first and SAMPLE in (
            self.first.removeprefix(PREFIX).split("/")[0],
            self.judge.removeprefix(PREFIX).split("/")[0],
        ):
            raise InputError("a recorded sample stands alone: leave --first out")
        recorded = self.judge.removeprefix(PREFIX).split("/")[0] == SAMPLE
        if recorded and (self.mode != "reasons" or self.phrasing or self.few_shot is not None):
            raise InputError("a recorded sample answers one prompt: leave --mode, --phrasing and --examples out")
        models = tuple(self._within(Model.named(name, **options)) for name in (self.first, self.judge) if name)
        if len(models) == 2 and models[0] == models[1]:
            raise InputError(f"--first {self.first} is the judge itself: name a cheaper model, or leave it out")
        return Asked(instructions, models, self.voting, _examples(self), self.images)

    def _within(self, model: Model) -> Model:
        """The model with the tokens that a reply may have: more where it thinks before it writes."""
        usual = 8192 if model.thinks else 1024
        return replace(model, most=1 if self.mode == "symbol" else self.most or usual)

    @property
    def files(self) -> list[Path | None]:
        """What is read besides the pairs."""
        few = [] if self.few_shot is None else [self.few_shot.pairs, self.few_shot.labels, self.few_shot.sealed]
        return [*few, self.prices, self.card, self.golden]

    def endpoints(self, asked: Asked) -> tuple[Endpoint, ...]:
        """Where each model is: --url and --key-env are of the judge's provider."""
        return tuple(
            Endpoint(self.url, self.key_env) if model.provider == asked.models[-1].provider else Endpoint()
            for model in asked.models
        )

    def ready(self, asked: Asked) -> None:
        """Raises: InputError for a missing key, saying which variable to set, and for a missing package."""
        for model, endpoint in zip(asked.models, self.endpoints(asked), strict=True):
            if not self.offline and model.provider != SAMPLE:
                endpoint.key(model)
                providers.installed(model)

    def priced(self, asked: Asked) -> tuple[Price | None, ...]:
        return tuple(price(model.provider, model.name, self.prices) for model in asked.models)

    def open(self, asked: Asked, folder: Path, images: Images | None = None, *, retry: bool = False) -> LLM:
        """The annotator, ready. folder: where replies are kept, unless `replies` names another. retry: as of `LLM`.

        Raises: InputError for a missing package, key or price.
        """
        from germane.judges.injection import suspicions

        recorded = asked.models[-1].provider == SAMPLE
        kept = self.replies or folder
        return LLM(
            asked,
            self.endpoints(asked),
            replies=Replies(None if recorded else kept, self.day),
            recording=Recording(kept) if recorded else None,
            calling=self.calling,
            prices=self.priced(asked),
            offline=self.offline,
            retry=retry,
            images=images,
            suspicious=lambda query, item: suspicions(item, query),
        )

    def facts(self, asked: Asked) -> dict[str, Any]:
        """What the manifest says of it."""
        return dict(facts(asked, self.endpoints(asked)))


def is_annotator(judge: str | Path) -> bool:
    """True for the name of a language model: "llm:openai/o3".

    >>> is_annotator("llm:openai/o3"), is_annotator("judges/mine")
    (True, False)
    """
    return str(judge).startswith(PREFIX)


class Admitted(NamedTuple):
    """Why an annotator may label some pairs. overrides: that were needed, as sentences. notes: on its card. by: what let it in,
    for the manifest: the card's judge, gold and bars; or the golden set; {} for a recorded sample.
    """

    overrides: list[str]
    notes: list[str]
    by: Mapping[str, Any]


def admitted(options: Annotator, asked: Asked, pairs: PairsFile, folder: Path | None) -> Admitted:
    """What lets an annotator label these pairs.

    It may label golden pairs, so that it can be checked; for others it needs a card that passed, of its own fingerprint,
    scale and guide: `card`, or one below `folder`.

    Raises: Refusal `--allow no-card`.
    """
    if asked.models[-1].provider == SAMPLE:
        return Admitted([], [], {})
    card = _card(options, asked, folder)
    why = _objection(card, asked)
    if card is not None and not why:
        low = [f"{name} {bar:g}" for name, bar in card.bars.items() if cards.BARS.get(name) != bar]
        low += [f"no bar for {name}" for name in cards.BARS if name not in card.bars]
        notes = [f"its card passed bars that are not the usual ones: {', '.join(low)}"] if low else []
        by = {"card": card.fingerprint, "gold": card.gold, "gold_digest": card.gold_digest, "bars": dict(card.bars)}
        return Admitted([], notes, by)
    outside = _outside(pairs, options.golden, options.scale)
    if outside == 0:
        return Admitted([], [], {"golden": str(options.golden)})
    if NO_CARD in options.allow:
        return Admitted([f"--allow {NO_CARD}: {UNCHECKED}"], [], {})
    many = "these pairs are not known to be golden" if outside is None else f"{outside:,} of these pairs are not golden"
    raise Refusal(
        f"{why}, and {many}. Label the golden pairs first (--golden GOLD names people's judgments), then germane check, then "
        "--card CARD.",
        f"--allow {NO_CARD}",
    )


def _card(options: Annotator, asked: Asked, folder: Path | None) -> JudgeCard | None:
    if options.card is not None:
        return cards.read(options.card)
    if folder is None or not folder.is_dir():
        return None
    return cards.find(folder, asked.fingerprint, asked.scale.name, asked.scale.version)


def _objection(card: JudgeCard | None, asked: Asked) -> str:
    if card is None:
        return f"{asked.name} ({asked.fingerprint}) has no judge card on scale {asked.scale.name!r}"
    if (card.fingerprint, card.scale, card.guide_version) != (asked.fingerprint, asked.scale.name, asked.scale.version):
        return (
            f"the card is of {card.fingerprint} on scale {card.scale!r}, guide {card.guide_version}, and this annotator is "
            f"{asked.fingerprint} on {asked.scale.name!r}, guide {asked.scale.version}"
        )
    return "" if card.bars and card.passed else f"the card of {asked.name} does not meet its bars"


def _outside(pairs: PairsFile, golden: Path | None, scale: Scale) -> int | None:
    """How many pairs people did not judge; None without a golden set."""
    if golden is None:
        return None
    gold = sources.read_judgments(golden, scale=scale)
    _peoples(gold, f"--golden {golden}")
    graded = gold.filter(gold["relevance"].is_valid())  # nobody has judged a pair that has no grade
    known = set(_ids(graded))
    rows = (row for piece in pairs.pieces() for row in _ids(piece))
    return sum(row not in known for row in rows)


def _peoples(gold: pa.Table, what: str) -> None:
    """Raises: InputError where not all of these are people's judgments."""
    rows = gold.group_by(["judge", "fingerprint"]).aggregate([]).to_pylist()
    machines = sorted(str(row["judge"]) for row in rows if not cards.is_human(row["judge"] or "", row["fingerprint"] or ""))
    if machines:
        raise InputError(f"{what}: it holds judgments of {machines[0]!r}, and these must be people's (human:NAME)")


def _ids(piece: pa.Table) -> Iterable[tuple[Any, Any]]:
    return zip(piece["query_id"].to_pylist(), piece["doc_id"].to_pylist(), strict=True)


def _examples(options: Annotator) -> Examples | None:
    """The graded pairs that few-shot examples are chosen from. Raises: InputError for sealed ones, and for none."""
    few = options.few_shot
    if few is None:
        return None
    for path in (few.pairs, few.labels):
        store.sealed.refuse_test(path, "examples are taken from dev")
    texts = sources.read_pairs(few.pairs)
    gold = sources.read_judgments(few.labels, scale=options.scale, more=(_SPLIT,))
    _peoples(gold, str(few.labels))
    _not_test(few.labels, gold["split"].unique().to_pylist() if "split" in gold.column_names else ())
    grades: dict[tuple[str, str], set[int]] = {}
    for query_id, doc_id, grade in zip(*(gold[c].to_pylist() for c in ("query_id", "doc_id", "relevance")), strict=True):
        if grade is not None:
            grades.setdefault((query_id, doc_id), set()).add(grade)
    rows = zip(*(texts[c].to_pylist() for c in ("query_id", "doc_id", "query", "text")), strict=True)
    found = [
        Example(query, text, grades[query_id, doc_id].pop())
        for query_id, doc_id, query, text in rows
        if len(grades.get((query_id, doc_id), ())) == 1 and query and text  # where raters differ there is no example
    ]
    if not found:
        raise InputError(f"no pair of {few.pairs} has a grade in {few.labels}: there is no example to show")
    if few.sealed is not None:
        _apart(found, few)
    return Examples(tuple(found), options.scale, few.each)


def _not_test(labels: Path, parts: Collection[Any]) -> None:
    """Raises: InputError where the file says itself that it holds the sealed test part."""
    manifest = store.read_manifest(labels)
    said: Mapping[str, Any] = manifest.extra if manifest else {}
    if "test" in parts or said.get("split") == "test":
        raise InputError(f"{labels} holds golden test: examples are taken from dev, never from what a judge is checked on")


def _apart(found: Iterable[Example], few: FewShot) -> None:
    assert few.sealed is not None
    sealed = sources.read_pairs(test_pairs(few.sealed))
    asked, items = ([str(text) for text in sealed[name].to_pylist()] for name in ("query", "text"))
    queries = set(map(query_digest, asked))
    pairs = set(map(pair_digest, asked, items))
    held = sum(query_digest(e.query) in queries or pair_digest(e.query, e.item) in pairs for e in found)
    if held:
        raise InputError(
            f"{held:,} examples are of queries in the sealed pairs {few.sealed}: the judge would be checked on what it was "
            "shown. Take examples from other queries"
        )


def spent(used: Spent, paid: float | None, computed: int, prices: Sequence[Price | None]) -> list[str]:
    """What the labels and this run have cost, and how many calls, as the summary says it."""
    if None in prices:
        cost = "not known: no price of this model (--prices FILE)"
    else:
        each = paid / max(computed, 1) if paid is not None else 0.0
        cost = f"${paid or 0:,.4f} in all, ${each:.6f} a label; ${used.money:,.4f} of it now"
    calls = f"{used.calls:,} answered, {used.known:,} known from before"
    again = used.tries - used.calls
    return [cost, f"{calls}, {again:,} without an answer" if again else calls]


def of_engines(asked: LLM) -> list[str]:
    """What is to be said of the servers that answered."""
    guessed = asked.spent.guessed
    notes = (
        [f"the server told no usage of {guessed:,} replies: their tokens were counted from letters, about"] if guessed else []
    )
    if asked.offline and len(asked.replies) and not asked.spent.known:
        notes.append(f"{len(asked.replies):,} replies are kept, and none is to this prompt, of this model, at this address")
    of = asked.asked
    if of.voting.n > 1 and of.models[-1].temperature == 0:
        notes.append("temperature 0: samples are hardly drawn, so that their agreement says little")
    for model, engines in asked.spent.engines.items():
        if len(names := sorted(name for name in engines if name)) > 1:
            notes.append(f"{model} changed while it was asked: {', '.join(names[:4])}: check it on an anchor set")
    return notes
