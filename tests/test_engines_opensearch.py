"""OpenSearch and Elasticsearch as an engine, against exchanges written from their documentation. No live server answered here.

The replies are as "Multi-search" and "Cluster information" of the documentation of OpenSearch 3.x show them.
"""

import json

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_students import furniture, recipe, tiny_bert

from germane import settings, store
from germane.engines import calling, unanswered
from germane.engines.calling import Calling
from germane.engines.opensearch import Asking, OpenSearch, check_template, filled, read_template
from germane.pipeline.collect import collect
from germane.types import InputError

NASTY = (
    "'; DROP TABLE products; --",
    '{"match_all": {}}',
    '"}},{"match_all":{}}\n{}\n{"query":{"match_all":{}}}',
    'title:"x" AND (+red -chair) OR [1 TO *] ~2^9 \\ /re.*/',
    "{{query}} {{k}}",
    "red\x00chair",
    "🪑🔴",
    "red chair " * 1024,
)
URL = "https://search.example:9200"
INFO = {
    "name": "opensearch-node1",
    "cluster_name": "opensearch-cluster",
    "version": {"distribution": "opensearch", "number": "3.2.0", "lucene_version": "10.2.2"},
    "tagline": "The OpenSearch Project: https://opensearch.org/",
}
ELASTIC = {"name": "node-1", "version": {"number": "9.1.0", "build_flavor": "default"}, "tagline": "You Know, for Search"}


def hits(*found, shards=(1, 1, 0), timed_out=False):
    """One answer of _msearch: hits of (id, score)."""
    total, good, failed = shards
    listed = [{"_index": "products", "_id": doc_id, "_score": score} for doc_id, score in found]
    return {
        "took": 2,
        "timed_out": timed_out,
        "_shards": {"total": total, "successful": good, "skipped": 0, "failed": failed},
        "hits": {"max_score": max((score for _, score in found), default=None), "hits": listed},
        "status": 200,
    }


def failed(status, kind, reason):
    cause = {"type": kind, "reason": reason}
    return {"error": {"root_cause": [cause], **cause}, "status": status}


class Fake:
    """A server that answers each search by `answer(body)`, or a whole request by `replies`, first come first served."""

    def __init__(self, answer=lambda body: hits(("a", 1.0)), *, info=INFO, mapping=None, replies=()):
        self.answer, self.info, self.mapping, self.replies = answer, info, mapping, list(replies)
        self.requests, self.searches = [], []

    def __call__(self, request):
        self.requests.append(request)
        if request.url.path in ("/", "/path/"):
            return self.info if isinstance(self.info, httpx.Response) else httpx.Response(200, json=self.info)
        if request.url.path.endswith("/_mapping"):
            return httpx.Response(200, json=self.mapping)
        assert request.url.path.endswith("/_msearch")
        assert request.headers["content-type"] == "application/x-ndjson"
        if self.replies:
            reply = self.replies.pop(0)
            if isinstance(reply, Exception):
                raise reply
            if reply is not None:
                return reply
        lines = request.content.decode().split("\n")
        assert lines.pop() == ""
        bodies = [json.loads(line) for line in lines]
        assert [head for head in bodies[::2] if head != {"preference": "germane"}] == []
        self.searches += bodies[1::2]
        return httpx.Response(200, json={"took": 3, "responses": [self.answer(body) for body in bodies[1::2]]})


def engine(fake, url=URL, **more):
    return OpenSearch(url, "products", transport=httpx.MockTransport(fake), **more)


def queries(*texts):
    return pa.table({"query_id": [f"q{i}" for i in range(len(texts))], "query": list(texts)})


def ranked(run, query_id="q0"):
    return [row["doc_id"] for row in run.to_pylist() if row["query_id"] == query_id]


