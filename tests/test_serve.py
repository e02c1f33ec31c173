"""The service, asked in process: what it says, what it refuses, and what it says when it has nothing to say."""

import json
import logging
import threading
import time

import numpy as np
import pytest
from served_students import IDS, TEXTS, more, numbers, stocked, student

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from starlette.testclient import TestClient

from germane.inference.vector_store import VectorStore
from germane.judges.two_tower import TwoTower
from germane.ops.logs import Json
from germane.serve import scoring
from germane.serve.app import create_app
from germane.serve.generations import Generations
from germane.serve.limits import Limits
from germane.serve.policies import Decision
from germane.serve.serving import prepare
from germane.signal import files
from germane.types import InputError, Policy

SLOW = Limits(deadline_ms=60_000)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    return student(tmp_path_factory.mktemp("students"))


@pytest.fixture(scope="module")
def docs(judge, tmp_path_factory):
    return stocked(judge, tmp_path_factory.mktemp("docs") / "v")


@pytest.fixture(scope="module")
def service(judge, docs):
    made = Generations(judge, docs, engine="onnx", limits=SLOW)
    with TestClient(create_app(made)) as client:
        yield client
    made.close()


def app_of(judge, docs, *, limits=SLOW, **options):
    keys = options.pop("keys", ())
    made = Generations(judge, docs, engine="onnx", limits=limits, **options)
    return TestClient(create_app(made, keys=keys)), made


def ask(client, **said):
    return client.post("/v1/score", json={"query": "red chair", **said})


def metric(client, line):
    return [row for row in client.get("/metrics").text.splitlines() if row.startswith(line)]


@pytest.mark.parametrize("store", ["int8", "fp16", "fp32"])
@pytest.mark.parametrize("engine", ["onnx", "onnx-int8"])
def test_the_numbers_are_those_of_the_library(judge, tmp_path, store, engine):
    where = stocked(judge, tmp_path / "v", store=store, engine=engine)
    made = Generations(judge, where, engine=engine, limits=SLOW)
    client = TestClient(create_app(made))
    found = ask(client, doc_ids=[*IDS, "unknown"]).json()
    said = TwoTower(judge, engine=engine, threads=1).score_docs("red chair", [*IDS, "unknown"], VectorStore(where))
    np.testing.assert_array_equal(numbers(found), said.gains)
    np.testing.assert_array_equal([row["probs"] for row in found["documents"][:-1]], said.probs[:-1])
    assert found["documents"][-1] == {"doc_id": "unknown", "known": False, "probs": None, "gain": None, "label": None}
    named = TwoTower(judge, engine=engine, vectors=where)
    assert found["model"]["fingerprint"] == named.fingerprint
    assert (found["no_signal"], found["reason"], found["decisions"]) == (False, None, {})
    texts = ask(client, texts=[{"text": text} for text in TEXTS]).json()
    np.testing.assert_allclose(numbers(texts), said.gains[:-1], atol=1e-6)
    made.close()


def test_texts_that_are_not_stored_get_the_numbers_that_they_would_get_if_they_were(judge, tmp_path):
    where = stocked(judge, tmp_path / "v")
    client, made = app_of(judge, where)
    new = ["title: black sofa without arms\n100 ft", "green", "title: black sofa without arms\n100 ft"]
    before = ask(client, texts=[*({"text": text, "id": f"n{i}"} for i, text in enumerate(new)), {"text": " "}]).json()
    more(judge, where, new[:2])
    assert made.look()
    after = ask(client, doc_ids=["d1000", "d1001", "d1000"]).json()
    np.testing.assert_allclose(numbers(before)[:3], numbers(after), atol=1e-6)
    assert [row["doc_id"] for row in before["documents"]] == ["n0", "n1", "n2", "3"]
    assert before["documents"][3] == {"doc_id": "3", "known": False, "probs": None, "gain": None, "label": None}
    made.close()


