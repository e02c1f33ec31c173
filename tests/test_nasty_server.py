"""The nasty server does what it says, on good days and on bad ones, and leaves nothing open."""

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

import pytest

pytest.importorskip("httpx")

import httpx
import nasty_server as nasty

from germane.judges.verdicts import verdict
from germane.scales import ESCI
from germane.types import Outcome


def asking(text="blue chair", **more):
    return {"model": "m", "messages": [{"role": "system", "content": "Grade."}, {"role": "user", "content": text}], **more}


def post(behaviour, request=None, **options):
    with nasty.server(behaviour) as (url, _):
        return httpx.post(f"{url}/chat/completions", json=request or asking(), **options)


def content(reply):
    return reply.json()["choices"][0]["message"]["content"]


def test_a_good_day_has_a_verdict_usage_and_what_is_left_of_the_rate():
    reply = post(nasty.good(lambda text: "S" if "chair" in text else "I"))
    assert verdict(content(reply), ESCI).relevance == 2
    told = reply.json()
    assert (told["model"], told["system_fingerprint"]) == (nasty.MODEL, "fp_good")
    assert told["choices"][0]["finish_reason"] == "stop"
    assert told["usage"]["total_tokens"] == told["usage"]["prompt_tokens"] + told["usage"]["completion_tokens"] > 10
    assert reply.headers["x-ratelimit-remaining-requests"] == "1000"
    assert told["choices"][0]["logprobs"] is None


def test_what_was_asked_is_kept_and_a_connection_serves_many_requests():
    with nasty.server(nasty.good()) as (url, asked), httpx.Client(headers={"Authorization": "Bearer k"}) as client:
        for i in range(20):
            client.post(f"{url}/chat/completions", json=asking(f"chair {i}", seed=i))
        assert client.get(f"{url}/models").json()["data"][0]["id"] == nasty.MODEL
    assert [nasty.words(each.request) for each in asked] == [f"chair {i}" for i in range(20)]
    assert {each.headers["authorization"] for each in asked} == {"Bearer k"}
    assert asked[0].path == "/v1/chat/completions"
    assert asked[0].at <= asked[-1].at


def test_logprobs_and_several_choices_come_where_they_are_asked_for():
    told = post(nasty.good(), asking(logprobs=True, top_logprobs=5, n=3)).json()
    assert [choice["index"] for choice in told["choices"]] == [0, 1, 2]
    tokens = [token["token"] for token in told["choices"][0]["logprobs"]["content"]]
    assert "".join(tokens) == told["choices"][0]["message"]["content"]
    deaf = post(nasty.deaf_to("logprobs", nasty.good()), asking(logprobs=True)).json()
    assert deaf["choices"][0]["logprobs"] is None


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (nasty.busy(), 429, "rate_limit_exceeded"),
        (nasty.NO_QUOTA, 429, "insufficient_quota"),
        (nasty.BAD_KEY, 401, "invalid_api_key"),
        (nasty.NO_MODEL, 404, "model_not_found"),
        (nasty.FILTERED, 400, "content_filter"),
        (nasty.TOO_LONG, 400, "context_length_exceeded"),
        (nasty.without("response_format", nasty.good()), 400, "unsupported_parameter"),
    ],
)
def test_errors_have_the_shape_of_the_real_ones(behaviour, status, code):
    reply = post(behaviour, asking(response_format={"type": "json_object"}))
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


def test_a_busy_server_says_when_to_come_back_in_seconds_as_a_date_or_not_at_all():
    assert post(nasty.busy("2")).headers["retry-after"] == "2"
    parsedate_to_datetime(post(nasty.busy(nasty.date_in(5))).headers["retry-after"])
    silent = post(nasty.busy()).headers
    assert "retry-after" not in silent
    assert silent["x-ratelimit-remaining-requests"] == "0"


