"""The command that puts a student into the search path."""

from __future__ import annotations

import logging
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from germane import settings
from germane.cli.app import Output, OutputOption, app, call
from germane.ops import logs
from germane.show import show


class ServedEngine(StrEnum):
    ONNX_INT8 = "onnx-int8"
    ONNX = "onnx"


@app.command("serve")
def serve(
    student: Annotated[Path, typer.Option(help="The folder of a student, from `train student`.", show_default=False)],
    docs: Annotated[Path, typer.Option(help="The folder of its documents' vectors, from `encode`.", show_default=False)],
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to serve on; 0: any that is free.", min=0, max=65535)] = 8138,
    engine: Annotated[ServedEngine, typer.Option(help="What encodes queries; as `encode` used.")] = ServedEngine.ONNX_INT8,
    deadline_ms: Annotated[float, typer.Option(help='Past it, the answer is "no signal".', min=1)] = 100.0,
    most_docs: Annotated[int, typer.Option(help="Documents of a request, at most.", min=1)] = 2_000,
    queue: Annotated[int, typer.Option(help="Requests that may wait; more get 429.", min=0)] = 32,
    threads: Annotated[
        int | None, typer.Option(help="Requests worked on at once; a core less than there are.", min=1, show_default=False)
    ] = None,
    cache: Annotated[int, typer.Option(help="Queries whose vectors are kept, 2 KB each.", min=0)] = 20_000,
    policy: Annotated[list[Path] | None, typer.Option(help="A policy whose decisions are told; may be given again.")] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="Keys of clients, one a line; also $GERMANE_API_KEYS.", show_default=False)
    ] = None,
    watch: Annotated[float, typer.Option(help="Seconds between two looks for new documents or a new student.", min=0.1)] = 2.0,
    access_log: Annotated[bool, typer.Option("--access-log/--no-access-log", help="A line for each request.")] = True,
    log_queries: Annotated[bool, typer.Option("--log-queries", help="With the query in it, which may be personal.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """How relevant is each result, while the user waits?

    Serves a student over HTTP: /v1/score, /v1/rerank, /docs. New documents and students on disk take over without a dropped
    request; SIGHUP has everything read anew.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads would wait for each other in products this small
    from germane.serve.limits import Limits
    from germane.serve.running import listening
    from germane.serve.running import serve as run

    # Python runs one thread at a time between products: on two cores a second one, beside the one that encodes, costs both.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = Limits(deadline_ms, most_docs, queue=queue, threads=threads or max(cores - 1, 1), cache=cache)
    options: dict[str, Any] = {"engine": str(engine), "policies": tuple(policy or ()), "limits": limits, "watch_s": watch}
    sock = listening(host, port)
    keys_file = keys_file or settings.load().keys_file
    facts, served = call("serve", student, docs, **options, keys_file=keys_file, log_queries=log_queries)
    show(facts, as_json=output == Output.JSON)
    told = sys.stderr if output == Output.JSON else sys.stdout
    run(served, sock, tell=lambda address: print(f"open {address}/docs", file=told, flush=True), access=access_log)
    if logs.as_json():
        logging.getLogger("germane").info("stopped", extra={"event": "stopped", "verb": "serve"})
    else:
        print("stopped", file=sys.stderr)
