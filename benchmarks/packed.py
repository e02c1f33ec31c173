"""The packed forward by itself: each way of attention against transformers in fp32, then tokens a second at several sizes.

    python benchmarks/packed.py                # on a GPU about 90 s; on a CPU a tiny shape
    python benchmarks/packed.py --seconds 300 --autotune

Weights are random: speed does not depend on them. Each step prints as it goes, and none begins after --seconds. "ceiling" is
the best bf16 product of matrices of this machine in this run; a share of it counts no padding: 2 x weights x tokens, and
2 x 2 x width x length a token for attention. "whole" counts the last layer for all tokens, "done" for the first ones alone.
"""

from __future__ import annotations

import argparse
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

MEAN, CAP = 99, 256
LARGE = {
    **{"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    **{"vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1, "pad_token_id": 1},
}
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TINY = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 256}
MORE = {"num_labels": 4, "max_position_embeddings": 514, "pad_token_id": 1}
BUDGETS = (16_384, 32_768, 65_536, 67_584, 131_072)


def lengths_of(n: int, rng: np.random.Generator) -> Any:
    """Lengths like those of product search: lognormal, MEAN on average, CAP at most."""
    return np.clip(np.exp(location() + 0.5 * rng.standard_normal(n)), 8, CAP).astype(np.int64)


@cache
def location() -> float:
    """Where the logarithm of a length is centred, so that the capped mean is MEAN."""
    low, high = 3.0, 6.0
    drawn = np.random.default_rng(0).standard_normal(200_000)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(np.exp(middle + 0.5 * drawn), 8, CAP).mean() < MEAN else (low, middle)
    return low


def rows_of(n: int, vocabulary: int, seed: int, *, kinds: bool = False) -> Any:
    from germane.inference.ragged import Rows, starts_of

    rng = np.random.default_rng(seed)
    starts = starts_of(lengths_of(n, rng))
    ids = rng.integers(4, vocabulary, int(starts[-1])).astype(np.int32)
    return Rows(ids, rng.integers(0, 2, len(ids)).astype(np.int32) if kinds else None, starts)


def model_of(kind: str, size: dict[str, Any], device: str) -> Any:
    """A sequence classification model of transformers with random weights, made where it is used."""
    import torch
    import transformers as t

    config = {**MORE, **size}
    tokens = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    places = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256, "share_att_key": True}
    with torch.device(device):
        torch.manual_seed(0)
        made: Any = {
            "bert": lambda: t.BertForSequenceClassification(t.BertConfig(**config)),
            "xlm-roberta": lambda: t.XLMRobertaForSequenceClassification(t.XLMRobertaConfig(**config)),
            "mpnet": lambda: t.MPNetForSequenceClassification(t.MPNetConfig(**config)),
            "deberta-v2": lambda: t.DebertaV2ForSequenceClassification(
                t.DebertaV2Config(**config, **places, type_vocab_size=0, norm_rel_ebd="layer_norm", position_biased_input=False)
            ),
            "modernbert": lambda: t.ModernBertForSequenceClassification(t.ModernBertConfig(**config, **tokens)),
        }[kind]()
    made.eval()
    if size["hidden_size"] == TINY["hidden_size"]:  # so that layers say something, and attention looks somewhere
        for weight in made.parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, 0.0, 0.5 if len(weight) == MORE["num_labels"] else 0.08)
    return made


