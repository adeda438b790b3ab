"""Small real parts for the tests: sentences of our own, a tiny tokenizer and a tiny stock model, no network."""

from __future__ import annotations

import os
import tempfile

# Before anything imports the Hub's client or datasets, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="sentiment_hf-tests-")
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import itertools
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

SUBJECTS = [
    "房间",
    "早餐",
    "前台服务",
    "电池",
    "屏幕",
    "快递",
    "故事",
    "印刷质量",
    "隔音效果",
    "地理位置",
    "键盘手感",
    "包装",
]
GOOD = ["非常好", "让人满意", "超出预期", "值得推荐", "干净又舒服", "没得挑剔"]
BAD = ["非常差", "让人失望", "低于预期", "不值得买", "又脏又旧", "一塌糊涂"]
ENDINGS = ["。", "，下次还会考虑。", "！朋友也这么说。"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = "needs the data folder ../shared beside the project, which is not there"
    for item in items:
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command-line test that ran before in this process keeps the log to itself; the next test wants to see it."""
    yield
    logger = logging.getLogger("sentiment_hf")
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    logger.handlers.clear()


@pytest.fixture(scope="session")
def shared() -> Path:
    return SHARED


@pytest.fixture(scope="session")
def reviews() -> pd.DataFrame:
    """432 different short reviews, half of them positive, in a mixed order."""
    rows = [
        {"text": f"{subject}{words}{ending}", "label": label}
        for label, adjectives in (("negative", BAD), ("positive", GOOD))
        for subject, words, ending in itertools.product(SUBJECTS, adjectives, ENDINGS)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.fixture(scope="session")
def tokenizer(reviews: pd.DataFrame):
    from sentiment_hf.modeling.vocabulary import build_wordpiece_tokenizer

    return build_wordpiece_tokenizer(reviews["text"], vocab_size=400, max_length=64)


@pytest.fixture(scope="session")
def make_model(tokenizer) -> Callable:
    """Make a tiny stock classifier with seeded random weights."""

    def make(seed: int = 0, dropout: float = 0.1, labels: tuple[str, ...] = ("negative", "positive")):
        import torch
        from transformers import BertConfig, BertForSequenceClassification

        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=tokenizer.pad_token_id,
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
        )
        # Large weights give logits that differ from text to text, as those of a trained model do.
        config.initializer_range = 0.3
        return BertForSequenceClassification(config)

    return make


@pytest.fixture
def model_folder(tmp_path: Path, make_model: Callable, tokenizer) -> Path:
    """A saved tiny classifier with text settings."""
    from sentiment_hf.data.tokenization import TextSettings
    from sentiment_hf.modeling.config_io import record_settings
    from sentiment_hf.tasks import BUILT_IN_TASKS
    from sentiment_hf.training.folder import save_model

    model = make_model()
    record_settings(model.config, tokenizer, BUILT_IN_TASKS["reviews"], TextSettings(max_length=32))
    save_model(tmp_path / "model", model, tokenizer)
    return tmp_path / "model"


@pytest.fixture
def train_file(tmp_path: Path, reviews: pd.DataFrame) -> Path:
    path = tmp_path / "reviews.csv"
    reviews.to_csv(path, index=False)
    return path


TINY_MODEL = (
    "--config_overrides={hidden_size: 32, num_attention_heads: 2, intermediate_size: 64, vocab_size: 400, "
    "max_position_embeddings: 64}"
)


@pytest.fixture
def tiny_arguments(train_file: Path, tmp_path: Path) -> list[str]:
    """Arguments of a training run that takes seconds."""
    return [
        f"--train_file={train_file}",
        f"--output_dir={tmp_path / 'run'}",
        f"--cache_dir={tmp_path / 'cache'}",
        "--task=reviews",
        "--model=scratch",
        TINY_MODEL,
        "--num_hidden_layers=2",
        "--max_length=32",
        "--num_train_epochs=1",
        "--learning_rate=2e-3",
        "--precision=fp32",
        "--disable_tqdm=true",
        "--quantize=none",
    ]


@pytest.fixture(scope="session")
def cached_revisions() -> Callable[[str, dict[str, Path]], None]:
    """Put folders into the Hub's cache as revisions of one model, as the client leaves them there."""

    def write(model: str, folders: dict[str, Path]) -> None:
        from huggingface_hub import constants

        cache = Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
        for place, (revision, folder) in enumerate(folders.items(), start=1):
            commit = f"{place:040x}"
            (cache / "refs").mkdir(parents=True, exist_ok=True)
            (cache / "refs" / revision).write_text(commit, encoding="utf-8")
            shutil.copytree(folder, cache / "snapshots" / commit, dirs_exist_ok=True)

    return write