def test_an_answer_says_whose_it_is_and_the_page_tells_of_it(service, judge):
    about = service.get("/v1/model").json()
    assert about["scale"] == "three-level"
    assert ask(service, doc_ids=IDS[:1]).json()["model"] == about
    told = service.get("/openapi.json").json()
    assert {"/v1/score", "/v1/rerank", "/v1/model", "/healthz", "/readyz"} <= set(told["paths"])
    assert "doc_ids" in json.dumps(told["paths"]["/v1/score"]["post"]["requestBody"])
    assert "$defs" not in json.dumps(told["paths"]["/v1/score"]["post"]["requestBody"])
    assert service.get("/docs").status_code == 200
    assert service.get("/healthz").json() == {"status": "ok"}
    ready = service.get("/readyz").json()
    assert (ready["ready"], ready["documents"], ready["problem"]) == (True, len(TEXTS), None)


def test_rerank_speaks_as_other_rerankers_do(service):
    said = {"model": "any", "query": "red chair", "documents": [*TEXTS[:4], {"text": TEXTS[4]}, ""], "top_n": 3}
    found = service.post("/v1/rerank", json={**said, "return_documents": True, "max_chunks_per_doc": 3}).json()
    scored = numbers(ask(service, doc_ids=IDS[:5]).json())
    assert [row["index"] for row in found["results"]] == np.argsort(-scored, kind="stable")[:3].tolist()
    np.testing.assert_allclose([row["relevance_score"] for row in found["results"]], np.sort(scored)[::-1][:3], atol=1e-6)
    assert found["results"][0]["document"] == {"text": TEXTS[found["results"][0]["index"]]}
    assert found["meta"]["model"]["name"] == "student"
    assert len(found["id"]) == 36
    every = service.post("/v1/rerank", json={k: v for k, v in said.items() if k != "top_n"}).json()
    assert sorted(row["index"] for row in every["results"]) == [0, 1, 2, 3, 4]  # a document without text has no score
    assert "document" not in every["results"][0]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"\xff\xfe{}", 400, "no JSON in UTF-8"),
        (b'{"query": "a\xff", "doc_ids": ["d1"]}', 400, "no JSON in UTF-8"),
        (b'{"query": "\\ud800", "doc_ids": ["d1"]}', 400, "no JSON in UTF-8"),
        (b"", 400, "no JSON"),
        (b"[]", 422, "body: "),
        (b"{" * 100_000, 400, "no JSON"),
        (b'{"query": "a"}', 422, "doc_ids or texts"),
        (b'{"query": "a", "doc_ids": ["d1"], "texts": []}', 422, "doc_ids or texts"),
        (b'{"query": 1, "doc_ids": ["d1"]}', 422, "query: "),
        (b'{"query": "a", "doc_ids": "d1"}', 422, "doc_ids: "),
        (b'{"query": "a", "doc_ids": [1]}', 422, "doc_ids.0: "),
        (b'{"query": "a", "texts": [{"id": "x"}]}', 422, "texts.0.text: "),
        (b'{"query": "a", "doc_ids": ["d1"], "scores": [1, 2]}', 422, "2 scores of 1 documents"),
        (json.dumps({"query": "a", "doc_ids": ["d1"] * 100_000}).encode(), 422, "at most 2,000 documents"),
        (json.dumps({"query": "a" * (9 << 20), "doc_ids": []}).encode(), 413, "at most 8,388,608 bytes"),
    ],
)
def test_wrong_requests_are_refused_in_one_line_without_their_words(service, body, status, message):
    found = service.post("/v1/score", content=body)
    assert found.status_code == status, found.text
    assert message in found.json()["error"]
    assert len(found.text) < 200


def test_a_query_is_no_book_and_a_path_that_is_not_there_is_said_as_other_faults_are(service):
    assert ask(service, query="w" * 2_000, doc_ids=IDS).status_code == 200
    refused = ask(service, query="w" * 2_001, doc_ids=IDS)
    assert (refused.status_code, list(refused.json())) == (422, ["error"])
    assert "2000 characters" in refused.json()["error"]
    assert (service.post("/v1/nothing").status_code, service.post("/v1/nothing").json()) == (404, {"error": "not found"})
    assert service.get("/v1/score").json() == {"error": "method not allowed"}