def synchronise(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def ceiling(device: str) -> float:
    """TFLOP/s of the best of several bf16 products; of fp32 on a CPU."""
    from germane.inference import ceilings

    best = 0.0
    for (rows, out, width), rate in ceilings.products(device, "bfloat16" if device == "cuda" else "float32", seconds=1.0):
        print(f"  {rows} x {out} x {width}: {rate:,.3g} TFLOP/s", flush=True)
        best = max(best, rate)
    return best


def timed(work: Callable[[], Any], device: str, times: int) -> float:
    """Seconds of one call, on average over several after three that do not count."""
    for _ in range(3):
        work()
    synchronise(device)
    began = time.perf_counter()
    for _ in range(times):
        work()
    synchronise(device)
    return (time.perf_counter() - began) / times


def operations(encoder: Any, lengths: Any) -> tuple[float, float]:
    """TFLOP without padding: of the whole model, and of what is done where the last layer goes on for first tokens alone."""
    tokens, n = float(lengths.sum()), len(lengths)
    width = len(encoder.layers[0].norm2)
    attention = 4.0 * width * float((lengths.astype(float) ** 2).sum())
    whole = 2 * encoder.weights * tokens + len(encoder.layers) * attention
    last = encoder.layers[-1]
    apart = sum(part.numel() for part in (last.out, last.up, last.down)) + last.qkv.numel() / 3
    saved = 2 * apart * (tokens - n) + attention - 4.0 * width * tokens
    return whole / 1e12, (whole - (0 if encoder.mean else saved)) / 1e12


# --- right ----------------------------------------------------------------------------------------------------------


def right(device: str, left: Callable[[], float]) -> None:
    """Each family and way: the largest difference of a logit from transformers' own forward in fp32."""
    import torch

    from germane.inference import families, forward
    from germane.inference.packed import Packed

    print(
        "\n| family | way | numbers | batches | logits' spread | largest difference | same bits beside other rows | seconds |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    half = [torch.bfloat16, torch.float16]
    for kind in ("bert", "xlm-roberta", "modernbert", "mpnet", "deberta-v2"):
        model = model_of(kind, {**TINY, "vocab_size": 1000}, device)
        torch.compiler.reset()
        forward.steps_of.cache_clear()
        rows = rows_of(150, 1000, 1, kinds=kind == "bert")
        wanted = plain(model, rows, device)
        ways: list[tuple[str, Any, dict[str, Any]]] = [("grouped", torch.float32, {"one_size": False})]
        if device == "cuda":
            way = "flex" if kind == "mpnet" else "grouped" if kind == "deberta-v2" else "varlen"
            if way == "varlen":
                ways += [(way, dtype, {"one_size": False}) for dtype in half]
                ways += [(way, half[0], {"compiled": False}), (way, half[0], {"compiled": True})]
                ways += [(way, half[0], {"compiled": True, "graphs": True})]
            if way == "flex":
                ways += [(way, dtype, {"compiled": True}) for dtype in (torch.float32, *half)]
            ways += [("grouped", half[0], {"one_size": False})]
        for way, dtype, how in ways:
            if left() < 0:
                return
            began = time.perf_counter()
            try:
                encoder = families.read(model, dtype)
                assert encoder is not None
                engine = Packed(encoder, longest=CAP, tokens=8192, way=way, **how)
                engine.warm_up()
                found = np.concatenate(list(engine([rows], many=True)))
                mixed = np.random.default_rng(7).permutation(rows.n)
                other = np.concatenate(list(engine([rows.take(mixed[:90]), rows.take(mixed[90:])], many=True)))
                off = f"{np.abs(found - wanted).max():.1e} | {'yes' if (other == found[mixed]).all() else 'no'}"
            except Exception:  # a way that does not work here is what this is to find out
                off = "FAILED\n" + traceback.format_exc(limit=-3)
            told = ", ".join(f"{name}={value}" for name, value in how.items())
            took = time.perf_counter() - began
            print(f"| {kind} | {way} | {str(dtype)[6:]} | {told} | {wanted.std():.2f} | {off} | {took:.1f} |", flush=True)


def plain(model: Any, rows: Any, device: str) -> Any:
    """Logits of transformers, rows of one length together, so that its masks play no part."""
    import torch

    found = np.zeros((rows.n, model.config.num_labels))
    for length in np.unique(rows.lengths):
        at = np.flatnonzero(rows.lengths == length)
        taken = rows.take(at)
        given = {"input_ids": torch.from_numpy(taken.ids).long().view(len(at), length).to(device)}
        given["attention_mask"] = torch.ones_like(given["input_ids"])
        if taken.kinds is not None:
            given["token_type_ids"] = torch.from_numpy(taken.kinds).long().view(len(at), length).to(device)
        with torch.no_grad():
            found[at] = model(**given).logits.double().cpu().numpy()
    return found


# --- fast -----------------------------------------------------------------------------------------------------------


def fast(device: str, best: float, left: Callable[[], float], autotune: bool) -> None:
    """Tokens a second of the forward alone, by size of batch, at the shape of XLM-RoBERTa-large and of smaller models."""
    import torch

    print("\n| shape | numbers | batches | tokens a batch | ms | tokens/s | whole, of ceiling | done | first call, s | GiB |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    bf16, fp16 = torch.bfloat16, torch.float16
    compiled, graphs = {"compiled": True}, {"compiled": True, "graphs": True}
    if device != "cuda":
        run("bert", {**TINY, "vocab_size": 1000}, [(torch.float32, 4096, {})], device, best, left)
        return
    budgets = [(bf16, size, how) for size in (65_536, 67_584, 32_768, 131_072, 16_384) for how in (compiled, graphs)]
    more = [
        (bf16, 65_536, {"one_size": False}),
        (fp16, 65_536, compiled),
    ]
    profiled = [(bf16, 65_536, {**compiled, "profile": True}), (bf16, 65_536, {"one_size": False, "way": "grouped"})]
    run("xlm-roberta", LARGE, budgets[:2] + more + profiled + budgets[2:], device, best, left)
    small = {**BASE, "vocab_size": 30_527}
    run("mpnet", small, [(bf16, 65_536, compiled), (bf16, 65_536, {"way": "grouped"})], device, best, left)
    run("deberta-v2", {**BASE, "vocab_size": 128_100}, [(bf16, 65_536, {}), (bf16, 16_384, {})], device, best, left)
    mini = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    run("bert", {**mini, "vocab_size": 30_522}, [(bf16, 65_536, compiled), (bf16, 65_536, graphs)], device, best, left)
    run("modernbert", {**BASE, "vocab_size": 50_368}, [(bf16, 65_536, compiled)], device, best, left)
    if autotune:
        import torch._inductor.config

        with torch._inductor.config.patch(max_autotune_gemm=True):
            torch.compiler.reset()
            run("xlm-roberta", LARGE, [(bf16, 65_536, {**compiled, "named": "autotune"})], device, best, left)


def run(kind: str, size: dict[str, Any], ways: list[Any], device: str, best: float, left: Callable[[], float]) -> None:
    import torch

    from germane.inference import families, forward
    from germane.inference.packed import Packed

    if left() < 0:
        return
    model = model_of(kind, size, device)
    for dtype, tokens, asked in ways:
        if left() < 0:
            return
        how = dict(asked)
        named, profile = (how.pop(name, None) for name in ("named", "profile"))
        torch.compiler.reset()
        forward.steps_of.cache_clear()
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        encoder = families.read(model, dtype)
        assert encoder is not None
        told = ", ".join([f"{name}={value}" for name, value in how.items()] + [x for x in (named,) if x])
        try:
            engine = Packed(encoder, longest=CAP, tokens=tokens, **how)
            engine.warm_up()
            rows = list(filled(engine.tokens, size["vocab_size"]))
            list(engine(rows[:1], many=True))
            synchronise(device)
            first = time.perf_counter() - began
            if profile:
                profiled(lambda e=engine, r=rows: list(e(r[:1], many=True)))
            times = []
            for _ in range(3 if device == "cuda" else 1):
                began = time.perf_counter()
                list(engine(rows, many=True))
                times.append(time.perf_counter() - began)
        except Exception:
            print(f"| {kind} | {dtype} | {told} | {tokens} | FAILED\n{traceback.format_exc(limit=-3)}", flush=True)
            continue
        lengths = np.concatenate([part.lengths for part in rows])
        whole, done = operations(encoder, lengths)
        took = min(times)
        share = f"{whole / took / best:.1%} | {done / took / best:.1%}"
        memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0
        rate = f"{1000 * took / len(rows):.1f} | {lengths.sum() / took:,.0f} | {share} | {first:.1f} | {memory:.1f}"
        print(f"| {kind} | {str(dtype)[6:]} | {told or 'as it is'} | {engine.tokens:,} | {rate} |", flush=True)


def filled(tokens: int, vocabulary: int) -> Iterator[Any]:
    """Six batches that are as full as rows of such lengths fill them."""
    for seed in range(6 if tokens > 20_000 else 16):
        rows = rows_of(tokens // 60, vocabulary, seed)
        yield rows.take(np.arange(int(np.searchsorted(rows.starts, tokens, side="right")) - 1))


def profiled(work: Callable[[], Any]) -> None:
    """Prints what kernels of a batch take."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        work()
    kernels = sorted(seen.key_averages(), key=lambda k: -k.device_time_total)
    whole = sum(k.device_time_total for k in kernels)
    print(f"  kernels of a batch, {whole / 1000:.1f} ms in all:")
    for k in kernels[:16]:
        print(f"  {k.device_time_total / 1000:8.2f} ms {k.device_time_total / whole:6.1%} x{k.count:<4} {k.key[:90]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=85, help="after which no step begins")
    parser.add_argument("--autotune", action="store_true", help="also products that the compiler chooses: minutes")
    asked = parser.parse_args()
    import torch
    import transformers

    from germane.inference.attention import has_varlen

    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    began = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    named = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{named}, torch {torch.__version__}, transformers {transformers.__version__}, varlen: {has_varlen()}", flush=True)

    def left() -> float:
        return asked.seconds - (time.perf_counter() - began)

    best = ceiling(device)
    print(f"ceiling {best:,.1f} TFLOP/s", flush=True)
    right(device, left)
    print(f"{left():.0f} s left", flush=True)
    fast(device, best, left, asked.autotune)
    print(f"{asked.seconds - left():.0f} s in all")


if __name__ == "__main__":
    main()
