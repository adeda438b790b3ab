"""One classifier, many threads; texts in any company; load after load."""

import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from sentiment_hf.inference.predictor import SentimentClassifier

THREADS = 16


@pytest.fixture
def exported(model_folder, reviews):
    """The tiny classifier with FP32 and INT8 files."""
    from sentiment_hf.compression.export import export_model
    from sentiment_hf.compression.quantization import Quantization

    validation = pd.DataFrame({"text": reviews["text"][:20], "label": [0, 1] * 10})
    export_model(model_folder, validation, Quantization("dynamic", "auto", 100.0))
    return model_folder


def test_sixteen_threads_get_what_one_gets(exported, reviews):
    texts = [text * (place % 5 + 1) for place, text in enumerate(reviews["text"])]
    asked = [texts[start::THREADS] for start in range(THREADS)]
    for backend in ("torch", "onnx", "int8"):
        classifier = SentimentClassifier.from_pretrained(exported, backend)
        expected = [classifier(part) for part in asked]
        found: list = [[] for _ in range(THREADS)]
        together = threading.Barrier(THREADS)

        def ask(place, classifier=classifier, found=found, together=together):
            together.wait(60)
            found[place] = [classifier(asked[place]) for _ in range(3)]

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        for place in range(THREADS):
            assert len(found[place]) == 3, backend
            for predictions in found[place]:
                assert [prediction.label for prediction in predictions] == [
                    prediction.label for prediction in expected[place]
                ]
                probabilities = [
                    [prediction.probability for prediction in side] for side in (predictions, expected[place])
                ]
                np.testing.assert_allclose(*probabilities, atol=1e-6, err_msg=backend)


def test_company_does_not_matter_in_fp32(exported, reviews):
    texts = [text * (place % 5 + 1) for place, text in enumerate(reviews["text"][:90])]
    for backend in ("torch", "onnx"):
        scorer = SentimentClassifier.from_pretrained(exported, backend).scorer
        together = scorer.logits(texts)
        alone = np.concatenate([scorer.logits([text]) for text in texts])
        backwards = scorer.logits(texts[::-1])[::-1]
        np.testing.assert_allclose(together, alone, atol=1e-5, err_msg=backend)
        np.testing.assert_allclose(together, backwards, atol=1e-5, err_msg=backend)


def test_memory_does_not_grow_over_rounds_of_load_and_predict():
    """A leak of the model, 12 MB on disk, would be 80 MB after seven rounds."""
    code = """if True:
        import gc, psutil
        from sentiment_hf import SentimentClassifier
        for _ in range(10):
            classifier = SentimentClassifier.from_pretrained()
            classifier(["房间很吵，再也不来了" * (n % 9 + 1) for n in range(100)])
            del classifier
            gc.collect()
            print(psutil.Process().memory_info().rss)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    rounds = [int(line) / 1e6 for line in done.stdout.split()]
    assert len(rounds) == 10
    assert rounds[9] - rounds[2] < 40, rounds