def test_a_body_that_hides_its_size_is_refused_once_it_is_too_large(service):
    def parts():
        for _ in range(20):
            yield b" " * (1 << 20)

    assert service.post("/v1/score", content=parts()).status_code == 413
    assert service.post("/v1/score", content=b"{}", headers={"content-length": "-1"}).status_code == 413
    assert ask(service, doc_ids=IDS[:1]).status_code == 200


@pytest.mark.parametrize(
    ("said", "reason"),
    [({"query": " ", "doc_ids": IDS[:2]}, "empty_query"), ({"doc_ids": ["x", "y"]}, "no_known_documents"),
     ({"doc_ids": []}, "no_known_documents"), ({"texts": [{"text": ""}]}, "no_known_documents")],
)  # fmt: skip
def test_no_answer_is_said_to_be_none(service, said, reason):
    found = ask(service, **said).json()
    assert (found["no_signal"], found["reason"]) == (True, reason)
    assert all(row["gain"] is None for row in found["documents"])
    rerank = service.post("/v1/rerank", json={"query": " ", "documents": ["a"]}).json()
    assert (rerank["no_signal"], rerank["results"], rerank["meta"]["reason"]) == (True, [], "empty_query")


def test_past_its_deadline_a_request_has_no_signal_and_its_work_stops(judge, docs, monkeypatch):
    client, made = app_of(judge, docs, limits=Limits(deadline_ms=30, threads=1))
    held, encoded = threading.Event(), []
    real = TwoTower.encode_texts
    monkeypatch.setattr(scoring, "STEP", 1)
    monkeypatch.setattr(
        TwoTower, "encode_texts", lambda self, texts: (encoded.append(1), held.wait(0.02), real(self, texts))[2]
    )
    texts = [{"text": f"text {i}"} for i in range(500)]
    found = ask(client, texts=texts).json()
    assert (found["no_signal"], found["reason"], found["documents"]) == (True, "deadline", [])
    assert client.post("/v1/rerank", json={"query": "a", "documents": [row["text"] for row in texts]}).json()["no_signal"]
    time.sleep(0.1)
    assert len(encoded) < 20
    assert metric(client, 'germane_no_signal_total{reason="deadline"} 2')
    made.close()


def test_who_finds_no_place_is_turned_away_at_once_and_there_is_place_again_soon(judge, docs, monkeypatch):
    limits = Limits(deadline_ms=60_000, threads=1, queue=1)
    client, made = app_of(judge, docs, limits=limits)
    held = threading.Event()
    real = TwoTower.score_docs

    def slow(self, *args, **options):
        held.wait(10)
        return real(self, *args, **options)

    monkeypatch.setattr(TwoTower, "score_docs", slow)
    found: list[int] = []
    askers = [threading.Thread(target=lambda: found.append(ask(client, doc_ids=IDS).status_code)) for _ in range(2)]
    for asker in askers:
        asker.start()
    while not client.app.state.service.places.full:
        time.sleep(0.001)
    turned = ask(client, doc_ids=IDS)
    assert (turned.status_code, turned.headers["retry-after"]) == (429, "1")
    held.set()
    for asker in askers:
        asker.join()
    assert found == [200, 200]
    assert ask(client, doc_ids=IDS).status_code == 200
    assert metric(client, 'germane_requests_total{code="429",route="/v1/score"} 1.0')
    made.close()


def test_a_key_is_asked_for_if_there_are_keys(judge, docs, caplog):
    client, made = app_of(judge, docs, keys=("k" * 16, "other" * 4))
    with caplog.at_level(logging.INFO, "germane.access"):
        assert ask(client, doc_ids=IDS).status_code == 401
        for head in ({"Authorization": "Bearer " + "k" * 16}, {"X-API-Key": "other" * 4}):
            assert client.post("/v1/score", json={"query": "a", "doc_ids": IDS}, headers=head).status_code == 200
        for head in ({"Authorization": "Bearer " + "k" * 15}, {"Authorization": "k" * 16}, {"X-API-Key": "ö"}):
            head = {name: value.encode("latin-1") for name, value in head.items()}
            assert client.post("/v1/score", json={"query": "a", "doc_ids": IDS}, headers=head).status_code == 401
    assert client.get("/v1/model").status_code == 401
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == client.get("/metrics").status_code == 200
    assert "kkkk" not in caplog.text
    made.close()