@pytest.fixture(autouse=True)
def naps(monkeypatch):
    """How long it would have slept, and a clock that goes on by that."""
    slept = []
    monkeypatch.setattr(calling, "sleep", slept.append)
    monkeypatch.setattr(calling, "clock", lambda: sum(slept))
    return slept


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_a_query_is_a_match_of_the_fields_and_what_comes_back_is_a_run():
    fake = Fake(lambda body: hits(("b", 7.5), ("a", 3.25)))
    made = engine(fake)
    run = made.search(queries("red chair", "lamp"), k=10)
    assert fake.searches[0] == {
        "query": {"match": {"title": {"query": "red chair"}}},
        "size": 11,
        "_source": False,
        "track_total_hits": False,
    }
    assert len(fake.searches) == 2
    assert (ranked(run), ranked(run, "q1")) == (["b", "a"], ["b", "a"])
    assert run["score"].to_pylist()[:2] == [7.5, 3.25]
    assert run["rank"].to_pylist() == [1, 2, 1, 2]
    assert run.schema.types == [pa.string(), pa.string(), pa.float64(), pa.int32()]
    assert (made.origin["engine"], made.origin["server"], made.origin["index"]) == ("opensearch", "3.2.0", "products")


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        (("title", "brand^2"), {"multi_match": {"query": "x", "fields": ["title", "brand^2"]}}),
        (None, {"multi_match": {"query": "x"}}),
    ],
)
def test_several_fields_and_the_index_s_own(fields, query):
    fake = Fake()
    engine(fake, fields=fields).search(queries("x"))
    assert fake.searches[0]["query"] == query


@pytest.mark.parametrize("text", NASTY)
def test_a_query_is_one_json_value_whatever_it_says(text):
    fake = Fake()
    template = {"query": {"bool": {"should": [{"match": {"title": "{{query}}"}}], "filter": []}}, "min_score": 0.1}
    engine(fake, how=Asking(template)).search(queries(text, "next"))
    assert fake.searches[0]["query"] == {"bool": {"should": [{"match": {"title": text}}], "filter": []}}
    assert len(fake.searches) == 2
    assert fake.searches[0]["min_score"] == 0.1


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ({"query": {"query_string": {"query": "title:{{query}}"}}}, "placeholder inside other text"),
        ({"query": {"match": {"{{query}}": "x"}}}, "placeholder inside other text"),
        ({"query": {"match_all": {}}}, "would ask the same of every query"),
        ({"bool": "{{query}}"}, "no body of a search"),
        ({"query": {"match": {"t": "{{query}}"}}, "sort": ["price"]}, "has 'sort'"),
        ({"query": {"match": {"t": "{{query}}"}}, "from": 10}, "has 'from'"),
    ],
)
def test_a_template_that_is_none_is_refused(template, complaint):
    with pytest.raises(InputError, match=complaint):
        check_template(template)


