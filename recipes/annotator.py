"""A real small language model as an annotator, behind a real server, from its first reply to the card that refuses it.

    python recipes/annotator.py --server vllm [--out DIR] [--pairs 200] [--seed 0]
    python recipes/annotator.py --server transformers --pairs 40 --most-tokens 64 --at-once 2

SmolLM2-135M-Instruct of GERMANE_MODELS, served on 127.0.0.1 by vLLM's build for CPUs or by `transformers serve`, each in an
environment of its own that is made with uv on the first run (--environments; a few GB, minutes). Data: esci_us_120 of
GERMANE_DATA: whole queries drawn by seed until there are so many pairs; people's labels of them are golden.

What runs is the command line, as anybody would: doctor; label in the mode "reasons" (bound to the schema where the doctor
sees that the server does it, else in words) and, where the server gives logprobs, in the mode "symbol"; check; and label on
pairs that are not golden, with the card that was made. A model of this size grades by chance when it is only told how. So
the card must fail and the last step must be refused: where they do not, this script ends with exit code 1.

Printed: coverage by outcome, exact agreement and quadratic kappa with their intervals over queries, calls and tokens a
second (as the labels were made, with whatever else the machine did). Each step's output is in OUT. What was asked before is
not asked again, so speeds are of the first run in a folder. A judge that gave no grade at all gets no card, and is refused
for that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from servers import ENVIRONMENTS, KINDS, environment, served

from germane.judges.loading import models_folder
from germane.labelling.speed import surroundings

MODEL = "SmolLM2-135M-Instruct"
FIELDS, LONGEST = "title,brand,color,bullet_points,description", 800
"""Fields that are shown, and characters of a document: on two cores a page of text takes seconds to read."""
OTHERS = 10  # pairs that are not golden, for the step that must be refused


def main() -> int:
    given = arguments()
    data = Path(os.environ.get("GERMANE_DATA", "GERMANE_DATA is not set")) / "esci_us_120"
    if not data.is_dir():
        print(f"no data in {data.parent}: set GERMANE_DATA (docs/data.md says how to get it)", file=sys.stderr)
        return 2
    if not (models_folder() / MODEL / "config.json").is_file():
        print(f"no {MODEL} in {models_folder()}: set GERMANE_MODELS to the folder that holds it", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    n = sample(data, given.out, given.pairs, given.seed)
    kind = KINDS[given.server]
    python = environment(given.server, kind, given.environments)
    with served(kind, python, models_folder() / MODEL, given.out / "server.log") as url:
        run = Run(given, f"llm:{kind.provider}/{MODEL}", url)
        structured, symbol = looked_at(run)
        rows = [labelled(run, "reasons", ["--structured", structured, "--most-tokens", str(given.most_tokens)])]
        if symbol:
            rows.append(labelled(run, "symbol", []))
    shown(given, structured, symbol, rows, n)
    return 0 if all(row["refused"] and not row["passed"] for row in rows) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--server", choices=KINDS, required=True)
    parser.add_argument("--out", type=Path, default=None, help="by default annotator-SERVER")
    parser.add_argument("--pairs", type=int, default=200, help="whole queries are taken until there are so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--most-tokens", type=int, default=160, help="of a reply in the mode reasons")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds that a reply may take")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS)
    given = parser.parse_args()
    given.out = given.out or Path(f"annotator-{given.server}")
    return given


def sample(data: Path, out: Path, least: int, seed: int) -> int:
    """How many pairs are golden: those of whole queries, in drawn order; and a few of the next query, which are not."""
    labels = pq.read_table(data / "judgments.parquet").to_pylist()
    every = sorted({row["query_id"] for row in labels})
    drawn = [every[i] for i in np.random.default_rng(seed).permutation(len(every))]
    golden: list[dict[str, Any]] = []
    while len(golden) < least and len(drawn) > 1:
        query_id = drawn.pop(0)
        golden += [row for row in labels if row["query_id"] == query_id]
    others = [row for row in labels if row["query_id"] == drawn[0]][:OTHERS]
    for name, rows in (("golden", golden), ("others", others)):
        columns = {"query_id": [str(r["query_id"]) for r in rows], "doc_id": [r["product_id"] for r in rows]}
        pq.write_table(pa.table(columns | {"label": [r["esci_label"] for r in rows]}), out / f"{name}.parquet")
        texts = ["--queries", data / "queries.parquet", "--docs", data / "products.parquet", "--scale", "esci"]
        reads = ["--fields", FIELDS, "--total", LONGEST, "--out", out / f"{name}_pairs.parquet"]
        germane(["pairs", "--judged", out / f"{name}.parquet", *texts, *reads], out / f"{name}_pairs.txt")
    return len(golden)


# --- the steps ------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    given: argparse.Namespace
    judge: str
    url: str


def germane(arguments: Sequence[Any], log: Path, codes: Sequence[int] = (0,)) -> tuple[int, str]:
    """Exit code and output of a command, which are also in the log. Ends the script at an exit code that is not expected."""
    command = [sys.executable, "-m", "germane.cli", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    log.write_text(f"$ germane {' '.join(command[3:])}\n{ran.stdout}{ran.stderr}exit code {ran.returncode}\n", encoding="utf-8")
    print(f"germane {arguments[0]}: exit code {ran.returncode} ({log})", flush=True)
    if ran.returncode not in codes:
        raise SystemExit(f"expected {' or '.join(map(str, codes))}:\n{log.read_text(encoding='utf-8')[-2000:]}")
    return ran.returncode, ran.stdout + ran.stderr


def looked_at(run: Run) -> tuple[str, bool]:
    """How replies can be bound ("schema" or "text"), and whether there are logprobs, as the doctor sees it."""
    asked = ["doctor", "--judge", run.judge, "--url", run.url, "--scale", "esci", "-o", "json"]
    _, said = germane(asked, run.given.out / "doctor.txt")
    found = {each["subject"]: each for each in json.loads(said)}
    for each in found.values():
        print(f"  {each['subject']}: {each['state']}: {each['found']}")
    return "schema" if found["structured output"]["state"] == "ok" else "text", found["logprobs"]["state"] == "ok"


def labelled(run: Run, mode: str, options: Sequence[str]) -> dict[str, Any]:
    """Label, check, and label where it must be refused: what came of each."""
    out = run.given.out
    judged, card = out / f"{mode}.parquet", out / f"card-{mode}"
    how = ["--judge", run.judge, "--url", run.url, "--scale", "esci", "--mode", mode, *options]
    how += ["--at-once", run.given.at_once, "--timeout", run.given.timeout, "--replies", out / f"replies-{mode}"]
    golden = ["--pairs", out / "golden_pairs.parquet", "--golden", out / "golden.parquet", "--out", judged]
    germane(["label", *how, *golden], out / f"label-{mode}.txt", (0, 1))
    codes = (0, 1, 2)
    passed, told = germane(
        ["check", out / "golden.parquet", judged, "--scale", "esci", "--out", card], out / f"check-{mode}.txt", codes
    )
    made = passed != 2
    if not made and "answered none" not in told:
        raise SystemExit(f"no card could be made:\n{told}")
    beyond = ["--pairs", out / "others_pairs.parquet", "--out", out / f"others-{mode}.parquet"]
    beyond += ["--card", card] if made else []
    refused, said = germane(["label", *how, *beyond], out / f"refused-{mode}.txt", codes)
    manifest = json.loads(judged.with_name(f"{judged.name}.manifest.json").read_text(encoding="utf-8"))["extra"]
    agreement = json.loads((card / "card.json").read_text(encoding="utf-8"))["agreement"] if made else {}
    return {
        "mode": mode,
        "outcomes": manifest["label"]["outcomes"],
        "rows": manifest["label"]["rows"],
        "seconds": manifest["judge"]["seconds"],
        "passed": passed == 0,
        "refused": refused == 2 and ("does not meet its bars" if made else "has no judge card") in said,
        "said": " ".join(said.split())[:300],
        "agreement": {name: agreement.get(name) for name in ("exact", "quadratic kappa")},
        **spent(out / f"replies-{mode}"),
    }


def spent(folder: Path) -> dict[str, int]:
    """Calls that were answered, and the tokens that were read and written in them."""
    lines = [json.loads(line) for path in folder.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    used = [line.get("usage") or (0, 0, 0) for line in lines]
    return {"calls": len(lines), "read": sum(u[0] for u in used), "written": sum(u[2] for u in used)}


# --- what is shown --------------------------------------------------------------------------------------------------


COLUMNS = ("server", "mode", "pairs", "outcomes", "exact", "quadratic kappa", "calls/s", "tokens/s read, written")
COLUMNS += ("card", "other pairs")


def shown(given: argparse.Namespace, structured: str, symbol: bool, rows: Sequence[dict[str, Any]], n: int) -> None:
    (given.out / "annotator.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    queries = len(set(pq.read_table(given.out / "golden.parquet")["query_id"].to_pylist()))
    print(f"\n{MODEL} behind {given.server}; {n:,} golden pairs of {queries} queries, seed {given.seed}; {surroundings()}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows:
        bound = f" ({structured})" if row["mode"] == "reasons" else ""
        outcomes = ", ".join(f"{name} {count / row['rows']:.0%}" for name, count in sorted(row["outcomes"].items()))
        rates = [row[name] / max(row["seconds"], 1e-9) for name in ("calls", "read", "written")]
        exact, kappa = (estimate(row["agreement"][name]) for name in ("exact", "quadratic kappa"))
        cells = [given.server, f"{row['mode']}{bound}", f"{row['rows']:,}", outcomes, exact, kappa, f"{rates[0]:.2f}"]
        cells += [f"{rates[1]:,.0f}, {rates[2]:,.1f}", "passes" if row["passed"] else "fails"]
        cells += ["refused" if row["refused"] else f"NOT REFUSED: {row['said']}"]
        print(f"| {' | '.join(cells)} |")
    if not symbol:
        print(f"\n{given.server} gives no logprobs: the mode symbol cannot be used with it.")


def estimate(found: dict[str, Any] | None) -> str:
    return "-" if found is None else f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