def test_a_line_of_the_log_tells_all_but_what_was_asked(service, caplog):
    with caplog.at_level(logging.INFO, "germane.access"):
        ask(service, query="my secret illness", doc_ids=[*IDS, "secret-doc"])
        service.get("/secret/path?token=secret")
    lines = [json.loads(Json().format(record)) for record in caplog.records if record.name == "germane.access"]
    assert [(line["route"], line["status"], line.get("docs")) for line in lines] == [
        ("/v1/score", 200, len(IDS) + 1),
        ("other", 404, None),
    ]
    assert "secret" not in caplog.text


def test_queries_may_be_logged_where_somebody_insists(judge, docs, caplog):
    made = Generations(judge, docs, engine="onnx", limits=SLOW)
    with caplog.at_level(logging.INFO, "germane.access"):
        ask(TestClient(create_app(made, log_queries=True)), query="red\nchair", doc_ids=IDS)
    line = Json().format(caplog.records[-1])
    assert json.loads(line)["query"] == "red\nchair"
    assert "\n" not in line
    made.close()


def test_a_query_is_encoded_once_whoever_asks_and_however_often(judge, docs, monkeypatch):
    client, made = app_of(judge, docs, limits=Limits(deadline_ms=60_000, cache=2))
    asked, real = [], TwoTower.encode_queries
    monkeypatch.setattr(TwoTower, "encode_queries", lambda self, queries: (asked.extend(queries), real(self, queries))[1])
    for query in ("a", "b", "a", " a ", "c", "a", "b"):
        ask(client, query=query, doc_ids=IDS)
    assert asked == ["a", "b", "c", "b"]
    assert metric(client, 'germane_query_cache_total{result="hit"} 3.0')
    made.close()


def test_queries_that_come_at_once_are_encoded_together_and_have_the_vectors_of_each_alone(judge, docs, monkeypatch):
    made = Generations(judge, docs, engine="onnx", limits=SLOW)
    alone = {f"red {n}": made.now.student.encode_queries([f"red {n}"])[0] for n in range(30)}
    real, sizes, held = TwoTower.encode_queries, [], threading.Event()
    monkeypatch.setattr(
        TwoTower, "encode_queries", lambda self, queries: (held.wait(10), sizes.append(len(queries)), real(self, queries))[2]
    )
    waits = {query: made.now.encoder.submit(query) for query in alone}
    again = made.now.encoder.submit("red 29")
    held.set()
    for query, wait in waits.items():
        np.testing.assert_allclose(wait(), alone[query], atol=1e-6)
    np.testing.assert_array_equal(again(), waits["red 29"]())
    assert sum(sizes) == 30
    assert max(sizes) == 16
    made.close()


