"""A cross-encoder from parquet to parquet, beside sentence-transformers' own predict, in one run.

    python benchmarks/encoder.py --tokenizer tokenizer.json        # the shape of XLM-RoBERTa-large, random weights: about 4 min
    python benchmarks/encoder.py --real JUDGE... --pairs pairs.parquet   # trained judges, with their agreement with fp32
    python benchmarks/encoder.py --small                           # a small shape, on a CPU

Pairs have 99 tokens on average (lognormal, 256 at most), tokenisation included. Weights of the named shape are random: speed
does not depend on them; its tokenizer is one of as many pieces (multilingual-e5's is XLM-RoBERTa's own). Loading, compiling and
warming up are timed apart, since they do not grow with the pairs. sentence-transformers' slower settings see some of the pairs,
drawn at random, and their time for all is extrapolated by tokens. Each step has a time limit, and prints as it goes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from packed import CAP, LARGE, MORE, ceiling, lengths_of, operations, synchronise

MINI = {
    **{"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    **{"vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1},
}
TOP = 10
"""Documents that an arm of the comparison shows."""


class Pairs(NamedTuple):
    """Pairs and their tokens. path: the file of them."""

    path: Path
    queries: list[str]
    texts: list[str]
    query_id: list[str]
    lengths: Any


class Peer(NamedTuple):
    """A way of calling sentence-transformers. sixteen: in bf16. arrival: pairs are not sorted by length."""

    named: str
    batch: int
    sixteen: bool = False
    arrival: bool = False


# --- what is measured on ----------------------------------------------------------------------------------------------


def tokenizer_at(path: Path, out: Path) -> Any:
    """The tokenizer of a tokenizer.json as transformers saves it, with XLM-RoBERTa's marks."""
    from transformers import PreTrainedTokenizerFast

    marks = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>"}
    found: Any = PreTrainedTokenizerFast(tokenizer_file=str(path), unk_token="<unk>", **marks)
    found.save_pretrained(out)
    return found


def judge_of(size: dict[str, Any], tokenizer: Path, out: Path, device: str) -> Path:
    """A judge's folder of this shape, with random weights, which its fingerprint says."""
    import torch
    import transformers as t

    from germane.judges import folder
    from germane.scales import get

    named = f"XLM-RoBERTa of {size['num_hidden_layers']} x {size['hidden_size']}, random weights"
    about = folder.About("cross-encoder", "random", get("esci"), named, CAP, random_weights=True)
    with folder.writing(out, about) as part:
        with torch.device(device):
            torch.manual_seed(0)
            model = t.XLMRobertaForSequenceClassification(t.XLMRobertaConfig(**{**MORE, **size}))
        model.to(torch.bfloat16).save_pretrained(part / "model")
        tokenizer_at(tokenizer, part / "model")
    return out


def words_of(tokenizer: Any) -> Any:
    """Words that are one token each."""
    pieces = [
        piece[1:] for piece in tokenizer.get_vocab() if piece[:1] == "\u2581" and piece[1:].isascii() and piece[1:].isalpha()
    ]
    words = np.array(sorted(pieces), dtype=object)
    ids = tokenizer(words.tolist(), add_special_tokens=False)["input_ids"]
    return words[[len(each) == 1 for each in ids]]