def test_a_template_is_read_from_a_file(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('{"query": {"match": {"title": "{{query}}"}}}')
    assert read_template(path) == {"query": {"match": {"title": "{{query}}"}}}
    for content, complaint in (("{", "is no JSON"), ("[]", "holds no JSON object")):
        path.write_text(content)
        with pytest.raises(InputError, match=complaint):
            read_template(path)
    with pytest.raises(InputError, match="cannot read"):
        read_template(tmp_path / "none.json")


def test_values_keep_their_kind():
    assert filled({"a": ["{{k}}", {"b": "{{vector}}"}], "c": 1}, {"{{k}}": 5, "{{vector}}": [0.5]}) == {
        "a": [5, {"b": [0.5]}],
        "c": 1,
    }


def test_queries_go_in_batches_and_empty_ones_not_at_all():
    fake = Fake()
    asked = queries("a", "", "b", "  ", "c")
    run = engine(fake, calls=Calling(batch=2)).search(asked)
    assert [request.url.path for request in fake.requests] == ["/", "/products/_msearch", "/products/_msearch"]
    assert unanswered(asked, run).to_pylist() == ["q1", "q3"]


# --- ties and depth ---------------------------------------------------------------------------------------------------


def test_ties_at_the_cut_are_asked_for_until_doc_ids_can_settle_them():
    docs = [("x", 9.0), *((f"d{i:02d}", 1.0) for i in range(20)), ("low", 0.5)]
    fake = Fake(lambda body: hits(*docs[: body["size"]]))
    run = engine(fake).search(queries("chair"), k=3)
    assert ranked(run) == ["x", "d19", "d18"]
    assert [body["size"] for body in fake.searches] == [4, 16, 64]


def test_ties_without_end_stop_at_what_an_index_gives():
    docs = [(f"d{i:05d}", 1.0) for i in range(10_000)]
    fake = Fake(lambda body: hits(*docs[: body["size"]]))
    assert ranked(engine(fake).search(queries("chair"), k=1)) == ["d09999"]
    assert fake.searches[-1]["size"] == 10_000


def test_fewer_hits_than_asked_and_none_are_no_failure():
    fake = Fake(lambda body: hits() if "zzz" in str(body) else hits(("a", 1.0), ("b", 1.0)))
    asked = queries("chair", "zzz")
    made = engine(fake)
    run = made.search(asked, k=2)
    assert ranked(run) == ["b", "a"]
    assert unanswered(asked, run).to_pylist() == ["q1"]
    assert made.failures == ()
    with pytest.raises(InputError, match="at most 10,000 hits"):
        made.search(asked, k=20_000)


def test_only_the_candidates_of_each_query_are_ranked_all_of_them():
    fake = Fake(lambda body: hits(("a", 2.0), ("b", 0.0)))
    pool = pa.table({"query_id": ["q0", "q0", "other"], "doc_id": ["b", "a", "c"]})
    made = engine(fake)
    run = made.search(queries("chair", "lamp"), k=2, candidates=pool)
    assert fake.searches == [
        {
            "query": {
                "bool": {"filter": [{"ids": {"values": ["b", "a"]}}], "should": [{"match": {"title": {"query": "chair"}}}]}
            },
            "size": 2,
            "_source": False,
            "track_total_hits": False,
        }
    ]
    assert ranked(run) == ["a", "b"]
    assert ranked(made.search(queries("chair"), k=1, candidates=pool)) == ["a"]
    with pytest.raises(InputError, match="candidate 'c' of query 'q0' is not in index"):
        made.search(queries("chair"), candidates=pa.table({"query_id": ["q0"] * 2, "doc_id": ["c", "a"]}))


def test_ids_may_stand_in_a_field():
    answer = hits(("1", 1.0))
    answer["hits"]["hits"][0]["_source"] = {"sku": 77}
    fake = Fake(lambda body: answer)
    assert ranked(engine(fake, how=Asking(id="sku")).search(queries("x"))) == ["77"]
    assert fake.searches[0]["_source"] == ["sku"]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (hits(("a", 2.0), ("a", 1.0)), "document 'a' is in index 'products' twice"),
        (hits(("a", None)) | {"hits": {"hits": [{"_id": "a", "_score": None}]}}, "has no _id, or no score"),
        (hits(shards=(0, 0, 0)), "no index .* is called 'products'"),
        (failed(404, "index_not_found_exception", "no such index [products]"), "404 index_not_found_exception no such index"),
        (failed(403, "security_exception", "no permissions"), "403 security_exception"),
    ],
)
def test_what_no_query_would_be_spared_stops_all(answer, complaint):
    with pytest.raises(InputError, match=complaint):
        engine(Fake(lambda body: answer)).search(queries("x", "y"))


# --- a query that failed is not one without results -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            failed(400, "search_phase_execution_exception", "all shards failed"),
            "400 search_phase_execution_exception all",
        ),
        (hits(("a", 1.0), timed_out=True), "time limit cut the search short"),
        (hits(("a", 1.0), shards=(5, 3, 2)), "2 of 5 shards failed"),
        ({"status": 200}, "no hits as they are documented"),
        ({"took": 1, "hits": "none"}, "no hits as they are documented"),
    ],
)
def test_a_query_that_was_not_answered_whole_has_failed(answer, why):
    made = engine(Fake(lambda body: answer if "bad" in str(body) else hits(("b", 1.0))))
    run = made.search(queries("good", "bad"))
    assert [(f.query_id, why in f.why) for f in made.failures] == [("q1", True)]
    assert set(run["query_id"].to_pylist()) == {"q0"}


def test_a_search_that_was_turned_away_is_asked_again_alone(naps):
    turned = iter([True, True, False])

    def answer(body):
        return failed(429, "es_rejected_execution_exception", "queue full") if "two" in str(body) and next(turned) else hits()

    fake = Fake(answer)
    made = engine(fake)
    made.search(queries("one", "two", "three"))
    assert made.failures == ()
    assert len(fake.searches) == 3 + 1 + 1
    assert len(naps) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again_as_late_as_it_says(naps, status):
    page = "<html><h1>Service Unavailable</h1></html>"
    busy = [httpx.Response(status, text=page, headers={"Retry-After": "7"}), httpx.Response(status, text=page)]
    made = engine(Fake(replies=busy))
    assert ranked(made.search(queries("x"))) == ["a"]
    assert naps[0] == 7.0
    assert len(naps) == 2


