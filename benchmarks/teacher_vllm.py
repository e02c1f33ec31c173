"""A teacher behind vLLM: labels and probabilities end to end, beside the same teacher in this process.

    python benchmarks/teacher_vllm.py                    # makes an environment for vLLM's CPU build on the first run (3 GB)
    python benchmarks/teacher_vllm.py --env PYTHON       # an interpreter that has vLLM
    python benchmarks/teacher_vllm.py --dtype bfloat16

vLLM has an environment of its own outside the project (recipes/servers.py). Where it cannot be installed or does not start,
this prints "skipped", why, and ends with exit code 0.

The teacher is a Qwen3 of a few layers with random weights and a tokenizer that is trained on the spot; its last layer is set so
that it says a grade and nothing else, which one hangs on the text as chance has it. It is good for plumbing and for speed, and
judges nothing: its folder and every label say "random". Pairs are made up too, 25 items a query, queries mixed.

What runs is the command line, as docs/judges/teacher.md has it: `germane label` in process, with --url (the teacher's own
tokens, /completions; once more by two actors of Ray), and with --judge llm:vllm/teacher --mode symbol (in words,
/chat/completions). All ask for one token and
read the grades from its logprobs. The script ends with exit code 1 where a pair has neither an answer nor an outcome, where
probabilities do not add up to 1, or where those of --url differ from those in process by more than the tolerance. From vLLM's
/metrics come the tokens of prompts that it was asked, and those that it had ready; beside them stands the share that it could
have had: of a prompt's tokens those that the guide, or guide and query, begin with.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "recipes"))
from servers import ENVIRONMENTS, KINDS, Unavailable, environment, served

from germane.labelling.speed import surroundings
from germane.scales import get

SCALE = get("esci")
NAME = "teacher"
TOLERANCE = {"float32": 0.001, "bfloat16": 0.05}
"""How far a probability may be from the one in process, which computes in float32."""
ITEMS = 25  # of a query
BLOCK = "32"  # tokens that vLLM keeps together: the least that its attention on CPUs takes
WORDS = ("nothing like it", "goes with it", "nearly it", "the very thing")
LIMIT = 256  # tokens of query and item
FEW, SURE = 64, 14.0
"""Pairs that the last layer is set by, and the logit of the grades' tokens on average, where that of all others is 0."""
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZE = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
SIZE |= {"num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 4096, "initializer_range": 0.2}


def main() -> int:
    given = arguments()
    kind = KINDS["vllm"]
    try:
        with room(given.out) as place:
            python = given.env or environment("vllm", kind, given.environments)
            pairs = made_up(place / "pairs.parquet", given.pairs)
            teacher = random_teacher(place, pairs)
            here = labelled(place, "in process", ["--judge", teacher, "--device", "cpu"], pairs)
            more = ["--dtype", given.dtype, "--block-size", BLOCK]
            with served(kind, python, teacher / "model", place / "server.log", name=NAME, more=more) as url:
                there = labelled(place, "--url", served_options(teacher, url, given), pairs, url)
                spread = on_ray(place, served_options(teacher, url, given), pairs, url)
                words = labelled(place, "llm:vllm", annotator_options(url, given), pairs, url)
                bound = constrained(teacher, url, pairs, min(given.pairs, 200))
            rows = [here, there, *spread, words]
            shown(rows, bound, shares(teacher, pairs), given)
            return 1 if faults(rows, bound, TOLERANCE[given.dtype]) else 0
    except Unavailable as why:
        print(f"skipped: {why}")
        return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=32, help="requests in flight")
    parser.add_argument("--dtype", choices=TOLERANCE, default="float32", help="that vLLM computes in")
    parser.add_argument("--env", help="an interpreter that has vLLM; by default an environment is made for it")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where it is made")
    parser.add_argument("--out", type=Path, help="keeps what is made here; by default it is thrown away")
    given = parser.parse_args()
    if given.env is not None:
        given.env = str(Path(given.env).absolute())  # its links stand: a virtual environment is known by where it lies
        if not has_vllm(given.env):
            parser.error(f"--env {given.env} is no interpreter that has vLLM")
    return given


