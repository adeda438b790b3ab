import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from sentiment_hf.modeling.vocabulary import choose_tokens, prune_embeddings, prune_tokenizer
from sentiment_hf.utils.exceptions import InputError


@pytest.fixture
def unigram():
    """A small Unigram tokenizer with the layout of XLM-R's."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "▁", "房", "间", "房间", "很", "吵", "大", "很大", "酒店", "酒", "店"]
    scores = [0.0] * 4 + [-2.0, -5.0, -5.0, -4.0, -3.0, -5.0, -4.5, -4.0, -4.0, -6.0, -6.0]
    backend = Tokenizer(models.Unigram([*zip(tokens, scores, strict=True), ("<mask>", 0.0)], unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        sep_token="</s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=64,
    )


CORPUS = ["房间很吵", "房间很大", "房间很大", "吵吵大大"]


def tokens_of(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def test_special_tokens_and_characters_come_before_longer_tokens(unigram):
    kept = unigram.convert_ids_to_tokens(choose_tokens(unigram, CORPUS, vocab_size=13))
    assert set(kept) == {"<s>", "<pad>", "</s>", "<unk>", "<mask>", "▁", "房", "间", "很", "吵", "大", "房间", "很大"}


def test_texts_of_kept_tokens_are_cut_as_before(unigram):
    smaller = prune_tokenizer(unigram, choose_tokens(unigram, CORPUS, vocab_size=13))
    assert len(smaller) == 13
    for text in CORPUS:
        assert tokens_of(smaller, text) == tokens_of(unigram, text)
    assert smaller.mask_token_id == 12
    assert smaller.model_max_length == 64


def test_dropped_tokens_are_spelled_by_what_is_left(unigram):
    smaller = prune_tokenizer(unigram, choose_tokens(unigram, CORPUS, vocab_size=11))
    assert tokens_of(smaller, "房间很大") == ["<s>", "▁", "房", "间", "很", "大", "</s>"]
    assert tokens_of(smaller, "酒店")[-2] == "<unk>"


def test_wordpiece_and_its_embeddings(tokenizer, make_model, reviews):
    texts = reviews["text"].tolist()[:40]
    model = make_model(dropout=0.0).eval()
    kept = choose_tokens(tokenizer, texts, vocab_size=len(tokenizer))
    assert len(kept) < len(tokenizer)
    smaller = prune_tokenizer(tokenizer, kept)
    assert tokens_of(smaller, texts[0]) == tokens_of(tokenizer, texts[0])
    with torch.no_grad():
        before = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
        prune_embeddings(model, kept, smaller.pad_token_id)
        after = model(**smaller(texts, padding=True, return_tensors="pt")).logits
    assert torch.equal(before, after)
    assert model.config.vocab_size == len(kept) == model.get_input_embeddings().weight.shape[0]


def test_no_room_for_the_characters_is_refused(unigram):
    with pytest.raises(InputError, match="room for 11 special tokens and characters, found vocab_size 9"):
        choose_tokens(unigram, CORPUS, vocab_size=9)


def test_another_kind_of_tokenizer_is_refused():
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    with pytest.raises(InputError, match="a Unigram or WordPiece tokenizer, found BPE"):
        prune_tokenizer(other, [0])


def test_a_pruned_tokenizer_survives_saving(unigram, tmp_path):
    smaller = prune_tokenizer(unigram, choose_tokens(unigram, CORPUS, vocab_size=13))
    smaller.save_pretrained(tmp_path)
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert again("房间很吵")["input_ids"] == smaller("房间很吵")["input_ids"]
    assert again.pad_token_id == smaller.pad_token_id
