"""How many calls a second an annotator makes, beside the bare openai client on the same endpoint in the same run.

    python benchmarks/annotator.py                                  # 4,000 pairs, 200 calls at once, replies after 0.2 s
    python benchmarks/annotator.py --pairs 100000 --delay 0.02      # and how much memory that takes

The server is a process of its own on this machine (tests/nasty_server.py), so both share the processors with it. The bare
client sends the same messages and the same schema, and keeps nothing. Ours also draws the graph's steps, reads verdicts, votes,
and has every reply on disk before it is used. "straightforward": one LangGraph run a pair around ChatOpenAI as it comes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

from germane.judges.calls import Calling
from germane.judges.llm import LLM, Asked
from germane.judges.prompts.annotating import Instructions, Material
from germane.judges.providers import Endpoint, Model
from germane.judges.replies import Replies
from germane.judges.verdicts import schema
from germane.scales import get
from germane.types import Doc, Pair, Query

ESCI = get("esci")
TEXT = "title: Chair of oak, number {}. " + "A text of some length, as products have. " * 20
SERVER = Path(__file__).parents[1] / "tests" / "nasty_server.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4_000, help="that germane labels; its peers at most 4,000")
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3, help="of all three, in turn; the best of each counts")
    parser.add_argument("--tool", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.tool:
        print(json.dumps(measured(given)))
        return
    serving = subprocess.Popen(
        [sys.executable, str(SERVER), "--port", "0", "--delay", str(given.delay)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert serving.stdout is not None
        url = serving.stdout.readline().strip()
        rounds = [{tool: alone(given, tool, url) for tool in TOOLS} for _ in range(given.rounds)]
    finally:
        serving.terminate()
    best = {tool: max((found[tool] for found in rounds), key=lambda one: one["rate"]) for tool in TOOLS}
    bare = best["bare openai client"]["rate"]
    print(
        f"{given.at_once} calls at once, a reply after {given.delay:g} s, {os.cpu_count()} processors, best of {given.rounds}"
    )
    for tool, one in best.items():
        print(
            f"{tool:24}{one['rate']:7.0f} calls/s, {one['rate'] / bare:5.2f} of the bare client, "
            f"{one['cpu_ms']:5.2f} ms of processor a call, {one['mib']:5.0f} MiB at most, {one['calls']:,} calls"
        )


def alone(given: argparse.Namespace, tool: str, url: str) -> dict[str, float]:
    """One tool in a process of its own."""
    options = {"--tool": tool, "--url": url, "--at-once": given.at_once}
    options["--pairs"] = given.pairs if tool == "germane" else min(given.pairs, 4_000)
    command = [sys.executable, __file__, *(str(part) for option in options.items() for part in option)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"LANGSMITH_TRACING": "false"})
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measured(given: argparse.Namespace) -> dict[str, float]:
    """Calls a second after a warm-up, processor milliseconds of this process a call, and its most memory."""
    run = TOOLS[given.tool]
    run(given.url, given.at_once, given.at_once)
    began, used = time.perf_counter(), time.process_time()
    run(given.url, given.pairs, given.at_once)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": given.pairs / seconds, "cpu_ms": 1000 * cpu / given.pairs, "mib": mib, "calls": given.pairs}


def messages(i: int) -> list[dict[str, Any]]:
    return Instructions(ESCI).messages(Material(f"oak chair {i}", TEXT.format(i)))


LOOP = asyncio.new_event_loop()  # LangChain keeps its HTTP client from call to call: one loop for all

FORM = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema(ESCI)}}


async def bare(url: str, n: int, at_once: int) -> None:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        turn = asyncio.Semaphore(at_once)

        async def one(i: int) -> None:
            async with turn:
                said: Any = messages(i)
                form: Any = FORM
                await client.chat.completions.create(model="m", messages=said, response_format=form)

        await asyncio.gather(*map(one, range(n)))


class State(TypedDict, total=False):
    i: int
    text: str
    grade: str


async def plain(url: str, n: int, at_once: int) -> None:
    from langchain_openai import ChatOpenAI
    from langgraph.graph import END, START, StateGraph
    from pydantic import SecretStr

    model = ChatOpenAI(model="m", base_url=url, api_key=SecretStr("none")).bind(response_format=FORM)

    async def ask(state: State) -> State:
        said: Any = messages(state["i"])
        return {"text": str((await model.ainvoke(said)).content)}

    async def read(state: State) -> State:
        return {"grade": json.loads(state["text"])["grade"]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_node("read", read)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "read")
    graph.add_edge("read", END)
    compiled = graph.compile()
    turn = asyncio.Semaphore(at_once)

    async def one(i: int) -> None:
        async with turn:
            await compiled.ainvoke({"i": i})

    await asyncio.gather(*map(one, range(n)))


def ours(url: str, n: int, at_once: int) -> None:
    asked = Asked(Instructions(ESCI), (Model.named("llm:compatible/m"),))
    with tempfile.TemporaryDirectory() as folder:
        judge = LLM(asked, [Endpoint(url)], replies=Replies(Path(folder)), calling=Calling(at_once))
        assert sum(judgment.relevance == 3 for judgment in judge(pairs(n))) == n


def pairs(n: int) -> Iterator[Pair]:
    for i in range(n):
        yield Pair(Query(f"q{i}", f"oak chair {i}"), Doc(f"d{i}", {"text": TEXT.format(i)}))


TOOLS = {
    "bare openai client": lambda *of: LOOP.run_until_complete(bare(*of)),
    "straightforward graph": lambda *of: LOOP.run_until_complete(plain(*of)),
    "germane": ours,
}

if __name__ == "__main__":
    main()