def has_vllm(python: str) -> bool:
    command = [python, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def room(out: Path | None) -> Iterator[Path]:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        yield out.resolve()
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# --- a teacher, and pairs -------------------------------------------------------------------------------------------


def made_up(path: Path, count: int, seed: int = 3) -> Path:
    """Pairs of made-up queries, in an order that mixes them."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    columns = {
        "query_id": [f"q{i // ITEMS}" for i in order],
        "query": [f"garden chair number {i // ITEMS}" for i in order],
        "doc_id": [f"d{i}" for i in order],
        "text": [f"title: {text_of(int(rng.integers(0, 4)), int(i), int(rng.integers(0, 30)))}" for i in order],
    }
    pq.write_table(pa.table(columns), path)
    return path


def text_of(grade: int, number: int, longer: int) -> str:
    return f"{WORDS[grade]} {number} {'in oak and steel ' * longer}"


def random_teacher(place: Path, pairs: Path) -> Path:
    """The folder of a tiny teacher with random weights, whose last layer is set so that it says a grade and nothing else."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from germane.extras import quietly
    from germane.judges.causal import MODEL
    from germane.judges.folder import About, writing
    from germane.judges.prompts import frame
    from germane.judges.reading import REASON_TOKENS

    tokens = tokenizer()
    torch.manual_seed(5)
    config = Qwen3Config(vocab_size=len(tokens), eos_token_id=tokens.eos_token_id, bos_token_id=None, **SIZE)
    model = Qwen3ForCausalLM(config).eval()
    asked, prompt = frame(tokens, SCALE)
    few = pq.read_table(pairs).slice(0, FEW)
    rows = asked.ids(few["query"].to_pylist(), few["text"].to_pylist(), LIMIT)
    with torch.no_grad():
        ends = torch.stack([model.model(torch.tensor([[*asked.head, *row]])).last_hidden_state[0, -1] for row in rows])
        middle = ends.mean(dim=0)
        apart = torch.randn(len(asked.grades), middle.numel())
        apart -= (apart @ middle)[:, None] * middle / middle.dot(middle)
        apart /= ((ends - middle) @ apart.T).std(dim=0)[:, None]
        model.lm_head.weight.zero_()
        model.lm_head.weight[list(asked.grades)] = SURE * middle / middle.dot(middle) + apart
    settings = {"prompt": prompt.version, "frame": asked.settings, "base_digest": "", "reasoning": False}
    settings |= {"reason_tokens": REASON_TOKENS, "images": False, "quantised": False, "seed": 5}
    about = About("generative", NAME, SCALE, "random", LIMIT, settings=settings, random_weights=True)
    with quietly(), writing(place / NAME, about) as part:
        model.save_pretrained(part / MODEL)
        tokens.save_pretrained(part / MODEL)
    return place / NAME


def tokenizer() -> Any:
    """Byte-level BPE that learned the words of the guide, as a prompt is some hundred tokens in a real one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from germane.judges.prompts.annotating import Instructions
    from germane.judges.prompts.grading import Prompt, candidates

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    learn = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=alphabet, special_tokens=special, show_progress=False)
    prompt = Prompt(SCALE, candidates(SCALE)[0])
    texts = [prompt.text("garden chair number", " ".join(WORDS)), Instructions(SCALE, mode="symbol").system]
    made.train_from_iterator([*texts, text_of(3, 7, 3), f"{TEMPLATE}\nassistant system user"], learn)
    tokens = PreTrainedTokenizerFast(tokenizer_object=made, eos_token=special[2], pad_token=special[0])
    tokens.chat_template = TEMPLATE
    return tokens


# --- what is asked --------------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """What came of one way of asking. tokens, ready: of prompts, in all and those that vLLM had computed before.

    requests: a few more than pairs, since some are asked alone afterwards, to measure the latency of one.
    """

    name: str
    table: pa.Table
    manifest: dict[str, Any]
    requests: float
    tokens: float
    ready: float


def served_options(teacher: Path, url: str, given: argparse.Namespace) -> list[Any]:
    return ["--judge", teacher, "--url", url, "--model", NAME, "--batch", given.at_once]


def annotator_options(url: str, given: argparse.Namespace) -> list[Any]:
    how = ["--judge", f"llm:vllm/{NAME}", "--url", url, "--scale", SCALE.name, "--mode", "symbol"]
    return [*how, "--at-once", given.at_once, "--allow", "no-card"]


def labelled(place: Path, name: str, options: Sequence[Any], pairs: Path, url: str = "") -> Asked:
    """`germane label`, and what vLLM counted meanwhile."""
    out = place / f"{re.sub('[^a-z]+', '-', name.lower()).strip('-')}.parquet"
    command = [sys.executable, "-m", "germane.cli", "label", *options, "--pairs", pairs, "--out", out, "--coverage", 0]
    before = counted(url)
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=place)
    if ran.returncode:
        raise SystemExit(f"{name}: exit code {ran.returncode}\n{ran.stdout}{ran.stderr}")
    more = (after - then for after, then in zip(counted(url), before, strict=True))
    manifest = json.loads(out.with_name(f"{out.name}.manifest.json").read_text(encoding="utf-8"))["extra"]
    return Asked(name, pq.read_table(out), manifest, *more)


def on_ray(place: Path, options: Sequence[Any], pairs: Path, url: str) -> list[Asked]:
    """The same, asked by two actors of a Ray cluster on this machine; nothing where Ray is not installed."""
    if find_spec("ray") is None:
        return []
    (place / "germane.toml").write_text("[ray]\nactors = 2\ncpus = 0.5\n", encoding="utf-8")
    return [labelled(place, "--url, --engine ray", [*options, "--engine", "ray"], pairs, url)]


def counted(url: str) -> tuple[float, float, float]:
    """Requests, tokens of prompts that vLLM has looked up among those that it keeps, and found there, since it started."""
    if not url:
        return 0.0, 0.0, 0.0
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics", timeout=30) as answer:
        said = answer.read().decode()
    names = ("request_success", "prefix_cache_queries", "prefix_cache_hits")
    found = (re.findall(rf"^vllm:{name}_total\S* (\S+)$", said, re.M) for name in names)
    requests, asked, ready = (sum(map(float, each)) for each in found)
    return requests, asked, ready


def constrained(teacher: Path, url: str, pairs: Path, count: int) -> float:
    """The largest difference that it makes to a probability if vLLM may only say the symbols of the grades."""
    from germane.judges import pairs_of
    from germane.judges.served import Calling, Served

    few = list(pairs_of(pq.read_table(pairs).slice(0, count)))
    free, bound = (
        np.array([j.probs for j in Served(teacher, url=url, model=NAME, calling=Calling(choice=choice))(few)], dtype=float)
        for choice in (False, True)
    )
    return float(np.abs(free - bound).max())


def shares(teacher: Path, pairs: Path) -> tuple[float, float]:
    """Of the prompts' tokens: the share that the guide is, the same for all, and that guide and query are, once each."""
    from germane.judges import folder
    from germane.judges.causal import tokenizer_of
    from germane.judges.prompts import Frame

    about = folder.read(teacher)
    frame = Frame.restored(tokenizer_of(str(teacher / "model")), dict(about.settings["frame"]))
    table = pq.read_table(pairs)
    queries, texts = table["query"].to_pylist(), table["text"].to_pylist()
    head, total = len(frame.head), 0
    for row in frame.ids(queries, texts, about.max_length):
        total += head + len(row)
    asked = dict(zip(queries, map(len, frame.plain(queries, about.max_length)), strict=True))
    query = sum(asked[q] + len(frame.middle) for q in queries) - sum(n + len(frame.middle) for n in asked.values())
    return head * (len(queries) - 1) / total, (head * (len(queries) - 1) + query) / total


# --- what is shown --------------------------------------------------------------------------------------------------


def compared(one: Asked, other: Asked) -> tuple[float, int, float]:
    """The largest difference of a probability, how many labels differ, and the largest margin in process of those."""
    a, b = (np.array([p or [np.nan] * 4 for p in each.table["probs"].to_pylist()], dtype=float) for each in (one, other))
    differ = a.argmax(axis=1) != b.argmax(axis=1)
    ranked = np.sort(a, axis=1)
    return float(np.abs(a - b).max()), int(differ.sum()), float((ranked[:, -1] - ranked[:, -2])[differ].max(initial=0.0))


def faults(rows: Sequence[Asked], bound: float, tolerance: float) -> list[str]:
    """What must not be."""
    said = []
    for row in rows:
        probs, outcomes = row.table["probs"].to_pylist(), row.table["outcome"].to_pylist()
        nothing = sum(p is None for p in probs)
        if any(
            outcome is None or ((outcome == "label") != (p is not None)) for p, outcome in zip(probs, outcomes, strict=True)
        ):
            said.append(f"{row.name}: a pair has neither an answer nor an outcome that says why")
        if nothing == len(probs) or any(abs(sum(p) - 1) > 1e-6 for p in probs if p is not None):
            said.append(f"{row.name}: probabilities do not add up to 1, or there are none")
        if not row.table["fingerprint"][0].as_py().startswith(("random:", "llm:")):
            said.append(f"{row.name}: labels of random weights are not marked as such")
    for row in rows[1:-1]:  # the last is asked in other words
        worst, differ, margin = compared(rows[0], row)
        if not worst <= tolerance or margin > 2 * tolerance:
            said.append(
                f"{row.name}: a probability differs by {worst:.2g}, and {differ} labels, up to a margin of {margin:.2g}"
            )
    if not bound <= tolerance:
        said.append(f"bound to the symbols a probability differs by {bound:.2g}")
    for each in said:
        print(f"WRONG: {each}", file=sys.stderr)
    return said


def shown(rows: Sequence[Asked], bound: float, possible: tuple[float, float], given: argparse.Namespace) -> None:
    print(f"\nvLLM's build for CPUs ({given.dtype}), {given.at_once} requests in flight; {surroundings()}")
    print("a Qwen3 of random weights: plumbing and speed, no judge of anything\n")
    heads = ("asked", "pairs", "outcomes", "pairs/s", "tokens a prompt", "had ready", "largest difference of a probability")
    print(f"| {' | '.join((*heads, 'labels that differ'))} |\n|{'---|' * (len(heads) + 1)}")
    compare = [row for row in rows if row.name.startswith("--url")]
    for row in rows:
        n = row.table.num_rows
        outcomes = row.table["outcome"].value_counts().to_pylist()
        told = ", ".join(f"{each['values']} {each['counts']:,}" for each in outcomes)
        rate = row.manifest["judge"]["rows"] / max(row.manifest["judge"]["seconds"], 1e-9)
        cells = [row.name, f"{n:,}", told, f"{rate:,.1f}"]
        cells += (
            [f"{row.tokens / row.requests:,.0f}", f"{row.ready / row.tokens:.1%}{' (asked before)' * ('ray' in row.name)}"]
            if row.tokens
            else ["", ""]
        )
        worst, differ, margin = compared(rows[0], row)
        # The annotator's words are another prompt: nothing to compare.
        cells += [f"{worst:.1g}", f"{differ} (margin {margin:.1g})" if differ else "0"] if row in compare else ["", ""]
        print(f"| {' | '.join(cells)} |")
    guide, query = possible
    print(f"\n--url: the guide is {guide:.1%} of the prompts' tokens, guide and query are {query:.1%}")
    print(f"bound to the symbols (structured_outputs), a probability differs by {bound:.1g} at most")


if __name__ == "__main__":
    sys.exit(main())