def test_a_server_that_stays_busy_has_failed_these_queries_and_waits_no_longer_than_the_deadline(naps):
    fake = Fake(replies=[httpx.Response(503, headers={"Retry-After": "900"})] * 50)
    made = engine(fake, calls=Calling(batch=1, deadline=50, tries=9))
    made.search(queries("x"))
    assert naps == [30.0]
    assert "it answered 503 (2 tries)" in made.failures[0].why


def test_a_slow_server_has_failed_and_the_next_batch_is_asked():
    fake = Fake(replies=[httpx.ReadTimeout("slow"), httpx.ReadTimeout("slow"), None])
    made = engine(fake, calls=Calling(batch=1, tries=2))
    run = made.search(queries("x", "y"))
    assert [(f.query_id, f.why) for f in made.failures] == [("q0", "it did not answer in time (2 tries)")]
    assert ranked(run, "q1") == ["a"]


def test_bytes_that_drip_are_not_waited_for_past_the_deadline(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(calling, "clock", lambda: now[0])

    def drip():
        for _ in range(1000):
            now[0] += 1
            yield b" "

    fake = Fake(replies=[httpx.Response(200, content=drip())])
    made = engine(fake, calls=Calling(deadline=5, tries=1))
    made.search(queries("x"))
    assert "did not answer in time" in made.failures[0].why
    assert now[0] <= 7


# --- what stops all ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (httpx.Response(401, json={"error": "Unauthorized"}), "does not accept the login: 401 Unauthorized"),
        (
            httpx.Response(200, text="<html>Log in", headers={"content-type": "text/html; charset=x"}),
            "200 with text/html",
        ),
        (httpx.Response(200, text="[1]", headers={"content-type": "application/json"}), "not JSON"),
        (httpx.Response(200, content=b"\xff\xfe\x00"), "not JSON"),
        (httpx.Response(302, headers={"location": "https://elsewhere"}), "points elsewhere"),
        (httpx.Response(413, json={"error": {"type": "too_large", "reason": "body"}}), "answers 413: too_large body"),
        (httpx.Response(200, json={"took": 1}), "does not answer as _msearch is documented"),
        (httpx.Response(200, json={"responses": []}), "does not answer as _msearch is documented"),
    ],
)
def test_what_is_no_answer_is_said_in_a_line(reply, complaint):
    with pytest.raises(InputError, match=complaint) as said:
        engine(Fake(replies=[reply])).search(queries("x"))
    assert "\n" not in str(said.value)


def test_a_server_that_is_down_is_said_at_once(naps):
    def down(request):
        raise httpx.ConnectError("refused")

    with pytest.raises(InputError, match=r"nothing answers at https://search.example:9200 \(ConnectError\)"):
        engine(down)
    assert len(naps) == 4


@pytest.mark.parametrize("status", [403, 404])
def test_a_login_that_may_only_search_is_enough(status):
    made = engine(Fake(info=httpx.Response(status, json={"error": "no permissions for [cluster:monitor/main]"})))
    assert (made.product, made.version) == ("", "")
    assert ranked(made.search(queries("x"))) == ["a"]


@pytest.mark.parametrize("index", ["", "_all", "../_cluster", "a/b", "a?b", "x y", "-x", "a\x00"])
def test_an_index_is_a_name_and_no_path(index):
    with pytest.raises(InputError, match="expected the name of an index"):
        OpenSearch(URL, index, transport=httpx.MockTransport(Fake()))


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_user_and_password_are_sent_and_never_shown():
    fake = Fake(replies=[httpx.Response(401, text="bad password s3cret@! (s3cret%40%21)")])
    made = engine(fake, "https://ana:s3cret%40%21@search.example:9200/path")
    with pytest.raises(InputError) as said:
        made.search(queries("x"))
    assert "s3cret" not in str(said.value) + json.dumps(made.origin) + made.name
    assert fake.requests[0].headers["authorization"].startswith("Basic ")
    assert fake.requests[-1].url.path == "/path/products/_msearch"


