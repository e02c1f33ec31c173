"""How fast a judge is here: what it needs is counted right, rates come from rounds, and wrong input is one line."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from germane.cli import main
from germane.inference import ceilings
from germane.inference.operations import Read, gigabytes, size_of, tflop
from germane.judges import Fake
from germane.labelling import rates
from germane.labelling.rates import Need, asking, fitting, geometric, in_turns, quickest, rate, scaled, times
from germane.pipeline.bench import SHAPES, bench, made_up
from germane.scales import get
from germane.types import InputError

BERT = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 112}


# --- what a model needs -------------------------------------------------------------------------------------------------


def models():
    """Tiny models of each shape, by name."""
    t = pytest.importorskip("transformers")
    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    five = {"d_model": 64, "num_layers": 3, "num_heads": 4, "d_ff": 112, "vocab_size": 100}
    less, more = {**BERT, "vocab_size": 100}, {"num_key_value_heads": 2}
    return {
        "bert": t.BertModel(t.BertConfig(**less)),
        "xlm-roberta": t.XLMRobertaModel(t.XLMRobertaConfig(**less)),
        "mpnet": t.MPNetModel(t.MPNetConfig(**less)),
        "deberta-v2": t.DebertaV2Model(t.DebertaV2Config(**less)),
        "modernbert": t.ModernBertModel(t.ModernBertConfig(**less, **marks)),
        "distilbert": t.DistilBertModel(t.DistilBertConfig(dim=64, n_layers=3, n_heads=4, hidden_dim=112, vocab_size=100)),
        "t5": t.T5EncoderModel(t.T5Config(**five, d_kv=16)),
        "t5, gated": t.T5EncoderModel(t.T5Config(**five, d_kv=24, feed_forward_proj="gated-gelu")),
        "llama": t.LlamaForCausalLM(t.LlamaConfig(**less, **more)),
        "qwen3": t.Qwen3ForCausalLM(t.Qwen3Config(**less, **more, head_dim=32)),
        "gemma": t.GemmaForCausalLM(t.GemmaConfig(**less, num_key_value_heads=1, head_dim=16)),
    }


def test_weights_of_layers_are_those_of_the_model_itself():
    torch = pytest.importorskip("torch")
    left_out = ("embed", "pooler", "lm_head", "rel_")
    for name, model in models().items():
        linear = [
            part.weight.numel()
            for at, part in model.named_modules()
            if isinstance(part, torch.nn.Linear) and not any(other in at for other in left_out)
        ]
        size = size_of(model.config.to_dict())
        assert (name, size.layers * size.weights) == (name, sum(linear))


def test_operations_by_hand():
    size = size_of(BERT)
    assert size == (3, 64, 64, 112, 4 * 64 * 64 + 2 * 64 * 112)
    # two rows of 2 and 3 tokens: 5 tokens by each weight, twice (times, plus); scores and their sums: 2 x 2 x 64 x (4 + 9)
    assert tflop(size, [2, 3]) == pytest.approx(3 * (2 * size.weights * 5 + 4 * 64 * 13) / 1e12)
    # a token and layer hands on: in 64, q k v 192 twice, out of attention 64 twice, 64 twice, 112 twice, 64; bytes of fp32
    assert gigabytes(size, [1], each=4) == pytest.approx(3 * 4 * (64 + 2 * 192 + 2 * 64 + 2 * 64 + 2 * 112 - 64 + 64) / 1e9)


@pytest.mark.parametrize("config", [{}, {"hidden_size": 8}, {**BERT, "num_experts": 4}])
def test_a_configuration_that_does_not_say_has_no_size(config):
    assert size_of(config) is None
    need = Need.of([Read(config, np.array([3, 4]), "float32")])
    assert (need.tokens, need.tflop, need.gigabytes) == (7, {}, None)


def test_the_text_part_of_a_model_that_sees_counts():
    assert size_of({"model_type": "qwen3_vl", "text_config": BERT}) == size_of(BERT)


# --- rates ----------------------------------------------------------------------------------------------------------------


def test_a_rate_is_a_mean_of_rounds_with_an_interval():
    found = rate("one", 100, [0.5, 0.25])
    assert found.rows_per_s == geometric([200.0, 400.0])
    assert (round(found.rows_per_s.value, 2), found.rows_per_s.n) == (282.84, 2)
    assert found.tokens_per_s is found.matmul is found.memory is found.cost_per_million is None


def test_shares_are_what_pairs_need_of_what_the_machine_can():
    need = Need(tokens=5_000, tflop={"float32": 0.1, "bfloat16": 0.4}, gigabytes=2.0)
    best = {"float32": [1.0, 1.0], "bfloat16": [2.0, 2.0]}
    found = rate("one", 100, [1.0, 1.0], need=need, matmul=best, memory=[10.0, 10.0], hour_price=3.6)
    assert found.tokens_per_s.value == pytest.approx(5_000)
    assert found.matmul.value == pytest.approx(0.1 / 1.0 + 0.4 / 2.0)
    assert found.memory.value == pytest.approx(0.2)
    assert found.cost_per_million.value == pytest.approx(3.6 / 3600 / 100 * 1e6)
    assert (
        rate("one", 100, [1.0, 1.0], need=need, matmul={"float32": [1.0, 1.0]}).matmul is None
    )  # a ceiling that nobody measured


def test_cost_falls_where_the_rate_rises():
    found = rate("one", 100, [0.5, 0.4, 0.45], hour_price=1.0)
    money, a_second = found.cost_per_million, found.rows_per_s
    assert money.low < money.value < money.high
    assert money.low == pytest.approx(1e6 / 3600 / a_second.high)
    wild = rate("one", 100, [0.5, 0.001], hour_price=1.0).rows_per_s
    assert 0 < wild.low < wild.value < wild.high
    assert "rounds differ too much" in wild.caveat
    assert not a_second.caveat


def test_a_machine_that_is_slow_in_a_round_is_slow_for_the_ceiling_too():
    need = Need(tokens=10, tflop={"float32": 0.1}, gigabytes=None)
    found = rate("one", 100, [1.0, 2.0, 4.0], need=need, matmul={"float32": [0.4, 0.2, 0.1]})
    assert (found.matmul.value, found.matmul.se) == (pytest.approx(0.25), pytest.approx(0.0))


def test_ratios_are_of_rounds_side_by_side():
    found = times((100, [1.0, 2.0]), (50, [1.0, 2.0]))
    assert (found.value, found.se) == (pytest.approx(2.0), pytest.approx(0.0))
    other = times((50, [1.0, 2.0]), (100, [1.0, 2.0]))
    assert other.value == pytest.approx(1 / found.value)
    assert scaled(found, 3.0).value == pytest.approx(6.0)


class Clock:
    """Time that passes only where it is told to. cost: seconds of a job, and of each pair."""

    def __init__(self, monkeypatch, start, each):
        self.now, self.start, self.each, self.rows = 0.0, start, each, []
        monkeypatch.setattr(rates, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def __call__(self, pairs):
        self.rows.append(pairs.num_rows)
        self.now += self.start + self.each * pairs.num_rows


@pytest.mark.parametrize(("start", "each"), [(0.0, 0.01), (0.5, 0.001), (0.0, 1.0), (0.9, 0.0001)])
def test_as_many_pairs_as_fit_into_the_seconds(monkeypatch, start, each):
    pairs = pa.table({"doc_id": [str(i) for i in range(5_000)]})
    clock = Clock(monkeypatch, start, each)
    rows = fitting(clock, pairs, 2.0)
    assert 32 <= rows <= 5_000
    took = start + each * rows
    assert rows == 32 or rows == 5_000 or 0.9 <= took <= 4.0


def test_the_quickest_way_is_found_by_a_few_pairs(monkeypatch):
    pairs = pa.table({"doc_id": [str(i) for i in range(500)]})
    clock = Clock(monkeypatch, 0.0, 1.0)
    asks = {"slow": clock, "quick": lambda some: setattr(clock, "now", clock.now + 0.5 * some.num_rows)}
    assert quickest(asks, pairs) == "quick"
    assert sum(clock.rows) < 100


def test_rounds_go_in_turns_and_first_calls_do_not_count(monkeypatch):
    pairs = pa.table({"doc_id": [str(i) for i in range(100)]})
    clock = Clock(monkeypatch, 0.0, 1.0)
    order = []
    asks = {name: (lambda pairs, name=name: (order.append(name), clock(pairs))) for name in ("a", "b")}
    took = in_turns(asks, pairs, seconds=300.0, rounds=3)
    assert order[-6:] == ["a", "b"] * 3
    assert took["a"] == took["b"] == (100, [100.0] * 3)


def test_a_judge_is_asked_in_blocks_of_its_own():
    judge = Fake(get("esci"))
    seen = []
    whole = judge.label
    judge.label, judge.block = (lambda pairs: (seen.append(pairs.num_rows), whole(pairs))[1]), 40
    asking(judge)(made_up(100))
    assert seen == [40, 40, 20]


# --- ceilings and made-up pairs -------------------------------------------------------------------------------------------


def test_ceilings_are_measured_with_and_without_torch(monkeypatch):
    monkeypatch.setattr(ceilings, "SHAPES", {"cpu": ((64, 32, 16),)})
    monkeypatch.setattr(ceilings, "COPIED", {"cpu": 1 << 20})
    assert [found.shape for found in ceilings.products(seconds=0.001)] == [(64, 32, 16)]
    assert ceilings.matmul(seconds=0.001) > 0 < ceilings.memory(seconds=0.001)
    monkeypatch.setattr(ceilings, "find_spec", lambda name: None)
    assert ceilings.matmul(seconds=0.001) > 0 < ceilings.memory(seconds=0.001)


def test_made_up_pairs_are_all_different_and_as_long_as_they_say():
    pairs = made_up(2_000)
    assert len(set(pairs["text"].to_pylist())) == 2_000
    lengths = [len(str(text).split()) for text in pairs["text"].to_pylist()]
    assert 85 < np.mean(lengths) < 105
    assert max(lengths) <= 250
    assert made_up(2_000) == pairs
    assert made_up(2_000, seed=1) != pairs


# --- the command ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(ceilings, "SHAPES", {"cpu": ((64, 32, 16),)})
    monkeypatch.setattr(ceilings, "COPIED", {"cpu": 1 << 20})
    monkeypatch.setitem(SHAPES, "minilm", {"width": 32, "layers": 1, "heads": 2, "inner": 64})
    monkeypatch.setattr("germane.pipeline.bench.MADE", 100)


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr("sys.argv", ["germane", "bench", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return stopped.value.code or 0, out, err


def test_the_fake_judge_needs_nothing(monkeypatch, capsys, small, tmp_path):
    rows = made_up(60).to_pylist()
    rows[7]["query"] = " "  # as `label` does, it leaves out what cannot be labelled
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    code, out, err = run(
        *(monkeypatch, capsys, "--judge", "fake", "--pairs", str(tmp_path / "pairs.parquet"), "--seconds", "0.02"),
        *("--hour-price", "2", "--output", "json"),
    )
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert [each["named"] for each in said["rates"]] == ["germane", "germane label, parquet to parquet"]
    assert (said["matmul"], said["tokens"]) == ({}, None)
    assert said["memory_gb_s"]["value"] > 0
    assert all(each["rows_per_s"]["n"] == 5 and each["cost_per_million"]["value"] > 0 for each in said["rates"])
    assert said["pairs"].startswith("59 of ")
    assert "fake" in said["notes"][0]
    assert any("a job's start is a large part" in note for note in said["notes"])


def test_without_a_judge_random_weights_are_measured_beside_the_peer(monkeypatch, capsys, small):
    pytest.importorskip("sentence_transformers")
    monkeypatch.setattr("germane.labelling.peers.SETTINGS", {"cpu": ((8, False),)})
    code, out, err = run(monkeypatch, capsys, "--seconds", "0.05", "--rounds", "3", "--device", "cpu")
    assert code == 0, err
    assert all(told in out for told in ("random weights", "sentence-transformers", "as it comes", "of matmul", "TFLOP/s"))


def test_a_peer_can_be_left_out(small):
    pytest.importorskip("torch")
    found = bench(seconds=0.05, rounds=3, device="cpu", peer=False)
    assert [each.ratio is None for each in found.rates] == [True, False]
    assert found.kind == "cross-encoder"
    first = found.rates[0]
    assert min(first.tokens_per_s.value, first.matmul.value, first.memory.value, found.tokens, found.latency_ms) > 0


def test_a_peer_that_is_not_there_is_said(monkeypatch, small):
    pytest.importorskip("torch")
    monkeypatch.setattr("germane.labelling.peers.find_spec", lambda name: None)
    found = bench(seconds=0.05, rounds=3, device="cpu")
    assert any("pip install 'germane[train]'" in note for note in found.notes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--judge", "nosuch"], "no judge"),
        (["--judge", "llm:openai/o3"], "its server"),
        (["--judge", "fake", "--batch", "3"], "--batch is of trained judges"),
        (["--judge", "fake", "--pairs", "nosuch.parquet"], "no such file"),
        (["--judge", "fake", "--hour-price", "0"], "above 0"),
        (["--judge", "fake", "--hour-price", "nan"], "above 0"),
        (["--judge", "fake", "--seconds", "0"], "time above 0"),
        (["--judge", "fake", "--seconds", "nan"], "time above 0"),
        (["--judge", "fake", "--scale", "nosuch"], "no scale"),
        (["--shape", "huge"], "huge"),
    ],
)
def test_wrong_input_is_one_line(monkeypatch, capsys, words, said):
    code, out, err = run(monkeypatch, capsys, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("query", [[], [" "]])
def test_pairs_without_words_are_refused(tmp_path, query):
    n = len(query)
    table = {"query_id": ["q"] * n, "query": query, "doc_id": ["d"] * n, "text": ["x"] * n}
    pq.write_table(pa.table(table, pa.schema([(name, pa.string()) for name in table])), tmp_path / "pairs.parquet")
    with pytest.raises(InputError, match="no pair that can be labelled"):
        bench("fake", pairs=tmp_path / "pairs.parquet", seconds=0.01)
