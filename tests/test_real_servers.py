"""What real servers were seen to send that OpenAI's does not: each reply here is one that recipes/annotator.py met."""

import nasty_server as nasty
import pytest
from annotators import ESCI, asked, judged, pairs

pytest.importorskip("langgraph")

from germane.judges.providers import Endpoint, Model
from germane.labelling.annotators import Annotator
from germane.labelling.checkup import checkup
from germane.types import InputError, Outcome

SAME = nasty.good()


def looked(behaviour):
    with nasty.server(behaviour) as (url, _):
        return {each.subject: each for each in checkup(Model.named("llm:compatible/m"), Endpoint(url), ESCI)}


def test_an_error_under_detail_is_told():
    """`transformers serve`, as FastAPI does."""
    (judgment,), _, _ = judged(nasty.always(nasty.Reply(422, {"detail": "Unexpected fields in the request: {'nonsense'}"})))
    assert judgment.outcome == Outcome.REFUSED
    assert judgment.note == "422 Unexpected fields in the request: {'nonsense'}"


def test_a_server_pinned_to_another_model_stops_the_run():
    """`transformers serve NAME` answers 400, not 404."""
    pinned = nasty.always(nasty.Reply(400, {"detail": "Server is pinned to 'SmolLM2'; requested 'm'."}))
    with pytest.raises(InputError, match="has no model 'm': 400 Server is pinned to 'SmolLM2'"):
        judged(pinned, pairs(*map(str, range(40))))


def test_an_image_that_a_server_leaves_out_without_a_word_is_not_seen():
    """`transformers serve` with a model for text: it reads the words alone, and says 200."""

    def blind(request, number):
        return SAME({**request, "messages": [{"role": "user", "content": nasty.words(request)}]}, number)

    assert looked(SAME)["images"].state == "ok"
    found = looked(blind)["images"]
    assert (found.state, found.found) == ("absent", "taken, and not done")


def test_a_schema_that_is_kept_to_until_the_tokens_are_spent_is_kept_to():
    """vLLM with SmolLM2-135M: the digits of its confidence never ended."""
    endless = nasty.verdict("I").removesuffix("0.9}") + "0.32970508966531022859902328767095132762839287"
    found = looked(nasty.saying(endless, finish="length"))["structured output"]
    assert (found.state, found.found.partition(" (")[0]) == ("ok", "yes, and cut off at its limit of tokens")
    assert looked(nasty.saying("The item is", finish="length"))["structured output"].state == "absent"


def test_a_slow_server_is_not_called_absent():
    with nasty.server(nasty.slow(0.6, SAME)) as (url, _):
        (found,) = checkup(Model.named("llm:compatible/m"), Endpoint(url), ESCI, timeout=0.3)
    assert (found.state, found.found, found.advice) == ("broken", "no reply in 0.3 s", "a slow server needs --timeout SECONDS")


def drew(token, logprob):
    """A reply of one token whose likeliest ones begin with what was drawn, as vLLM tells them; the last has no place left."""
    likeliest = [("The", -1.0), ("E", -1.5), ("S", -2.0), ("I", -4.0)]
    tops = [{"token": t, "logprob": p} for t, p in ((token, logprob), *(each for each in likeliest if each[0] != token))]

    def answer(request, number):
        body = nasty.chat(request, token).body
        body["choices"][0]["logprobs"] = {"content": [{"token": token, "logprob": logprob, "top_logprobs": tops}]}
        return nasty.Reply(200, body)

    return answer


def test_what_was_drawn_does_not_change_the_probabilities():
    """vLLM: "Warning" was drawn at -8.6, where the least of the likeliest had -5.1."""
    of = asked(mode="symbol", most=1)
    (one,), _, _ = judged(drew("The", -1.0), of=of)
    (other,), _, _ = judged(drew("Warning", -8.6), of=of)
    assert one.relevance == other.relevance == 3
    assert other.probs == one.probs


def test_nothing_is_drawn_in_the_mode_symbol_unless_a_temperature_is_given():
    assert Annotator("llm:vllm/m", ESCI, mode="symbol").asked().models[0].temperature == 0
    assert Annotator("llm:vllm/m", ESCI, mode="symbol", temperature=1.0).asked().models[0].temperature == 1
    assert Annotator("llm:vllm/m", ESCI).asked().models[0].temperature is None


class White:
    """Images of documents that are all white."""

    def of(self, doc):
        return pytest.importorskip("PIL.Image").new("RGB", (4, 4), "white"), ""


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ('tool_choice=function "verdict" requires --tool-call-parser to be set', "try --structured text"),
        ("SmolLM2-135M-Instruct is not a multimodal model", "does not take 'image'.*leave --images out"),
    ],
)
def test_what_vllm_was_not_started_with_stops_the_run(message, advice):
    refusing = nasty.always(nasty.Reply(400, {"error": {"message": message, "type": "BadRequestError", "code": 400}}))
    with pytest.raises(InputError, match=advice) as told:
        judged(refusing, pairs(*map(str, range(40))), images=White())
    assert "400 BadRequestError" in str(told.value)
    assert "400 400" not in str(told.value)