@pytest.mark.parametrize(("key", "header"), [("c2VjcmV0", "ApiKey c2VjcmV0"), ("Bearer c2VjcmV0", "Bearer c2VjcmV0")])
def test_an_api_key_comes_from_the_environment(monkeypatch, key, header):
    monkeypatch.setenv("SEARCH_KEY", key)
    fake = Fake(replies=[httpx.Response(403, json={"error": "key c2VjcmV0 may not"})])
    made = engine(fake, key_env="SEARCH_KEY")
    assert fake.requests[0].headers["authorization"] == header
    with pytest.raises(InputError) as said:
        made.search(queries("x"))
    assert "c2VjcmV0" not in str(said.value)
    monkeypatch.setenv("SEARCH_KEY", " ")
    with pytest.raises(InputError, match="should be in the environment variable SEARCH_KEY"):
        engine(fake, key_env="SEARCH_KEY")


def test_a_login_is_not_sent_in_the_clear_to_another_machine():
    with pytest.raises(InputError, match=r"http://search\.example has no TLS") as said:
        engine(Fake(), "http://ana:s3cret@search.example")
    assert "s3cret" not in str(said.value)
    engine(Fake(), "http://ana:s3cret@localhost:9200")
    engine(Fake(), "http://ana:s3cret@search.example", calls=Calling(plain=True))


@pytest.mark.parametrize(
    "url", ["search.example:9200", "ftp://x:s3cret@y", "https://", "https://a:s3cret@b:port", "https://[::1"]
)
def test_an_address_that_is_none_is_said_without_its_password(url):
    with pytest.raises(InputError, match="is no URL") as said:
        engine(Fake(), url)
    assert "s3cret" not in str(said.value)


def test_certificates_are_a_file(tmp_path):
    (tmp_path / "no.pem").write_text("x")
    for ca, complaint in ((str(tmp_path / "none"), "there is no such file"), (str(tmp_path / "no.pem"), "is no file of cert")):
        with pytest.raises(InputError, match=complaint):
            engine(Fake(), calls=Calling(ca=ca))


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    from germane.training import distil

    where = tmp_path_factory.mktemp("students")
    distil.train(furniture(), None, where / "student", recipe=recipe(tiny_bert(where / "base")))
    return where / "student"


def mapping(dimension=32, kind="knn_vector", tower=""):
    size = {"dimension": dimension} if kind == "knn_vector" else {"dims": dimension}
    meta = {"_meta": {"germane_tower": tower}} if tower else {}
    return {"products-1": {"mappings": {"properties": {"v": {"type": kind, **size}, "title": {"type": "text"}}, **meta}}}


def test_vectors_are_searched_as_opensearch_documents_it(student):
    fake = Fake(lambda body: hits(("a", 0.9), ("b", 0.8)), mapping=mapping())
    made = engine(fake, how=Asking(vector="v"), student=student)
    assert ranked(made.search(queries("red chair"), k=2)) == ["a", "b"]
    knn = fake.searches[0]["query"]["knn"]["v"]
    assert (knn["k"], fake.searches[0]["size"], len(knn["vector"])) == (2, 2, 32)
    assert sum(x * x for x in knn["vector"]) == pytest.approx(1)
    assert made.origin["models"][0].startswith("two-tower:")
    pool = pa.table({"query_id": ["q0"] * 2, "doc_id": ["a", "b"]})
    made.search(queries("red"), candidates=pool)
    assert fake.searches[1]["query"]["script_score"]["script"]["source"] == "knn_score"


def test_and_as_elasticsearch_documents_it(student):
    fake = Fake(lambda body: hits(("a", 0.9)), info=ELASTIC, mapping=mapping(kind="dense_vector"))
    made = engine(fake, how=Asking(vector="v"), student=student)
    made.search(queries("red chair"), k=5)
    assert fake.searches[0]["knn"] | {"query_vector": 0} == {"field": "v", "query_vector": 0, "k": 5, "num_candidates": 5}
    assert (made.product, made.version) == ("elasticsearch", "9.1.0")
    made.search(queries("red"), candidates=pa.table({"query_id": ["q0"], "doc_id": ["a"]}))
    assert "cosineSimilarity" in fake.searches[1]["query"]["script_score"]["script"]["source"]


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (mapping(7), "'v' of index 'products' has 7 numbers, student makes 32"),
        (mapping(kind="text"), "'v' of index 'products' is text: expected a knn_vector"),
        ({"products": {"mappings": {}}}, "is no field at all"),
        (mapping(tower="0123456789abcdef"), "holds vectors of another student"),
    ],
)
def test_vectors_of_another_dimension_or_student_are_refused(student, found, complaint):
    with pytest.raises(InputError, match=complaint):
        engine(Fake(mapping=found), how=Asking(vector="v"), student=student)