def test_bad_days_end_and_turns_are_taken():
    with nasty.server(nasty.first(2, nasty.failing(503), then=nasty.in_turn(nasty.EMPTY, nasty.good()))) as (url, asked):
        got = [httpx.post(f"{url}/chat/completions", json=asking()) for _ in range(4)]
    assert [reply.status_code for reply in got] == [503, 503, 200, 200]
    assert content(got[2]) == ""
    assert verdict(content(got[3]), ESCI).relevance == 3
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("behaviour", "outcome", "why"),
    [
        (nasty.CUT_OFF, Outcome.UNPARSEABLE, "cut off"),
        (nasty.ANOTHER_NAME, Outcome.UNPARSEABLE, "'Excellent'"),
        (nasty.TWO_VERDICTS, Outcome.UNPARSEABLE, "two verdicts: E and S"),
        (nasty.REFUSAL_IN_WORDS, Outcome.REFUSED, "can't help"),
        (nasty.EMPTY, Outcome.UNPARSEABLE, "empty"),
        (nasty.STOPPED_BY_FILTER, Outcome.UNPARSEABLE, "empty"),
        (nasty.LONG, Outcome.UNPARSEABLE, "no verdict"),
    ],
)
def test_answers_that_are_none_are_read_as_what_they_are(behaviour, outcome, why):
    found = verdict(content(post(behaviour)), ESCI)
    assert found.outcome == outcome
    assert why in found.why


def test_what_else_may_stand_where_the_answer_should():
    assert content(post(nasty.NULL)) is None
    refused = post(nasty.REFUSAL_FIELD).json()["choices"][0]["message"]
    assert (refused["content"], refused["refusal"]) == (None, "I'm sorry, I can't assist with that.")
    assert post(nasty.STOPPED_BY_FILTER).json()["choices"][0]["finish_reason"] == "content_filter"
    assert post(nasty.CUT_OFF).json()["choices"][0]["finish_reason"] == "length"
    assert verdict(content(post(nasty.LONG_AND_GOOD)), ESCI).relevance == 3
    for behaviour in (nasty.HALF_A_BODY, nasty.NO_JSON):
        with pytest.raises(json.JSONDecodeError):
            post(behaviour).json()
    assert post(nasty.NO_CHOICES).json()["choices"] == []


@pytest.mark.parametrize("cut", [0, 10, 300])
def test_the_line_goes_dead(cut):
    with pytest.raises(httpx.RemoteProtocolError):
        post(nasty.hanging_up(cut))


def test_a_slow_server_is_late_and_one_that_is_left_waiting_is_left_alone():
    with pytest.raises(httpx.ReadTimeout):
        post(nasty.slow(30, nasty.good()), timeout=0.1)
    assert post(nasty.slow(0.01, nasty.good())).status_code == 200


def test_another_model_answers_after_so_many_requests_and_says_so():
    with nasty.server(nasty.drifting(2, nasty.good(), lambda text: "I")) as (url, _):
        told = [httpx.post(f"{url}/chat/completions", json=asking()).json() for _ in range(3)]
    grades = [verdict(each["choices"][0]["message"]["content"], ESCI).relevance for each in told]
    assert grades == [3, 3, 0]
    assert len({each["model"] for each in told}) == len({each["system_fingerprint"] for each in told}) == 2


def test_a_fault_in_a_behaviour_is_raised_where_the_test_can_see_it():
    with pytest.raises(KeyError, match="nothing"):
        assert post(lambda request, number: request["nothing"]).status_code == 500


def test_many_ask_at_once_and_each_gets_its_own_answer():
    def own(text):
        return "ICSE"[int(text) % 4]

    late = nasty.slow(0.01, nasty.good(own))
    with nasty.server(late) as (url, asked), httpx.Client() as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda i: client.post(f"{url}/chat/completions", json=asking(str(i))), range(200)))
    assert [verdict(content(reply), ESCI).relevance for reply in found] == [i % 4 for i in range(200)]
    assert len(asked) == 200


def test_a_request_may_come_in_pieces_and_two_at_once():
    body = json.dumps(asking()).encode()
    whole = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def talk(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (whole[:30], whole[30:90], whole[90:] + whole):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        heads = [await reader.readuntil(b"\r\n\r\n")]
        await reader.readexactly(int(heads[0].rpartition(b"content-length: ")[2]))
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()
        await writer.wait_closed()
        return heads

    with nasty.server(nasty.good()) as (url, asked):
        heads = asyncio.run(talk(int(url.split(":")[2].split("/")[0])))
    assert all(head.startswith(b"HTTP/1.1 200") for head in heads)
    assert len(asked) == 2


def test_the_port_is_free_again():
    with nasty.server(nasty.good()) as (url, _):
        port = int(url.split(":")[2].split("/")[0])
        httpx.post(f"{url}/chat/completions", json=asking())
    with socket.socket() as line:
        assert line.connect_ex(("127.0.0.1", port)) != 0
