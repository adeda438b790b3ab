import json
import logging
import shutil
import time

import pytest

from sentiment_hf.enrich.endpoint import Endpoint
from sentiment_hf.enrich.llm import MALFORMED, MALFORMED_RETRIES, LanguageModel, ReplyCache
from sentiment_hf.enrich.prompts import Question, fields_of, object_schema
from sentiment_hf.utils.exceptions import InputError
from tests.enrich.llm_server import KEY, LlmServer

SCHEMA = object_schema(
    {
        "verdict": {"type": "string", "enum": ["正面", "负面"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reason": {"type": "string"},
    }
)


@pytest.fixture
def server():
    with LlmServer() as server:
        yield server


@pytest.fixture
def client(server, tmp_path):
    endpoint = Endpoint(server.base_url, "tiny", "NO_SUCH_KEY", timeout=2.0, retries=2, backoff=0.05)
    with ReplyCache(tmp_path / "replies.jsonl", "tiny") as cache:
        yield LanguageModel(endpoint, cache, concurrency=4)


def question(text, **settings):
    return Question(f"<text>{text}</text>", schema=SCHEMA, **settings)


def test_a_server_that_misbehaves_and_then_replies(client, server):
    server.misdeeds = {
        "busy": ["429", "429"],
        "down": ["500", "503"],
        "slow": ["hang"],
        "cut": ["truncated"],
        "odd": ["wrong schema", "empty"],
        "half": ["broken"],
    }
    texts = [*server.misdeeds, "fine"]
    replies = client.ask_all([question(f"{text} 好") for text in texts], "Asking")
    assert [fields_of(reply.text, SCHEMA)["verdict"] for reply in replies] == ["正面"] * len(texts)
    counts = {"busy": 3, "down": 3, "slow": 2, "cut": 2, "odd": 3, "half": 2, "fine": 1}
    assert server.asked == {f"{text} 好": count for text, count in counts.items()}
    # A reply of the wrong form has been paid for all the same.
    assert client.usage.prompt_tokens == 100 * (7 + 1 + 2)
    assert client.usage.report((2.0, 10.0))["cost"] == pytest.approx((1000 * 2 + 200 * 10) / 1e6)


def test_replies_that_never_follow_the_schema_abstain_and_are_kept(client, server):
    server.misdeeds = {"mad": ["wrong schema"] * 9}
    (reply,) = client.ask_all([question("mad")], "Asking")
    assert reply.failed == MALFORMED
    assert server.asked["mad"] == MALFORMED_RETRIES + 1
    # The same question once more would have the same reply.
    assert [(body["temperature"], body["seed"]) for body in server.bodies] == [(0, 0), (0.3, 1), (0.6, 2)]
    client.ask_all([question("mad")], "Asking")
    assert server.asked["mad"] == MALFORMED_RETRIES + 1


def test_a_failed_request_is_not_kept(client, server):
    server.misdeeds = {"down": ["500"] * 3}
    (reply,) = client.ask_all([question("down")], "Asking")
    assert reply.failed == "status 500 without a reply"
    (reply,) = client.ask_all([question("down")], "Asking")
    assert reply.failed == ""
    assert client.usage.abstained == 1


def test_an_endpoint_that_is_down_for_all_ends_the_run(client, server):
    server.misdeeds = {"": ["500"] * 999}
    with pytest.raises(InputError, match="10 x status 500"):
        client.ask_all([question(str(number)) for number in range(60)], "Asking")
    assert sum(server.asked.values()) < 60 * 3


def test_failures_far_between_end_no_run(client, server):
    server.misdeeds = {"no ": ["500"] * 20}
    patient = LanguageModel(client.backend, client.cache, concurrency=1)
    client.backend.retries = 0
    replies = patient.ask_all([question(f"{'no' if number % 2 else 'yes'} {number}") for number in range(30)], "Asking")
    assert [bool(reply.failed) for reply in replies] == [False, True] * 15


def test_each_question_is_asked_once_and_several_at_a_time(client, server, tmp_path):
    server.delay = 0.05
    questions = [question(str(number % 20)) for number in range(40)]
    first = client.ask_all(questions, "Asking")
    assert set(server.asked.values()) == {1}
    assert 1 < server.most_at_once <= 4
    endpoint = Endpoint(server.base_url, "tiny", "NO_SUCH_KEY")
    # The client's own file is its own as long as it runs.
    kept = shutil.copy(tmp_path / "replies.jsonl", tmp_path / "kept.jsonl")
    with ReplyCache(kept, "tiny") as cache:
        again = LanguageModel(endpoint, cache)
        assert again.ask_all(questions, "Asking") == first
        assert (again.usage.asked, again.usage.from_cache) == (0, 20)
        again.ask_all([question("1", temperature=0.5), question("1", seed=3)], "Asking")
    assert server.asked["1"] == 3


def test_the_rate_limit(client, server):
    limited = LanguageModel(client.backend, client.cache, concurrency=4, per_minute=600)
    start = time.perf_counter()
    limited.ask_all([question(str(number)) for number in range(6)], "Asking")
    assert time.perf_counter() - start >= 0.5


def test_what_is_asked_again_counts_against_the_limit(client, server):
    """Replies of the wrong form and refused requests alike: nine requests for three questions."""
    server.misdeeds = {"1": ["wrong schema", "wrong schema"], "2": ["500", "500"], "3": ["429", "wrong schema"]}
    client.backend.backoff = 0.001
    limited = LanguageModel(client.backend, client.cache, concurrency=4, per_minute=600)
    start = time.perf_counter()
    replies = limited.ask_all([question(number) for number in "123"], "Asking")
    assert not any(reply.failed for reply in replies)
    assert len(server.bodies) == 9
    assert time.perf_counter() - start >= 0.8


@pytest.mark.parametrize("usage", ["n/a", [1], {"prompt_tokens": "12a", "completion_tokens": None}, None])
def test_a_strange_bill_is_none(client, server, usage):
    server.usage = usage
    (reply,) = client.ask_all([question("a")], "Asking")
    assert not reply.failed
    assert (reply.prompt_tokens, reply.completion_tokens) == (0, 0)


def test_a_response_that_cannot_be_unpacked_is_a_broken_one(client, server):
    server.misdeeds = {"a": ["no gzip"]}
    client.backend.backoff = 0.001
    assert not client.ask_all([question("a")], "Asking")[0].failed
    assert server.asked["a"] == 2


@pytest.mark.parametrize("key", ["sk-first\nsecond", "sk-秘密", "sk-a\x00b"])
def test_a_key_that_is_none_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setattr("os.environ", {"MY_KEY": key})
    with pytest.raises(InputError, match="a key of printable ASCII characters in MY_KEY") as error:
        Endpoint("http://localhost/v1", "tiny", "MY_KEY")
    assert "sk-" not in str(error.value)


def test_a_key_in_the_place_of_a_variables_name_is_not_shown():
    with pytest.raises(InputError, match="the name of an environment variable") as error:
        Endpoint("http://localhost/v1", "tiny", "sk-real-secret")
    assert "sk-" not in str(error.value)


def test_the_key_is_sent_and_stands_nowhere_else(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    with LlmServer(wanted_key=KEY) as server, ReplyCache(tmp_path / "replies.jsonl", "tiny") as cache:
        client = LanguageModel(Endpoint(server.base_url, "tiny", "MY_KEY"), cache)
        assert not client.ask_all([question("a")], "Asking")[0].failed
        assert server.keys == [f"Bearer {KEY}"]
        # Said back to us twice, the second time across the length at which messages are cut.
        server.misdeeds = {"odd": ["echo 400"], "none": ["echo 404"]}
        (refused,) = client.ask_all([question("odd")], "Asking")
        assert refused.failed.startswith("status 400: ...")
        with pytest.raises(InputError, match="found status 404") as unknown:
            LanguageModel(client.backend, cache).ask_all([question("none")], "Asking")
        for said in (refused.failed, str(unknown.value)):
            assert "…" in said
            assert KEY[:6] not in said
        server.wanted_key = "another"
        with pytest.raises(InputError, match="the key in it: 401. Set the environment variable MY_KEY") as error:
            client.ask_all([question("b")], "Asking")
        monkeypatch.delenv("MY_KEY")
        bare = LanguageModel(Endpoint(server.base_url, "tiny", "MY_KEY"), cache)
        with pytest.raises(InputError, match="no key in it"):
            bare.ask_all([question("c")], "Asking")
    assert KEY not in str(error.value) + caplog.text + (tmp_path / "replies.jsonl").read_text(encoding="utf-8")


def test_addresses(tmp_path):
    with LlmServer() as server:
        url = server.base_url
        wrong = Endpoint(url.removesuffix("/v1"), "tiny")
        with pytest.raises(InputError, match="status 404: no such path"):
            wrong.ask(question("a"), lambda seconds: None)
    waits = []
    with pytest.raises(InputError, match="an endpoint at http://127.0.0.1"):
        Endpoint(url, "tiny", retries=3, backoff=1).ask(question("a"), waits.append)
    assert [0.5 * 2**turn <= wait <= 2**turn for turn, wait in enumerate(waits)] == [True] * 3
    for bad in (
        "localhost:8000/v1",
        "ftp://host/v1",
        "https://user:password@host/v1",
        "user:password@host:8000/v1",
        "ftp://user:password@host/v1",
        "http://host:password/v1",
        "http://host/v1?api_key=password",
    ):
        with pytest.raises(InputError, match="base_url") as error:
            Endpoint(bad, "tiny")
        assert "password@" not in str(error.value)
        assert "=password" not in str(error.value)
        assert "'pa" not in str(error.value)


def test_a_cache_of_another_model_and_one_cut_short(client, tmp_path):
    client.ask_all([question("a"), question("b")], "Asking")
    path = shutil.copy(tmp_path / "replies.jsonl", tmp_path / "kept.jsonl")
    with pytest.raises(InputError, match="replies of other in .*, found replies of tiny"):
        ReplyCache(path, "other")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "12')
    with ReplyCache(path, "tiny") as cache:
        assert len(cache) == 2
        assert cache.get(question("a")) is not None
    assert path.read_bytes() == whole
    with ReplyCache(path, "tiny"), pytest.raises(InputError, match="one run at a time that adds to"):
        ReplyCache(path, "tiny")
    assert path.read_bytes() == whole
    (tmp_path / "other.jsonl").write_text("text\n", encoding="utf-8")
    with pytest.raises(InputError, match="something else in line 1"):
        ReplyCache(tmp_path / "other.jsonl", "tiny")


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('{"verdict": "正面", "confidence": 1, "reason": ""}', True),
        ('{"verdict": "正面", "confidence": true, "reason": ""}', False),
        ('{"verdict": "正面", "confidence": 1.1, "reason": ""}', False),
        ('{"verdict": "中性", "confidence": 1, "reason": ""}', False),
        ('{"verdict": "正面", "confidence": 1}', False),
        ('{"verdict": "正面", "confidence": 1, "reason": "", "more": 1}', False),
        ('["正面", 1, ""]', False),
        ("正面", False),
    ],
)
def test_schema(text, fits):
    assert (fields_of(text, SCHEMA) is not None) is fits


def test_replies_in_the_file_are_readable(client, tmp_path):
    client.ask_all([question("好")], "Asking")
    lines = (tmp_path / "replies.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"replies_of": "tiny"}
    assert "正面" in lines[1]
