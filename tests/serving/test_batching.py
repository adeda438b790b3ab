import threading
import time

import pytest

from sentiment_hf.serving.batching import Batcher, BatchLimits, ClosedError, QueueFullError
from sentiment_hf.tasks import Prediction
from sentiment_hf.utils.exceptions import InputError


class Reader:
    """Predicts the text itself, slowly where told, and remembers its batches."""

    def __init__(self):
        self.batches = []
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, texts, top_k):
        self.may_go.wait(60)
        self.batches.append(texts)
        if "poison" in texts:
            raise RuntimeError("poison")
        return [Prediction(text, text, 1.0, tuple((str(n), 0.1) for n in range(top_k))) for text in texts]


@pytest.fixture
def reader():
    return Reader()


def held(reader, **limits):
    """A batcher whose thread is busy with one text, so that what follows gathers."""
    reader.may_go.clear()
    batcher = Batcher(reader, BatchLimits(**{"max_wait_ms": 0, **limits}))
    first = batcher.submit(["first"], 1)
    while batcher.waiting:
        time.sleep(0.001)
    return batcher, first


def test_what_waits_is_read_together_and_predictions_find_their_callers(reader):
    batcher, first = held(reader, max_batch=4)
    callers = [batcher.submit([f"{n}a", f"{n}b"], n + 1) for n in range(3)]
    reader.may_go.set()
    assert [[future.result(60).label for future in caller] for caller in callers] == [
        ["0a", "0b"],
        ["1a", "1b"],
        ["2a", "2b"],
    ]
    assert reader.batches == [["first"], ["0a", "0b", "1a", "1b"], ["2a", "2b"]]
    # Each gets as long a list as it asked for, whatever its neighbours wanted.
    assert [[len(future.result().top) for future in caller] for caller in callers] == [[1, 1], [2, 2], [3, 3]]
    assert len(first[0].result(60).top) == 1
    batcher.close()


def test_one_at_a_time(reader):
    batcher, _ = held(reader, max_batch=1)
    batcher.submit(["a", "b"], 1)
    reader.may_go.set()
    batcher.close()
    assert reader.batches == [["first"], ["a"], ["b"]]


def test_the_first_text_waits_for_company_as_long_as_told(reader):
    batcher = Batcher(reader, BatchLimits(max_batch=2, max_wait_ms=60_000))
    futures = batcher.submit(["a"], 1)
    assert not futures[0].done()
    futures += batcher.submit(["b"], 1)
    assert [future.result(60).label for future in futures] == ["a", "b"]
    batcher.close()


def test_a_text_without_company_does_not_wait_long(reader):
    batcher = Batcher(reader, BatchLimits(max_batch=2, max_wait_ms=30))
    assert batcher.submit(["alone"], 1)[0].result(10).label == "alone"
    batcher.close()


def test_a_full_queue_takes_nothing_of_a_request(reader):
    batcher, _ = held(reader, max_queue=3)
    batcher.submit(["a", "b"], 1)
    with pytest.raises(QueueFullError):
        batcher.submit(["c", "d"], 1)
    assert batcher.waiting == 2
    batcher.submit(["e"], 1)
    reader.may_go.set()
    batcher.close()
    assert sorted(text for batch in reader.batches for text in batch) == ["a", "b", "e", "first"]


def test_a_request_that_the_queue_never_takes_is_taken_while_nothing_waits(reader):
    batcher = Batcher(reader, BatchLimits(max_wait_ms=0, max_queue=2))
    assert [future.result(60).label for future in batcher.submit(list("abcd"), 1)] == list("abcd")
    batcher.close()


def test_what_nobody_waits_for_is_not_read(reader):
    batcher, _ = held(reader)
    gone, kept = batcher.submit(["gone", "kept"], 1)
    assert gone.cancel()
    reader.may_go.set()
    assert kept.result(60).label == "kept"
    batcher.close()
    assert reader.batches == [["first"], ["kept"]]


def test_a_text_that_breaks_the_classifier_breaks_no_other(reader, caplog):
    batcher, _ = held(reader)
    good, bad, also_good = batcher.submit(["good", "poison", "also good"], 1)
    reader.may_go.set()
    assert (good.result(60).label, also_good.result(60).label) == ("good", "also good")
    with pytest.raises(RuntimeError, match="poison"):
        bad.result(60)
    assert "could not be classified" in caplog.text
    assert batcher.submit(["next"], 1)[0].result(60).label == "next"
    batcher.close()


def test_closing_finishes_what_was_accepted_and_takes_no_more(reader):
    batcher, first = held(reader, max_batch=2)
    futures = first + batcher.submit([str(n) for n in range(5)], 1)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while batcher.is_working:
        time.sleep(0.001)
    with pytest.raises(ClosedError):
        batcher.submit(["late"], 1)
    reader.may_go.set()
    closing.join(60)
    assert [future.result(0).label for future in futures] == ["first", "0", "1", "2", "3", "4"]
    batcher.close()


@pytest.mark.parametrize("limits", [{"max_batch": 0}, {"max_queue": 0}, {"max_wait_ms": -1}])
def test_limits_out_of_range(limits):
    with pytest.raises(InputError, match=rf"Expected {next(iter(limits))} of at least"):
        BatchLimits(**limits)
