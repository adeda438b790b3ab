"""The HTTP API as a client sees it: a real server on loopback, and one that is a process of its own."""

import gc
import http.client
import json
import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("fastapi_offline", reason="needs the serve extra")
pytest.importorskip("prometheus_client", reason="needs the serve extra")

import uvicorn
from fastapi.testclient import TestClient
from load_serve import start_server

from sentiment_hf.cli.main import main
from sentiment_hf.cli.serve import bind, leave_to_the_end
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.serving.api import RequestLimits, build_api
from sentiment_hf.serving.batching import BatchLimits
from sentiment_hf.utils.exceptions import InputError

JSON = {"content-type": "application/json"}


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def served(classifier, **limits):
    """A server in a thread; gives the port."""
    batch = BatchLimits(**{name: limits.pop(name) for name in ("max_batch", "max_queue") if name in limits})
    app = build_api(classifier, batch, RequestLimits(**limits))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    bound = bind("127.0.0.1", 0)
    bound.listen()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(120)
    assert not thread.is_alive()


@pytest.fixture
def classifier(model_folder):
    return SentimentClassifier.from_pretrained(model_folder)


def request(port, method, path, body=None, headers=JSON):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    if isinstance(body, dict):
        body = json.dumps(body)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers
    finally:
        connection.close()


def predict(port, body):
    status, text, _ = request(port, "POST", "/predict", body)
    return status, json.loads(text)


class Held:
    """A classifier that predicts when it may."""

    def __init__(self, classifier):
        self._classifier, self.may_go, self.entered = classifier, threading.Event(), threading.Event()
        self.read = []

    def __getattr__(self, name):
        return getattr(self._classifier, name)

    def __call__(self, texts, top_k):
        self.entered.set()
        assert self.may_go.wait(120)
        self.read += texts
        return self._classifier(texts, top_k)


def test_predictions_are_the_classifiers_own(classifier):
    texts = ["房间很吵，再也不来了", "", "早餐非常好", "<script>alert(1)</script>"]
    with served(classifier) as port:
        status, found = predict(port, {"texts": texts, "top_k": 1})
        assert status == 200
        one = predict(port, {"texts": texts[0]})[1]["predictions"]
    for prediction, own in zip(found["predictions"], classifier(texts, top_k=1), strict=True):
        expected = own.to_dict()
        assert prediction["probability"] == pytest.approx(expected.pop("probability"), abs=1e-5)
        assert [entry["label"] for entry in prediction["top"]] == [entry["label"] for entry in expected.pop("top")]
        assert {name: prediction[name] for name in expected} == expected
    assert [len(prediction["top"]) for prediction in one] == [2]


BAD_BODIES = [
    ({"texts": ["好"] * 5}, 422, "at most 4 texts, found 5"),
    ({"texts": []}, 422, "at least 1 item"),
    ({"texts": 7}, 422, "valid string"),
    ({"texts": ["好", None]}, 422, "valid string"),
    ({"texts": "好", "topk": 1}, 422, "Extra inputs are not permitted"),
    ({"texts": "好", "top_k": 0}, 422, "greater than or equal to 1"),
    ({"texts": "好", "top_k": "2"}, 422, "valid integer"),
    ({}, 422, "Field required"),
    ('{"texts": "\\ud800"}', 422, "Invalid JSON: unexpected end of hex escape"),
    ("nonsense", 422, "Invalid JSON"),
    (b'{"texts": "\xba\xc3"}', 422, "Invalid JSON"),
    ("[" * 1000, 422, "Invalid JSON: recursion limit"),
    ({"texts": "好" * 2000}, 413, "at most 2,000 bytes"),
]


def test_bad_bodies_are_explained_and_the_next_request_is_served(classifier):
    with served(classifier, max_texts=4, max_body_bytes=2000) as port:
        for body, expected, message in BAD_BODIES:
            status, text, _ = request(port, "POST", "/predict", body)
            assert status == expected, body
            assert message in text
            # What was sent is not sent back.
            assert len(text) < 700
        # As much as may be.
        most = json.dumps({"texts": ["很好"] * 4}).ljust(2000)
        assert request(port, "POST", "/predict", most)[0] == 200
        assert request(port, "POST", "/predict", f"{most} ")[0] == 413
        good = json.dumps({"texts": "很好"})
        for kind in ({}, {"content-type": "text/plain"}):
            status, text, _ = request(port, "POST", "/predict", good, kind)
            assert (status, "Expected Content-Type: application/json" in text) == (415, True)
        assert request(port, "POST", "/predict", good, {"Content-Type": "Application/JSON; charset=utf-8"})[0] == 200
        # Without a declared length.
        chunks = (b"x" * 1000 for _ in range(10))
        assert request(port, "POST", "/predict", chunks)[0] == 413
        assert request(port, "GET", "/predict")[0] == 405
        assert request(port, "GET", "/nonsense")[0] == 404