def pairs_of(rows: int, tokenizer: Any, path: Path) -> Pairs:
    """Pairs of such lengths, all of them different, a hundred of each query; written as a file."""
    rng = np.random.default_rng(0)
    words, lengths = words_of(tokenizer), lengths_of(rows, rng)
    asked = np.repeat(rng.integers(2, 5, -(-rows // 100)), 100)[:rows]
    drawn = words[rng.integers(0, len(words), int(lengths.sum()))]
    queries = [" ".join(words[rng.integers(0, len(words), n)]) for n in asked[::100]]
    ends = np.cumsum(lengths)
    texts = [" ".join(drawn[end - n : end - 4 - m]) for end, n, m in zip(ends, lengths, asked, strict=True)]
    return written([queries[i // 100] for i in range(rows)], texts, [f"q{i // 100}" for i in range(rows)], tokenizer, path)


def written(queries: list[str], texts: list[str], query_id: list[str], tokenizer: Any, path: Path, most: int = CAP) -> Pairs:
    import pyarrow as pa

    from germane import store
    from germane.judges.marking import Reader

    columns = {"query_id": query_id, "query": queries, "doc_id": [f"d{i}" for i in range(len(texts))], "text": texts}
    store.write_table(pa.table(columns), path, "pairs", verb="pairs", parameters={})
    return Pairs(path, queries, texts, query_id, Reader(tokenizer, most).packed(queries, texts).lengths)


def from_file(path: Path, rows: int, tokenizer: Any, out: Path, most: int) -> Pairs:
    """Real pairs, the first so many, in this judge's tokens."""
    from germane import store

    table = store.read_table(path, "pairs").slice(0, rows)
    columns = [table[name].to_pylist() for name in ("query", "text", "query_id")]
    return written(*columns, tokenizer, out, most)


# --- germane ----------------------------------------------------------------------------------------------------------


def ours(folder: Path, pairs: Pairs, device: str, best: float) -> float:
    """Prints what labelling takes, end to end and the model alone; seconds end to end."""
    from germane.judges.encoder import CrossEncoder
    from germane.pipeline import label as stage

    began = time.perf_counter()
    judge = CrossEncoder(folder, device=device)
    print(f"  loading: {time.perf_counter() - began:.1f} s; engine {judge.engine}, {judge.engine_version}", flush=True)
    began = time.perf_counter()
    judge.warm_up()
    judge.score(pairs.queries[:64], pairs.texts[:64])
    synchronise(device)
    print(f"  compiling and warming up: {time.perf_counter() - began:.1f} s", flush=True)
    stage.load = lambda *a, **k: judge  # loaded and warm
    times = []
    for i in range(2):
        out = pairs.path.with_name(f"judgments-{i}.parquet")
        began = time.perf_counter()
        did = stage.label(folder, pairs.path, out, device=device)
        times.append(time.perf_counter() - began)
        print(
            f"  parquet to parquet: {times[-1]:.2f} s for {did.rows:,} rows, {did.outcomes}, {rate(pairs, times[-1])}",
            flush=True,
        )
    alone(judge, pairs, device, best)
    return min(times)


def rate(pairs: Pairs, seconds: float) -> str:
    return f"{len(pairs.texts) / seconds:,.0f} rows/s, {pairs.lengths.sum() / seconds:,.0f} tokens/s"


def alone(judge: Any, pairs: Pairs, device: str, best: float) -> None:
    """The tokens of all pairs at once, in blocks as labelling has them, cut before."""
    if judge.engine != "packed":
        return
    engine, block = judge._stream.engine, judge.block
    began = time.perf_counter()
    starts = range(0, len(pairs.texts), block)
    rows = [judge._reader.packed(pairs.queries[at : at + block], pairs.texts[at : at + block]) for at in starts]
    print(f"  cutting into tokens: {time.perf_counter() - began:.2f} s when it is done by itself", flush=True)
    whole, done = operations(engine.encoder, pairs.lengths)
    for _ in range(2):
        synchronise(device)
        began = time.perf_counter()
        list(engine(rows, many=True))
        took = time.perf_counter() - began
        share = f"{whole / took / best:.1%} of the ceiling, {done / took / best:.1%} without what is left out of the last layer"
        if not device.startswith("cuda"):  # its ceiling is of fp32, and the judge may multiply bf16
            share = f"{whole / took:.3g} TFLOP/s"
        print(f"  the model alone: {took:.2f} s, {rate(pairs, took)}, {share}", flush=True)


# --- sentence-transformers ----------------------------------------------------------------------------------------------


def peer(folder: Path, pairs: Pairs, how: Peer, device: str, seconds: float) -> float:
    """Seconds for all pairs, of as many as it can do in about so many, by tokens."""
    import sentence_transformers
    import torch

    kwargs = {"torch_dtype": torch.bfloat16} if how.sixteen else {"torch_dtype": torch.float32}
    about = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
    model = sentence_transformers.CrossEncoder(
        str(folder / "model"), device=device, max_length=about["max_length"], model_kwargs=kwargs
    )
    given = prefixed(about, pairs)
    drawn = np.random.default_rng(1).permutation(len(given))
    few = drawn[: 2 * how.batch]
    predict(model, given, few, how)
    synchronise(device)
    began = time.perf_counter()
    predict(model, given, few, how)
    synchronise(device)
    some = int(min(len(given), max(len(few), len(few) * seconds / (time.perf_counter() - began))))
    some = drawn[:some]
    began = time.perf_counter()
    predict(model, given, some, how)
    synchronise(device)
    took = time.perf_counter() - began
    all_of = took * pairs.lengths.sum() / pairs.lengths[some].sum()
    told = f"{took:.1f} s for {len(some):,} rows" + (
        "" if len(some) == len(given) else f", so {all_of:,.1f} s for all by tokens"
    )
    print(
        f"  sentence-transformers {sentence_transformers.__version__}, {how.named}: {told}, {rate(pairs, all_of)}", flush=True
    )
    return float(all_of)


def prefixed(about: dict[str, Any], pairs: Pairs) -> list[tuple[str, str]]:
    before = about["settings"].get("prefixes", ("", ""))
    return [(before[0] + query, before[1] + text) for query, text in zip(pairs.queries, pairs.texts, strict=True)]


def predict(model: Any, given: Sequence[Any], at: Any, how: Peer) -> Any:
    if how.arrival:
        return np.concatenate([model.predict([given[i] for i in some]) for some in np.split(at, range(32, len(at), 32))])
    return model.predict([given[i] for i in at], batch_size=how.batch, show_progress_bar=False)


# --- the same labels ----------------------------------------------------------------------------------------------------


def agreement(folder: Path, pairs: Pairs, device: str) -> None:
    """Prints how far germane's numbers here are from the plain model's in fp32."""
    from germane.judges.encoder import CrossEncoder
    from germane.stats.sameness import sameness

    plain = CrossEncoder(folder, device=device, engine="torch", numbers="float32")
    wanted = plain.score(pairs.queries, pairs.texts)
    more = {"temperature": plain.about.temperature, "weights": plain.about.weights, "gains": plain.scale.gains}
    more |= {"query": pairs.query_id, **arms(pairs)}
    del plain
    half = [("packed", "bfloat16"), ("torch", "bfloat16")] if device != "cpu" else []
    for engine, numbers in [(None, None), ("packed", "float32"), *half]:
        judge = CrossEncoder(folder, device=device, engine=engine, numbers=numbers)
        found = sameness(wanted, judge.score(pairs.queries, pairs.texts), **more)
        said = f"{found.differ} of {found.n:,} labels differ, at margins up to {found.margin:.4f}; gains by {found.gain:.6f}"
        said += f"; delta by {found.shift:.2%} of its se; logits by {found.logit:.4f} of {wanted.std():.2f}"
        named = "as it comes" if engine is None else f"{judge.engine}, {judge.engine_version}"
        print(f"  {named}: {said}: {'; '.join(found.faults) or 'the same'}", flush=True)


def arms(pairs: Pairs) -> dict[str, Any]:
    """Two arms that show TOP documents of each query: in the order of the file, and by the query's words in the document."""
    control, treatment = np.zeros(len(pairs.texts)), np.zeros(len(pairs.texts))
    of: dict[str, list[int]] = {}
    for i, query_id in enumerate(pairs.query_id):
        of.setdefault(query_id, []).append(i)
    for at in of.values():
        shared = [-len(set(pairs.queries[i].lower().split()) & set(pairs.texts[i].lower().split())) for i in at]
        for arm, order in ((control, at), (treatment, [at[j] for j in np.argsort(shared, kind="stable")])):
            arm[order[:TOP]] = 1 / np.log2(np.arange(min(TOP, len(at))) + 2)
    return {"control": control, "treatment": treatment}


# --- steps --------------------------------------------------------------------------------------------------------------


@contextmanager
def step(named: str, limit: int) -> Iterator[None]:
    """A step that may fail or take too long without those after it."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"longer than {limit} s")

    print(f"\n{named}", flush=True)
    began = time.perf_counter()
    signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    try:
        yield
    except Exception as problem:
        print(f"  FAILED after {time.perf_counter() - began:.0f} s: {problem}\n{traceback.format_exc(limit=-4)}", flush=True)
    finally:
        signal.alarm(0)
        freed()


def freed() -> None:
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def side_by_side(folder: Path, pairs: Pairs, device: str, best: float, asked: Any) -> None:
    """Germane, then sentence-transformers in each setting, and the ratios."""
    took: dict[str, float] = {}
    print(
        f"\n{folder}: {len(pairs.texts):,} pairs, {pairs.lengths.mean():.1f} tokens on average, {pairs.lengths.max()} at most"
    )
    with step("germane", asked.limit):
        took["germane"] = ours(folder, pairs, device, best)
    peers = [Peer("predict as it comes (fp32, 32 at once)", 32)]
    if device == "cpu":
        peers += [Peer(f"predict, fp32, {batch} at once", batch) for batch in (8, 16, 64)]
        peers += [Peer("predict, bf16, 8 at once", 8, sixteen=True)]
    else:
        peers += [Peer("predict, bf16, 256 at once", 256, sixteen=True), Peer("predict, bf16, 64 at once", 64, sixteen=True)]
    peers += [Peer("predict, 32 at a time in order of arrival (fp32)", 32, arrival=True)]
    for how in peers:
        with step(how.named, asked.limit):
            took[how.named] = peer(folder, pairs, how, device, asked.peer_seconds)
    if "germane" in took:
        print("\n| how | seconds | rows/s | times germane's |\n|---|---|---|---|")
        for named, seconds in took.items():
            print(
                f"| {named} | {seconds:,.2f} | {len(pairs.texts) / seconds:,.0f} | {seconds / took['germane']:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json; by default that of multilingual-e5-small")
    parser.add_argument("--rows", type=int, help="150,000; 600 with --small")
    parser.add_argument("--small", action="store_true", help="a small shape and few rows")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of trained cross-encoders, instead")
    parser.add_argument("--pairs", type=Path, help="pairs for --real")
    parser.add_argument("--device")
    parser.add_argument("--limit", type=int, default=150, help="seconds that a step may take")
    parser.add_argument("--peer-seconds", type=float, default=15, help="of sentence-transformers in each setting, about")
    asked = parser.parse_args()
    import torch
    import transformers

    from germane import extras
    from germane.judges.encoder import tokenizer_of
    from germane.judges.loading import models_folder

    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    began = time.perf_counter()
    device = extras.device(asked.device)
    where = torch.cuda.get_device_name() if device.startswith("cuda") else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{where}, torch {torch.__version__}, transformers {transformers.__version__}, Python {sys.version.split()[0]}",
        flush=True,
    )
    best = ceiling(device)
    print(f"ceiling {best:,.3g} TFLOP/s", flush=True)
    with tempfile.TemporaryDirectory(prefix="encoder-") as made:
        if not asked.real:
            saved = asked.tokenizer or models_folder() / "multilingual-e5-small" / "tokenizer.json"
            with step("a judge and its pairs", asked.limit):
                folder = judge_of(MINI if asked.small else LARGE, saved, Path(made) / "judge", device)
                tokenizer = tokenizer_of(str(folder / "model"))
                pairs = pairs_of(asked.rows or (600 if asked.small else 150_000), tokenizer, Path(made) / "pairs.parquet")
                print(f"  made in {time.perf_counter() - began:.1f} s", flush=True)
                side_by_side(folder, pairs, device, best, asked)
        for folder in asked.real:
            about = json.loads((folder / "judge.json").read_text(encoding="utf-8"))
            out = Path(made) / folder.name
            out.mkdir()
            tokenizer = tokenizer_of(str(folder / "model"))
            pairs = from_file(asked.pairs, asked.rows or 10**9, tokenizer, out / "pairs.parquet", about["max_length"])
            side_by_side(folder, pairs, device, best, asked)
            with step("agreement with transformers in fp32", asked.limit):
                agreement(folder, pairs, device)
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
