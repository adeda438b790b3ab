import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LongformerConfig,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from sentiment_hf.cli.main import main
from sentiment_hf.inference.predictor import SentimentClassifier
from sentiment_hf.modeling.new_classifier import extend_positions
from sentiment_hf.training.arguments import parse_run_arguments
from sentiment_hf.training.folder import save_model
from sentiment_hf.training.run import train
from sentiment_hf.utils.exceptions import InputError

TINY = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 200}


def test_new_positions_lie_between_the_old_ones(tmp_path, caplog):
    model = BertForSequenceClassification(BertConfig(**TINY, max_position_embeddings=16)).eval()
    before = model.bert.embeddings.position_embeddings.weight.detach().clone()
    extend_positions(model, 31)
    after = model.bert.embeddings.position_embeddings.weight
    torch.testing.assert_close(after[::2], before)
    torch.testing.assert_close(after[1::2], (before[1:] + before[:-1]) / 2)
    assert "unstable" in caplog.text
    ids = torch.randint(5, 200, (2, 31))
    logits = model(ids).logits
    model.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path).eval()
    assert again.config.max_position_embeddings == 31
    torch.testing.assert_close(again(ids).logits, logits)
    with pytest.raises(InputError, match="at least 31"):
        extend_positions(model, 8)


def test_offsets_stay_where_they_are():
    model = RobertaForSequenceClassification(RobertaConfig(**TINY, max_position_embeddings=18, pad_token_id=1))
    before = model.roberta.embeddings.position_embeddings.weight.detach().clone()
    extend_positions(model, 31)
    after = model.roberta.embeddings.position_embeddings.weight
    torch.testing.assert_close(after[:3], before[:3])
    torch.testing.assert_close(after[-1], before[-1])
    assert model(torch.randint(5, 200, (1, 31))).logits.shape == (1, 2)


def test_a_recipe_reads_further_than_its_checkpoint(tiny_arguments, make_model, tokenizer, tmp_path):
    save_model(tmp_path / "short", make_model(), tokenizer)
    words = [word for word in tiny_arguments if not word.startswith(("--model", "--config_over", "--max_length"))]
    words = [*words, f"--model={tmp_path / 'short'}", "--max_steps=1", "--max_length=100"]
    with pytest.raises(InputError, match="at most 64"):
        train(parse_run_arguments(words))
    run = train(parse_run_arguments([*words, "--extend_positions=128"]))
    assert SentimentClassifier.from_pretrained(run.folder)("很好" * 200).label is not None
    assert main(["train", *words, "--extend_positions=80"]) == 2


def test_a_backbone_for_long_sequences_fits_in_the_same_recipe(tiny_arguments, tokenizer, tmp_path):
    from transformers import LongformerForSequenceClassification

    config = LongformerConfig(
        **TINY | {"vocab_size": len(tokenizer)}, max_position_embeddings=300, attention_window=[16], pad_token_id=0
    )
    save_model(tmp_path / "long", LongformerForSequenceClassification(config), tokenizer)
    words = [word for word in tiny_arguments if not word.startswith(("--model", "--config_over", "--max_length"))]
    words = [word for word in words if not word.startswith("--num_hidden")]
    run = train(parse_run_arguments([*words, f"--model={tmp_path / 'long'}", "--max_steps=2", "--max_length=256"]))
    predictions = SentimentClassifier.from_pretrained(run.folder)(["房间很干净，早餐也不错" * 30, "很差"])
    assert all(prediction.label for prediction in predictions)