def test_health_metrics_and_a_description_that_needs_no_other_host(classifier):
    with served(classifier) as port:
        for texts in ("很好", ["很差", "很吵"]):
            assert predict(port, {"texts": texts})[0] == 200
        assert predict(port, {})[0] == 422
        assert request(port, "GET", "/nonsense?a=1")[0] == 404
        health = json.loads(request(port, "GET", "/health")[1])
        assert health["status"] == "ok"
        assert (health["labels"], health["backend"]) == (["negative", "positive"], "torch")
        metrics, headers = request(port, "GET", "/metrics")[1:]
        assert headers["content-type"].startswith("text/plain")
        assert 'sentiment_hf_requests_total{path="/predict",status="200"} 2.0' in metrics
        assert 'sentiment_hf_requests_total{path="/predict",status="422"} 1.0' in metrics
        assert "sentiment_hf_batch_texts_sum 3.0" in metrics
        assert "sentiment_hf_predict_seconds_count 3.0" in metrics
        # Anybody's path makes no series of its own.
        assert 'sentiment_hf_requests_total{path="other",status="404"} 1.0' in metrics
        schema = json.loads(request(port, "GET", "/openapi.json")[1])
        assert schema["paths"].keys() == {"/predict", "/health", "/metrics"}
        body = schema["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert (body["properties"].keys(), body["required"]) == ({"texts", "top_k"}, ["texts"])
        page = request(port, "GET", "/docs")[1]
        assert "://" not in page.replace("http://www.w3.org", "")
        script = page.split('<script src="')[1].split('"')[0]
        assert request(port, "GET", script)[0] == 200


def test_a_service_that_has_stopped_says_so(classifier):
    app = build_api(classifier)
    with TestClient(app) as client:
        assert client.get("/health").status_code == 200
    client = TestClient(app)
    health = client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "stopped")
    refused = client.post("/predict", json={"texts": "很好"})
    assert (refused.status_code, refused.json()["detail"]) == (503, "The server stops.")


def test_fifty_clients_at_once_share_batches_and_lose_nothing(classifier):
    texts = [f"第{n}间房间很吵，早餐非常好" * (1 + n % 3) for n in range(50)]
    responses = [None] * 50
    with served(classifier) as port:

        def ask(n):
            responses[n] = predict(port, {"texts": texts[n]})

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        metrics = request(port, "GET", "/metrics")[1]
    for (status, found), expected in zip(responses, classifier(texts), strict=True):
        assert status == 200
        assert (found["predictions"][0]["text"], found["predictions"][0]["label"]) == (expected.text, expected.label)
    batches = float(metrics.split("sentiment_hf_batch_texts_count ")[1].split()[0])
    assert batches < 50


def test_a_full_queue_says_when_to_come_back(classifier):
    held = Held(classifier)
    with served(held, max_queue=1, max_batch=1) as port:
        threads = [threading.Thread(target=predict, args=(port, {"texts": "很好"})) for _ in range(2)]
        threads[0].start()
        assert held.entered.wait(120)
        threads[1].start()
        wait_until(lambda: json.loads(request(port, "GET", "/health")[1])["waiting"] == 1)
        status, text, headers = request(port, "POST", "/predict", {"texts": "很差"})
        assert (status, headers["retry-after"]) == (503, "1")
        assert "Too many texts wait" in text
        held.may_go.set()
        for thread in threads:
            thread.join(120)
        assert predict(port, {"texts": "很差"})[0] == 200


def test_texts_of_a_client_that_hangs_up_are_not_read(classifier):
    held = Held(classifier)
    with served(held, max_batch=1) as port:
        body = json.dumps({"texts": ["甲", "乙", "丙"]}).encode()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
            client.sendall(b"content-length: %d\r\n\r\n%b" % (len(body), body))
            assert held.entered.wait(120)
        wait_until(lambda: "sentiment_hf_dropped_texts_total 2.0" in request(port, "GET", "/metrics")[1])
        held.may_go.set()
        assert predict(port, {"texts": "很好"})[0] == 200
    assert held.read == ["甲", "很好"]


def test_a_stop_under_load_serves_every_accepted_request(model_folder):
    process, port = start_server(["--model", str(model_folder), "--max_batch", "2"])
    statuses, refused = [], []

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            try:
                connection.request("POST", "/predict", json.dumps({"texts": ["房间很吵"] * 4}), JSON)
                response = connection.getresponse()
                assert len(json.loads(response.read())["predictions"]) == 4
                statuses.append(response.status)
            except (OSError, http.client.HTTPException) as error:
                refused.append(error)
                return

    users = [threading.Thread(target=ask, daemon=True) for _ in range(12)]
    for user in users:
        user.start()
    wait_until(lambda: len(statuses) >= 20)
    process.send_signal(signal.SIGTERM)
    log = process.communicate(timeout=120)[1]
    for user in users:
        user.join(120)
    assert process.returncode == 0
    assert set(statuses) == {200}
    assert len(refused) == 12
    # Each request that the server began to read was served, and the response arrived.
    assert f"stopped: {len(statuses)} requests accepted, {len(statuses)} completed" in log


def test_what_stays_is_not_collected_over_and_over():
    """What is tracked shrinks to what came since: a full collection under load has little to look through."""
    before = len(gc.get_objects())
    try:
        leave_to_the_end()
        assert gc.get_freeze_count() > before / 2
        assert len(gc.get_objects()) < before / 10
    finally:
        gc.unfreeze()


def test_bad_words_are_one_sentence(model_folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["serve", "--model", str(model_folder)]
        assert main([*words, "--port", str(taken.getsockname()[1])]) == 2
        assert "--port 0" in capsys.readouterr().err
    assert main([*words, "--port", "0", "--max_batch", "0"]) == 2
    assert "max_batch of at least 1" in capsys.readouterr().err
    assert main(["serve", "--port", "0", "--model", "./none"]) == 2
    with pytest.raises(InputError, match="a port from 0 to 65535, found 99999"):
        bind("127.0.0.1", 99999)