def test_a_fault_in_a_batch_reaches_who_waits_and_the_next_query_is_answered(judge, docs, monkeypatch):
    made = Generations(judge, docs, engine="onnx", limits=SLOW)
    with monkeypatch.context() as patched:
        patched.setattr(TwoTower, "encode_queries", lambda self, queries: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            made.now.encoder.submit("red")()
    assert made.now.encoder.submit("red")().shape == (32,)
    made.close()
    assert made.now.encoder.submit("green")().shape == (32,)  # of a request that began before a reload


def test_an_int8_query_for_which_nobody_waits_is_answered_the_next_time(judge, tmp_path, monkeypatch):
    where = stocked(judge, tmp_path / "v", store="int8", engine="onnx-int8")
    made = Generations(judge, where, engine="onnx-int8", limits=Limits(deadline_ms=5_000, threads=1))
    client = TestClient(create_app(made))
    assert ask(client, query="blue table", doc_ids=["unknown"]).json()["reason"] == "no_known_documents"
    assert ask(client, query="blue table", doc_ids=IDS).json()["no_signal"] is False
    with monkeypatch.context() as patched:  # what breaks between the beginning of a query and the wait for it
        patched.setattr(TwoTower, "_features_of", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask(client, query="green sofa", doc_ids=IDS)
        patched.setattr(TwoTower, "begin_query", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask(client, query="green lamp", doc_ids=IDS)
    for query in ("green sofa", "green lamp"):
        assert ask(client, query=query, doc_ids=IDS).json()["no_signal"] is False
    made.close()


def test_an_int8_query_that_was_too_late_is_answered_when_it_comes_again(judge, tmp_path, monkeypatch):
    from germane.serve import scoring

    where = stocked(judge, tmp_path / "v", store="int8", engine="onnx-int8")
    made = Generations(judge, where, engine="onnx-int8", limits=Limits(deadline_ms=5_000, threads=1))
    client = TestClient(create_app(made))
    with monkeypatch.context() as patched:
        passed = iter([False, True])
        patched.setattr(scoring.Deadline, "passed", property(lambda _: next(passed, True)))
        found = ask(client, query="oak desk", texts=[{"text": f"new {n}"} for n in range(9)]).json()
        assert found["reason"] == "deadline"
    assert ask(client, query="oak desk", doc_ids=IDS).json()["no_signal"] is False
    made.close()


def test_what_a_table_says_and_what_a_search_says_differ_by_a_millionth_at_most(judge, tmp_path):
    where = stocked(judge, tmp_path / "v", store="int8", engine="onnx-int8")
    student = TwoTower(judge, engine="onnx-int8", vectors=where)
    logits = student.score(["red chair"] * len(TEXTS), TEXTS)
    from germane.judges.saying import probabilities

    said = student.score_docs("red chair", IDS, student.documents(where))
    np.testing.assert_allclose(probabilities(logits, student.about.temperature), said.probs, atol=1e-6)


class Dropping:
    """A stub of a policy: what is expected to gain too little goes."""

    kind = "filter"

    def __init__(self, name, said, scale):
        self.name, self.least = name, float(said["least"])

    def decide(self, asked):
        why = f"gain below {self.least}"
        return [
            Decision(doc_id, "drop" if gain < self.least else "keep", None if np.isnan(gain) else float(gain), why)
            for doc_id, gain in zip(asked.said.doc_ids, asked.said.gains, strict=True)
        ]


def stub(path, fingerprint, scale):
    try:
        return Dropping(path.stem, json.loads(path.read_text()), scale)
    except ValueError as problem:
        raise InputError(f"the policy {path} is no JSON") from problem


def test_policies_plug_in_by_their_kind_and_their_decisions_are_told(judge, docs, tmp_path):
    path = tmp_path / "strict.json"
    path.write_text('{"kind": "filter", "least": 0.4}')
    client, made = app_of(judge, docs, policies=[path], loading=stub)
    found = ask(client, doc_ids=[*IDS, "x"]).json()
    told = found["decisions"]["strict"]
    assert [row["action"] == "drop" for row in told] == [g < 0.4 for g in numbers(found)]
    assert told[-1] == {"doc_id": "x", "action": "keep", "value": None, "why": "gain below 0.4", "place": None}
    path.write_text('{"kind": "filter", "least": 2.0}')
    assert made.look()
    assert {row["action"] for row in ask(client, doc_ids=IDS).json()["decisions"]["strict"]} == {"drop"}
    path.write_text('{"kind": "filter", "least": ')
    assert not made.look()
    assert "is no JSON" in client.get("/readyz").json()["problem"]
    assert {row["action"] for row in ask(client, doc_ids=IDS).json()["decisions"]["strict"]} == {"drop"}
    made.close()


def chosen(student, **more):
    """A policy of `germane signal` for this student."""
    about = {"judge": student.name, "fingerprint": student.fingerprint, "lineage": (), "scale": student.scale.name}
    return Policy(**about | {"grades": len(student.scale.labels), "golden": ""} | more)


def test_policies_of_signal_say_what_becomes_of_each_document_and_in_which_place(judge, docs, tmp_path):
    served = TwoTower(judge, engine="onnx", vectors=docs)
    chances = served.score_docs("red garden chair", IDS, served.vectors).probs[:, 0]
    least = float(np.quantile(chances, 0.7))
    gone = int((chances >= least).sum())
    rule = {"grade": 0, "precision": 0.9, "thresholds": {"": least, "tail": None}}
    curve = {"gain": [0.0, 1.0], "value": [0.0, 1.0]}
    filtering = files.write(
        chosen(served, kind="filter", name="out", parameters={"rules": [rule], "floor": 0}), tmp_path / "f.json"
    )
    more = {"curve": curve, "strength": 2.0, "rules": [], "most": 1}
    boosting = files.write(chosen(served, kind="boost", name="up", parameters=more), tmp_path / "b.json")
    client, made = app_of(judge, docs, policies=[filtering, boosting])
    asked = {"doc_ids": [*IDS, "x"], "scores": [float(-i) for i in range(len(IDS) + 1)]}
    found = client.post("/v1/score", json={"query": "red garden chair", **asked}).json()["decisions"]
    assert [row["action"] for row in found["out"]].count("drop") == gone
    assert {row["place"] for row in found["out"] if row["action"] == "drop"} == {None}
    assert sorted(row["place"] for row in found["out"] if row["place"]) == list(range(1, len(IDS) + 2 - gone))
    assert all("P(" in row["why"] for row in found["out"] if row["action"] == "drop")
    assert found["out"][-1] | {"place": 0} == {"doc_id": "x", "action": "keep", "value": None, "why": "", "place": 0}
    assert {row["action"] for row in found["up"][:-1]} == {"boost"}
    assert all(abs(row["place"] - before) <= 1 for before, row in enumerate(found["up"], 1))
    tail = client.post("/v1/score", json={"query": "red garden chair", "segment": "tail", **asked}).json()["decisions"]["out"]
    assert {row["action"] for row in tail} == {"keep"}
    some = {"doc_ids": IDS[:3], "scores": [3.0, None, 2.0]}  # a document that the engine did not score has no place
    told = client.post("/v1/score", json={"query": "red garden chair", **some})
    assert told.status_code == 200
    assert [row["place"] is None for row in told.json()["decisions"]["up"]] == [False, True, False]
    without = client.post("/v1/score", json={"query": "red garden chair", "doc_ids": IDS}).json()["decisions"]["up"]
    assert {row["place"] for row in without} == {None}
    made.close()
    with pytest.raises(InputError, match="two policies are called"):
        app_of(judge, docs, policies=[filtering, filtering])
    other = files.write(
        chosen(served, kind="boost", name="o", parameters=more, fingerprint="two-tower:other"), tmp_path / "o.json"
    )
    with pytest.raises(InputError, match="was chosen for judge"):
        app_of(judge, docs, policies=[other])


def test_wrong_folders_and_files_are_said_in_one_line(judge, docs, tmp_path, monkeypatch):
    other = student(tmp_path / "other", seed=5)
    nobody = tmp_path / "nobody"
    policy = tmp_path / "p.json"
    policy.write_text('{"kind": "magic"}')
    few = tmp_path / "keys"
    few.write_text("short\n")
    for options, message in (
        ({"docs": nobody}, "is no folder of vectors"),
        ({"student": docs}, "is no judge"),
        ({"student": other}, "holds vectors of another student or engine"),
        ({"engine": "onnx-int8"}, "holds vectors of another student or engine"),
        ({"engine": "torch"}, "not for a service"),
        ({"policies": [policy]}, "is not a policy"),
        ({"policies": [nobody]}, "cannot read"),
        ({"keys_file": few}, "fewer than 16 letters"),
        ({"keys_file": nobody}, "cannot read the keys"),
    ):
        with pytest.raises(InputError, match=message):
            prepare(**({"student": judge, "docs": docs, "engine": "onnx"} | options))
    assert not nobody.exists()
    monkeypatch.setattr("germane.extras.find_spec", lambda name: None if name == "orjson" else True)
    with pytest.raises(InputError, match=r"germane serve needs orjson: pip install 'germane\[serve\]'"):
        prepare(judge, docs)


def test_a_service_says_what_it_serves(judge, docs, monkeypatch):
    monkeypatch.setenv("GERMANE_API_KEYS", "a" * 16 + ", " + "b" * 20)
    facts, app = prepare(judge, docs, engine="onnx")
    assert (facts.documents, facts.store, facts.scale, facts.keys, facts.notes) == (len(TEXTS), "int8", "three-level", 2, ())
    assert facts.fingerprint == TwoTower(judge, engine="onnx", vectors=docs).fingerprint
    app.state.service.close()