# --- collect ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Queries, an address in the environment, and a server behind every client that is opened."""
    pq.write_table(queries("chair", "lamp", "bad"), tmp_path / "queries.parquet")
    monkeypatch.setenv("SEARCH_URL", "https://ana:s3cret@search.example:9200")
    fake = Fake(lambda body: failed(400, "parsing_exception", "no") if "bad" in str(body) else hits(("a", 2.0), ("b", 1.0)))
    opened = calling.Client.__init__

    def mocked(self, url, **more):
        opened(self, url, **{**more, "transport": httpx.MockTransport(fake)})

    monkeypatch.setattr(calling.Client, "__init__", mocked)
    return tmp_path


SERVER = {"url_env": "SEARCH_URL", "name": "products"}


def test_collect_stops_at_a_failed_query_or_lists_it(shop):
    out = shop / "r.parquet"
    with pytest.raises(InputError, match=r"1 of 3 queries failed \('q2': 400 parsing_exception no\)"):
        collect(shop / "queries.parquet", None, out, engine="opensearch", server=SERVER)
    assert not out.exists()
    made = collect(shop / "queries.parquet", None, out, engine="opensearch", server=SERVER, failures="list")
    assert (made.unanswered, made.results) == (0, 4)
    assert "queries that failed: 1 of 3, such as 'q2'" in made.notes[0]
    manifest = store.read_manifest(out)
    assert manifest.extra["failed"] == [{"query_id": "q2", "why": "400 parsing_exception no"}]
    assert "s3cret" not in store.manifest_path(out).read_text()
    assert collect(shop / "queries.parquet", None, out, engine="opensearch", server=SERVER, failures="list").made


def test_a_comparison_leaves_failed_queries_out_and_so_does_evaluate(shop):
    from germane.pipeline.compare import compare
    from germane.pipeline.evaluate import evaluate

    collect(shop / "queries.parquet", None, shop / "t.parquet", engine="opensearch", server=SERVER, failures="list")
    control = {f"q{i}": {"b": 2.0, "a": 1.0} for i in range(3)}
    judged = {f"q{i}": {"a": 3, "b": 0} for i in range(3)}
    report = compare(control, shop / "t.parquet", judged, scale="trec", metric="sDCG@2")
    assert report.delta.n == 2
    assert any("an engine failed to answer them" in warning for warning in report.warnings)
    assert evaluate(judged, shop / "t.parquet", "nDCG@2").query_ids == ("q0", "q1")


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"server": None}, "needs an address"),
        ({"server": {"url_env": "NO_SUCH", "name": "p"}}, "should be in the environment variable NO_SUCH"),
        ({"server": {"url_env": "SEARCH_URL"}}, "which index"),
        ({"engine": "postgres", "server": {"url_env": "SEARCH_URL"}}, "which table"),
        ({"engine": "postgres", "server": SERVER}, "address of PostgreSQL is not a URL"),
        ({"engine": "postgres", "server": SERVER | {"key_env": "K"}}, "are for the engine opensearch"),
        ({"docs": True}, "opensearch searches what it holds itself"),
        ({"options": {"k1": 1}}, "opensearch has no option 'k1'"),
        ({"options": {"plain": "maybe"}}, "plain=maybe: expected yes or no"),
        ({"options": {"batch": 0}}, "batch is 0"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_written(shop, more, complaint):
    docs = shop / "queries.parquet" if more.pop("docs", False) else None
    with pytest.raises(InputError, match=complaint):
        collect(shop / "queries.parquet", docs, shop / "r.parquet", **({"engine": "opensearch", "server": SERVER} | more))
    assert not (shop / "r.parquet").exists()


def test_germane_toml_says_where(tmp_path):
    path = tmp_path / "germane.toml"
    path.write_text('[opensearch]\nurl_env = "SEARCH_URL"\nindex = "products"\n[postgres]\ntable = "shop.products"\n')
    found = settings.read(path)
    assert (found.opensearch.index, found.opensearch.url_env, found.postgres.table) == (
        "products",
        "SEARCH_URL",
        "shop.products",
    )
    path.write_text('[opensearch]\nurl = "https://ana:s3cret@x"\n')
    with pytest.raises(InputError, match=r"unknown key 'opensearch\.url': did you mean 'opensearch.url_env'"):
        settings.read(path)
